# SPDX-License-Identifier: Apache-2.0
"""Labels by outcome in an import: which decided events were followed, among new rows and what the ledger holds.

    new decided events   x  new outcomes, and those on record      -> the label is part of the row, in the view `kept`
    awaited on record    x  new outcomes                           -> a label of its own, by way of `extra`

Of several outcomes the first counts, by its time. The join walks both sides once in order of time, so an entity that
many events name costs no more than its events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ringfence.ledger.outcomes import INSERT_AWAITED, INSERT_OUTCOME, changes_of_leaving, outcome_of
from ringfence.ledger.sorting import stream
from ringfence.ledger.writer import EventLookup
from ringfence.scenario.batch import FRAUD
from ringfence.scenario.spec import Scenario

_CHUNK: Final = 50_000
_MARKS: Final = 500


class Answered(NamedTuple):
    """An event on record that an outcome of this import answers."""

    event_seq: int
    known_at_ms: int
    place: int | None  # `ord` of the outcome
    source: str


def find_followed(database: duckdb.DuckDBPyConnection, ledger: sqlite3.Connection, scenario: Scenario) -> None:
    """Put labels by outcome into the view `kept`, and fill the table `followed`.

    Tables left behind: `naming` (whom new rows name in the role), `arrived` (outcomes by entity and moment),
    `followed` (ord or event_seq, known_at_ms, place).
    """
    outcome = outcome_of(scenario)
    if outcome is None:
        return
    decided, told_by = scenario.decided.index, scenario.event_type(outcome.event_type).index
    role = scenario.role(outcome.role).index
    database.execute(
        f"""CREATE TABLE naming AS SELECT ord, event_type, time_ms, hi, lo FROM (
          SELECT ord, event_type, time_ms, unnest(role) AS role, unnest(hi) AS hi, unnest(lo) AS lo
          FROM kept WHERE event_type IN ({decided}, {told_by})) WHERE role = {role}"""
    )
    database.execute("CREATE TABLE stored (hi UBIGINT, lo UBIGINT, time_ms BIGINT, known_at_ms BIGINT)")
    database.execute("CREATE TABLE waiting (ord BIGINT, event_seq BIGINT, hi UBIGINT, lo UBIGINT, time_ms BIGINT)")
    _recall(database, ledger, decided, "outcomes", "time_ms, known_at_ms", "stored (hi, lo, time_ms, known_at_ms)")
    _recall(database, ledger, told_by, "awaited", "time_ms, event_seq", "waiting (hi, lo, time_ms, event_seq)")
    database.execute(f"INSERT INTO waiting SELECT ord, NULL, hi, lo, time_ms FROM naming WHERE event_type = {decided}")
    database.execute(
        f"""CREATE TABLE arrived AS SELECT * FROM (
          SELECT hi, lo, time_ms, known_at_ms, NULL::BIGINT AS place FROM stored
          UNION ALL SELECT hi, lo, time_ms, time_ms, ord FROM naming WHERE event_type = {told_by})
        QUALIFY row_number() OVER (PARTITION BY hi, lo, time_ms ORDER BY known_at_ms, place NULLS FIRST) = 1"""
    )
    database.execute(
        f"""CREATE TABLE followed AS SELECT ord, event_seq, known_at_ms, place FROM (
          SELECT waiting.ord, waiting.event_seq, waiting.time_ms AS time_ms, arrived.time_ms AS outcome_ms,
            arrived.known_at_ms, arrived.place
          FROM waiting ASOF JOIN arrived
          ON waiting.hi = arrived.hi AND waiting.lo = arrived.lo AND waiting.time_ms < arrived.time_ms)
        WHERE outcome_ms <= time_ms + {outcome.horizon_ms}
        QUALIFY row_number() OVER (
          PARTITION BY ord, event_seq ORDER BY outcome_ms, known_at_ms, place NULLS FIRST) = 1"""
    )
    database.execute(
        f"""CREATE OR REPLACE VIEW kept AS SELECT events.* REPLACE (
          (CASE WHEN followed.ord IS NULL THEN NULL ELSE {FRAUD} END)::TINYINT AS label_value,
          followed.known_at_ms AS known_at_ms,
          (CASE WHEN followed.ord IS NULL THEN NULL ELSE '{outcome.event_type}' END)::VARCHAR AS label_source),
          followed.place AS label_place, list_contains(events.role, {role}) AS may_mature
        FROM events ANTI JOIN dropped USING (ord) LEFT JOIN followed ON followed.ord = events.ord"""
    )


def answered_on_record(database: duckdb.DuckDBPyConnection, scenario: Scenario) -> list[Answered]:
    """Events on record that an outcome of this import answers, by seq; none without labels by outcome."""
    outcome = outcome_of(scenario)
    if outcome is None:
        return []
    query = "SELECT event_seq, known_at_ms, place FROM followed WHERE event_seq IS NOT NULL ORDER BY event_seq"
    rows = database.execute(query).fetchall()
    return [Answered(seq, known_at_ms, place, outcome.event_type) for seq, known_at_ms, place in rows]


def keep_index(
    database: duckdb.DuckDBPyConnection,
    ledger: sqlite3.Connection,
    scenario: Scenario,
    seq_of: NDArray[np.int64],
    lookup: EventLookup,
) -> None:
    """Bring the tables of `ledger.outcomes` up to date with the import.

    Parameters
    ----------
    seq_of : by `ord`, the seq that the row has got.
    """
    outcome = outcome_of(scenario)
    if outcome is None:
        return
    role = scenario.role(outcome.role).index
    for answered in answered_on_record(database, scenario):
        _, time_ms, links = lookup(answered.event_seq)
        for statement, values in changes_of_leaving(answered.event_seq, time_ms, links, role):
            ledger.execute(statement, values)
    # In key order, so that SQLite appends to its trees where they are empty.
    waiting = f"""SELECT hi, lo, time_ms, ord FROM naming ANTI JOIN followed USING (ord)
      WHERE event_type = {scenario.decided.index} ORDER BY hi, lo, time_ms"""
    for keys, rows in _keyed(database, waiting):
        seqs = seq_of[np.array(rows[1], np.int64)].tolist()
        ledger.executemany(INSERT_AWAITED, zip(keys, rows[0], seqs, strict=True))
    arrived = f"""SELECT DISTINCT hi, lo, time_ms, time_ms AS known_at_ms FROM naming
      WHERE event_type = {scenario.event_type(outcome.event_type).index} ORDER BY hi, lo, time_ms"""
    for keys, rows in _keyed(database, arrived):
        ledger.executemany(INSERT_OUTCOME, zip(keys, *rows, strict=True))


def _recall(
    database: duckdb.DuckDBPyConnection,
    ledger: sqlite3.Connection,
    event_type: int,
    table: str,
    columns: str,
    into: str,
) -> None:
    """Copy what a table of the index says about whom new rows of an event type name."""
    if ledger.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None:
        return
    query = f"SELECT DISTINCT hi, lo FROM naming WHERE event_type = {event_type} ORDER BY hi, lo"
    for keys, _ in _keyed(database, query):
        for start in range(0, len(keys), _MARKS):
            chunk = keys[start : start + _MARKS]
            marks = ",".join("?" * len(chunk))
            found = ledger.execute(f"SELECT key, {columns} FROM {table} WHERE key IN ({marks})", chunk).fetchall()
            if found:
                halves = np.frombuffer(b"".join(row[0] for row in found), ">u8").astype(np.uint64).reshape(-1, 2)
                arrays = [pa.array(halves[:, 0]), pa.array(halves[:, 1])]
                arrays += [pa.array([row[i] for row in found], pa.int64()) for i in (1, 2)]
                database.register("recalled", pa.Table.from_arrays(arrays, names=["hi", "lo", "a", "b"]))
                database.execute(f"INSERT INTO {into} SELECT * FROM recalled")
                database.unregister("recalled")


def _keyed(database: duckdb.DuckDBPyConnection, query: str) -> Iterator[tuple[list[bytes], list[list[int]]]]:
    """Yield the keys of a query that begins with hi and lo, and its other columns, piece by piece."""
    for batch in stream(database, query, _CHUNK):
        halves = np.stack([batch.column(i).to_numpy() for i in range(2)], axis=1).astype(">u8").tobytes()
        keys = [halves[i : i + 16] for i in range(0, len(halves), 16)]
        yield keys, [column.to_pylist() for column in batch.columns[2:]]
