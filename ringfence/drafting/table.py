# SPDX-License-Identifier: Apache-2.0
"""A file that nobody has described yet, opened: what separates its fields, how it is encoded, and lazily its rows."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from ringfence.drafting.errors import DraftError
from ringfence.ledger.errors import ImportFailedError
from ringfence.ledger.sources import column_names, is_parquet, n_rows, require_table, separator_of
from ringfence.scenario.dialect import Dialect

ROW: Final = "__row"  # the column that counts the rows of the file, from 0
SAMPLE_ROWS: Final = 100_000
_HEAD_BYTES: Final = 1 << 18
_BYTE_ORDER_MARKS: Final = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_FALL_BACKS: Final = ("cp1252", "latin-1")
_SEPARATORS: Final = (",", ";", "\t", "|")


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `rows` yields its columns, those of text files as text with null for what is empty."""

    path: Path
    dialect: Dialect  # separator and encoding
    names: list[str]
    n_rows: int
    rows: pl.LazyFrame

    def sample(self) -> pl.DataFrame:
        """Up to `SAMPLE_ROWS` rows, evenly spaced over the file and in its order, with the column `ROW`."""
        every = -(-self.n_rows // SAMPLE_ROWS)
        rows = self.rows.with_row_index(ROW)
        return (rows if every <= 1 else rows.filter(pl.col(ROW) % every == 0)).collect(engine="streaming")


def open_table(path: Path, dialect: Dialect | None = None) -> Table:
    """Open a CSV or Parquet file.

    Parameters
    ----------
    dialect : what is known of its separator and encoding; None: nothing but the file's name.

    Raises
    ------
    DraftError
        If it is neither, or holds no table with a header and at least one row.
    """
    if not path.is_file():
        raise DraftError(path, "no such file", "correct the path")
    try:
        require_table(path)
        if dialect is None:
            dialect = Dialect() if is_parquet(path) else _sniff(path)
        names, n = column_names(path, dialect), n_rows(path, dialect)
    except ImportFailedError as error:
        raise DraftError(error.file, error.found, error.do) from error
    if n == 0:
        raise DraftError(path, "no row, at most a header", "export it again, with some history")
    if is_parquet(path):
        return Table(path=path, dialect=dialect, names=names, n_rows=n, rows=pl.scan_parquet(path))
    if all(_is_value(name) for name in names):
        raise DraftError(
            path,
            f"a first line of values ({', '.join(names[:4])}) in place of names",
            "add a line that names the columns",
        )
    text = pl.Schema(dict.fromkeys(names, pl.String))
    separator = separator_of(path, dialect)
    if dialect.encoding == "utf-8":
        rows = pl.scan_csv(path, separator=separator, schema=text, truncate_ragged_lines=True)
    else:
        whole = path.read_bytes().decode(dialect.encoding).encode()
        rows = pl.read_csv(whole, separator=separator, schema=text, truncate_ragged_lines=True).lazy()
    rows = rows.with_columns(pl.all().replace("", None))
    return Table(path=path, dialect=dialect, names=names, n_rows=n, rows=rows)


def _sniff(path: Path) -> Dialect:
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="") as file:
        head = file.read(_HEAD_BYTES).removeprefix("\ufeff")
    separator = _separator(head)
    usual = separator_of(path, Dialect())
    return Dialect(separator=None if separator == usual else separator, encoding=encoding)


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        begins = file.read(2)
    if begins in _BYTE_ORDER_MARKS:
        return _BYTE_ORDER_MARKS[begins]
    for encoding in ("utf-8", *_FALL_BACKS):
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with path.open("rb") as file:
                while chunk := file.read(4 << 20):
                    decoder.decode(chunk)
        except UnicodeDecodeError:
            continue
        return encoding
    return _FALL_BACKS[-1]


def _separator(head: str) -> str:
    """The sign that splits most lines into as many fields as the first one, of the signs that do the widest one."""
    lines = head.splitlines()[:200]
    lines = lines[:-1] if len(lines) > 2 else lines  # the last one may be cut off
    best, widest = ",", (0.0, 1)
    for separator in _SEPARATORS:
        widths = [len(fields) for fields in csv.reader(lines, delimiter=separator) if fields]
        if not widths or widths[0] < 2:
            continue
        agree = sum(width == widths[0] for width in widths) / len(widths)
        if (round(agree, 1), widths[0]) > widest:
            best, widest = separator, (round(agree, 1), widths[0])
    return best


def _is_value(name: str) -> bool:
    try:
        float(name.replace(",", "."))
    except ValueError:
        return False
    return True
