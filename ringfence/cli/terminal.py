# SPDX-License-Identifier: Apache-2.0
"""What people see: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any, Final

import msgspec
import typer

Progress = Callable[[int, int], None]  # (done, total); a total of 0 means unknown
QUIET_S: Final = 8.0  # without anything moving, until a word is said about it
_QUIET: Final = (
    "still at work: only the first run on a machine compiles its code, for a minute or two, longer where it is busy"
)


def show(result: Any, *, as_json: bool, text: str) -> None:
    """Print a command's result: for programs as one JSON object, for people as the text."""
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(result, enc_hook=_plain), indent=2).decode())
    else:
        typer.echo(text)


def remark(text: str) -> None:
    """Say something to the person watching, without touching the result on stdout."""
    typer.echo(text, err=True)


def table(headers: list[str], rows: list[list[str]]) -> str:
    """Lay out plain text columns; empty when there are no rows."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in [headers, *rows]) for column in range(len(headers))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [headers, *rows]]
    return "\n".join(line.rstrip() for line in lines)


@contextmanager
def patience(
    say: Callable[[str], None] = remark, *, quiet_s: float = QUIET_S, word: str = _QUIET
) -> Iterator[Progress]:
    """Say a word once, as a rule that the first run compiles, if nothing moves for `quiet_s` seconds from the start."""
    waiting = Timer(quiet_s, say, (word,))
    waiting.daemon = True
    waiting.start()

    def report(done: int, total: int) -> None:
        if done > 0:
            waiting.cancel()

    try:
        yield report
    finally:
        waiting.cancel()


@contextmanager
def progress(task: str, *, unit: str = "", word: str = _QUIET) -> Iterator[Progress]:
    """Show a progress bar on stderr while something long runs; where stderr is no terminal, a word if nothing moves."""
    if not sys.stderr.isatty():
        with patience(word=word) as moved:
            yield moved
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bars, patience(bars.console.print, word=word) as moved:
        bar = bars.add_task(task, total=None)

        def report(done: int, total: int) -> None:
            moved(done, total)
            bars.update(bar, completed=done, total=total or None)

        yield report


@contextmanager
def staged_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per named stage, for work that has several; where stderr is no terminal, a word if nothing moves."""
    if not sys.stderr.isatty():
        with patience() as moved:
            yield lambda stage, done, total: moved(done, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    stages: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Bars(*columns, console=Console(stderr=True), transient=True)
    with bars, patience(bars.console.print) as moved:

        def report(stage: str, done: int, total: int) -> None:
            moved(done, total)
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=None)
            bars.update(stages[stage], completed=done, total=total or None)

        yield report


def _plain(value: Any) -> Any:
    """Turn what msgspec does not know (numpy scalars and arrays, paths) into what it does."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
