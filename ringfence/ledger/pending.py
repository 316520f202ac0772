# SPDX-License-Identifier: Apache-2.0
"""Which events wait for the nightly batch: a table beside the records, so that a retry finds its event at once.

An event enters it in the transaction of its `PENDING` record and leaves it in that of its decision. The first such
record makes the table: a ledger in which nothing ever waited has none.
"""

from __future__ import annotations

import sqlite3
from typing import Final

TABLE: Final = "CREATE TABLE IF NOT EXISTS pending (event_seq INTEGER PRIMARY KEY, seq INTEGER NOT NULL)"
NOTE: Final = "INSERT INTO pending VALUES (?, ?)"
SETTLE: Final = "DELETE FROM pending WHERE event_seq = ?"


def pending_seq(connection: sqlite3.Connection, event_seq: int) -> int | None:
    """The seq of the record that says an event waits; None where it does not."""
    if not _is_there(connection):
        return None
    row = connection.execute("SELECT seq FROM pending WHERE event_seq = ?", (event_seq,)).fetchone()
    return int(row[0]) if row else None


def pending_seqs(connection: sqlite3.Connection, after_event_seq: int, limit: int) -> list[tuple[int, int]]:
    """(event seq, seq of its PENDING record) of events that wait, in the order of events, at most `limit`."""
    if not _is_there(connection):
        return []
    query = "SELECT event_seq, seq FROM pending WHERE event_seq > ? ORDER BY event_seq LIMIT ?"
    return connection.execute(query, (after_event_seq, limit)).fetchall()


def n_pending(connection: sqlite3.Connection) -> int:
    """How many events wait."""
    return int(connection.execute("SELECT count(*) FROM pending").fetchone()[0]) if _is_there(connection) else 0


def _is_there(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'pending'").fetchone() is not None
