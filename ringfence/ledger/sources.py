# SPDX-License-Identifier: Apache-2.0
"""Source files as frames: CSV and Parquet, streamed in file order, with the line that each row came from."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ringfence.ledger.errors import SourceColumnsError, SourceMissingError, SourceUnreadableError
from ringfence.scenario.derived import Distance, Origin
from ringfence.scenario.dialect import Dialect, plainly
from ringfence.scenario.errors import did_you_mean
from ringfence.scenario.spec import AttributeType, EventType, Join, Scenario

FRAME_ROWS: Final = 131_072
_CSV_BLOCK: Final = 8 << 20
_MAGIC: Final = b"PAR1"
_SEPARATORS: Final = {".csv": ",", ".tsv": "\t", ".txt": ","}
_SIGNS: Final = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_NO_TABLES: Final = {
    b"PK\x03\x04": "a spreadsheet (.xlsx, .ods) or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (.xls)",
    b"\x1f\x8b": "compressed with gzip",
}


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that feeds an event type."""

    event_type: EventType
    path: Path
    join: Join | None = None
    join_path: Path | None = None
    dialect: Dialect = Dialect()


class Frame(NamedTuple):
    """Some rows of a file, in file order."""

    rows: pl.DataFrame
    lines: NDArray[np.int64]  # 1-based: of the file for CSV (the header is line 1), of the data for Parquet


_PLAIN: Final = Dialect()

RejectLine = Callable[[int, str, str], None]  # line, what was found, reason


def resolve(scenario: Scenario, workspace: Path, files: list[Path] | None = None) -> list[SourceFile]:
    """List the files to import, in order: the scenario's sources, or `files` as the decided event type.

    Raises
    ------
    SourceMissingError
        If a path or pattern matches nothing, or the scenario names no source.
    """
    by_type = {source.event_type: source for source in scenario.sources}
    if files is not None:
        source = by_type.get(scenario.decide)
        join, dialect = (None, Dialect()) if source is None else (source.join, source.dialect)
        wanted = [(scenario.decided, str(file), join, dialect) for file in files]
    else:
        wanted = [
            (scenario.event_type(s.event_type), name, s.join, s.dialect) for s in scenario.sources for name in s.files
        ]
    if not wanted:
        raise SourceMissingError(
            workspace / "ringfence.yaml", f"scenario {scenario.name!r} has no sources", "add `sources:` or name files"
        )
    found = []
    for event_type, name, join, dialect in wanted:
        for path in _match(Path() if files is not None else workspace, workspace, name):
            found.append(
                SourceFile(
                    event_type=event_type,
                    path=path,
                    join=join,
                    join_path=workspace / join.file if join else None,
                    dialect=dialect,
                )
            )
            if join and not (workspace / join.file).is_file():
                raise SourceMissingError(workspace / join.file, "no such file", "correct `join.file`, or add the file")
    return found


def _match(base: Path, workspace: Path, name: str) -> list[Path]:
    for folder in (base, workspace):
        path = folder / name
        if path.is_file():
            return [path]
        anchor = Path(path.anchor) if path.is_absolute() else folder
        pattern = str(path.relative_to(anchor)) if path.is_absolute() else name
        matches = (
            sorted(match for match in anchor.glob(pattern) if match.is_file()) if "*" in name or "?" in name else []
        )
        if matches:
            return matches
    raise SourceMissingError(base / name, "no such file", "correct the path; patterns may use * and **")


def needed_columns(event_type: EventType) -> dict[str, str]:
    """The source columns that an event type reads -> where ringfence.yaml names them."""
    needed: dict[str, str] = {}
    if event_type.event_id_column is not None:
        needed[event_type.event_id_column] = "event_id"
    if event_type.event_time_column is not None:
        needed[event_type.event_time_column] = "event_time"
    if event_type.amount is not None:
        needed[event_type.amount.column] = "amount"
    needed.update({role.column: f"entities.{role.role}" for role in event_type.given_roles})
    needed.update({attribute.column: f"attributes.{attribute.name}" for attribute in event_type.given_attributes})
    for derived in event_type.derived:
        columns = (item.name for item in derived.inputs if item.origin is Origin.COLUMN)
        needed.update({column: f"derive.{derived.name}" for column in columns if column not in needed})
    if event_type.label is not None and event_type.label.column is not None:
        needed[event_type.label.column] = "label.field"
        if event_type.label.known_at_column is not None:
            needed[event_type.label.known_at_column] = "label.known_at"
    return needed


def check_columns(file: SourceFile, found: list[str], joined: frozenset[str] = frozenset()) -> list[str]:
    """Return the columns of `found` to read.

    Raises
    ------
    SourceColumnsError
        If one is missing, from the file and from what is joined to it.
    """
    needed = needed_columns(file.event_type)
    missing = {column: where for column, where in needed.items() if column not in found and column not in joined}
    if file.join is not None and file.join.on not in found:
        missing[file.join.on] = "sources.join.on"
    if missing:
        column, where = next(iter(missing.items()))
        sign = _other_separator(file.path, found)
        if sign is not None:
            raise SourceColumnsError(
                file.path,
                f"has one column, {found[0][:80]!r}: its fields seem to be separated by {_SIGNS[sign]}",
                f"write `separator: {json.dumps(sign)}` beside `files` in ringfence.yaml, or save it with commas, or "
                "with tabs under a name that ends in .tsv",
            )
        listed = ", ".join(f"{name!r} ({at})" for name, at in missing.items())
        raise SourceColumnsError(
            file.path,
            f"has no column {listed}",
            f"correct the mapping of {file.event_type.name!r} in ringfence.yaml: {column!r} at {where}: "
            f"{did_you_mean(column, found)}",
        )
    on = {file.join.on} if file.join is not None else set()
    return [column for column in found if column in needed or column in on]


def _other_separator(path: Path, found: list[str]) -> str | None:
    """The sign that separates the fields of a text file that looks as if it had a single column."""
    if len(found) != 1 or is_parquet(path):
        return None
    return next((sign for sign in _SIGNS if sign in found[0]), None)


def n_rows(path: Path, dialect: Dialect = _PLAIN) -> int:
    """Count the rows of a file (lines, for CSV), and check that it can be read as a whole.

    Raises
    ------
    SourceUnreadableError
        If it is empty, truncated, or (CSV) not in its encoding; names the line.
    """
    try:
        require_table(path)
        if is_parquet(path):
            return int(pq.read_metadata(path).num_rows)
        return max(_check_text(path, dialect.encoding) - 1, 0)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error


def require_table(path: Path) -> None:
    """Look at the first bytes of a file.

    Raises
    ------
    SourceUnreadableError
        If it is empty, or something else than CSV and Parquet.
    """
    with path.open("rb") as file:
        begins = file.read(8)
    if not begins:
        raise SourceUnreadableError(path, "is empty (0 bytes)", "export it again, or take it out of the sources")
    for magic, what in _NO_TABLES.items():
        if begins.startswith(magic):
            raise SourceUnreadableError(
                path, f"is {what}, neither CSV nor Parquet", "save its table as CSV (UTF-8) or Parquet"
            )


def is_parquet(path: Path) -> bool:
    """Tell Parquet from CSV by name, and where the name does not say, by the first bytes."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return True
    if path.suffix.lower() in _SEPARATORS:
        return False
    with path.open("rb") as file:
        return file.read(4) == _MAGIC


def column_names(path: Path, dialect: Dialect = _PLAIN) -> list[str]:
    """The columns of a file, in its order."""
    try:
        if is_parquet(path):
            return list(pq.read_schema(path).names)
        with path.open(encoding=dialect.encoding, newline="") as file:
            header = file.readline().removeprefix("\ufeff").rstrip("\r\n")
    except UnicodeError:
        raise _not_encoded(path, dialect.encoding, "the first line") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error
    separator = separator_of(path, dialect)
    table = pl.read_csv(header.encode() + b"\n", separator=separator, has_header=False, infer_schema=False)
    names = [str(name) for name in table.row(0)]
    doubles = {name for name in names if names.count(name) > 1}
    if doubles:
        raise SourceColumnsError(path, f"names a column twice: {sorted(doubles)}", "rename one of them")
    return names


def separator_of(path: Path, dialect: Dialect) -> str:
    """What stands between the fields of a text file: what its source says, or what its name implies."""
    return dialect.separator or _SEPARATORS.get(path.suffix.lower(), ",")


def number_columns(event_type: EventType) -> set[str]:
    """The columns that an event type reads as numbers."""
    numbers = {attribute.column for attribute in event_type.attributes if attribute.type is AttributeType.NUMBER}
    for derived in event_type.derived:
        if isinstance(derived.how, Distance):
            numbers |= {item.name for item in derived.inputs if item.origin is Origin.COLUMN}
    return numbers if event_type.amount is None else numbers | {event_type.amount.column}


def read_plain_frames(file: SourceFile, columns: list[str], reject: RejectLine) -> Iterator[Frame]:
    """Yield the frames of a source file, spelt as the door spells things."""
    numbers = number_columns(file.event_type)
    for frame in read_frames(file.path, columns, reject, file.dialect):
        yield Frame(plainly(frame.rows, file.dialect, numbers), frame.lines)


def read_frames(path: Path, columns: list[str], reject: RejectLine, dialect: Dialect = _PLAIN) -> Iterator[Frame]:
    """Yield a file in frames of about 131,072 rows. CSV columns come as text, so that ids stay as they are written.

    Raises
    ------
    SourceUnreadableError
        If the file turns out to be damaged on the way.
    """
    try:
        yield from _parquet_frames(path, columns) if is_parquet(path) else _csv_frames(path, columns, reject, dialect)
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _unreadable(path, error) from error


def _parquet_frames(path: Path, columns: list[str]) -> Iterator[Frame]:
    at = 1
    with pq.ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(FRAME_ROWS, columns=columns, use_threads=False):
            rows = pl.DataFrame(pl.from_arrow(batch))
            yield Frame(rows.select(columns), np.arange(at, at + len(rows), dtype=np.int64))
            at += len(rows)


def _csv_frames(path: Path, columns: list[str], reject: RejectLine, dialect: Dialect) -> Iterator[Frame]:
    skipped: list[int] = []
    bad: list[tuple[int, str, str]] = []

    def refuse(invalid: pa_csv.InvalidRow) -> str:
        skipped.append(invalid.number)
        reason = f"has {invalid.actual_columns} fields, the header has {invalid.expected_columns}"
        bad.append((invalid.number, invalid.text[:200], reason))  # told later: here no exception would get through
        return "skip"

    def tell() -> None:
        for line, found, reason in bad:
            reject(line, found, reason)
        bad.clear()

    names = column_names(path, dialect)
    reader = pa_csv.open_csv(
        path,
        # One thread: only then does an invalid row know its number.
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=_CSV_BLOCK, column_names=names, skip_rows=1, encoding=dialect.encoding
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=separator_of(path, dialect), newlines_in_values=True, invalid_row_handler=refuse
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=columns, strings_can_be_null=True,
            null_values=[""], quoted_strings_can_be_null=True,
        ),
    )  # fmt: skip
    n_good = 0
    for batch in reader:
        tell()
        good = np.arange(n_good, n_good + batch.num_rows, dtype=np.int64)
        n_good += batch.num_rows
        # Skipped line i has s_i - i - 2 good rows before it, and moves all later ones down by one.
        before = np.array(skipped, np.int64) - np.arange(len(skipped)) - 2
        lines = good + 2 + np.searchsorted(before, good, side="right")
        rows = pl.DataFrame(pl.from_arrow(batch))
        for start in range(0, len(rows), FRAME_ROWS):
            yield Frame(rows.slice(start, FRAME_ROWS), lines[start : start + FRAME_ROWS])
    tell()


def _check_text(path: Path, encoding: str) -> int:
    """Count lines; refuse a file that is not in its encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    wide = encoding.startswith(("utf-16", "utf-32"))  # there a byte of the value 10 need not be the end of a line
    n_lines, last = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(4 << 20):
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line = n_lines + error.object[: error.start].count(b"\n") + 1
                found = error.object[error.start : error.start + 1].hex()
                raise _not_encoded(path, encoding, f"byte 0x{found} on line {line}") from None
            n_lines += text.count("\n") if wide else chunk.count(b"\n")
            last = text[-1:].encode() if wide else chunk[-1:]
    return n_lines + (last != b"\n")


def _not_encoded(path: Path, encoding: str, where: str) -> SourceUnreadableError:
    name = "UTF-8" if encoding == "utf-8" else encoding
    do = "save it as UTF-8, such as with iconv, or name its `encoding` beside `files` in ringfence.yaml"
    return SourceUnreadableError(path, f"is not {name}: {where}", do)


def _unreadable(path: Path, error: Exception) -> SourceUnreadableError:
    kind = "Parquet" if is_parquet(path) else "CSV"
    return SourceUnreadableError(
        path, f"cannot be read as {kind} ({str(error).strip().splitlines()[0]})", "export it again"
    )
