# SPDX-License-Identifier: Apache-2.0
"""What the next writer does first: finish or undo what an interrupted import left behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import polars as pl

from ringfence.ledger.erasable import Erasable
from ringfence.ledger.segments import NAMES, PERSONAL, SEGMENTS, list_segments

SCRATCH: Final = "importing"


def recover(directory: Path, connection: sqlite3.Connection) -> None:
    """Remove scratch files and segments that no transaction made visible; bring pending names into the directory.

    Personal values whose events never became durable go, too. Only the holder of the writer lock may call this.
    """
    shutil.rmtree(directory / SCRATCH, ignore_errors=True)
    with closing(Erasable(directory)) as erasable:
        last_seq = connection.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0]
        erasable.drop_personal_after(last_seq)
    visible = {segment.path for segment in list_segments(connection)}
    for folder in sorted((directory / SEGMENTS).glob("*")):
        if folder.name not in visible:
            shutil.rmtree(folder)
        else:
            load_erasable(directory, folder)


def is_unfinished(directory: Path) -> bool:
    """Whether an import is under way, or one that was interrupted left something for `recover`."""
    waiting = ((directory / SEGMENTS).glob(f"*/{name}") for name in (NAMES, PERSONAL))
    return (directory / SCRATCH).exists() or any(True for files in waiting for _ in files)


def load_erasable(directory: Path, folder: Path) -> None:
    """Move a segment's names and personal values into `erasable.db`. Interrupted, it can be done again."""
    names, personal = folder / NAMES, folder / PERSONAL
    if not names.exists() and not personal.exists():
        return
    erasable = Erasable(directory)
    try:
        if names.exists():
            for frame in pl.scan_parquet(names, glob=False).collect_batches(chunk_size=131_072, maintain_order=True):
                erasable.add(frame.select("digest", "entity_type", "entity_id").iter_rows(), ())
        if personal.exists():
            for frame in pl.scan_parquet(personal, glob=False).collect_batches(chunk_size=131_072, maintain_order=True):
                erasable.add((), frame.select("event_seq", "name", "value").iter_rows())
        erasable.flush()
    finally:
        erasable.close()
    names.unlink(missing_ok=True)
    personal.unlink(missing_ok=True)
    sync_directory(folder)


def sync_directory(path: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
