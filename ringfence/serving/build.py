# SPDX-License-Identifier: Apache-2.0
"""State for another feature spec, built beside the service: by a process of its own where much is to be replayed.

To decode a record takes the interpreter, which the threads that decide need: a thread that replays at full speed makes
each of them wait up to half a millisecond whenever it needs it. So the bulk is replayed by a process that runs when
nobody else wants the processor; it leaves a snapshot, which is copied without the interpreter. A thread replays only
what came since, in small parts, and rests longer than it works.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.replay import in_bulk
from ringfence.engine.snapshot import list_snapshots, read_snapshot, restore_newest, write_snapshot
from ringfence.errors import RingfenceError
from ringfence.ledger.ledger import Ledger
from ringfence.scoring.errors import ReleaseDamagedError
from ringfence.scoring.release import load_release
from ringfence.serving.kept import KeptRows
from ringfence.serving.ready import fold

NEXT: Final = "next"  # below the scenario's state: where the process leaves its snapshot
_PART: Final = 32  # records that the thread folds at once
_REST: Final = 2.0  # times as long as a part took
_AT_ONCE: Final = 8_192  # records that the process folds at once
_NICE: Final = 15
_LOOK_S: Final = 0.05


class StateBuildError(RingfenceError):
    """The process that was to build the state ended without it."""

    def __init__(self, exit_code: int | None, log: str) -> None:
        self.exit_code = exit_code
        super().__init__(f"the process that replays the ledger ended with code {exit_code}; {log}; try again")


class StoppedError(RingfenceError):
    """The service ends, and with it whatever was being built."""

    def __init__(self) -> None:
        super().__init__("the service is stopping; promote the release again when it runs")


def build_engine(
    ledger: Ledger,
    catalogue: Catalogue,
    release_dir: Path,
    state_dir: Path,
    kept: KeptRows,
    *,
    beside_from: int,
    left: Callable[[int], None],
    ended: Callable[[], bool],
) -> Engine:
    """Restore or replay the state for another feature spec; what came meanwhile is left to `follow`.

    Parameters
    ----------
    ledger, kept : under the scenario of the release, and its feature spec.
    beside_from : records to replay from which on a process does it.
    left : told how many records are left.

    Raises
    ------
    StateBuildError
        If the process failed.
    StoppedError
        If `ended` said so.
    """
    last_seq = ledger.last_seq
    engine = _restored(catalogue, state_dir, last_seq, kept)
    behind = last_seq - (0 if engine is None else engine.seq)
    left(behind)
    if behind < beside_from:
        return engine or Engine(catalogue)
    del engine  # the process restores it, too: three states at once would be one too many
    folder = state_dir / NEXT
    shutil.rmtree(folder, ignore_errors=True)
    context = multiprocessing.get_context("spawn")  # a fork would share the engine's threads and locks
    reached: Any = context.Value("q", 0)
    process = context.Process(
        target=_build, args=(str(ledger.directory), str(release_dir), str(state_dir), os.getpid(), reached), daemon=True
    )
    process.start()
    try:
        while process.is_alive():
            process.join(_LOOK_S)
            left(max(last_seq - int(reached.value), 0))
            if ended():
                raise StoppedError
        found = list_snapshots(folder)
        if process.exitcode != 0 or not found:
            raise StateBuildError(process.exitcode, "its traceback is in the log of the service")
        return read_snapshot(catalogue, found[0], last_seq=ledger.last_seq)
    finally:
        if process.is_alive():
            process.kill()
            process.join()


def follow(
    engine: Engine,
    ledger: Ledger,
    kept: KeptRows,
    *,
    near: int,
    left: Callable[[int], None],
    ended: Callable[[], bool],
) -> None:
    """Fold what the ledger has beyond the state, in small parts with rests, until it got fewer than `near` meanwhile.

    Raises
    ------
    StoppedError
        If `ended` said so.
    """
    while True:
        until = ledger.last_seq
        began = time.perf_counter()
        for batch in ledger.batches(after_seq=engine.seq, until_seq=until, size=_PART):
            fold(engine, batch, kept)
            left(until - engine.seq)
            time.sleep(_REST * (time.perf_counter() - began))
            began = time.perf_counter()
            if ended():
                raise StoppedError
        if ledger.last_seq - until < near:
            left(0)
            return


def keep_snapshot(state_dir: Path) -> None:
    """Put the snapshot that a process left among those that a start begins from."""
    folder = state_dir / NEXT
    for path in list_snapshots(folder):
        path.replace(state_dir / path.name)
    shutil.rmtree(folder, ignore_errors=True)


def _build(ledger_dir: str, release_dir: str, state_dir: str, parent_pid: int, reached: Any) -> None:
    """Replay up to the ledger's end and leave a snapshot: the whole life of the process."""
    os.nice(_NICE)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    release = load_release(Path(release_dir), without=_ignored)
    catalogue = release.catalogue
    ledger = Ledger.open(Path(ledger_dir), release.scenario)
    last_seq = ledger.last_seq
    with contextlib.closing(KeptRows(Path(state_dir), catalogue.spec_hash, len(catalogue.names))) as kept:
        engine = _restored(catalogue, Path(state_dir), last_seq, kept) or Engine(catalogue)
        for batch in in_bulk(engine, ledger.batches(after_seq=engine.seq, until_seq=last_seq, size=_AT_ONCE)):
            fold(engine, batch, kept)
            reached.value = engine.seq
            if os.getppid() != parent_pid:
                raise StoppedError
    write_snapshot(engine, Path(state_dir) / NEXT, keep=1, rest=1.0)


def _restored(catalogue: Catalogue, state_dir: Path, last_seq: int, kept: KeptRows) -> Engine | None:
    """Restore the newest snapshot; None where there is none, or where events before it wait that have no row here."""
    engine = restore_newest(catalogue, state_dir, last_seq=last_seq)
    return None if engine is None or kept.lacking(0, engine.seq) else engine


def _ignored(error: ReleaseDamagedError) -> None:
    """Whoever asked for the release has been told; its state is the same."""
