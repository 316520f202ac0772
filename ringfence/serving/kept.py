# SPDX-License-Identifier: Apache-2.0
"""Feature rows that must outlive their batch: an event learned now and decided later is decided from the row it had.

The row is written, with its fsync, before the commit that makes its event durable. So an event that the ledger holds
has its row; a row whose event never became durable is harmless, as whatever takes its seq later carries another digest
and overwrites it. The table is state, not truth: without it `HistoryEventError` says what is missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

KEPT_ROWS: Final = "kept_rows.db"

Row = NDArray[np.float64]


class KeptRows:
    """Rows by event seq, each bound to its event's payload digest and the feature spec. One thread uses it."""

    def __init__(self, directory: Path, spec_hash: str, n_features: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / KEPT_ROWS
        self._spec_hash = spec_hash
        self._n_features = n_features
        self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS kept (event_seq INTEGER PRIMARY KEY, payload_digest BLOB NOT NULL, "
            "spec_hash TEXT NOT NULL, row BLOB NOT NULL)"
        )

    def put(self, rows: Iterable[tuple[int, bytes, Row]]) -> None:
        """Keep (event seq, payload digest, row) durably; returns after the fsync."""
        values = [(seq, digest, self._spec_hash, row.tobytes()) for seq, digest, row in rows]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", values)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def get(self, event_seq: int, payload_digest: bytes) -> Row | None:
        """Return the row the event had when it was learned; None if it was not kept or another spec made it."""
        query = "SELECT row FROM kept WHERE event_seq = ? AND payload_digest = ? AND spec_hash = ?"
        found = self._connection.execute(query, (event_seq, payload_digest, self._spec_hash)).fetchone()
        if found is None or len(found[0]) != 8 * self._n_features:
            return None
        return np.frombuffer(found[0], np.float64)

    def forget(self, event_seqs: Iterable[int]) -> None:
        """Drop rows of events that are decided now. Losing this to a crash costs only room."""
        self._connection.executemany("DELETE FROM kept WHERE event_seq = ?", [(seq,) for seq in event_seqs])

    def close(self) -> None:
        self._connection.close()
