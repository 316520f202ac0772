# SPDX-License-Identifier: Apache-2.0
"""A lookup file, prepared: from a key, a number or an address, and a time, to the value that held then.

rows   1: 10..19 A until May    2: 10..19 B from May on    3: 30..39 C
cells  [10, 20) -> A until May, B from May    [20, 30) -> nothing    [30, 40) -> C
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.derivations import number_of
from ringfence.scenario.ip_address import ip_address, plain_ipv4
from ringfence.scenario.lookup_faults import Faults

Value = str | float
Bounds = NDArray[Any]  # float64, or IPV6_KEY
ALWAYS_FROM: Final = np.iinfo(np.int64).min
ALWAYS_TO: Final = np.iinfo(np.int64).max
NOWHERE: Final = -1
IPV6_KEY: Final = "S17"  # 128 bits and a byte for 2^128, big endian: bytes that sort as the numbers do


class Entries:
    """What holds in each cell, by the time from which on it holds. Cell c owns entries `first[c]:first[c + 1]`.

    Parameters
    ----------
    first : (cells + 1,)
    from_ms : (entries,) inclusive; ascending within a cell.
    to_ms : (entries,) exclusive.
    row : (entries,) of the file.
    """

    __slots__ = ("_first", "_from_ms", "_row", "_to_ms", "_views")

    def __init__(
        self,
        first: NDArray[np.int64],
        from_ms: NDArray[np.int64],
        to_ms: NDArray[np.int64],
        row: NDArray[np.int64],
    ) -> None:
        self._first, self._from_ms, self._to_ms, self._row = first, from_ms, to_ms, row
        # Of one event: a memory view gives plain numbers, in a tenth of the time of a numpy scalar.
        self._views = (first.data, from_ms.data, to_ms.data, row.data)

    def row_at(self, cell: int, time_ms: int) -> int:
        """The row that holds in a cell at a time; NOWHERE where none does."""
        if cell < 0:
            return NOWHERE
        first, from_ms, to_ms, row = self._views
        begin = first[cell]
        at = bisect_right(from_ms, time_ms, begin, first[cell + 1]) - 1
        return row[at] if at >= begin and time_ms < to_ms[at] else NOWHERE

    def rows_at(self, cells: NDArray[np.int64], time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """`row_at` for many; all of shape (n,)."""
        found = np.full(cells.shape, NOWHERE, np.int64)
        inside = np.flatnonzero(cells >= 0)
        low, high = self._first[cells[inside]], self._first[cells[inside] + 1]  # the answer is the entry before `low`
        begin, time_ms = low.copy(), time_ms[inside]
        while len(open_ := np.flatnonzero(low < high)):
            middle = (low[open_] + high[open_]) // 2
            is_left = time_ms[open_] < self._from_ms[middle]
            high[open_] = np.where(is_left, middle, high[open_])
            low[open_] = np.where(is_left, low[open_], middle + 1)
        hit = np.flatnonzero(low > begin)
        hit = hit[time_ms[hit] < self._to_ms[low[hit] - 1]]
        found[inside[hit]] = self._row[low[hit] - 1]
        return found


def entries_of(
    cell: NDArray[np.int64], row: NDArray[np.int64], from_ms: NDArray[np.int64], to_ms: NDArray[np.int64], n_cells: int
) -> Entries:
    """Sort what holds where; all of shape (entries,). No two of a cell hold at the same time."""
    order = np.lexsort((from_ms, cell))
    first = np.searchsorted(cell[order], np.arange(n_cells + 1))
    return Entries(first.astype(np.int64), from_ms[order], to_ms[order], row[order])


class Ranges(NamedTuple):
    """Cells between the bounds of ranges, in an order that numpy can search: float64, or `IPV6_KEY`."""

    cuts: Bounds  # (cells,) ascending: cell c is [cuts[c], cuts[c + 1])
    entries: Entries


Locate = Callable[[str], tuple[Entries, int]]


class LookupTable:
    """Answers for one `lookup:`; holds no file.

    Parameters
    ----------
    locate : from a text to (entries, cell); the cell is NOWHERE where the text is no key, number or address.
    values : of each row of the file.
    v4 : the ranges in which IPv4 addresses are found, if they are: a column of them is then searched as a whole.
    reads : whether a text is a number or an address that could lie in the table; None: every text is a key.
    faults : rows of the file that cannot be followed and are let be, where somebody asked for them.
    """

    def __init__(
        self,
        locate: Locate,
        values: list[Value],
        v4: Ranges | None = None,
        *,
        reads: Callable[[str], bool] | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults
        self._reads = reads
        self._locate = locate
        self._values = values
        self._v4 = v4

    def value_at(self, text: str, time_ms: int) -> Value | None:
        """The value for a key, number or address at a time; None where the table has none."""
        entries, cell = self._locate(text)
        row = entries.row_at(cell, time_ms)
        return None if row < 0 else self._values[row]

    def reads(self, text: str) -> bool:
        """Whether a text is something that could be in the table; else it is malformed."""
        return self._reads is None or self._reads(text)

    def values_at(self, texts: pl.Series, codes: NDArray[np.int64], time_ms: NDArray[np.int64]) -> list[Value | None]:
        """`value_at` for n events; `codes` says which of the distinct `texts` each has, negative for none."""
        found = np.full(len(codes), NOWHERE, np.int64)
        for entries, cells in self._cells(texts):
            rows = entries.rows_at(np.append(cells, NOWHERE)[codes], time_ms)
            found[rows >= 0] = rows[rows >= 0]
        return [None if row < 0 else self._values[row] for row in found.tolist()]

    def _cells(self, texts: pl.Series) -> list[tuple[Entries, NDArray[np.int64]]]:
        """The cell of each text in each of the entries where any of them is found."""
        located: dict[int, tuple[Entries, NDArray[np.int64]]] = {}

        def cells_in(entries: Entries) -> NDArray[np.int64]:
            if id(entries) not in located:
                located[id(entries)] = (entries, np.full(len(texts), NOWHERE, np.int64))
            return located[id(entries)][1]

        rest = np.arange(len(texts))
        if self._v4 is not None:
            numbers = plain_ipv4(texts)
            plain = np.flatnonzero(~np.isnan(numbers))
            cells_in(self._v4.entries)[plain] = self._v4.cuts.searchsorted(numbers[plain], side="right") - 1
            rest = np.flatnonzero(np.isnan(numbers))
        for at, text in zip(rest.tolist(), texts.gather(rest).to_list(), strict=True):
            entries, cell = self._locate(text)
            cells_in(entries)[at] = cell
        return list(located.values())


def key_locator(cells: dict[str, int], entries: Entries) -> Locate:
    """Find the cell of an exact key."""
    return lambda text: (entries, cells.get(text, NOWHERE))


def number_locator(ranges: Ranges, *, whole: bool) -> Locate:
    """Find the cell of a number, or of an IPv4 address as the number it stands for.

    `whole` : all bounds are whole numbers, so fractions of what is looked up are cut off.
    """
    cuts, entries = ranges.cuts.data, ranges.entries

    def locate(text: str) -> tuple[Entries, int]:
        number = number_looked_up(text)
        if number is None:
            return entries, NOWHERE
        if whole:
            number = float(math.floor(number))
        return entries, bisect_right(cuts, number) - 1

    return locate


def number_looked_up(text: str) -> float | None:
    """The number that a text writes out, or stands for as an IPv4 address; None where it is neither."""
    number = number_of(text) if text.count(".") < 2 else None
    if number is None:
        address = ip_address(text)
        if address is None or address.version != 4:
            return None
        number = float(address.number)
    return number


def address_locator(v4: Ranges, v6: Ranges) -> Locate:
    """Find the cell of an IP address, in the ranges of its version."""
    v4_cuts, v6_cuts = v4.cuts.data, v6.cuts

    def locate(text: str) -> tuple[Entries, int]:
        address = ip_address(text)
        if address is None:
            return v4.entries, NOWHERE
        if address.version == 4:
            return v4.entries, bisect_right(v4_cuts, address.number) - 1
        return v6.entries, int(v6_cuts.searchsorted(np.bytes_(ipv6_key(address.number)), side="right")) - 1

    return locate


def ipv6_key(number: int) -> bytes:
    """A 128-bit number, 2^128 included, as bytes in its order."""
    return number.to_bytes(17, "big")
