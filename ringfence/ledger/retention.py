# SPDX-License-Identifier: Apache-2.0
"""`retain`: drop personal values of old events, and names of entities that none but old events name.

    seq   1 ............ until_seq ............ last_seq
          values dropped          values kept
          named here alone: name dropped    named here too: kept

An event is as old as the ledger was when it came, by its watermark: one that came in order by its own time, one that
came late by the time of its coming. So `until_seq` is `Ledger.seq_at(now - retain)`, and there is no state to keep but
which entity was last named where (`last_seen`). Killed anywhere, the next sweep finds what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from ringfence.ledger.erasable import Erasable
from ringfence.ledger.erasure import finish_import, is_written
from ringfence.ledger.last_seen import LastSeen
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.spool import require_no_spool


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep dropped."""

    until_seq: int  # records up to here are older than `retain`; 0: none is
    n_names: int
    n_personal: int

    @property
    def text(self) -> str:
        """What was dropped, or will be."""
        return f"{self.n_names:,} ids and {self.n_personal:,} personal values of records up to seq {self.until_seq:,}"


def n_overdue(ledger: Ledger, *, retain_ms: int, now_ms: int) -> int:
    """How many personal values are older than `retain_ms` at `now_ms` and still there."""
    with closing(Erasable(ledger.directory)) as erasable:
        return erasable.count_personal(ledger.seq_at(now_ms - retain_ms))


def sweep(
    ledger: Ledger,
    state_dir: Path,
    *,
    retain_ms: int,
    now_ms: int,
    record: Callable[[Sweep], None],
) -> Sweep:
    """Drop what is older than `retain_ms` at `now_ms`, and take its bytes off the disk. Features and chain stay.

    An event that comes during the very milliseconds in which the name of its entity is dropped brings it back only
    when the entity is named again, a day later or more.

    Parameters
    ----------
    retain_ms : > 0.
    record : puts what will be dropped on record before it is; not called where nothing is old.

    Raises
    ------
    SpoolHoldsNamesError
        If records wait for a ledger that cannot be written.
    LedgerLockedError
        If an import is under way.
    NotScrubbedError
        If the bytes could not be taken off the disk; the next sweep tries again.
    """
    require_no_spool(ledger.directory)
    until_seq = ledger.seq_at(now_ms - retain_ms)
    if until_seq == 0:
        return Sweep(until_seq=0, n_names=0, n_personal=0)
    finish_import(ledger.directory)
    with closing(Erasable(ledger.directory)) as erasable:
        with closing(LastSeen(ledger, state_dir)) as last_seen:
            last_seen.catch_up()
            due = Sweep(
                until_seq=until_seq,
                n_names=last_seen.count_names(until_seq),
                n_personal=erasable.count_personal(until_seq),
            )
            if due.n_names or due.n_personal:
                record(due)
            n_personal = erasable.drop_personal_until(until_seq)
            n_names = sum(erasable.drop_names(digests) for digests in last_seen.names(until_seq))
            last_seen.forget(until_seq)
        erasable.scrub(lambda: is_written(ledger.directory))
    return Sweep(until_seq=until_seq, n_names=n_names, n_personal=n_personal)
