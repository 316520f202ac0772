# SPDX-License-Identifier: Apache-2.0
"""Rows of a file that were not let in, each with its reasons."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.errors import shown, withheld

_SCHEMA: Final = {"row": pl.Int64(), "column": pl.String(), "found": pl.String(), "reason": pl.String()}


class Rejects:
    """Collects bad cells of one frame; a row with one bad cell is bad."""

    def __init__(self, source: pl.DataFrame, first_row: int) -> None:
        self._source = source
        self._first_row = first_row
        self._bad = np.zeros(source.height, np.bool_)
        self._parts: list[pl.DataFrame] = []

    def add(self, column: str, bad: NDArray[np.bool_], reason: str, *, personal: bool = False) -> None:
        """Reject the rows where `bad`, shape (n,), for what `column` holds there; a personal value is not shown."""
        if not bad.any():
            return
        self._bad |= bad
        at = np.flatnonzero(bad)
        describe = withheld if personal else shown
        found = [describe(value) for value in self._source[column].gather(at).to_list()]
        n = len(at)
        part = {"row": at + self._first_row, "column": [column] * n, "found": found, "reason": [reason] * n}
        self._parts.append(pl.DataFrame(part, schema=_SCHEMA))

    def is_empty(self) -> bool:
        return not self._parts

    def good(self) -> NDArray[np.bool_]:
        return ~self._bad

    def frame(self) -> pl.DataFrame:
        """One line per bad cell, by row."""
        if not self._parts:
            return pl.DataFrame(schema=_SCHEMA)
        return pl.concat(self._parts).sort("row", maintain_order=True)
