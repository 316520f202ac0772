# SPDX-License-Identifier: Apache-2.0
"""A segment folder out of sorted records, and what SQLite keeps about them: identity, standing labels, what matures."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ringfence.ledger.followed import keep_index
from ringfence.ledger.runs import Progress, Runs
from ringfence.ledger.segments import NAMES, PERSONAL, RECORDS, ROW_GROUP, open_writer, segment_schema
from ringfence.ledger.sorting import entity_directory, sorted_records, stream
from ringfence.ledger.writer import EventLookup
from ringfence.scenario.batch import EVENT
from ringfence.scenario.spec import Scenario

_BATCH: Final = ROW_GROUP
_KEYS: Final = pa.schema([("key", pa.binary()), ("seq", pa.int64()), ("payload_digest", pa.binary())])


class Position(msgspec.Struct):
    """Where the ledger stands; moves on as records are written."""

    seq: int
    watermark_ms: int
    n_events: int = 0
    n_labels: int = 0
    n_late: int = 0


def write_segment(
    folder: Path,
    database: duckdb.DuckDBPyConnection,
    connection: sqlite3.Connection,
    scenario: Scenario,
    runs: Runs,
    at: Position,
    latest_ms: int,
    progress: Progress,
    lookup: EventLookup,
) -> int:
    """Write a segment's files and what SQLite keeps about it. Returns the watermark of its first record."""
    schema = segment_schema(scenario)
    seq_of = np.full(runs.n_rows, -1, np.int64)  # by `ord`; events come before their labels, so it is filled in time
    keys = folder.parent / "keys.parquet"
    late_before_ms = at.watermark_ms - scenario.max_lateness_ms
    first_watermark_ms = -1
    n_records = 0
    with open_writer(folder / RECORDS, schema) as records, pq.ParquetWriter(keys, _KEYS) as identity:
        for batch in sorted_records(database, scenario, latest_ms, _BATCH):
            table = pa.Table.from_batches([batch])
            seqs = np.arange(at.seq + 1, at.seq + 1 + table.num_rows, dtype=np.int64)
            kind = table.column("kind").to_numpy()
            time_ms = table.column("time_ms").to_numpy()
            ords = table.column("ord").to_numpy()
            is_event = kind == EVENT
            seq_of[ords[is_event]] = seqs[is_event]
            given = pc.fill_null(table.column("label_event_seq"), -1).to_numpy()
            event_seq = np.where(given >= 0, given, seq_of[ords])
            late = is_event & (time_ms < late_before_ms)
            records.write_table(_records(table, schema, seqs, is_event, event_seq, late), row_group_size=ROW_GROUP)
            events = table.filter(pa.array(is_event))
            identity.write_table(
                pa.table(
                    [events.column("key"), pa.array(seqs[is_event]), events.column("payload_digest")],
                    schema=_KEYS,
                )
            )
            _keep_labels(connection, table, is_event, seqs, event_seq, time_ms)
            _keep_maturing(connection, scenario, table, is_event, seqs, time_ms, latest_ms)
            if first_watermark_ms < 0 and table.num_rows:
                first_watermark_ms = max(at.watermark_ms, int(time_ms[0]))
            at.seq = int(seqs[-1]) if table.num_rows else at.seq
            at.watermark_ms = max(at.watermark_ms, int(time_ms[-1])) if table.num_rows else at.watermark_ms
            at.n_events += int(is_event.sum())
            at.n_labels += int((~is_event).sum())
            at.n_late += int(late.sum())
            n_records += table.num_rows
            progress(runs.n_read + min(n_records // 2, runs.n_read), 2 * runs.n_read)
    _keep_identity(connection, database, keys)
    keep_index(database, connection, scenario, seq_of, lookup)
    _write_names(folder / NAMES, database, runs)
    _write_personal(folder / PERSONAL, runs, seq_of)
    return first_watermark_ms


def _records(
    table: pa.Table,
    schema: pa.Schema,
    seqs: NDArray[np.int64],
    is_event: NDArray[np.bool_],
    event_seq: NDArray[np.int64],
    late: NDArray[np.bool_],
) -> pa.Table:
    of_events = pa.array(is_event)
    made = {
        "seq": pa.array(seqs),
        "late": pa.array(late),
        "label_event_seq": pa.array(event_seq, mask=is_event),
        "label_value": pc.if_else(of_events, pa.scalar(None, pa.int8()), table.column("label_value")),
        "label_stands": pa.array(np.ones(len(seqs), np.bool_), mask=is_event),
    }
    arrays = []
    for field in schema:
        array = made.get(field.name)
        array = table.column(field.name) if array is None else array
        arrays.append(array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _keep_labels(
    connection: sqlite3.Connection,
    table: pa.Table,
    is_event: NDArray[np.bool_],
    seqs: NDArray[np.int64],
    event_seq: NDArray[np.int64],
    time_ms: NDArray[np.int64],
) -> None:
    is_label = ~is_event
    labels = table.filter(pa.array(is_label))
    rows = zip(
        event_seq[is_label].tolist(),
        labels.column("label_value").to_pylist(),
        labels.column("label_source").to_pylist(),
        time_ms[is_label].tolist(),
        seqs[is_label].tolist(),
        strict=True,
    )
    connection.executemany("INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?, ?)", rows)


def _keep_maturing(
    connection: sqlite3.Connection,
    scenario: Scenario,
    table: pa.Table,
    is_event: NDArray[np.bool_],
    seqs: NDArray[np.int64],
    time_ms: NDArray[np.int64],
    latest_ms: int,
) -> None:
    decided = scenario.decided
    if decided.label is None or decided.label.legit_after_ms is None:
        return
    due_ms = time_ms + decided.label.legit_after_ms
    waiting = is_event & (table.column("event_type").to_numpy() == decided.index) & (due_ms > latest_ms)
    waiting &= pc.is_null(table.column("label_value")).to_numpy() & table.column("may_mature").to_numpy()
    rows = zip(due_ms[waiting].tolist(), seqs[waiting].tolist(), strict=True)
    connection.executemany("INSERT OR IGNORE INTO maturing VALUES (?, ?)", rows)
    connection.execute("DELETE FROM maturing WHERE due_ms <= ?", (latest_ms,))


def _keep_identity(connection: sqlite3.Connection, database: duckdb.DuckDBPyConnection, keys: Path) -> None:
    # In key order, so that SQLite appends to its tree where the table is empty.
    query = f"SELECT key, seq, payload_digest FROM read_parquet('{_escaped(keys)}') ORDER BY key"
    for batch in stream(database, query, _BATCH):
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        connection.executemany("INSERT INTO identity VALUES (?, ?, ?)", rows)


def _write_names(path: Path, database: duckdb.DuckDBPyConnection, runs: Runs) -> None:
    schema = pa.schema([("digest", pa.binary()), ("entity_type", pa.string()), ("entity_id", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for batch in entity_directory(database, runs, _BATCH):
            halves = np.stack([batch.column(i).to_numpy() for i in range(2)], axis=1).astype(">u8").tobytes()
            digests = [halves[i : i + 16] for i in range(0, len(halves), 16)]
            arrays = [
                pa.array(digests, pa.binary()),
                batch.column(2).cast(pa.string()),
                batch.column(3).cast(pa.string()),
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _write_personal(path: Path, runs: Runs, seq_of: NDArray[np.int64]) -> None:
    schema = pa.schema([("event_seq", pa.int64()), ("name", pa.string()), ("value", pa.binary())])
    with pq.ParquetFile(runs.personal) as file, pq.ParquetWriter(path, schema) as writer:
        for batch in file.iter_batches(_BATCH):
            event_seq = seq_of[batch.column(0).to_numpy()]
            table = pa.table([pa.array(event_seq), batch.column(1), batch.column(2)], schema=schema)
            writer.write_table(table.filter(pa.array(event_seq >= 0)))


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")
