# SPDX-License-Identifier: Apache-2.0
"""What an event had when it was learned, and must outlive its batch: it is decided later from just that.

Its feature row, and its neighbourhood where the release reads such: both are of the event and the feature spec, so that
whatever release of that spec decides it sees what serving would have seen then; a branch's score would be of one model.

They are written before the commit that makes the event durable, with an fsync where the event is not decided yet. So an
event that the ledger holds has its row; a row whose event never became durable is harmless, as whatever takes its seq
later carries another digest and overwrites it. The table is state, not truth: without it `HistoryEventError` says what
is missing. What is kept of a decided event is for a second look at the decision of a lower rung: it outlives the
process without an fsync, and a loss of power can cost the looks of the last moments, not more. Lower rungs answer when
time is short, and a second fsync for each turn would make it shorter.

State that is built for another feature spec while events wait passes by them, and keeps what they have under that one
too. So an event that was learned before a switch of release is decided after it, by what it would have had.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.ledger.write_ahead import connect_write_ahead

KEPT_ROWS: Final = "kept_rows.db"
_COLUMNS: Final = "event_seq, payload_digest, spec_hash, row, near"
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS kept (event_seq INTEGER NOT NULL, payload_digest BLOB NOT NULL, "
    "spec_hash TEXT NOT NULL, row BLOB NOT NULL, near BLOB NOT NULL DEFAULT x'', PRIMARY KEY (event_seq, spec_hash))"
)

Row = NDArray[np.float64]
StoredRow = tuple[int, bytes, str, bytes, bytes]  # as `_COLUMNS`


class Kept(NamedTuple):
    """What an event had."""

    row: Row
    near: bytes = b""  # its neighbourhood, as `models.packed` packs one; empty where none is sampled


class KeptRows:
    """Rows by event seq, each bound to its event's payload digest and the feature spec. One thread uses it."""

    def __init__(self, directory: Path, spec_hash: str, n_features: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / KEPT_ROWS
        self._spec_hash = spec_hash
        self._n_features = n_features
        self._connection = connect_write_ahead(self.path, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous=FULL")
        self._is_full = True
        self._connection.execute(_TABLE)
        keyed_by = {name: place for _, name, _, _, _, place in self._connection.execute("PRAGMA table_info(kept)")}
        if "near" not in keyed_by:  # written before neighbourhoods were kept
            self._connection.execute("ALTER TABLE kept ADD COLUMN near BLOB NOT NULL DEFAULT x''")
        if not keyed_by["spec_hash"]:  # written when there was one row for an event
            self._rewrite()

    def put(self, rows: Iterable[tuple[int, bytes, Kept]], *, synced: bool = True) -> None:
        """Keep (event seq, payload digest, what the event had); where `synced`, return after the fsync."""
        self._put(self.stored(rows), synced=synced)

    def stored(self, rows: Iterable[tuple[int, bytes, Kept]]) -> list[StoredRow]:
        """Lay out what `put` writes, for `put_stored` of whatever feature spec."""
        return [(seq, digest, self._spec_hash, kept.row.tobytes(), kept.near) for seq, digest, kept in rows]

    def put_stored(self, rows: Sequence[StoredRow]) -> None:
        """Keep rows that were laid out before; returns after the fsync."""
        self._put(rows, synced=True)

    def get(self, event_seq: int, payload_digest: bytes) -> Kept | None:
        """Return what the event had when it was learned; None if it was not kept or another spec made it."""
        query = "SELECT row, near FROM kept WHERE event_seq = ? AND payload_digest = ? AND spec_hash = ?"
        found = self._connection.execute(query, (event_seq, payload_digest, self._spec_hash)).fetchone()
        if found is None or len(found[0]) != 8 * self._n_features:
            return None
        return Kept(np.frombuffer(found[0], np.float64), found[1])

    def lacking(self, after_seq: int, until_seq: int) -> dict[int, bytes]:
        """Return the events, by seq with their payload digests, of which only other feature specs have a row."""
        query = (
            "SELECT event_seq, payload_digest FROM kept AS other "
            "WHERE event_seq > ? AND event_seq <= ? AND spec_hash != ? "
            "AND NOT EXISTS (SELECT 1 FROM kept WHERE event_seq = other.event_seq AND spec_hash = ?) ORDER BY event_seq"
        )
        spec = self._spec_hash
        return dict(self._connection.execute(query, (after_seq, until_seq, spec, spec)).fetchall())

    def forget(self, event_seqs: Iterable[int]) -> None:
        """Drop all rows of events that are decided now. Losing this to a crash costs only room."""
        self._write("DELETE FROM kept WHERE event_seq = ?", [(seq,) for seq in event_seqs], synced=False)

    def close(self) -> None:
        self._connection.close()

    def _rewrite(self) -> None:
        self._connection.executescript(
            f"BEGIN IMMEDIATE; ALTER TABLE kept RENAME TO kept_before; {_TABLE}; "
            f"INSERT INTO kept ({_COLUMNS}) SELECT {_COLUMNS} FROM kept_before; DROP TABLE kept_before; COMMIT"
        )

    def _put(self, rows: Sequence[StoredRow], *, synced: bool) -> None:
        self._write(f"INSERT OR REPLACE INTO kept ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", rows, synced=synced)

    def _write(self, statement: str, values: Sequence[tuple[object, ...]], *, synced: bool) -> None:
        if synced is not self._is_full:
            self._connection.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
            self._is_full = synced
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(statement, values)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
