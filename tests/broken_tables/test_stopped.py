# SPDX-License-Identifier: Apache-2.0
"""Files that no scenario can be drafted from: each stops with what, where, what was found and what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from ringfence.cli.exits import Exit
from tests.broken_tables.walk import NAMES, Walk, payments, text

HEADER = ",".join(NAMES)


def lines_with(line: int, change: Callable[[str], str], *more: tuple[int, Callable[[str], str]]) -> str:
    """The table with some lines changed; the header is line 1."""
    lines = text().splitlines()
    for at, how in ((line, change), *more):
        lines[at - 1] = how(lines[at - 1])
    return "\n".join(lines) + "\n"


def opened(line: str) -> str:
    return line.replace(",c", ',"c', 1)


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return content.getvalue()


def parquet() -> bytes:
    content = io.BytesIO()
    pl.DataFrame(payments()).write_parquet(content)
    return content.getvalue()


def arrow() -> bytes:
    content = io.BytesIO()
    pl.DataFrame(payments()).write_ipc(content)
    return content.getvalue()


CASES: dict[str, tuple[str, bytes | str, tuple[str, ...]]] = {
    "an empty file": ("t.csv", b"", ("is empty (0 bytes)", "export it again")),
    "a byte order mark and nothing else": ("t.csv", b"\xef\xbb\xbf", ("an empty first line", "delete what stands")),
    "empty lines only": ("t.csv", "\n\n\n", ("an empty first line", "delete what stands above")),
    "a header only": ("t.csv", HEADER + "\n", ("no row, at most a header", "with some history")),
    "no header": (
        "t.csv",
        text().split("\n", 1)[1],
        ("a first line that is a row", "add a line that names the columns"),
    ),
    "a title above rows without names": (
        "t.csv",
        "Export of payments\n\n" + "\n".join([*text().splitlines()[1:], text().splitlines()[1]]) + "\n",
        ("121 of 121, such as line 3, which has 8 fields, the header has 1", "delete what stands above it"),
    ),
    "a field more in every row": (
        "t.csv",
        HEADER + "\n" + "".join(line + ",\n" for line in text().splitlines()[1:]),
        ("120 of 120, such as line 2, which has 9 fields, the header has 8", "a name for every column"),
    ),
    "two columns of one name": (
        "t.csv",
        text().replace("hour", "amount", 1),
        ("names a column twice: ['amount']", "rename one of them"),
    ),
    "a name with a line break": (
        "t.csv",
        text().replace("hour", '"ho\nur"', 1),
        ("a first line that ends within quotation marks", "line breaks"),
    ),
    "a quotation mark that never closes": (
        "t.csv",
        lines_with(50, opened),
        ("a quotation mark opens on line 50 and swallows 71 lines", "close it there"),
    ),
    "a quotation mark that closes ten lines later": (
        "t.csv",
        lines_with(50, opened, (60, opened)),
        ("a quotation mark opens on line 50 and swallows 10 lines", "close it there"),
    ),
    "a quotation mark within the last line": (
        "t.csv",
        lines_with(119, opened),
        ("a quotation mark opens on line 119 and swallows 2 lines",),
    ),
    "NUL in a cell": ("t.csv", text().replace("shop", "sh\0p", 1), ("holds a NUL byte on line ", "UTF-16")),
    "NUL at the end": ("t.csv", text() + 512 * "\0", ("holds a NUL byte on line 122", "save it as UTF-8")),
    "most of it UTF-8": (
        "t.csv",
        text().encode().replace(b"web", "wéb".encode()).replace(b"phone", b"phon\xe9", 1),
        ("not UTF-8 (byte 0xe9 on line ", "though most of it is", "iconv"),
    ),
    "Japanese in Shift JIS": (
        "t.csv",
        text(payments(channel=["電話"] * 60 + ["店"] * 60)).encode("shift_jis"),
        ("not UTF-8 (byte 0x93 on line 2), nor cp1252; ", "iconv -f ENCODING"),
    ),
    "fields with tildes between": (
        "t.csv",
        text(separator="~"),
        ("its fields seem to be separated by '~'", "commas, semicolons, tabs or bars"),
    ),
    "fields with spaces between": ("t.txt", text(separator=" "), ("separated by ' '", "commas, semicolons")),
    "a spreadsheet": ("t.xlsx", zipped(), ("a spreadsheet (.xlsx, .ods) or a zip archive", "save its table as CSV")),
    "a spreadsheet under the name of a CSV": ("t.csv", zipped(), ("a spreadsheet", "save its table as CSV")),
    "an old spreadsheet": ("t.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), ("an old spreadsheet (.xls)",)),
    "compressed with gzip": ("t.csv.gz", gzip.compress(text().encode()), ("compressed with gzip", "unpack it first")),
    "compressed with bzip2": ("t.csv.bz2", bz2.compress(text().encode()), ("compressed with bzip2", "unpack it")),
    "compressed with xz": ("t.csv", lzma.compress(text().encode()), ("compressed with xz", "unpack it first")),
    "compressed with zstd": ("t.csv.zst", b"\x28\xb5\x2f\xfd" + bytes(range(100)), ("compressed with zstd", "unpack")),
    "Arrow": ("t.feather", arrow(), ("an Arrow (Feather) file", "save its table as CSV (UTF-8) or Parquet")),
    "JSON": (
        "t.json",
        pl.DataFrame(payments()).write_json(),
        ("is JSON, neither CSV, JSON lines nor", "JSON lines, one object a line"),
    ),
    "a JSON document on one line": (
        "t.json",
        '{"rows": [{"a": 1}, {"a": 2}]}\n',
        ("is JSON, neither CSV, JSON lines nor",),
    ),
    "a web page": ("t.csv", "<!DOCTYPE html><html>Please log in, first</html>\n", ("is a web page", "log in")),
    "a PDF": ("t.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1,2,3\n", ("is a PDF", "save its table as CSV")),
    "Parquet under the name of a CSV": ("t.csv", parquet(), ("is Parquet under another name", "ends in .parquet")),
    "CSV under the name of Parquet": ("t.parquet", text(), ("it does not begin like it", "a name that ends in .csv")),
    "Parquet cut off": ("t.parquet", parquet()[:-60], ("cannot be read as Parquet", "export it again")),
}


@pytest.mark.parametrize("case", CASES)
def test_init_stops_with_what_where_found_and_do(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = Walk(tmp_path, capsys)
    name, content, pieces = CASES[case]
    file = walk.file(content, name)
    said = walk.init(file)
    assert said.code == Exit.BAD_INPUT
    assert said.err.startswith(f"ringfence: {file}: ")
    assert said.err.endswith("nothing was written\n")
    for piece in pieces:
        assert piece in said.err
    assert walk.nothing_is_left()


def test_init_stops_at_what_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = Walk(tmp_path, capsys)
    (tmp_path / "folder").mkdir()
    assert "a folder; name the files in it" in walk.init(tmp_path / "folder").err
    assert "no such file; correct the path" in walk.init(tmp_path / "nowhere.csv").err
    assert "no regular file; correct the path" in walk.init(Path("/dev/null")).err
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("CREATE TABLE payments (amount REAL)")
    database.close()
    assert "is an SQLite database" in walk.init(tmp_path / "t.db").err
    assert walk.nothing_is_left()


@pytest.mark.parametrize(
    ("content", "piece"),
    [
        (lines_with(50, opened), "a quotation mark opens on line 50 and swallows 71 lines"),
        (text().replace("hour,", "", 1), "has no column 'hour' (attributes.hour)"),
        (text().replace("shop", "sh\0p", 1), "holds a NUL byte on line "),
        (text().encode().replace(b"shop", b"sh\xf6p", 1), "is not UTF-8: byte 0xf6 on line "),
        (b"", "is empty (0 bytes)"),
        (gzip.compress(text().encode()), "compressed with gzip"),
    ],
)  # fmt: skip
def test_import_of_a_file_that_broke_since_the_draft_loads_nothing(
    content: bytes | str, piece: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk = Walk(tmp_path, capsys)
    assert walk.init(walk.file(text())).code == Exit.OK
    walk.file(content)
    for said in (walk.check(), walk.load()):
        assert said.code == Exit.BAD_INPUT
        assert "t.csv" in said.err
        assert piece in said.err
    assert not list(walk.workspace.glob("ledger/**/segments/*"))
    assert walk.rejects() == []
    walk.file(text())
    assert walk.load().code == Exit.OK
    assert walk.events().height == 120


def test_import_of_a_folder_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = Walk(tmp_path, capsys)
    file = walk.file(text())
    assert walk.init(file).code == Exit.OK
    file.unlink()
    file.mkdir()
    said = walk.load()
    assert said.code == Exit.BAD_INPUT
    assert "t.csv: is a folder; name the files in it" in said.err
