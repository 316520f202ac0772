# SPDX-License-Identifier: Apache-2.0
"""Source files as frames: CSV, JSON lines and Parquet, in file order, with the line that each row came from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ringfence.ledger.errors import SourceColumnsError, SourceMissingError, SourceUnreadableError
from ringfence.ledger.json_lines import is_json_lines, json_frames, json_names
from ringfence.ledger.text_files import FRAME_ROWS, Frame, RejectLine, check_text, text_frames, text_names
from ringfence.scenario.derived import Distance, Origin
from ringfence.scenario.dialect import Dialect, plainly
from ringfence.scenario.errors import did_you_mean
from ringfence.scenario.spec import AttributeType, EventType, Join, Scenario

_MAGIC: Final = b"PAR1"
_SEPARATORS: Final = {".csv": ",", ".tsv": "\t", ".txt": ","}
_SIGNS: Final = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_AS_TABLE: Final = "save its table as CSV (UTF-8) or Parquet"
_AS_LINES: Final = "save it as JSON lines, one object a line, under a name that ends in .jsonl; or as CSV or Parquet"
_UNPACK: Final = "unpack it first, and give the file that comes out"
_NO_TABLES: Final = {  # how a file begins: what it is, what to do
    b"PK\x03\x04": ("a spreadsheet (.xlsx, .ods) or a zip archive", _AS_TABLE),
    b"\xd0\xcf\x11\xe0": ("an old spreadsheet (.xls)", _AS_TABLE),
    b"\x1f\x8b": ("compressed with gzip", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", _UNPACK),
    b"\xfd7zXZ": ("compressed with xz", _UNPACK),
    b"BZh": ("compressed with bzip2", _UNPACK),
    b"ARROW1": ("an Arrow (Feather) file", _AS_TABLE),
    b"SQLite format 3": ("an SQLite database", _AS_TABLE),
    b"%PDF": ("a PDF", _AS_TABLE),
    b"<!doctype": ("a web page", "look at it in a browser: it may ask to log in; then download the table itself"),
    b"<html": ("a web page", "look at it in a browser: it may ask to log in; then download the table itself"),
    b"<?xml": ("XML", _AS_TABLE),
    b'{"': ("JSON", _AS_LINES),
    b"[{": ("JSON", _AS_LINES),
    b"{\n": ("JSON", _AS_LINES),
    b"[\n": ("JSON", _AS_LINES),
}


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that feeds an event type."""

    event_type: EventType
    path: Path
    join: Join | None = None
    join_path: Path | None = None
    dialect: Dialect = Dialect()


_PLAIN: Final = Dialect()


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
        if path.is_dir():
            raise SourceMissingError(path, "is a folder", "name the files in it; patterns may use * and **")
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
    clocks = {clock for day, clock in file.dialect.clocks.items() if day in needed}
    missing.update(dict.fromkeys(sorted(clocks - set(found)), "sources.clocks"))
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
    return [column for column in found if column in needed or column in on | clocks]


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
        if is_json_lines(path):
            return check_text(path, "utf-8")
        return max(check_text(path, dialect.encoding) - dialect.header, 0)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error


def require_table(path: Path) -> None:
    """Look at the first bytes of a file.

    Raises
    ------
    SourceUnreadableError
        If it is empty, or something else than CSV, JSON lines and Parquet.
    """
    with path.open("rb") as file:
        begins = file.read(16)
    if not begins:
        raise SourceUnreadableError(path, "is empty (0 bytes)", "export it again, or take it out of the sources")
    if is_json_lines(path):
        return
    for magic, (what, do) in _NO_TABLES.items():
        if begins.startswith(magic) or begins.lower().startswith(magic):
            raise SourceUnreadableError(path, f"is {what}, neither CSV, JSON lines nor Parquet", do)
    if begins.startswith(_MAGIC) and not is_parquet(path):
        raise SourceUnreadableError(path, "is Parquet under another name", "give it a name that ends in .parquet")
    if is_parquet(path) and not begins.startswith(_MAGIC):
        do = "export it again, or, where it is CSV, give it a name that ends in .csv"
        raise SourceUnreadableError(path, "cannot be read as Parquet: it does not begin like it", do)


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
        if is_json_lines(path):
            return json_names(path)
        return text_names(path, separator_of(path, dialect), dialect.encoding, dialect.header)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error


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
    numbers, amount = number_columns(file.event_type), file.event_type.amount
    currency = {} if amount is None else {amount.column: amount.currency}
    for frame in read_frames(file.path, columns, reject, file.dialect):
        yield Frame(plainly(frame.rows, file.dialect, numbers, currency), frame.lines)


def read_frames(path: Path, columns: list[str], reject: RejectLine, dialect: Dialect = _PLAIN) -> Iterator[Frame]:
    """Yield a file in frames of about 131,072 rows. CSV columns come as text, so that ids stay as they are written.

    Raises
    ------
    SourceUnreadableError
        If the file turns out to be damaged on the way.
    """
    try:
        if is_parquet(path):
            yield from _parquet_frames(path, columns)
        elif is_json_lines(path):
            yield from json_frames(path, columns, reject)
        else:
            separator, names = separator_of(path, dialect), column_names(path, dialect)
            yield from text_frames(path, names, separator, dialect.encoding, columns, reject, dialect.header)
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _unreadable(path, error) from error


def _parquet_frames(path: Path, columns: list[str]) -> Iterator[Frame]:
    at = 1
    with pq.ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(FRAME_ROWS, columns=columns, use_threads=False):
            rows = pl.DataFrame(pl.from_arrow(batch))
            yield Frame(rows.select(columns), np.arange(at, at + len(rows), dtype=np.int64))
            at += len(rows)


def _unreadable(path: Path, error: Exception) -> SourceUnreadableError:
    kind = "Parquet" if is_parquet(path) else "CSV"
    return SourceUnreadableError(
        path, f"cannot be read as {kind} ({str(error).strip().splitlines()[0]})", "export it again"
    )
