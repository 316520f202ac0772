# SPDX-License-Identifier: Apache-2.0
"""Parquet files written as their rows come, so that a world of any size needs the memory of a chunk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from ringfence.simulate.calendar import BLOCK

_MAX_ROWS: Final = 16 * BLOCK


class RowGroups:
    """One Parquet file, written as it comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def write(self, table: pl.DataFrame, chunk_rows: int) -> None:
        arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, arrow.schema, compression="zstd")
        self._writer.write_table(arrow, row_group_size=min(chunk_rows, _MAX_ROWS))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class FilesSideBySide:
    """Several Parquet files whose rows belong together, `chunk_rows` of each written at a time."""

    def __init__(self, paths: tuple[Path, ...], chunk_rows: int) -> None:
        self._chunk_rows = max(chunk_rows, 1)
        self._waiting: tuple[list[pl.DataFrame], ...] = tuple([] for _ in paths)
        self._files = tuple(RowGroups(path) for path in paths)

    def add(self, *tables: pl.DataFrame) -> None:
        for waiting, table in zip(self._waiting, tables, strict=True):
            waiting.append(table)
        if sum(table.height for table in self._waiting[0]) >= self._chunk_rows:
            self._flush()

    def _flush(self) -> None:
        for waiting, file in zip(self._waiting, self._files, strict=True):
            if waiting:
                file.write(pl.concat(waiting), self._chunk_rows)
                waiting.clear()

    def close(self) -> None:
        self._flush()
        for file in self._files:
            file.close()


def write_tables(path: Path, tables: Iterator[pl.DataFrame], chunk_rows: int) -> None:
    """Write tables of one schema to one file, each as it comes."""
    file = RowGroups(path)
    try:
        for table in tables:
            file.write(table, chunk_rows)
    finally:
        file.close()
