# SPDX-License-Identifier: Apache-2.0
"""What must be erasable: the original ids of entities, and personal values. A file of its own, outside the chain.

Its transactions are not fsynced one by one (WAL, synchronous=NORMAL): losing power can lose the names of the last
seconds, never a record, a feature or a decision. A name comes back when its entity is next seen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

ERASABLE: Final = "erasable.db"

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS directory (
  digest BLOB PRIMARY KEY, entity_type TEXT NOT NULL, entity_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS personal (
  event_seq INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (event_seq, name)) WITHOUT ROWID;
"""

Name = tuple[bytes, str, str]  # digest (hi then lo, big endian), entity type, original id
PersonalValue = tuple[int, str, bytes]  # event seq, attribute name, msgpack


class Erasable:
    """One connection to `erasable.db`; use it in the thread that made it."""

    def __init__(self, directory: Path, *, busy_ms: int = 5_000) -> None:
        self._connection = connect(directory, busy_ms=busy_ms)
        self._connection.executescript(_TABLES)

    @property
    def connection(self) -> sqlite3.Connection:
        """For whoever sees to its checkpoints."""
        return self._connection

    def add(self, names: Iterable[Name], personal: Iterable[PersonalValue]) -> None:
        """Add names and values; what is there already stays as it is, so adding twice is adding once."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany("INSERT OR IGNORE INTO directory VALUES (?, ?, ?)", names)
            connection.executemany("INSERT OR IGNORE INTO personal VALUES (?, ?, ?)", personal)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def names(self, digests: Iterable[bytes]) -> dict[bytes, tuple[str, str]]:
        """Return digest -> (entity type, original id) for those that are still in the directory."""
        found: dict[bytes, tuple[str, str]] = {}
        for chunk in _chunks(digests, 500):
            marks = ",".join("?" * len(chunk))
            query = f"SELECT digest, entity_type, entity_id FROM directory WHERE digest IN ({marks})"
            found.update({bytes(d): (t, i) for d, t, i in self._connection.execute(query, chunk)})
        return found

    def personal(self, event_seq: int) -> dict[str, Any]:
        """Return the personal values of an event that have not been erased, by attribute name."""
        rows = self._connection.execute("SELECT name, value FROM personal WHERE event_seq = ?", (event_seq,))
        return {name: msgspec.msgpack.decode(value) for name, value in rows}

    def flush(self) -> None:
        """Make what was added durable."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def clear(self) -> None:
        """Erase everything."""
        self._connection.executescript("BEGIN; DELETE FROM directory; DELETE FROM personal; COMMIT;")

    def close(self) -> None:
        self._connection.close()


def connect(directory: Path, *, busy_ms: int = 5_000) -> sqlite3.Connection:
    """Open `directory/erasable.db`, creating the file where missing."""
    connection = sqlite3.connect(directory / ERASABLE, isolation_level=None, timeout=busy_ms / 1000)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _chunks(items: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
