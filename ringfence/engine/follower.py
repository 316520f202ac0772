# SPDX-License-Identifier: Apache-2.0
"""The follower: a second engine that tails the ledger and writes snapshots, so that decisions never stall for one.

It holds a full copy of the state (its memory is `Engine.nbytes`) and only reads the ledger. What it writes is what the
next start begins from: it compares the ticks that it computes with those on record, and writes nothing after one that
differs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.errors import SnapshotError, TickMismatchError
from ringfence.engine.replay import replay
from ringfence.engine.snapshot import clear_unfinished, restore_newest, write_snapshot
from ringfence.engine.ticks import RecordedTick, wrong_ticks
from ringfence.scenario.batch import Batch

_REST: Final = 3.0  # a snapshot takes a quarter of what the disk and a processor can do
_PORTION: Final = 128  # records folded at once: who shares the core is slowed down for some ms at a time, not for long
_AT_ONCE: Final = 65_536  # where nobody is slowed down
_FAR_BEHIND: Final = 200_000  # records


class TailedLedger(Protocol):
    """The part of a ledger that is followed."""

    @property
    def last_seq(self) -> int: ...

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]: ...

    def ticks(self, spec: str, after_seq: int = 0) -> Sequence[RecordedTick]: ...


def run_follower(
    ledger: TailedLedger,
    catalogue: Catalogue,
    directory: Path,
    *,
    every_records: int,
    every_seconds: float,
    stop: Callable[[], bool],
    poll_seconds: float = 0.5,
    refused: Callable[[SnapshotError], None] | None = None,
    differs: Callable[[TickMismatchError], None] | None = None,
    fold: Callable[[Engine, Batch], None] | None = None,
    rest: float = 0.0,
) -> int:
    """Follow the ledger until `stop()`; return the seq of the last snapshot written, 0 if none was.

    A snapshot is written after `every_records` folded records, and after `every_seconds` if there was at least one;
    never when nothing changed. None is written any more once a tick on record differs from the one computed here: the
    snapshots from before it stay, and a start replays from there.

    Parameters
    ----------
    directory : where snapshots go, and where the follower starts from.
    stop : asked between batches and polls.
    refused : told about each snapshot that could not be used at the start.
    differs : told about each tick on record that differs. The follower does nothing from then on but wait for `stop()`.
    fold : folds a batch in place of `replay`, by someone who looks at state on the way.
    rest : times as long as a portion took to read and fold, nothing is done after it, unless the ledger is far ahead;
        and so many times as long as a snapshot took, no other is begun after it.
    """
    clear_unfinished(directory)
    engine = restore_newest(catalogue, directory, last_seq=ledger.last_seq, refused=refused) or Engine(catalogue)
    compared_seq = engine.seq
    written_seq = 0
    n_since = 0
    written_at, not_before = time.monotonic(), 0.0
    while not stop():
        before = engine.counters
        paced = rest > 0.0 and ledger.last_seq - engine.seq < _FAR_BEHIND
        began_at = time.monotonic()
        for batch in ledger.batches(after_seq=engine.seq, size=_PORTION if paced else _AT_ONCE):
            if fold is None:
                replay(engine, (batch,), until_seq=ledger.last_seq)
            else:
                fold(engine, batch)
            if stop():
                break
            if paced:
                time.sleep(rest * (time.monotonic() - began_at))
                began_at = time.monotonic()
        after = engine.counters
        n_new = after["events"] - before["events"] + after["labels"] - before["labels"]
        n_since += n_new
        due = n_since >= every_records or time.monotonic() - written_at >= every_seconds
        if n_since and due and time.monotonic() >= not_before:
            # Ticks on record take effect at records that are in the ledger before them: those up to here are all there.
            recorded = [
                tick for tick in ledger.ticks(catalogue.spec_hash, compared_seq) if tick.effect_seq <= engine.seq
            ]
            if wrong := wrong_ticks(recorded, engine.take_effects()):
                for error in wrong:
                    if differs is not None:
                        differs(error)
                break
            compared_seq = engine.seq
            began_at = time.monotonic()
            write_snapshot(engine, directory, rest=_REST)
            written_seq, n_since, written_at = engine.seq, 0, time.monotonic()
            not_before = written_at + rest * (written_at - began_at)
        elif paced or not n_new:
            time.sleep(poll_seconds)
    while not stop():
        time.sleep(poll_seconds)
    return written_seq
