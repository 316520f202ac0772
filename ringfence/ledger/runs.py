# SPDX-License-Identifier: Apache-2.0
"""The first half of an import: source files -> validated, encoded rows in scratch Parquet, in file order."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ringfence.ledger.codec import encode_body
from ringfence.ledger.entity_ticks import TickCollector
from ringfence.ledger.joins import LINE, join_columns, join_parties
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.segments import attribute_fields
from ringfence.ledger.sources import (
    SourceFile,
    check_columns,
    column_names,
    n_rows,
    needed_columns,
    read_plain_frames,
    require_table,
)
from ringfence.ledger.tally import MOST_REASONS, RejectReason, Tally
from ringfence.ledger.text_files import Frame
from ringfence.ledger.writer import FUTURE_TOLERANCE_MS
from ringfence.scenario.batch import MISSING_AMOUNT, NO_LABEL
from ringfence.scenario.columns import ColumnarAdmission, Columns
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.lookup_files import Lookups
from ringfence.scenario.spec import EventType, Scenario

Progress = Callable[[int, int], None]  # (done, total)

_DIRECTORY: Final = pa.schema(
    [("hi", pa.uint64()), ("lo", pa.uint64()), ("entity_type", pa.string()), ("entity_id", pa.string())]
)
_PERSONAL: Final = pa.schema([("ord", pa.int64()), ("name", pa.string()), ("value", pa.binary())])


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """What reading left in the scratch folder."""

    events: Path
    directory: Path
    personal: Path
    files: list[Path]  # `source` in events.parquet is an index into it
    n_rows: int  # rows let in; `ord` is 0..n_rows - 1
    n_read: int
    tally: Tally


class RejectsFile:
    """A CSV with one line per bad row: file, line, column, found, reason."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        self._csv = csv.writer(self._file)
        self._csv.writerow(["file", "line", "column", "found", "reason"])
        self._last: tuple[str, int] | None = None
        self._reasons: Counter[tuple[str, str]] = Counter()
        self.n_rows = 0

    @property
    def reasons(self) -> tuple[RejectReason, ...]:
        """Why cells were refused, the most frequent reason first."""
        return tuple(RejectReason(column=column, reason=why, n=n) for (column, why), n in self._reasons.most_common())

    def add(self, file: Path, line: int, column: str, found: str, reason: str) -> None:
        """List a bad cell; several of one row in a row count as one row."""
        self.n_rows += (str(file), line) != self._last
        self._last = (str(file), line)
        if (column, reason) in self._reasons or len(self._reasons) < MOST_REASONS:
            self._reasons[column, reason] += 1
        self._csv.writerow([file, line, column, found, reason])

    def close(self) -> None:
        """Close the file; without bad rows there is none."""
        self._file.close()
        if self.n_rows == 0:
            self.path.unlink(missing_ok=True)


def run_schema(scenario: Scenario) -> pa.Schema:
    """The columns of `events.parquet`: an event a row, its label beside it."""
    fields = [
        ("ord", pa.int64()),
        ("source", pa.int32()),
        ("line", pa.int64()),
        ("key", pa.binary()),
        ("event_type", pa.uint8()),
        ("time_ms", pa.int64()),
        ("offset_ms", pa.int32()),
        ("amount_minor", pa.int64()),
        ("role", pa.list_(pa.uint8())),
        ("lo", pa.list_(pa.uint64())),
        ("hi", pa.list_(pa.uint64())),
        ("event_id", pa.string()),
        ("payload_digest", pa.binary()),
        ("label_value", pa.int8()),
        ("known_at_ms", pa.int64()),
        ("label_source", pa.string()),
    ]
    for event_type in scenario.event_types:
        fields += list(attribute_fields(event_type).items())
    return pa.schema(fields)


def write_runs(
    files: list[SourceFile],
    ledger: Ledger,
    scratch: Path,
    database: duckdb.DuckDBPyConnection,
    rejects: RejectsFile,
    now_ms: int,
    progress: Progress,
    lookups: Lookups,
    ticks: TickCollector | None = None,
) -> Runs:
    """Read, validate and encode all files; then the ticks that they make due, where the scenario has such.

    Raises
    ------
    ImportFailedError
        If a file as a whole cannot be used. All files are looked at before the first is read.
    """
    scenario = ledger.scenario
    sizes = [n_rows(file.path, file.dialect) for file in files]
    for file in files:
        if file.join_path is not None:
            n_rows(file.join_path, file.dialect)
        check_source(file)
    total, n_read, n_in = sum(sizes), 0, 0
    columns, tally = Columns(scenario, ledger.identity, lookups), Tally()
    next_row: dict[str, int] = {}
    made = SourceFile(event_type=scenario.decided, path=Path("ticks"))
    paths = {name: scratch / f"{name}.parquet" for name in ("events", "directory", "personal")}
    schema = run_schema(scenario)
    with (
        pq.ParquetWriter(paths["events"], schema, compression="lz4") as events,
        pq.ParquetWriter(paths["directory"], _DIRECTORY, compression="lz4") as directory,
        pq.ParquetWriter(paths["personal"], _PERSONAL, compression="lz4") as personal,
    ):

        def let_in(source: int, file: SourceFile, frame: Frame, first_row: int, first_ord: int) -> int:
            admission = columns.admit(file.event_type, frame.rows, first_row)
            lines = frame.lines
            for row, column, found, reason in admission.rejects.iter_rows():
                rejects.add(file.path, int(lines[row - first_row]), column, found, reason)
            keep = _not_from_future(admission, now_ms, file, lines[admission.row - first_row], rejects)
            table = _event_table(
                admission, schema, ledger.identity, source, lines[admission.row - first_row], first_ord, now_ms
            )
            events.write_table(table if keep.all() else table.filter(pa.array(keep)))
            directory.write_table(_directory_table(admission.directory))
            if admission.personal.width:
                personal.write_table(_personal_table(admission.personal, first_ord))
            features = scenario.value_attributes if file.event_type.name == scenario.decide else ()
            tally.count(admission, keep, features)
            if ticks is not None:
                ticks.add_rows(admission, keep)
            return len(admission)

        for source, file in enumerate(files):
            first_row = next_row.get(file.event_type.name, 0)
            n_before = n_read + rejects.n_rows
            for frame in _frames(file, scratch, database, rejects):
                n_in += let_in(source, file, frame, first_row, n_in)
                first_row += frame.rows.height
                n_read += frame.rows.height
                progress(min(n_read, total), 2 * total)
            next_row[file.event_type.name] = first_row
            if n_read + rejects.n_rows == n_before:
                tally.empty_files.append(file.path)
        if ticks is not None:
            for rows in ticks.frames(ledger, ticks.last_ms):
                lines = np.arange(1, rows.height + 1, dtype=np.int64)
                n_in += let_in(len(files), made, Frame(rows, lines), 0, n_in)
    return Runs(
        events=paths["events"],
        directory=paths["directory"],
        personal=paths["personal"],
        files=[*(file.path for file in files), *([] if ticks is None else [made.path])],
        n_rows=n_in,
        n_read=n_read,
        tally=tally,
    )


def check_source(file: SourceFile) -> None:
    """Look at the first bytes and the column names of a file, and of what is joined to it; read no rows.

    Raises
    ------
    SourceUnreadableError, SourceColumnsError
        If a file is no table, or lacks columns that the scenario names.
    """
    for path in (file.path, file.join_path):
        if path is not None:
            require_table(path)
    check_columns(file, column_names(file.path, file.dialect), _joined_columns(file))


def _not_from_future(
    admission: ColumnarAdmission, now_ms: int, file: SourceFile, lines: NDArray[np.int64], rejects: RejectsFile
) -> NDArray[np.bool_]:
    future = admission.time_ms > now_ms + FUTURE_TOLERANCE_MS
    for at in np.flatnonzero(future):
        column = file.event_type.event_time_column or ""
        found = f"{admission.time_ms[at]} ms"
        rejects.add(file.path, int(lines[at]), column, found, "an event may lie at most five minutes in the future")
    return ~future


def _event_table(
    admission: ColumnarAdmission,
    schema: pa.Schema,
    identity: IdentityKey,
    source: int,
    lines: NDArray[np.int64],
    first_ord: int,
    now_ms: int,
) -> pa.Table:
    n = len(admission)
    event_type = admission.event_type
    labelled = admission.label_value != NO_LABEL
    # A file that says so now knows it now; and an event's label comes after the event.
    known_at_ms = np.maximum(np.minimum(admission.label_known_at_ms, now_ms), admission.time_ms)
    offsets = pa.array(admission.link_start.astype(np.int32))
    label_source = event_type.label.source if event_type.label is not None else ""
    name = event_type.name
    given: dict[str, Any] = {
        "ord": np.arange(first_ord, first_ord + n, dtype=np.int64),
        "source": np.full(n, source, np.int32),
        "line": lines,
        "key": pa.array([identity.event(name, event_id) for event_id in admission.event_id.to_list()], pa.binary()),
        "event_type": np.full(n, event_type.index, np.uint8),
        "time_ms": admission.time_ms,
        "offset_ms": admission.offset_ms,
        "amount_minor": pa.array(admission.amount_minor, mask=admission.amount_minor == MISSING_AMOUNT),
        "role": pa.ListArray.from_arrays(offsets, pa.array(admission.link_role)),
        "lo": pa.ListArray.from_arrays(offsets, pa.array(admission.link_lo)),
        "hi": pa.ListArray.from_arrays(offsets, pa.array(admission.link_hi)),
        "event_id": admission.event_id.to_arrow(),
        "payload_digest": admission.payload_digests().to_arrow(),
        "label_value": pa.array(admission.label_value, mask=~labelled),
        "known_at_ms": pa.array(known_at_ms, mask=~labelled),
        "label_source": pa.array([label_source] * n, pa.string(), mask=~labelled),
    }
    for attribute in event_type.attributes:
        if not attribute.personal:
            given[f"{name}.{attribute.name}"] = admission.attributes[attribute.name].to_arrow()
    arrays = []
    for field in schema:
        array = given.get(field.name)
        array = (
            pa.nulls(n, field.type) if array is None else pa.array(array) if isinstance(array, np.ndarray) else array
        )
        arrays.append(array if array.type == field.type else array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _directory_table(directory: pl.DataFrame) -> pa.Table:
    return directory.select("hi", "lo", "entity_type", "entity_id").to_arrow().cast(_DIRECTORY)


def _personal_table(personal: pl.DataFrame, first_ord: int) -> pa.Table:
    rows = [
        (first_ord + i, name, encode_body(value))
        for name in personal.columns
        for i, value in enumerate(personal[name].to_list())
        if value is not None
    ]
    arrays = zip(*rows, strict=True) if rows else ([], [], [])
    return pa.Table.from_arrays([pa.array(a, f.type) for a, f in zip(arrays, _PERSONAL, strict=True)], schema=_PERSONAL)


def _joined_columns(file: SourceFile) -> frozenset[str]:
    """The columns that come from the joined file: those that the source itself does not have."""
    if file.join is None or file.join_path is None:
        return frozenset()
    names = column_names(file.join_path, file.dialect)
    for column in (file.join.on, file.join.role, file.join.value):
        if column is not None and column not in names:
            check_columns(
                SourceFile(event_type=_only(file.event_type, column), path=file.join_path), names
            )  # raises with the names
    own = column_names(file.path, file.dialect)
    if file.join.role is None:
        needed = needed_columns(file.event_type)
        return frozenset(name for name in names if name in needed and name not in own)
    return frozenset(role.column for role in file.event_type.given_roles if role.column not in own)


def _only(event_type: EventType, column: str) -> EventType:
    return msgspec.structs.replace(
        event_type,
        event_id_column=column,
        event_time_column=None,
        amount=None,
        roles=(),
        attributes=(),
        label=None,
        derived=(),
    )


def _frames(
    file: SourceFile, scratch: Path, database: duckdb.DuckDBPyConnection, rejects: RejectsFile
) -> Iterator[Frame]:
    names = column_names(file.path, file.dialect)
    joined = _joined_columns(file)
    columns = check_columns(file, names, joined)

    def refuse(line: int, found: str, reason: str) -> None:
        rejects.add(file.path, line, "", found, reason)

    plain = read_plain_frames(file, columns, refuse)
    if not joined or file.join is None or file.join_path is None:
        wanted = list(needed_columns(file.event_type))
        for frame in plain:
            yield Frame(frame.rows.select([name for name in frame.rows.columns if name in wanted]), frame.lines)
        return
    join = join_columns if file.join.role is None else join_parties
    path = join(file, sorted(joined), plain, scratch, database)
    with pq.ParquetFile(path, memory_map=True) as parquet:
        for batch in parquet.iter_batches(131_072, use_threads=False):
            rows = pl.DataFrame(pl.from_arrow(batch))
            yield Frame(rows.drop(LINE), rows[LINE].to_numpy())
    path.unlink()
