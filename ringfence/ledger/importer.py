# SPDX-License-Identifier: Apache-2.0
"""From files to a segment of the ledger: streamed, sorted outside memory, and visible all at once or not at all.

    sources -> validated runs -> what is new -> external sort -> segment folder, fsynced, renamed -> one transaction

Until the transaction at the end nothing refers to the folder; the next writer removes what an interrupted import left.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any, Final, Literal

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ringfence.ledger import chain
from ringfence.ledger.codec import SELECT_RECORD, encode_body
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.errors import RejectedRowsError, ReplaceRefusedError
from ringfence.ledger.labels import Precedence
from ringfence.ledger.late_labels import find_extra_labels
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.lock import writer_lock
from ringfence.ledger.records import Kind
from ringfence.ledger.recovery import SCRATCH, load_erasable, recover, sync_directory, sync_file
from ringfence.ledger.runs import Progress, RejectsFile, Runs, write_runs
from ringfence.ledger.schema import check_numbering, connect
from ringfence.ledger.segments import (
    NAMES,
    PERSONAL,
    RECORDS,
    ROW_GROUP,
    SEGMENTS,
    Segment,
    file_digest,
    open_writer,
    segment_schema,
)
from ringfence.ledger.sorting import entity_directory, latest_time_ms, open_database, sift, sorted_records, stream
from ringfence.ledger.sources import resolve
from ringfence.scenario.batch import EVENT
from ringfence.scenario.clock import Clock
from ringfence.scenario.spec import Scenario

_BATCH: Final = ROW_GROUP


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did. seqs are 0 where it added nothing."""

    n_events: int
    n_labels: int  # imported and matured ones
    n_duplicates: int  # rows that came before with the same payload
    n_rejected: int  # rows listed in the rejects file
    n_late: int  # events older than the watermark by more than max_lateness
    rejects_path: Path  # exists only if n_rejected > 0
    first_seq: int
    last_seq: int
    seconds: float


class _Position(msgspec.Struct):
    """Where the ledger stands; moves on as records are written."""

    seq: int
    watermark_ms: int
    n_events: int = 0
    n_labels: int = 0
    n_late: int = 0


def import_files(
    ledger_dir: Path,
    scenario: Scenario,
    workspace_dir: Path,
    clock: Clock,
    *,
    files: list[Path] | None = None,
    progress: Progress | None = None,
    memory_limit: str = "800MB",
    replace: bool = False,
    on_bad_rows: Literal["reject", "abort"] | str = "reject",
) -> ImportReport:
    """Import the scenario's sources, or `files` as the decided event type.

    Parameters
    ----------
    memory_limit : of the external sort, as DuckDB writes it; the process needs about 800 MB beside it.
    replace : begin the ledger anew; allowed while it holds no live events, labels or decisions.
    on_bad_rows : "reject" loads the good rows and lists the bad ones; "abort" loads nothing if a row is bad.

    Raises
    ------
    LedgerLockedError
        If another process writes to the ledger.
    ImportFailedError
        If a file as a whole cannot be used, or a row is bad and `on_bad_rows` is "abort". Nothing is loaded.
    ReplaceRefusedError
        If `replace` would lose live records.
    """
    started = time.perf_counter()
    sources = resolve(scenario, workspace_dir, files)
    ledger = Ledger.open(ledger_dir, scenario)
    with writer_lock(ledger_dir):
        connection = connect(ledger_dir)
        scratch = ledger_dir / SCRATCH
        try:
            recover(ledger_dir, connection)
            n_live = _n_live(connection)
            if replace and n_live:
                raise ReplaceRefusedError(scenario.name, n_live)
            scratch.mkdir()
            rejects = RejectsFile(workspace_dir / "reports" / f"{scenario.name}-rejects.csv")
            database = open_database(scratch, memory_limit)
            try:
                report = _run(
                    ledger, connection, database, sources, rejects, clock, progress or _silent, replace, on_bad_rows
                )
            finally:
                rejects.close()
                database.close()
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            connection.close()
            shutil.rmtree(scratch, ignore_errors=True)
    return msgspec.structs.replace(report, seconds=time.perf_counter() - started)


def _run(
    ledger: Ledger,
    connection: sqlite3.Connection,
    database: duckdb.DuckDBPyConnection,
    sources: list[Any],
    rejects: RejectsFile,
    clock: Clock,
    progress: Progress,
    replace: bool,
    on_bad_rows: str,
) -> ImportReport:
    scenario, directory = ledger.scenario, ledger.directory
    scratch = directory / SCRATCH
    now_ms = clock.now_ms()
    runs = write_runs(sources, scenario, ledger.identity, scratch, database, rejects, now_ms, progress)
    connection.execute("BEGIN IMMEDIATE")
    if replace:
        _empty(connection)
    check_numbering(connection, scenario, write=True)
    sifted = sift(database, runs, connection, rejects)
    if rejects.n_rows and on_bad_rows == "abort":
        raise RejectedRowsError(
            sources[0].path, f"{rejects.n_rows} rows are bad", f"they are listed in {rejects.path}; mend them"
        )
    last = connection.execute(f"{SELECT_RECORD} ORDER BY seq DESC LIMIT 1").fetchone()
    seq, watermark_ms, previous = (last[0], last[3], last[5]) if last else (0, 0, chain.GENESIS)
    latest_ms = max(watermark_ms, latest_time_ms(database) or 0)
    precedence = Precedence(scenario.label_precedence)
    n_extra = find_extra_labels(database, connection, ledger.event_links, precedence, latest_ms)
    report = ImportReport(
        n_events=0,
        n_labels=0,
        n_duplicates=sifted.n_duplicates,
        n_rejected=rejects.n_rows,
        n_late=0,
        rejects_path=rejects.path,
        first_seq=0,
        last_seq=0,
        seconds=0.0,
    )
    n_new = _count(database, "kept") + n_extra
    if n_new == 0 and not replace:
        connection.execute("ROLLBACK")
        return report
    folder = scratch / "segment"
    folder.mkdir()
    at = _Position(seq=seq, watermark_ms=watermark_ms)
    if n_new:
        first_watermark_ms = _write_segment(folder, database, connection, scenario, runs, at, latest_ms, progress)
        segment = _publish(directory, folder, seq + 1, at, watermark_ms, first_watermark_ms)
        connection.execute(f"INSERT INTO segments VALUES ({','.join('?' * 9)})", msgspec.structs.astuple(segment))
        _append_import(connection, segment, at, previous, now_ms, runs)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # an import makes a large log: give the disk back
    if replace:
        erasable = Erasable(directory)
        erasable.clear()
        erasable.close()
        recover(directory, connection)  # the replaced segments are invisible now
    elif n_new:
        load_erasable(directory, directory / SEGMENTS / segment.path)
    progress(2 * runs.n_read, 2 * runs.n_read)
    return msgspec.structs.replace(
        report,
        n_events=at.n_events,
        n_labels=at.n_labels,
        n_late=at.n_late,
        first_seq=seq + 1 if n_new else 0,
        last_seq=at.seq if n_new else 0,
    )


def _write_segment(
    folder: Path,
    database: duckdb.DuckDBPyConnection,
    connection: sqlite3.Connection,
    scenario: Scenario,
    runs: Runs,
    at: _Position,
    latest_ms: int,
    progress: Progress,
) -> int:
    """Write a segment's files and what SQLite keeps about it. Returns the watermark of its first record."""
    schema = segment_schema(scenario)
    seq_of = np.full(runs.n_rows, -1, np.int64)  # by `ord`; events come before their labels, so it is filled in time
    keys = folder.parent / "keys.parquet"
    key_schema = pa.schema([("key", pa.binary()), ("seq", pa.int64()), ("payload_digest", pa.binary())])
    late_before_ms = at.watermark_ms - scenario.max_lateness_ms
    first_watermark_ms = -1
    n_records = 0
    with open_writer(folder / RECORDS, schema) as records, pq.ParquetWriter(keys, key_schema) as identity:
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
                    schema=key_schema,
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
    waiting &= pc.is_null(table.column("label_value")).to_numpy()
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


def _publish(
    directory: Path, folder: Path, first_seq: int, at: _Position, previous_watermark_ms: int, first_watermark_ms: int
) -> Segment:
    """Make a finished folder durable under its name."""
    for file in sorted(folder.iterdir()):
        sync_file(file)
    sync_directory(folder)
    digest = file_digest(folder / RECORDS)
    name = f"{first_seq:012d}-{digest[:12]}"
    segments = directory / SEGMENTS
    segments.mkdir(exist_ok=True)
    os.rename(folder, segments / name)  # noqa: PTH104 - the same call, and monkeypatched by the crash tests
    sync_directory(segments)
    sync_directory(directory)
    return Segment(
        first_seq,
        at.seq,
        name,
        digest,
        at.n_events,
        at.n_labels,
        previous_watermark_ms,
        first_watermark_ms,
        at.watermark_ms,
    )


def _append_import(
    connection: sqlite3.Connection, segment: Segment, at: _Position, previous: bytes, now_ms: int, runs: Runs
) -> None:
    """Append the IMPORT record, through which the hash chain vouches for the segment."""
    body = encode_body(
        {
            "first_seq": segment.first_seq,
            "last_seq": segment.last_seq,
            "path": segment.path,
            "digest": segment.digest,
            "n_events": segment.n_events,
            "n_labels": segment.n_labels,
            "files": [file.name for file in runs.files],
        }
    )
    seq = segment.last_seq + 1
    value = chain.link(previous, seq, Kind.IMPORT, now_ms, at.watermark_ms, body)
    row = (seq, int(Kind.IMPORT), now_ms, at.watermark_ms, body, value)
    connection.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", row)


def _n_live(connection: sqlite3.Connection) -> int:
    query = "SELECT count(*) FROM records WHERE kind IN (0, 1, 2)"
    return int(connection.execute(query).fetchone()[0])


def _empty(connection: sqlite3.Connection) -> None:
    for table in ("records", "identity", "decisions", "standing", "maturing", "segments"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("DELETE FROM meta WHERE name <> 'format'")


def _count(database: duckdb.DuckDBPyConnection, table: str) -> int:
    row = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")


def _silent(done: int, total: int) -> None:
    """Report to nobody."""
