# SPDX-License-Identifier: Apache-2.0
"""Text files as frames: one record a line, save where a quoted cell holds line breaks; lines are told as editors do.

What is broken in one record is that record's reject. What makes every later record doubtful stops the file: a byte
that its encoding does not have, a NUL, a quotation mark that is opened and swallows the lines after it.
"""

from __future__ import annotations

import codecs
import csv
import mmap
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from ringfence.ledger.errors import SourceColumnsError, SourceUnreadableError

FRAME_ROWS: Final = 131_072
_BLOCK: Final = 8 << 20
_LONGEST_TOLD: Final = 200  # characters of a bad record
_NUL: Final = (
    "save it as UTF-8 text; where it is UTF-16 without a byte order mark, say `encoding: utf-16-le` beside `files`"
)

RejectLine = Callable[[int, str, str], None]  # line, what was found, reason


class Frame(NamedTuple):
    """Some rows of a file, in file order."""

    rows: pl.DataFrame
    lines: NDArray[np.int64]  # 1-based: of the file for text (the header is line 1), of the data for Parquet


def text_names(path: Path, separator: str, encoding: str, header: int = 1) -> list[str]:
    """The columns that a line names, in its order, by default the first; one without a name is called after its place.

    Raises
    ------
    SourceUnreadableError, SourceColumnsError
        If the first line is not in the encoding, is empty, ends within quotation marks, or names a column twice.
    """
    try:
        # What is wrong further down is told with its line, later.
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
            for _ in range(header - 1):
                file.readline()
            first = file.readline().removeprefix("\ufeff")
            reader = csv.reader(chain([first], file), delimiter=separator)
            names = next(reader, []) if first else []
            "".join(names).encode()
    except UnicodeError:
        raise not_encoded(path, encoding, "the first line") from None
    except csv.Error as error:
        do = "write the names of the columns on the first line, and nothing above them"
        raise SourceUnreadableError(path, f"has a first line that names no columns ({error})", do) from None
    if reader.line_num > 1:
        raise SourceUnreadableError(
            path,
            "has a first line that ends within quotation marks",
            "take line breaks out of the names of the columns, and close every quotation mark",
        )
    if not any(name.strip() for name in names):
        raise SourceUnreadableError(path, "has an empty first line", "delete what stands above the columns' names")
    if any("\0" in name for name in names):
        raise SourceUnreadableError(path, "holds a NUL byte on line 1", _NUL)
    taken = set(names)
    for at, name in enumerate(names):
        if not name:
            names[at] = _unnamed(at, taken)
    doubles = sorted({name for name in names if names.count(name) > 1}) if len(taken) < len(names) else []
    if doubles:
        raise SourceColumnsError(path, f"names a column twice: {doubles}", "rename one of them")
    return names


def check_text(path: Path, encoding: str) -> int:
    """Count the lines of a file; refuse one that is not in its encoding, or holds NUL.

    Raises
    ------
    SourceUnreadableError
        With the line.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    wide = encoding.startswith(("utf-16", "utf-32"))  # there a byte of the value 10 need not be the end of a line
    n_lines, n_returns, last = 0, 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(4 << 20):
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line = n_lines + error.object[: error.start].count(b"\n") + 1
                found = error.object[error.start : error.start + 1].hex()
                raise not_encoded(path, encoding, f"byte 0x{found} on line {line:,}") from None
            nul = text.find("\0")
            if nul >= 0:
                line = n_lines + text.count("\n", 0, nul) + 1
                raise SourceUnreadableError(path, f"holds a NUL byte on line {line:,}", _NUL)
            n_lines += text.count("\n") if wide else chunk.count(b"\n")
            n_returns += text.count("\r") if wide else chunk.count(b"\r")
            last = text[-1:].encode() if wide else chunk[-1:]
    return (n_lines or n_returns) + (last not in (b"\n", b"\r"))


def text_frames(
    path: Path, names: list[str], separator: str, encoding: str, columns: list[str], reject: RejectLine, header: int = 1
) -> Iterator[Frame]:
    """Yield some columns of a file as text, in frames of about 131,072 rows. Records that hold nothing are passed over.

    Parameters
    ----------
    header : the line of the names, 1 the first; lines above it are passed over.

    Raises
    ------
    SourceUnreadableError
        If a quotation mark swallows lines.
    pa.ArrowInvalid, OSError
        If the file turns out to be damaged on the way.
    """
    quoted = _has_quotes(path, encoding)
    bad: list[tuple[int, str, str]] = []  # record, text, reason; told later: here no exception would get through

    def refuse(invalid: pa_csv.InvalidRow) -> str:
        reason = f"has {invalid.actual_columns} fields, the header has {invalid.expected_columns}"
        bad.append((invalid.number, invalid.text, reason))
        return "skip"

    reader = pa_csv.open_csv(
        path,
        # One thread: only then does an invalid row know its number.
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=names, skip_rows=header, encoding=encoding
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse, ignore_empty_lines=False
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=names if quoted else columns,
            strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=True,
        ),
    )  # fmt: skip
    at, n_breaks = 0, 0  # records read so far, without the header; line breaks within their cells
    for batch in reader:
        rows = pl.DataFrame(pl.from_arrow(batch))
        skipped: list[tuple[int, str, str]] = []  # of this batch: the reader may be ahead of it
        while bad and bad[0][0] - 1 - header - at <= batch.num_rows + len(skipped):
            skipped.append(bad.pop(0))
        places = np.array([number - 1 - header - at for number, _, _ in skipped], np.int64)
        record = np.delete(np.arange(batch.num_rows + len(skipped)), places)
        breaks = np.zeros(batch.num_rows + len(skipped), np.int64)
        breaks[places] = [text.count("\n") for _, text, _ in skipped]
        if quoted:
            breaks[record] = _breaks(batch, rows)
        lines = at + 1 + header + n_breaks + np.arange(len(breaks)) + np.cumsum(breaks) - breaks
        for place, (_, text, reason) in zip(places, skipped, strict=True):
            _require_closed(path, int(lines[place]), text, names, separator)
            reject(int(lines[place]), text[:_LONGEST_TOLD], reason)
        for row in np.flatnonzero(breaks[record]):
            for text in rows.row(int(row)):
                _require_closed(path, int(lines[record[row]]), text or "", names, separator)
        at, n_breaks = at + len(breaks), n_breaks + int(breaks.sum())
        rows, own = _without_nothing(rows, lines[record])
        rows = rows.select(columns)
        for start in range(0, len(rows), FRAME_ROWS):
            yield Frame(rows.slice(start, FRAME_ROWS), own[start : start + FRAME_ROWS])
    for number, text, reason in bad:
        _require_closed(path, number + n_breaks, text, names, separator)
        reject(number + n_breaks, text[:_LONGEST_TOLD], reason)


def not_encoded(path: Path, encoding: str, where: str) -> SourceUnreadableError:
    """The error for bytes that the encoding does not have."""
    name = "UTF-8" if encoding == "utf-8" else encoding
    do = "save it as UTF-8, such as with iconv, or name its `encoding` beside `files` in ringfence.yaml"
    return SourceUnreadableError(path, f"is not {name}: {where}", do)


def _unnamed(at: int, taken: set[str]) -> str:
    name = f"column_{at + 1}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _has_quotes(path: Path, encoding: str) -> bool:
    """Whether a cell may hold line breaks: most files have no quotation mark at all."""
    if path.stat().st_size == 0 or encoding.startswith(("utf-16", "utf-32")):
        return True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b'"') >= 0


def _breaks(batch: pa.RecordBatch, rows: pl.DataFrame) -> NDArray[np.int64]:
    """(n,) the line breaks within the cells of each row."""
    found = np.zeros(rows.height, np.int64)
    for at, column in enumerate(batch.columns):
        content = column.buffers()[2]
        if content is not None and (np.frombuffer(content, np.uint8) == 10).any():
            found += rows.to_series(at).str.count_matches("\n", literal=True).fill_null(0).to_numpy()
    return found


def _require_closed(path: Path, line: int, text: str, names: list[str], separator: str) -> None:
    """Refuse a text that holds a whole line of the file within quotation marks: one of them is one too many."""
    inner = text.split("\n")[1:]
    if len(names) > 1 and any(part.count(separator) == len(names) - 1 for part in inner):
        raise SourceUnreadableError(
            path,
            f"a quotation mark opens on line {line:,} and swallows {len(inner):,} lines ({inner[0][:60]!r}, …)",
            "close it there; within a text, write a quotation mark twice and put the text into quotation marks",
        )


def _without_nothing(rows: pl.DataFrame, lines: NDArray[np.int64]) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    if not rows.width or min(column.null_count() for column in rows.iter_columns()) == 0:
        return rows, lines
    given = ~rows.select(pl.all_horizontal(pl.all().is_null())).to_series()
    return rows.filter(given), lines[given.to_numpy()]
