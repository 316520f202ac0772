# SPDX-License-Identifier: Apache-2.0
"""The second half of an import: which rows are new, and all their records in ledger order, sorted outside memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from ringfence.ledger.labels import MATURED
from ringfence.ledger.runs import RejectsFile, Runs
from ringfence.ledger.segments import attribute_fields
from ringfence.scenario.batch import LEGIT
from ringfence.scenario.spec import Scenario

_CHUNK = 50_000
_MARKS = 500


class Sifted(NamedTuple):
    """How many rows are not new."""

    n_duplicates: int
    n_conflicts: int


def open_database(scratch: Path, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Open an in-process DuckDB that spills to the scratch folder."""
    database = duckdb.connect(":memory:")
    database.execute(f"SET memory_limit = '{memory_limit}'")
    database.execute(f"SET temp_directory = '{str(scratch / 'spill').replace(chr(39), chr(39) * 2)}'")
    database.execute("SET threads = 2")
    database.execute("SET preserve_insertion_order = false")
    return database


def stream(database: duckdb.DuckDBPyConnection, query: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a result piece by piece. A cursor of its own lets other queries run meanwhile."""
    relation = database.cursor().sql(query)
    # DuckDB 2 renamed the method.
    reader = relation.to_arrow_reader if hasattr(relation, "to_arrow_reader") else relation.fetch_arrow_reader
    yield from reader(batch_rows)


def sift(database: duckdb.DuckDBPyConnection, runs: Runs, ledger: sqlite3.Connection, rejects: RejectsFile) -> Sifted:
    """Find rows that came before, in the ledger or in the same import, and make the view `kept` of all others.

    The first row of a key is kept. Rows with another payload than the first are listed as rejects. Rows that the
    ledger holds with the same payload stay in the table `known` (ord, seq, same), for their labels.
    """
    events = str(runs.events).replace("'", "''")
    database.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{events}')")
    database.execute("CREATE TABLE known (ord BIGINT, seq BIGINT, same BOOLEAN)")
    if ledger.execute("SELECT 1 FROM identity LIMIT 1").fetchone():
        _find_known(database, ledger)
    database.execute(
        """CREATE TABLE dropped AS
        WITH fresh AS (SELECT key, ord, payload_digest FROM events ANTI JOIN known USING (ord)),
             repeated AS (SELECT key FROM fresh GROUP BY key HAVING count(*) > 1),
             several AS (SELECT fresh.* FROM fresh SEMI JOIN repeated USING (key)),
             firsts AS (SELECT key, min(ord) AS first, arg_min(payload_digest, ord) AS digest FROM several GROUP BY key)
        SELECT several.ord, several.payload_digest = firsts.digest AS same
        FROM several JOIN firsts USING (key) WHERE several.ord <> firsts.first
        UNION ALL SELECT ord, same FROM known"""
    )
    database.execute(
        """CREATE VIEW kept AS SELECT *, NULL::BIGINT AS label_place, true AS may_mature
        FROM events ANTI JOIN dropped USING (ord)"""
    )
    conflicts = database.execute(
        """SELECT source, line, event_id FROM events JOIN (SELECT ord FROM dropped WHERE NOT same) USING (ord)
        ORDER BY ord"""
    )
    n_conflicts = 0
    while rows := conflicts.fetchmany(_CHUNK):
        n_conflicts += len(rows)
        for source, line, event_id in rows:
            rejects.add(runs.files[source], line, "", event_id, "this event_id came before with another payload")
    n_dropped = database.execute("SELECT count(*) FROM dropped").fetchone()
    assert n_dropped is not None
    return Sifted(n_dropped[0] - n_conflicts, n_conflicts)


def _find_known(database: duckdb.DuckDBPyConnection, ledger: sqlite3.Connection) -> None:
    for batch in stream(database, "SELECT key, ord, payload_digest FROM events", _CHUNK):
        keys, ords, digests = (batch.column(i).to_pylist() for i in range(3))
        found: dict[bytes, tuple[int, bytes]] = {}
        for start in range(0, len(keys), _MARKS):
            chunk = keys[start : start + _MARKS]
            query = f"SELECT key, seq, payload_digest FROM identity WHERE key IN ({','.join('?' * len(chunk))})"
            found.update({key: (seq, digest) for key, seq, digest in ledger.execute(query, chunk)})
        hits = [
            (ord_, *found[key], digest) for key, ord_, digest in zip(keys, ords, digests, strict=True) if key in found
        ]
        if hits:
            known = pa.table(
                {
                    "ord": pa.array([hit[0] for hit in hits], pa.int64()),
                    "seq": pa.array([hit[1] for hit in hits], pa.int64()),
                    "same": pa.array([hit[2] == hit[3] for hit in hits], pa.bool_()),
                }
            )
            database.register("hits", known)
            database.execute("INSERT INTO known SELECT * FROM hits")
            database.unregister("hits")


def latest_time_ms(database: duckdb.DuckDBPyConnection) -> int | None:
    """The latest time of an event or a label among the new rows; None where nothing is new."""
    row = database.execute("SELECT max(greatest(time_ms, coalesce(known_at_ms, time_ms))) FROM kept").fetchone()
    assert row is not None
    return row[0] if row[0] is None else int(row[0])


def sorted_records(
    database: duckdb.DuckDBPyConnection, scenario: Scenario, watermark_ms: int, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield every record of the import in ledger order: (time, labels before events, file order).

    A label known at the moment of its event comes right after that event, and one that an outcome gives right after
    the outcome (`label_place`). Where events without a label mature (`absent: {legit_after: …}`), a `matured` label
    comes at its moment, up to `watermark_ms`. The table `extra` holds labels for events that the ledger has already.
    """
    decided = scenario.decided
    legit_after_ms = decided.label.legit_after_ms if decided.label else None
    attributes = [f'"{name}"' for event_type in scenario.event_types for name in attribute_fields(event_type)]
    event_columns = ["amount_minor", "event_id", "payload_digest", "key", *attributes]
    events = f"""SELECT 0::UTINYINT AS kind, time_ms AS at_ms, 1 AS phase, ord AS place, ord, event_type, time_ms, role,
      lo, hi, NULL::BIGINT AS label_event_seq, NULL::BIGINT AS label_event_time_ms, label_value,
      NULL::TINYINT AS label_replaces, NULL::VARCHAR AS label_source, may_mature, offset_ms, {", ".join(event_columns)}
      FROM kept"""
    of_event = "false, 0, " + ", ".join(["NULL"] * len(event_columns))
    due_ms = f"time_ms + {legit_after_ms or 0}"
    matures = f"""(event_type = {decided.index} AND may_mature AND {due_ms} <= {watermark_ms}
      AND (known_at_ms IS NULL OR known_at_ms > {due_ms}))"""
    replaces = "NULL" if legit_after_ms is None else f"(CASE WHEN {matures} THEN {LEGIT} END)::TINYINT"
    labels = f"""SELECT 1, known_at_ms, CASE WHEN known_at_ms > time_ms AND label_place IS NULL THEN 0 ELSE 1 END,
      coalesce(label_place, ord), ord, event_type, known_at_ms, role, lo, hi, NULL, time_ms, label_value, {replaces},
      label_source, {of_event} FROM kept WHERE label_value IS NOT NULL"""
    extra = f"""SELECT 1, at_ms, CASE WHEN place IS NULL THEN 0 ELSE 1 END, coalesce(place, ord), ord, event_type,
      at_ms, role, lo, hi, label_event_seq, label_event_time_ms, label_value, label_replaces,
      label_source, {of_event} FROM extra"""
    parts = [events, labels, extra]
    if legit_after_ms is not None:
        parts.append(
            f"""SELECT 1, {due_ms}, CASE WHEN {legit_after_ms} > 0 THEN 0 ELSE 1 END, ord, ord, event_type, {due_ms},
            role, lo, hi, NULL, time_ms, {LEGIT}, NULL, '{MATURED}', {of_event} FROM kept WHERE {matures}"""
        )
    union = " UNION ALL ".join(parts)
    query = f"""SELECT * EXCLUDE (place) FROM ({union})
      ORDER BY at_ms, phase, place, kind, label_event_seq NULLS LAST, label_event_time_ms, ord, label_source"""
    yield from stream(database, query, batch_rows)


def entity_directory(database: duckdb.DuckDBPyConnection, runs: Runs, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield each entity of the import once, by digest."""
    path = str(runs.directory).replace("'", "''")
    query = f"""SELECT hi, lo, any_value(entity_type) AS entity_type, any_value(entity_id) AS entity_id
      FROM read_parquet('{path}') GROUP BY hi, lo ORDER BY hi, lo"""
    yield from stream(database, query, batch_rows)
