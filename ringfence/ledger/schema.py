# SPDX-License-Identifier: Apache-2.0
"""The SQLite file of a ledger: its tables, and how a connection is made durable."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from ringfence.ledger.errors import LedgerDamagedError, LedgerSchemaError
from ringfence.ledger.write_ahead import connect_write_ahead
from ringfence.scenario.spec import Scenario

DATABASE: Final = "ledger.db"
FORMAT: Final = 1

# The partial index keeps rare kinds findable without costing the two frequent ones (event 0, decision 2) anything.
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS records (
  seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, recorded_at_ms INTEGER NOT NULL, watermark_ms INTEGER NOT NULL,
  body BLOB NOT NULL, chain BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS records_of_rare_kinds ON records (kind, seq) WHERE kind NOT IN (0, 2);
CREATE TABLE IF NOT EXISTS identity (
  key BLOB PRIMARY KEY, seq INTEGER NOT NULL, payload_digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS decisions (event_seq INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS standing (
  event_seq INTEGER PRIMARY KEY, value INTEGER NOT NULL, source TEXT NOT NULL, known_at_ms INTEGER NOT NULL,
  label_seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS maturing (
  due_ms INTEGER NOT NULL, event_seq INTEGER NOT NULL, PRIMARY KEY (due_ms, event_seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments (
  first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL,
  n_events INTEGER NOT NULL, n_labels INTEGER NOT NULL, previous_watermark_ms INTEGER NOT NULL,
  first_watermark_ms INTEGER NOT NULL, last_watermark_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


def connect(directory: Path, *, busy_ms: int = 5_000) -> sqlite3.Connection:
    """Open `directory/ledger.db`, creating file and tables where missing.

    Transactions are explicit. WAL with synchronous=FULL: a commit that returned survives the loss of power.

    Raises
    ------
    LedgerDamagedError
        If the file is no SQLite database, or of a later format.
    """
    path = directory / DATABASE
    connection = None
    try:
        connection = connect_write_ahead(path, busy_ms=busy_ms, cached_statements=64)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-65536")
        connection.execute("PRAGMA temp_store=MEMORY")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            connection.executescript(_TABLES)
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (msgspec.msgpack.encode(FORMAT),))
        found = msgspec.msgpack.decode(
            connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()[0], type=int
        )
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise LedgerDamagedError(path, f"not a ledger ({error})") from error
    if found != FORMAT:
        connection.close()
        raise LedgerDamagedError(path, f"has format {found}, not {FORMAT}", "install the ringfence that wrote it")
    return connection


def check_numbering(connection: sqlite3.Connection, scenario: Scenario, *, write: bool) -> None:
    """Hold the scenario's numbering of event types and roles against the one that the records were written with.

    Records store `EventType.index` and `Role.index`; both lists may grow at the end and change in no other way.
    With `write`, new ones are added.

    Raises
    ------
    LedgerSchemaError
        If a stored name has moved or gone.
    """
    wanted = {
        "event types": [event_type.name for event_type in scenario.event_types],
        "roles": [f"{role.name} ({role.entity_type})" for role in scenario.roles],
    }
    for what, found in wanted.items():
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (what,)).fetchone()
        stored: list[str] = msgspec.msgpack.decode(row[0], type=list[str]) if row else []
        if found[: len(stored)] != stored:
            raise LedgerSchemaError(scenario.name, what, stored, found)
        if write and found != stored:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (what, msgspec.msgpack.encode(found)))
