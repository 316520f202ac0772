# SPDX-License-Identifier: Apache-2.0
"""`--output FILE`: a frame on disk, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.cli.exits import UsageError

if TYPE_CHECKING:
    import polars as pl


def require_folder(output: Path) -> None:
    """Look before the work begins whether its result has a place.

    Raises
    ------
    UsageError
        If the file's folder does not exist.
    """
    if not output.resolve().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.resolve().parent}")


def write_whole(frame: pl.DataFrame, output: Path) -> None:
    """Write Parquet beside its place first: a reader, or an interrupt, meets the whole file or none."""
    unfinished = output.with_name(f".{output.name}.unfinished")
    frame.write_parquet(unfinished)
    unfinished.replace(output)
