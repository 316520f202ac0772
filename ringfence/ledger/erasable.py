# SPDX-License-Identifier: Apache-2.0
"""What must be erasable: the original ids of entities, and personal values. A file of its own, outside the chain.

Its transactions are not fsynced one by one (WAL, synchronous=NORMAL): losing power can lose the names of the last
seconds, never a record, a feature or a decision. A name comes back when its entity is next seen, unless it was erased:
a trigger keeps the names of erased entities out, whoever brings them.

Any process may delete here while another writes the ledger. What is deleted is overwritten with zeros (secure_delete);
`scrub` empties the write-ahead log and so takes it from the disk.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from ringfence.ledger.errors import NotScrubbedError
from ringfence.ledger.write_ahead import connect_write_ahead

ERASABLE: Final = "erasable.db"

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS directory (
  digest BLOB PRIMARY KEY, entity_type TEXT NOT NULL, entity_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS personal (
  event_seq INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (event_seq, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased (
  digest BLOB PRIMARY KEY, at_ms INTEGER NOT NULL, is_scrubbed INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS erased_stays_out BEFORE INSERT ON directory
  WHEN EXISTS (SELECT 1 FROM erased WHERE digest = NEW.digest) BEGIN SELECT RAISE(IGNORE); END;
"""
# `user_version` of a file that nobody has written to without secure_delete: no copy lies in its free space.
_CLEAN: Final = 1
# A transaction of deletes holds the writer of the ledger up: so many rows take a fraction of a millisecond.
_ROWS_AT_ONCE: Final = 100
_REST: Final = 2.0  # times as long as such a transaction took, so that the writer finds its turn between two
# What a VACUUM rewrites in about a tenth of a second; a running service waits a second before it refuses to decide.
VACUUM_BESIDE_WRITER_BYTES: Final = 32 << 20
_EMPTYING_MS: Final = 100
_ATTEMPTS: Final = 50

Name = tuple[bytes, str, str]  # digest (hi then lo, big endian), entity type, original id
PersonalValue = tuple[int, str, bytes]  # event seq, attribute name, msgpack
T = TypeVar("T")


class Erased(NamedTuple):
    """An entity whose name was erased."""

    at_ms: int
    is_scrubbed: bool  # False: the erasure began, and has not ended


class Erasable:
    """One connection to `erasable.db`; use it in the thread that made it."""

    def __init__(self, directory: Path, *, busy_ms: int = 5_000) -> None:
        self.path = directory / ERASABLE
        self._connection = connect(directory, busy_ms=busy_ms)
        there = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if "erased_stays_out" not in there:
            mark = "" if "directory" in there else f"PRAGMA user_version = {_CLEAN};"
            self._connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {mark} COMMIT;")

    @property
    def connection(self) -> sqlite3.Connection:
        """For whoever sees to its checkpoints."""
        return self._connection

    def add(self, names: Iterable[Name], personal: Iterable[PersonalValue]) -> None:
        """Add names and values; what is there stays as it is, so adding twice is adding once. Erased names stay out."""
        with self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO directory VALUES (?, ?, ?)", names)
            connection.executemany("INSERT OR IGNORE INTO personal VALUES (?, ?, ?)", personal)

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

    def count_personal(self, until_seq: int) -> int:
        """How many personal values there are of events up to `until_seq`."""
        query = "SELECT count(*) FROM personal WHERE event_seq <= ?"
        return int(self._connection.execute(query, (until_seq,)).fetchone()[0])

    def erased(self, digest: bytes) -> Erased | None:
        """Say since when an entity is erased; None where it is not."""
        found = self._connection.execute("SELECT at_ms, is_scrubbed FROM erased WHERE digest = ?", (digest,)).fetchone()
        return Erased(found[0], bool(found[1])) if found else None

    def erase(self, digests: Sequence[bytes], *, at_ms: int) -> int:
        """Delete the names of entities and keep them out from now on; returns how many there were. See `scrub`."""
        with self._transaction() as connection:
            rows = [(digest, at_ms) for digest in digests]
            connection.executemany(
                "INSERT INTO erased VALUES (?, ?, 0) ON CONFLICT DO UPDATE SET is_scrubbed = 0", rows
            )
            return _deleted(connection, "DELETE FROM directory WHERE digest = ?", digests)

    def drop_names(self, digests: Iterable[bytes]) -> int:
        """Delete names, a few at a time; they come back when their entities are next seen. Returns how many."""
        return self._drop("DELETE FROM directory WHERE digest = ?", digests)

    def drop_personal(self, event_seqs: Iterable[int]) -> int:
        """Delete the personal values of events, a few at a time; returns how many there were."""
        return self._drop("DELETE FROM personal WHERE event_seq = ?", event_seqs)

    def drop_personal_until(self, until_seq: int) -> int:
        """Delete the personal values of all events up to `until_seq`, a few at a time; returns how many."""
        query = "SELECT DISTINCT event_seq FROM personal WHERE event_seq <= ? ORDER BY event_seq LIMIT ?"
        n = 0
        while seqs := self._connection.execute(query, (until_seq, _ROWS_AT_ONCE)).fetchall():
            n += self.drop_personal(seq for (seq,) in seqs)
        return n

    def drop_personal_after(self, last_seq: int) -> None:
        """Delete what belongs to no record: values are written before their event is durable.

        Only the holder of the writer lock may call this. Whatever event takes such a seq next has values of its own.
        """
        self._connection.execute("DELETE FROM personal WHERE event_seq > ?", (last_seq,))

    def scrub(self, is_written: Callable[[], bool]) -> None:
        """Take what was deleted from the disk, so that no file of ours holds its bytes.

        Parameters
        ----------
        is_written : whether somebody holds the ledger's writer lock, and must not be held up for long.

        Raises
        ------
        NotScrubbedError
            If a writer or reader is in the way; what is in the tables is gone, and this can be called again.
        """
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        try:
            if version < _CLEAN:
                if self.path.stat().st_size > VACUUM_BESIDE_WRITER_BYTES and is_written():
                    raise NotScrubbedError(self.path, "an earlier ringfence wrote it and left copies in its free space")
                self._connection.execute("VACUUM")
                self._connection.execute(f"PRAGMA user_version = {_CLEAN}")
            is_empty = self._empty_log()
        except sqlite3.OperationalError as error:
            raise NotScrubbedError(self.path, f"it is in use ({error})") from error
        if not is_empty:
            raise NotScrubbedError(self.path, "somebody has been reading it all the time")
        with self._transaction() as connection:
            connection.execute("UPDATE erased SET is_scrubbed = 1 WHERE is_scrubbed = 0")

    def flush(self) -> None:
        """Make what was added durable."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def clear(self) -> None:
        """Delete all names and values. Who was erased stays so."""
        self._connection.executescript("BEGIN; DELETE FROM directory; DELETE FROM personal; COMMIT;")

    def _empty_log(self) -> bool:
        """Copy the write-ahead log into the file and cut it to nothing; False where readers stay in the way."""
        before = self._connection.execute("PRAGMA busy_timeout").fetchone()[0]
        # Emptying keeps writers out while it waits for readers, so it waits shortly, and often.
        self._connection.execute(f"PRAGMA busy_timeout = {_EMPTYING_MS}")
        try:
            for attempt in range(_ATTEMPTS):
                if attempt:
                    time.sleep(_EMPTYING_MS / 1_000)
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                if not self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    return True
            return False
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {before}")

    def _drop(self, statement: str, keys: Iterable[Any]) -> int:
        n = 0
        for chunk in _chunks(keys, _ROWS_AT_ONCE):
            began = time.monotonic()
            with self._transaction() as connection:
                n += _deleted(connection, statement, chunk)
            time.sleep(_REST * (time.monotonic() - began))
        return n

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()


def connect(directory: Path, *, busy_ms: int = 5_000) -> sqlite3.Connection:
    """Open `directory/erasable.db`, creating the file where missing."""
    connection = connect_write_ahead(directory / ERASABLE, busy_ms=busy_ms)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")
    return connection


def _deleted(connection: sqlite3.Connection, statement: str, keys: Iterable[Any]) -> int:
    return connection.executemany(statement, [(key,) for key in keys]).rowcount


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
