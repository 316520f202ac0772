# SPDX-License-Identifier: Apache-2.0
"""Where an id stands in the clear: as a word of a text, or in the bytes of a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Final

_CHUNK: Final = 1 << 20


def is_quoted(entity_id: str, text: str) -> bool:
    """Whether a text holds an id as a word of its own, in any case: `7` is no part of `2027`."""
    return _in_text(entity_id).search(text) is not None


def quoting_files(folder: Path, entity_id: str, leave_out: frozenset[Path]) -> Iterator[Path]:
    """Yield the files below a folder that hold an id as a word: plain, or as JSON or HTML write it. Sorted.

    Reads every byte, so that what is compressed (Parquet, Arrow) is not seen through.

    Parameters
    ----------
    leave_out : folders and files that are not looked into.
    """
    pattern = _in_bytes(entity_id)
    overlap = max(len(spelling) for spelling in _spellings(entity_id)) + 1  # with the byte before and the byte after
    for path in sorted(folder.iterdir()):
        if path in leave_out or path.is_symlink():
            continue
        if path.is_dir():
            yield from quoting_files(path, entity_id, leave_out)
        elif path.is_file() and _holds(path, pattern, overlap):
            yield path


def _holds(path: Path, pattern: re.Pattern[bytes], overlap: int) -> bool:
    try:
        with path.open("rb") as file:
            kept, chunk = b"", file.read(_CHUNK)
            while chunk:
                window, following = kept + chunk, file.read(_CHUNK)
                # At the seams one neighbour is unknown: what lies there is whole in the window before, or after.
                first, last = 1 if kept else 0, len(window) - (1 if following else 0)
                if any(first <= at.start() and at.end() <= last for at in pattern.finditer(window)):
                    return True
                kept, chunk = window[-overlap:], following
    except FileNotFoundError:  # removed meanwhile, as a service does with its snapshots
        return False
    return False


def _spellings(entity_id: str) -> set[bytes]:
    texts = {entity_id, escape(entity_id), json.dumps(entity_id)[1:-1], json.dumps(entity_id, ensure_ascii=False)[1:-1]}
    return {text.encode() for text in texts}


@lru_cache(maxsize=8)
def _in_bytes(entity_id: str) -> re.Pattern[bytes]:
    spellings = b"|".join(re.escape(spelling) for spelling in sorted(_spellings(entity_id)))
    return re.compile(rb"(?<![0-9A-Za-z_])(?:" + spellings + rb")(?![0-9A-Za-z_])", re.IGNORECASE)


@lru_cache(maxsize=8)
def _in_text(entity_id: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(entity_id)}(?!\w)", re.IGNORECASE)
