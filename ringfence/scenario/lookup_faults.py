# SPDX-License-Identifier: Apache-2.0
"""Rows of a lookup file that cannot be followed: all kinds at once, each row under the first that it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

_MOST_SHOWN: Final = 3  # rows named in a message, of each kind
_SCHEMA: Final = {"row": pl.Int64(), "found": pl.String(), "reason": pl.String()}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault, and the rows that show it."""

    what: str  # such as "a range whose `from` lies above its `to`"
    do: str
    setting: str  # of `lookup`, by which rows of this kind can be let be
    rows: tuple[int, ...]  # of the file, from 1, without the header; ascending
    found: tuple[str, ...]  # what stands there, one per row; empty where there is nothing to show
    is_followed: bool  # the scenario says what to do with such rows, so they stop nothing
    note: str = ""  # what stands out about the rows together

    @property
    def told(self) -> str:
        """The kind, how many rows show it, and the first of them."""
        shown = [
            f"row {row:,}{f' ({found})' if found else ''}"
            for row, found in zip(self.rows[:_MOST_SHOWN], self.found, strict=False)
        ]
        more = f", and {len(self.rows) - _MOST_SHOWN:,} more" if len(self.rows) > _MOST_SHOWN else ""
        return f"{len(self.rows):,} x {self.what}: {', '.join(shown)}{more}{self.note and f' ({self.note})'}"


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a lookup file. A row is counted once, under the first fault that it shows."""

    file: str
    where: str  # event type and name of the derived value
    n_rows: int  # of the file
    kinds: tuple[Fault, ...]
    n_rounded: int = 0  # of the rows with a fault, those with a bound that a spreadsheet may have rounded

    @property
    def n_bad(self) -> int:
        return sum(len(kind.rows) for kind in self.kinds)

    @property
    def rounded(self) -> str:
        """What rounding may have done, in words; empty where no bound looks like it."""
        if not self.n_rounded:
            return ""
        return (
            f"{self.n_rounded:,} of them have, or overlap, a bound that ends in five zeros or more: a spreadsheet may "
            "have rounded it (1540000000 for 1536000000), and where ranges follow each other, the row before tells "
            "what stood there"
        )

    @property
    def told(self) -> str:
        """What is done about the rows that are let be, in words."""
        kinds = "; ".join(kind.told for kind in self.kinds)
        settings = ", ".join(dict.fromkeys(kind.setting for kind in self.kinds))
        rounded = f"; {self.rounded}" if self.rounded else ""
        return (
            f"{self.file}, looked up by derive.{self.where}: {self.n_bad:,} of {self.n_rows:,} rows have a fault, and "
            f"are read by `{settings}`: {kinds}{rounded}"
        )

    def frame(self) -> pl.DataFrame:
        """One line per bad row: row, found, reason; ascending."""
        parts = [
            pl.DataFrame({"row": kind.rows, "found": kind.found, "reason": [kind.what] * len(kind.rows)}, _SCHEMA)
            for kind in self.kinds
        ]
        return pl.concat(parts).sort("row", maintain_order=True) if parts else pl.DataFrame(schema=_SCHEMA)


class _Noted(NamedTuple):
    rows: NDArray[np.int64]  # places in the table, not numbers of rows
    fault: Fault  # without what its rows show: texts are made where somebody asks for them
    show: Callable[[int], str]


class FaultFinder:
    """Collects faults of rows; whoever is bad already is not counted again.

    Parameters
    ----------
    numbers : shape (n,), the row of the file that each row looked at is.
    """

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self._numbers = numbers
        self._good = np.ones(len(numbers), np.bool_)
        self._noted: list[_Noted] = []

    def add(
        self,
        bad: NDArray[np.bool_],
        what: str,
        do: str,
        *,
        setting: str,
        is_followed: bool,
        show: Callable[[int], str] = lambda _: "",
        note: str = "",
    ) -> None:
        """Note the rows where `bad`, shape (n,); `show` says what stands in one of them, `note` what in all."""
        rows = np.flatnonzero(bad & self._good)
        if not len(rows):
            return
        self._good[rows] = False
        fault = Fault(what=what, do=do, setting=setting, rows=(), found=(), is_followed=is_followed, note=note)
        self._noted.append(_Noted(rows, fault, show))

    @property
    def good(self) -> NDArray[np.bool_]:
        """(n,) rows without a fault so far."""
        return self._good.copy()

    @property
    def stops(self) -> bool:
        """Whether some rows have a fault that nothing says what to do about."""
        return any(not noted.fault.is_followed for noted in self._noted)

    def n_of(self, setting: str) -> int:
        """Rows with a fault that a setting is for."""
        return sum(len(noted.rows) for noted in self._noted if noted.fault.setting == setting)

    @property
    def kinds(self) -> tuple[Fault, ...]:
        """What was found, each row with what stands there."""
        return tuple(
            msgspec.structs.replace(
                noted.fault,
                rows=tuple(self._numbers[noted.rows].tolist()),
                found=tuple(noted.show(row) for row in noted.rows.tolist()),
            )
            for noted in self._noted
        )
