# SPDX-License-Identifier: Apache-2.0
"""A file that nobody has described yet, opened: what separates its fields, how it is encoded, and lazily its rows."""

from __future__ import annotations

import codecs
import csv
import re
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from ringfence.drafting.errors import DraftError
from ringfence.ledger.errors import ImportFailedError
from ringfence.ledger.json_lines import is_json_lines
from ringfence.ledger.sources import (
    column_names,
    is_parquet,
    n_rows,
    read_frames,
    require_table,
    separator_of,
)
from ringfence.scenario.dialect import Dialect

ROW: Final = "__row"  # the column that counts the rows of the file, from 0
SAMPLE_ROWS: Final = 100_000
_LARGE_CELLS: Final = 20_000_000
_LARGE_BYTES: Final = 2 << 30  # text files beyond it are not held in memory
_HEAD_BYTES: Final = 1 << 18
_LONGEST_LINE: Final = 100_000  # characters of a line that is asked for its separator
_BYTE_ORDER_MARKS: Final = {  # the longer ones first: UTF-32 begins like UTF-16
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_FALL_BACK: Final = "cp1252"  # has no byte of control signs: what it cannot read is no text of Western Europe
_SEPARATORS: Final = (",", ";", "\t", "|")
_MOST_TITLES: Final = 10  # lines above the names
_GAPS: Final = 2  # empty fields of a line of titles; one is a column without a name
_VALUE: Final = re.compile(r"[0-9]+[.:/-][0-9]|[0-9.,]+ ?(?:[A-Z]{3}|[€$£%])$")  # moments, and money
_UNKNOWN_SEPARATORS: Final = "~^:#\x1f\x01 "


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `rows` yields its columns, those of text files as text with null for what is empty."""

    path: Path
    dialect: Dialect  # separator and encoding
    names: list[str]
    n_rows: int
    rows: pl.LazyFrame
    oddities: tuple[str, ...] = ()  # what its reader should look into, though it was read

    def collect(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Run a query over the rows: in streams where they are many (milliseconds a column), else at once."""
        large = self.n_rows * len(self.names) > _LARGE_CELLS
        return rows.collect(engine="streaming" if large else "in-memory")

    def sample(self) -> pl.DataFrame:
        """Up to `SAMPLE_ROWS` rows, evenly spaced over the file and in its order, with the column `ROW`."""
        every = -(-self.n_rows // SAMPLE_ROWS)
        rows = self.rows.with_row_index(ROW)
        return self.collect(rows if every <= 1 else rows.filter(pl.col(ROW) % every == 0))


def open_table(path: Path, dialect: Dialect | None = None) -> Table:
    """Open a CSV, JSON lines or Parquet file.

    Parameters
    ----------
    dialect : what is known of its separator and encoding; None: nothing but the file's name.

    Raises
    ------
    DraftError
        If it is neither, or holds no table with a header and at least one row.
    """
    if path.is_dir():
        raise DraftError(path, "a folder", "name the files in it")
    if not path.is_file():
        raise DraftError(path, "no such file" if not path.exists() else "no regular file", "correct the path")
    try:
        require_table(path)
        if is_parquet(path):
            return _parquet(path)
        if is_json_lines(path):
            return _json(path)
        dialect = dialect or _sniff(path)
        return _text(path, dialect)
    except ImportFailedError as error:
        raise DraftError(error.file, error.found, error.do) from error
    except pl.exceptions.PolarsError as error:
        raise DraftError(path, f"cannot be read ({str(error).splitlines()[0][:120]})", "export it again") from error


def with_columns_of(main: Table, other: Table, on: str) -> Table:
    """The rows of a table with the further columns of another one, which has at most one row for each `on`."""
    key = "__key"
    wanted = [name for name in other.names if name not in main.names]
    right = other.rows.select(pl.col(on).cast(pl.String).alias(key), *wanted)
    rows = main.rows.with_columns(pl.col(on).cast(pl.String).alias(key))
    rows = rows.join(right, on=key, how="left", maintain_order="left").drop(key)
    return msgspec.structs.replace(
        main, names=[*main.names, *wanted], rows=rows, oddities=(*main.oddities, *other.oddities)
    )


def _parquet(path: Path) -> Table:
    names, n = column_names(path), n_rows(path)
    doubles = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubles:
        raise DraftError(path, f"names a column twice: {doubles}", "rename one of them")
    if n == 0:
        raise DraftError(path, "no row", "export it again, with some history")
    return Table(path=path, dialect=Dialect(), names=names, n_rows=n, rows=pl.scan_parquet(path))


def _json(path: Path) -> Table:
    if n_rows(path) == 0:
        raise DraftError(path, "no row", "export it again, with some history")
    names = column_names(path)
    broken: list[tuple[int, str]] = []

    def note(line: int, found: str, reason: str) -> None:
        broken.append((line, reason))

    parts = [frame.rows for frame in read_frames(path, names, note)]
    oddities: tuple[str, ...] = ()
    if broken:
        line, reason = broken[0]
        oddities = (
            f"{len(broken):,} lines of {path.name} are no objects, such as line {line:,}, which {reason}: the import "
            "rejects them",
        )
    rows = pl.concat(parts)
    return Table(path=path, dialect=Dialect(), names=names, n_rows=rows.height, rows=rows.lazy(), oddities=oddities)


def _text(path: Path, dialect: Dialect) -> Table:
    names, n_lines = column_names(path, dialect), n_rows(path, dialect)
    if n_lines == 0:
        raise DraftError(path, "no row, at most a header", "export it again, with some history")
    if all(_is_value(name) for name in names):
        raise DraftError(
            path,
            f"a first line of values ({', '.join(names[:4])}) in place of names",
            "add a line that names the columns",
        )
    oddities = []
    if dialect.encoding == _FALL_BACK:
        oddities.append(f"{path.name} is not UTF-8 and is read as {_FALL_BACK}, which is a guess: look at its accents")
    if dialect.header > 1:
        oddities.append(
            f"{path.name} names its columns on line {dialect.header}: what stands above is passed over (`header`)"
        )
    unnamed = [name for name, given in zip(names, _given_names(path, dialect), strict=True) if not given]
    if unnamed:
        oddities.append(f"{path.name} has a column without a name, called {unnamed[0]} here after its place")
    if path.stat().st_size > _LARGE_BYTES and dialect.encoding == "utf-8" and dialect.header == 1:
        schema = pl.Schema(dict.fromkeys(names, pl.String))
        lazy = pl.scan_csv(
            path, separator=separator_of(path, dialect), schema=schema, truncate_ragged_lines=True, null_values=[""]
        )
        return Table(path=path, dialect=dialect, names=names, n_rows=n_lines, rows=lazy, oddities=tuple(oddities))
    broken: list[tuple[int, str]] = []
    frames = read_frames(path, names, lambda line, _, reason: broken.append((line, reason)), dialect)
    parts = [frame.rows for frame in frames]
    n = sum(part.height for part in parts)
    if len(broken) > n:
        line, reason = broken[0]
        raise DraftError(
            path,
            f"most lines do not fit the first one: {len(broken):,} of {len(broken) + n:,}, such as line {line:,}, "
            f"which {reason}",
            "write a name for every column on the first line, and delete what stands above it",
        )
    if n == 0:
        raise DraftError(path, "no row, at most a header", "export it again, with some history")
    if len(names) == 1:
        _require_separator(path, names[0], parts[0].to_series(0))
    if broken:
        line, reason = broken[0]
        oddities.append(
            f"{len(broken):,} of {len(broken) + n:,} lines of {path.name} do not fit the first one, such as line "
            f"{line:,}, which {reason}: the import rejects them"
        )
    return Table(
        path=path, dialect=dialect, names=names, n_rows=n, rows=pl.concat(parts).lazy(), oddities=tuple(oddities)
    )


def _given_names(path: Path, dialect: Dialect) -> list[str]:
    with path.open(encoding=dialect.encoding, newline="") as file:
        for _ in range(dialect.header - 1):
            file.readline()
        first = file.readline().removeprefix("\ufeff")
    return next(csv.reader([first], delimiter=separator_of(path, dialect)))


def _require_separator(path: Path, name: str, values: pl.Series) -> None:
    """Refuse a single column that is many, separated by a sign that sources cannot name."""
    for sign in _UNKNOWN_SEPARATORS:
        n = name.count(sign)
        found = values.head(1_000).drop_nulls().str.count_matches(sign, literal=True)
        if n >= 2 and len(found) and float((found == n).cast(pl.Float64).sum()) >= 0.9 * len(found):
            raise DraftError(
                path,
                f"one column, {name[:60]!r}: its fields seem to be separated by {sign!r}",
                "save it with commas, semicolons, tabs or bars",
            )


def _sniff(path: Path) -> Dialect:
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="") as file:
        head = file.read(_HEAD_BYTES).removeprefix("\ufeff")
    separator = _separator(head)
    usual = separator_of(path, Dialect())
    header = _header(head, separator)
    return Dialect(separator=None if separator == usual else separator, encoding=encoding, header=header)


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        begins = file.read(1_024)
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if begins.startswith(mark):
            return encoding
    for at, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # letters of ASCII, each beside a zero
        if begins[1 - at :: 2].count(0) == 0 and 2 * begins[at::2].count(0) > len(begins[at::2]):
            return encoding
    first = _undecoded(path, "utf-8")
    if first is None:
        return "utf-8"
    where, near = first
    second = _undecoded(path, _FALL_BACK)
    beyond = np.frombuffer(near, np.uint8)
    beyond = beyond[beyond > 127]
    told = near.decode("utf-8", "replace")
    n_broken = told.count("\ufffd")
    is_mostly = sum(ord(sign) > 127 for sign in told) > 2 * n_broken
    is_signs = 2 * int((beyond < 0xA0).sum()) > len(beyond)  # quotation marks and dashes more often than letters
    if second is None and not is_mostly and not is_signs:
        return _FALL_BACK
    found = f"not UTF-8 (byte {where})"
    found += ", though most of it is" if is_mostly else f", nor {_FALL_BACK}"
    found += f" (byte {second[0]})" if second is not None and not is_mostly else ""
    raise DraftError(path, found, "save it as UTF-8, such as with iconv -f ENCODING -t UTF-8, and look at that line")


def _undecoded(path: Path, encoding: str) -> tuple[str, bytes] | None:
    """The first byte that an encoding does not have, and the bytes around it; None: it has them all."""
    decoder = codecs.getincrementaldecoder(encoding)()
    n_lines = 0
    with path.open("rb") as file:
        while chunk := file.read(4 << 20):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line = n_lines + error.object[: error.start].count(b"\n") + 1
                return f"0x{error.object[error.start]:02x} on line {line:,}", error.object
            n_lines += chunk.count(b"\n")
    return None


def _separator(head: str) -> str:
    """The sign that splits most lines into as many fields as the first one, of the signs that do the widest one."""
    lines = [line for line in head.splitlines()[:200] if len(line) < _LONGEST_LINE]
    lines = lines[:-1] if len(lines) > 2 else lines  # the last one may be cut off
    best, widest = ",", (0.0, 1)
    for separator in _SEPARATORS:
        try:
            widths = [len(fields) for fields in csv.reader(lines, delimiter=separator) if fields]
        except csv.Error:  # quotation marks that do not close
            continue
        if not widths or widths[0] < 2:
            continue
        agree = sum(width == widths[0] for width in widths) / len(widths)
        if (round(agree, 1), widths[0]) > widest:
            best, widest = separator, (round(agree, 1), widths[0])
    return best


def _header(head: str, separator: str) -> int:
    """The line of the names: the first one, or where that has gaps as titles do, the next one that is all names.

    A line of titles is shorter than the lines below it, or has several empty fields; the line of names has none, each
    is another one and no value, and below it stand values.
    """
    lines = head.splitlines()[: 2 * _MOST_TITLES]
    try:
        rows = [next(csv.reader([line], delimiter=separator), []) for line in lines]
    except csv.Error:
        return 1
    width = max((len(row) for row in rows), default=0)
    if width < 3 or len(rows) < 3 or not _has_gaps(rows[0], width):
        return 1
    for at in range(1, min(_MOST_TITLES, len(rows) - 1)):
        names, below = [name.strip() for name in rows[at]], [cell.strip() for cell in rows[at + 1]]
        is_whole = len(names) == width and all(names) and len(set(names)) == width
        if is_whole and not any(_begins_value(name) for name in names) and any(map(_begins_value, below)):
            return at + 1
        if not _has_gaps(rows[at], width):
            return 1
    return 1


def _has_gaps(row: list[str], width: int) -> bool:
    return len(row) < width or sum(not cell.strip() for cell in row) >= _GAPS


def _begins_value(cell: str) -> bool:
    return _is_value(cell) or bool(_VALUE.match(cell))


def _is_value(name: str) -> bool:
    try:
        float(name.replace(",", "."))
    except ValueError:
        return False
    return True
