# SPDX-License-Identifier: Apache-2.0
"""JSON lines as frames: one object a line; what is nested becomes columns named by its path, such as device.os.

Every cell is the text that a CSV file would hold, so both kinds of file take the same way from here. A list of texts,
numbers or truths stays a list; one of objects is a text of JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from ringfence.ledger.text_files import FRAME_ROWS, Frame, RejectLine

_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")
_LONGEST_TOLD: Final = 200  # characters of a bad line
_DEEPEST: Final = 8  # objects within objects; what lies deeper is a text of JSON
_MARK: Final = "\ufeff".encode()


def is_json_lines(path: Path) -> bool:
    """Tell JSON lines by the first line, which is an object of its own; the name has to say JSON, or nothing."""
    if path.suffix.lower() not in (*_SUFFIXES, ""):
        return False
    with path.open("rb") as file:
        first, second = file.readline().removeprefix(_MARK).strip(), file.readline().strip()
    is_lines = path.suffix.lower() != ".json" or second.startswith(b"{")  # a .json of one line is one document
    return is_lines and first.startswith(b"{") and _object(first) is not None


def json_names(path: Path) -> list[str]:
    """The columns of a file, in the order in which they first come up."""
    return list(_kinds(path))


def json_frames(path: Path, columns: list[str], reject: RejectLine) -> Iterator[Frame]:
    """Yield some columns of a file in frames of 131,072 rows. A line that is no object is rejected."""
    kinds = _kinds(path)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(_MARK).strip() if number == 1 else line.strip()
            if not text:
                continue
            found = _object(text)
            if found is None:
                reject(number, text[:_LONGEST_TOLD].decode("utf-8", "replace"), "is no JSON object of its own")
                continue
            rows.append(_flat(found))
            lines.append(number)
            if len(rows) == FRAME_ROWS:
                yield _frame(rows, lines, columns, kinds)
                rows, lines = [], []
    if rows:
        yield _frame(rows, lines, columns, kinds)


def _kinds(path: Path) -> dict[str, bool]:
    """Each column of a file, and whether any of its cells is a list."""
    state = path.stat()
    return _kinds_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _kinds_of(path: Path, mtime_ns: int, size: int) -> dict[str, bool]:
    kinds: dict[str, bool] = {}
    silent: set[str] = set()  # what is null wherever it stands
    with path.open("rb") as file:
        for line in file:
            found = _object(line.removeprefix(_MARK).strip())
            for name, value in _flat(found or {}).items():
                if name not in kinds:
                    silent.add(name)
                if value is not None:
                    silent.discard(name)
                kinds[name] = kinds.get(name, False) or isinstance(value, list)
    objects = {name.rpartition(".")[0] for name in kinds}
    return {name: is_list for name, is_list in kinds.items() if name not in silent & objects}


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _flat(found: dict[str, Any], before: str = "", depth: int = 1) -> dict[str, Any]:
    """Path -> text, list of texts, or None; an empty object says nothing."""
    flat: dict[str, Any] = {}
    for key, value in found.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            flat.update(_flat(value, f"{before}{key}.", depth + 1))
        else:
            flat[f"{before}{key}"] = _cell(value)
    return flat


def _cell(value: Any) -> Any:
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return [_text(item) for item in value if item is not None]
    return _text(value)


def _text(value: Any) -> str | None:
    match value:
        case None | "":
            return None
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
    return msgspec.json.encode(value).decode()


def _frame(rows: list[dict[str, Any]], lines: list[int], columns: list[str], kinds: dict[str, bool]) -> Frame:
    made = {}
    for name in columns:
        cells = [row.get(name) for row in rows]
        if kinds.get(name, False):
            listed = [[cell] if isinstance(cell, str) else cell for cell in cells]
            made[name] = pl.Series(name, listed, dtype=pl.List(pl.String))
        else:
            made[name] = pl.Series(name, cells, dtype=pl.String)
    return Frame(pl.DataFrame(made), np.array(lines, np.int64))
