# SPDX-License-Identifier: Apache-2.0
"""Options that mean the same on every command, and the reading of times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.exits import UsageError

if TYPE_CHECKING:
    from ringfence.serving.rates import Rate

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace folder.", metavar="DIR", show_default=True)
]
ScenarioOption = Annotated[
    str | None, typer.Option("--scenario", help="Which scenario; needed only when there are several.", metavar="NAME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]

HERE = Path()
_SIZE = re.compile(r"([0-9]{1,9}) ?(MB|GB|MiB|GiB)?", re.ASCII)
_UNITS = {None: 1, "MB": 10**6, "GB": 10**9, "MiB": 1 << 20, "GiB": 1 << 30}


def time_option(text: str, option: str, time_zone: str) -> int:
    """Read a time given on the command line.

    Parameters
    ----------
    text : ISO 8601, such as `2018-07-25`, `2018-07-25T13:00` or `2018-07-25T13:00:00Z`. A date is its midnight; a
        time without an offset is in `time_zone`.
    option : the option it was given to, for the message.

    Returns
    -------
    Milliseconds since 1970, UTC.

    Raises
    ------
    UsageError
        If it is not a time.
    """
    from ringfence.scenario.times import moment_ms

    time_ms = moment_ms(text, time_zone)
    if time_ms is None:
        raise UsageError(
            f"{option} {text!r} is not a time; give a date (2018-07-25) or ISO 8601 (2018-07-25T13:00:00Z)"
        )
    return time_ms


def size_option(text: str, option: str) -> int:
    """Read a size given on the command line, such as `500MB`, `4GiB` or `0`; returns bytes.

    Raises
    ------
    UsageError
        If it is not a size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[2] is None and int(found[1])):
        raise UsageError(f"{option} {text!r} is not a size; write a number and MB, GB, MiB or GiB, or 0")
    return int(found[1]) * _UNITS[found[2]]


def duration_option(text: str, option: str) -> int:
    """Read a duration given on the command line, such as `90d` or `0s`; returns milliseconds.

    Raises
    ------
    UsageError
        If it is not a duration.
    """
    from ringfence.scenario.duration import duration_ms

    try:
        return duration_ms(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is not a duration; {error}") from None


def rate_option(per_s: float | None, burst: int | None) -> Rate | None:
    """Read `--rate` and `--burst`; None where there is no rate.

    Raises
    ------
    UsageError
        If one makes no sense, or there is a burst without a rate.
    """
    from ringfence.serving.rates import Rate

    if per_s is None:
        if burst is not None:
            raise UsageError("--burst says how much of --rate may come at once; give --rate too")
        return None
    try:
        return Rate.of(per_s, burst)
    except ValueError as error:
        raise UsageError(f"--rate {per_s:g}{'' if burst is None else f' --burst {burst}'}: {error}") from None


def iso_time(time_ms: int | None) -> str | None:
    """Write a time as people and programs read it: ISO 8601, UTC, to the second."""
    if time_ms is None:
        return None
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
