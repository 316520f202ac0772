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

from ringfence.ledger import chain
from ringfence.ledger.codec import SELECT_RECORD, encode_body
from ringfence.ledger.derived import check_derived, note_imported
from ringfence.ledger.entity_ticks import TickCollector
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.errors import RejectedRowsError, ReplaceRefusedError
from ringfence.ledger.followed import answered_on_record, find_followed
from ringfence.ledger.labels import Precedence
from ringfence.ledger.late_labels import find_extra_labels
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.lock import writer_lock
from ringfence.ledger.lookup_rejects import prepare_and_list
from ringfence.ledger.outcomes import drop_index, open_index
from ringfence.ledger.records import Kind
from ringfence.ledger.recovery import SCRATCH, load_erasable, recover, sync_directory, sync_file
from ringfence.ledger.runs import Progress, RejectsFile, Runs, write_runs
from ringfence.ledger.schema import check_numbering, connect
from ringfence.ledger.segment_build import Position, write_segment
from ringfence.ledger.segments import (
    RECORDS,
    ROW_GROUP,
    SEGMENTS,
    Segment,
    file_digest,
)
from ringfence.ledger.sorting import latest_time_ms, open_database, sift
from ringfence.ledger.sources import resolve
from ringfence.ledger.tally import Oddity, RejectReason, Underived
from ringfence.scenario.clock import Clock
from ringfence.scenario.lookup_faults import Faults
from ringfence.scenario.lookup_files import Lookups
from ringfence.scenario.spec import Scenario

_BATCH: Final = ROW_GROUP


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did. seqs are 0 where it added nothing."""

    n_events: int
    n_labels: int  # imported and matured ones
    n_duplicates: int  # rows that came before with the same payload
    n_rejected: int  # rows listed in the rejects file
    n_conflicts: int  # of these, rows whose event_id came before with another payload
    n_late: int  # events older than the watermark by more than max_lateness
    rejects_path: Path  # exists only if n_rejected > 0
    first_seq: int
    last_seq: int
    seconds: float
    reasons: tuple[RejectReason, ...] = ()  # why cells were refused, the most frequent first
    without_amount: tuple[Oddity, ...] = ()  # let in without an amount that their event type has
    after_event: tuple[Oddity, ...] = ()  # let in with a time attribute that lies after the event
    underived: tuple[Underived, ...] = ()  # let in, and what is given yields no derived value
    lookup_faults: tuple[Faults, ...] = ()  # of lookup files, rows that are let be
    lookup_rejects_path: Path | None = None  # lists them; None without any
    skipped: tuple[Oddity, ...] = ()  # let in with a local time that the clocks skipped: read as after the change
    doubled: tuple[Oddity, ...] = ()  # let in with a local time that the clocks showed twice: read as the first one
    empty_files: tuple[Path, ...] = ()  # files without a single row

    @property
    def n_rows(self) -> int:
        """Rows that the files hold."""
        return self.n_events + self.n_duplicates + self.n_rejected


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
    LookupFileError
        If a table that derived values are looked up in cannot be used.
    DerivedChangedError
        If the ledger was filled with other derived values.
    LabelRuleChangedError
        If its events were labelled by another outcome, and `replace` is not given.
    """
    started = time.perf_counter()
    sources = resolve(scenario, workspace_dir, files)
    prepared = prepare_and_list(scenario, workspace_dir)
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
                    ledger, connection, database, sources, rejects, clock, progress or _silent, replace, on_bad_rows,
                    prepared.lookups,
                )  # fmt: skip
            finally:
                rejects.close()
                database.close()
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            connection.close()
            shutil.rmtree(scratch, ignore_errors=True)
    return msgspec.structs.replace(
        report,
        seconds=time.perf_counter() - started,
        lookup_faults=prepared.faults,
        lookup_rejects_path=prepared.path if prepared.faults else None,
    )


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
    lookups: Lookups,
) -> ImportReport:
    scenario, directory = ledger.scenario, ledger.directory
    scratch = directory / SCRATCH
    now_ms = clock.now_ms()
    ticks = None if scenario.ticks is None else TickCollector(scenario, scenario.ticks)
    if ticks is not None and not replace:
        ticks.add_record(ledger)
    runs = write_runs(sources, ledger, scratch, database, rejects, now_ms, progress, lookups, ticks)
    connection.execute("BEGIN IMMEDIATE")
    if replace:
        _empty(connection)
    check_numbering(connection, scenario, write=True)
    check_derived(connection, scenario)
    note_imported(connection, scenario)
    open_index(connection, scenario)
    sifted = sift(database, runs, connection, rejects)
    if rejects.n_rows and on_bad_rows == "abort":
        raise RejectedRowsError(
            sources[0].path,
            f"{rejects.n_rows} rows are bad, most often: {rejects.reasons[0].column} {rejects.reasons[0].reason}",
            f"they are listed in {rejects.path}; mend them",
        )
    find_followed(database, connection, scenario)
    last = connection.execute(f"{SELECT_RECORD} ORDER BY seq DESC LIMIT 1").fetchone()
    seq, watermark_ms, previous = (last[0], last[3], last[5]) if last else (0, 0, chain.GENESIS)
    latest_ms = max(watermark_ms, latest_time_ms(database) or 0)
    precedence = Precedence(scenario.label_precedence)
    answered = answered_on_record(database, scenario)
    n_extra = find_extra_labels(database, connection, ledger.event_links, precedence, latest_ms, answered)
    report = ImportReport(
        n_events=0,
        n_labels=0,
        n_duplicates=sifted.n_duplicates,
        n_rejected=rejects.n_rows,
        n_conflicts=sifted.n_conflicts,
        n_late=0,
        rejects_path=rejects.path,
        first_seq=0,
        last_seq=0,
        seconds=0.0,
        reasons=rejects.reasons,
        without_amount=runs.tally.without_amount,
        after_event=runs.tally.after_event,
        underived=runs.tally.underived,
        skipped=runs.tally.skipped,
        doubled=runs.tally.doubled,
        empty_files=tuple(runs.tally.empty_files),
    )
    n_new = _count(database, "kept") + n_extra
    if n_new == 0 and not replace:
        connection.execute("ROLLBACK")
        return report
    folder = scratch / "segment"
    folder.mkdir()
    at = Position(seq=seq, watermark_ms=watermark_ms)
    if n_new:
        first_watermark_ms = write_segment(
            folder, database, connection, scenario, runs, at, latest_ms, progress, ledger.event_links
        )
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


def _publish(
    directory: Path, folder: Path, first_seq: int, at: Position, previous_watermark_ms: int, first_watermark_ms: int
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
    for parent in (segments, directory, directory.parent):
        sync_directory(parent)
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
    connection: sqlite3.Connection, segment: Segment, at: Position, previous: bytes, now_ms: int, runs: Runs
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
    drop_index(connection)
    connection.execute("DELETE FROM meta WHERE name <> 'format'")


def _count(database: duckdb.DuckDBPyConnection, table: str) -> int:
    row = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(row[0]) if row else 0


def _silent(done: int, total: int) -> None:
    """Report to nobody."""
