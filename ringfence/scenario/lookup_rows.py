# SPDX-License-Identifier: Apache-2.0
"""One lookup on its way from the rows of a file to an index: what they say, and which cannot be followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.derivations import input_texts, number_of
from ringfence.scenario.derived import BadRows, Derived, Lookup, Overlaps
from ringfence.scenario.errors import LookupFileError, LookupRowsError, did_you_mean, shown
from ringfence.scenario.identity import id_texts
from ringfence.scenario.ip_address import ip_address, plain_ipv4
from ringfence.scenario.lookup_faults import FaultFinder, Faults
from ringfence.scenario.lookup_overlaps import Overlapping, narrowest, overlapping
from ringfence.scenario.lookup_table import (
    ALWAYS_FROM,
    ALWAYS_TO,
    IPV6_KEY,
    Bounds,
    LookupTable,
    Ranges,
    Value,
    address_locator,
    entries_of,
    ipv6_key,
    key_locator,
    number_locator,
    number_looked_up,
)
from ringfence.scenario.spec import Attribute, AttributeType
from ringfence.scenario.times import moments_ms
from ringfence.scenario.values import canonical_values

_LARGEST: Final = 2.0**53  # exclusive: beyond it float64 skips whole numbers
_MOST_CELLS: Final = 20_000_000
_ROUNDED: Final = 100_000.0  # a large bound that this divides may have lost its digits
_LOOKED_AT: Final = 100  # bounds that tell whether a table is of numbers or of addresses
_LONGEST_SHOWN: Final = 45  # characters of a bound
_NONE: Final = -1
_MOST_NAMED: Final = 3  # rows that many others overlap
_ROW: Final = "\x1frow"
_SKIP, _NARROWEST = "bad_rows: skip", "overlaps: narrowest"
Ints = NDArray[np.int64]
Marks = NDArray[np.bool_]
Show = Callable[[int], str]
Overlapped = Ints  # (n,) one that each row overlaps, or _NONE


class LookupRows:
    """The rows of a table that have a value. Rows are counted from 1 in errors, without the header.

    Parameters
    ----------
    tells : whether the table is to say which rows were let be; it takes a text for each of them.

    Raises
    ------
    LookupFileError
        If a column is missing, or there is no row.
    """

    def __init__(
        self, derived: Derived, lookup: Lookup, where: str, frame: pl.DataFrame, time_zone: str, *, tells: bool
    ) -> None:
        self._derived, self._lookup, self._where, self._zone = derived, lookup, where, time_zone
        for key in ("key", "low", "high", "value", "valid_from", "valid_to"):
            column = getattr(lookup, key)
            if column is not None and column not in frame.columns:
                raise self._error(f"no column {column!r}", did_you_mean(column, frame.columns))
        if not frame.height:
            raise self._error("no rows", "export it again")
        self._n_rows, self._tells = frame.height, tells
        given = frame[lookup.value].is_not_null()
        self._frame = frame.with_row_index(_ROW, 1).filter(given)  # a row without a value is as good as none
        self._n = self._frame.height
        self._faults = FaultFinder(self._frame[_ROW].cast(pl.Int64).to_numpy())
        self._n_rounded = 0
        self._from_ms = self._to_ms = np.empty(0, np.int64)

    def prepare(self) -> LookupTable:
        """Index the rows.

        Raises
        ------
        LookupRowsError
            If rows cannot be followed, and the lookup does not say what to do with such.
        """
        self._from_ms = self._moments(self._lookup.valid_from, ALWAYS_FROM)
        self._to_ms = self._moments(self._lookup.valid_to, ALWAYS_TO)
        self._bad(self._from_ms >= self._to_ms, "`valid_from` that is not before `valid_to`", "correct the row")
        values = self._values()
        if self._lookup.key is not None:
            return self._by_key(self._frame[self._lookup.key], values)
        assert self._lookup.low is not None
        assert self._lookup.high is not None
        low, high = self._frame[self._lookup.low], self._frame[self._lookup.high]
        if low.dtype.is_numeric() and high.dtype.is_numeric():
            bounds = np.array([_floats(low), _floats(high)])
            self._bad_bounds((low.is_null() | high.is_null()).to_numpy())
            return self._by_number(bounds, values)
        low, high = input_texts(low)[0], input_texts(high)[0]
        self._bad_bounds((low.is_null() | high.is_null()).to_numpy())
        looked_at = [_bound(text) for text in low.drop_nulls().head(_LOOKED_AT).to_list()]
        if 2 * int(np.isnan(looked_at).sum()) <= len(looked_at):
            return self._by_number(np.array([_bounds(low), _bounds(high)]), values)
        return self._by_address(low, high, values)

    def _by_key(self, column: pl.Series, values: list[Value]) -> LookupTable:
        keys = input_texts(column)[0]
        self._bad(keys.is_null().to_numpy(), f"no key in {column.name!r}", "fill it in, or drop the row")
        good = np.flatnonzero(self._faults.good)
        cells: dict[str, int] = {}
        cell = np.array([cells.setdefault(key, len(cells)) for key in keys.gather(good).to_list()], np.int64)
        found = overlapping(cell, *self._ranks(good), good)
        other = self._others([found])
        self._bad(
            other != _NONE,
            "the same key twice",
            "give a key one row, or rows for different times",
            show=lambda row: f"also in row {self._number(int(other[row])):,}",
        )
        self._stop()
        kept = self._faults.good[good]
        good, cell = good[kept], cell[kept]
        entries = entries_of(cell, good, self._from_ms[good], self._to_ms[good], len(cells))
        return LookupTable(key_locator(cells, entries), values, faults=self._told)

    def _by_number(self, bounds: NDArray[np.float64], values: list[Value]) -> LookupTable:
        finite = np.isfinite(bounds)
        self._bad(
            np.isnan(bounds[0]) | np.isnan(bounds[1]),
            "no number as a bound",
            "write all bounds as numbers, or all as IPs",
            show=self._range,
        )
        self._bad(
            np.logical_or.reduce(finite & (np.abs(bounds) >= _LARGEST)),
            "a bound of 2^53 or more",
            "write IPv6 addresses with colons",
            show=self._range,
        )
        self._upside_down(np.greater(bounds[0], bounds[1]))
        good = np.flatnonzero(self._faults.good)
        low, high = bounds[0][good], bounds[1][good]
        stop = np.nextafter(high, np.inf)
        ranks = np.full(self._n, -1, np.int64)
        ranks[good[np.lexsort((good, -low, high - low))]] = np.arange(len(good))
        others = self._overlaps([(low, stop, good)])
        self._count_rounded(bounds, others)
        self._stop()
        ranges = self._ranges(low, stop, good, ranks)
        given = np.array([low, high])
        whole = bool((given[np.isfinite(given)] == np.floor(given[np.isfinite(given)])).all())
        locate = number_locator(ranges, whole=whole)
        return LookupTable(locate, values, ranges, reads=_is_number, faults=self._told)

    def _by_address(self, low: pl.Series, high: pl.Series, values: list[Value]) -> LookupTable:
        v4_low, v4_high = plain_ipv4(low), plain_ipv4(high)
        v6_low, v6_high = np.zeros(len(low), object), np.zeros(len(low), object)  # 128 bits: numbers of Python
        is_v4 = ~np.isnan(v4_low) & ~np.isnan(v4_high)
        broken = np.zeros(len(low), np.bool_)
        rest = np.flatnonzero(~is_v4)
        for at, begins, ends in zip(
            rest.tolist(), low.gather(rest).to_list(), high.gather(rest).to_list(), strict=True
        ):
            begin = None if begins is None else ip_address(begins)
            end = None if ends is None else ip_address(ends)
            if begin is None or end is None or begin.version != end.version:
                broken[at] = True
            elif begin.version == 4:
                is_v4[at], v4_low[at], v4_high[at] = True, begin.number, end.number
            else:
                v6_low[at], v6_high[at] = begin.number, end.number
        self._bad(
            broken,
            "a bound that is no IP address",
            "write both as addresses of one version, or as numbers",
            show=self._range,
        )
        self._upside_down(np.where(is_v4, v4_low > v4_high, v6_low > v6_high).astype(np.bool_))
        good = self._faults.good
        v4, v6 = np.flatnonzero(is_v4 & good), np.flatnonzero(~is_v4 & good)
        ranks = np.full(self._n, -1, np.int64)
        ranks[v4[np.lexsort((v4, -v4_low[v4], v4_high[v4] - v4_low[v4]))]] = np.arange(len(v4))
        narrow_first = sorted(v6.tolist(), key=lambda row: (v6_high[row] - v6_low[row], -v6_low[row], row))
        ranks[np.array(narrow_first, np.int64)] = np.arange(len(v6))
        parts = [
            (v4_low[v4], v4_high[v4] + 1.0, v4),
            (_keys(v6_low[v6]), _keys(v6_high[v6] + 1), v6),
        ]
        self._overlaps(parts)
        self._stop()
        v4_ranges, v6_ranges = (self._ranges(*part, ranks) for part in parts)
        locate = address_locator(v4_ranges, v6_ranges)
        return LookupTable(locate, values, v4_ranges, reads=_is_address, faults=self._told)

    def _values(self) -> list[Value]:
        column = self._frame[self._lookup.value]
        if self._derived.is_role:
            found, bad = id_texts(column)
            rule = "an id is a text of 1 to 512 characters or a whole number"
        else:
            kind = AttributeType.NUMBER if self._derived.is_number else AttributeType.CATEGORY
            found, bad = canonical_values(Attribute(name="", column="", type=kind), column, self._zone)
            rule = f"it is read as a {kind.value}; write `type` beside `lookup` to read it otherwise"
        self._bad(
            bad | found.is_null().to_numpy(),
            "a value that is none",
            rule,
            show=lambda row: f"{shown(column[row])} as a value",
        )
        return found.to_list()

    def _moments(self, name: str | None, absent: int) -> Ints:
        if name is None:
            return np.full(self._n, absent, np.int64)
        column = self._frame[name]
        time_ms, missing, bad = moments_ms(column, self._zone)
        self._bad(
            bad, f"no moment in {name!r}", "write ISO 8601, such as 2024-05-01", show=lambda at: shown(column[at])
        )
        return np.where(missing, np.int64(absent), time_ms)

    def _overlaps(self, parts: list[tuple[Bounds, Bounds, Ints]]) -> Overlapped:
        """Note the ranges that overlap; with validity only those that do so at the same time."""
        parts_found = []
        for low, stop, rows in parts:
            cuts = np.unique(np.concatenate((low, stop)))
            first, last = np.searchsorted(cuts, low), np.searchsorted(cuts, stop)
            found = overlapping(np.zeros(len(rows), np.int64), first, last, rows)
            if self._is_timed and len(found.rows):
                cell, at = self._cells(first, last)
                found = overlapping(cell, *self._ranks(rows[at]), rows[at])
            parts_found.append(found)
        other = self._others(parts_found)
        counts = np.bincount(other[other != _NONE], minlength=1)
        often = [row for row in np.argsort(-counts, kind="stable")[:_MOST_NAMED].tolist() if counts[row] > 1]
        note = ", ".join(f"{counts[row]:,} with row {self._number(row):,}" for row in often)
        self._faults.add(
            other != _NONE,
            "a range that overlaps another",
            "a number or address lies in one range at a time",
            setting=_NARROWEST,
            is_followed=self._lookup.overlaps is Overlaps.NARROWEST,
            show=lambda row: (
                f"{self._range(row)} and row {self._number(int(other[row])):,}, {self._range(int(other[row]))}"
            ),
            note=note,
        )
        return other

    def _ranges(self, low: Bounds, stop: Bounds, rows: Ints, ranks: Ints) -> Ranges:
        # Cells begin wherever a range begins or has ended; with validity several rows share a cell, at different times.
        cuts = np.unique(np.concatenate((low, stop)))
        cell, at = self._cells(np.searchsorted(cuts, low), np.searchsorted(cuts, stop))
        row = rows[at]
        from_ms, to_ms = self._from_ms[row], self._to_ms[row]
        shared = np.bincount(cell, minlength=1)[cell] > 1 if len(cell) else np.zeros(0, np.bool_)
        if shared.any():
            parts = narrowest(cell[shared], row[shared], from_ms[shared], to_ms[shared], ranks)
            alone = ~shared
            cell, row, from_ms, to_ms = (
                np.concatenate((one[alone], kept)) for one, kept in zip((cell, row, from_ms, to_ms), parts, strict=True)
            )
        return Ranges(cuts, entries_of(cell, row, from_ms, to_ms, len(cuts)))

    def _cells(self, first: Ints, last: Ints) -> tuple[Ints, Ints]:
        """The cells that each range covers, and whose they are; both of shape (entries,)."""
        counts = last - first
        if counts.sum() > _MOST_CELLS:
            raise self._error(f"ranges that cut each other into {counts.sum():,} pieces", "split the wide ranges")
        begins = np.cumsum(counts) - counts
        return np.arange(counts.sum()) - np.repeat(begins - first, counts), np.repeat(np.arange(len(first)), counts)

    def _ranks(self, rows: Ints) -> tuple[Ints, Ints]:
        """From when to when rows hold, as ranks of all moments."""
        moments = np.unique(np.concatenate((self._from_ms[rows], self._to_ms[rows])))
        return np.searchsorted(moments, self._from_ms[rows]), np.searchsorted(moments, self._to_ms[rows])

    @property
    def _is_timed(self) -> bool:
        return self._lookup.valid_from is not None or self._lookup.valid_to is not None

    def _bad(self, bad: Marks, what: str, do: str, *, show: Show = lambda _: "") -> None:
        skips = self._lookup.bad_rows is BadRows.SKIP
        self._faults.add(bad, what, do, setting=_SKIP, is_followed=skips, show=show)

    def _bad_bounds(self, missing: Marks) -> None:
        self._bad(missing, "a range without a bound", "fill it in, or drop the row; inf has no end", show=self._range)

    def _upside_down(self, bad: Marks) -> None:
        self._bad(bad, "a range whose `from` lies above its `to`", "correct the row", show=self._range)

    def _count_rounded(self, bounds: NDArray[np.float64], others: Overlapped) -> None:
        """Count the rows with a fault of order whose bounds, or those of the row that they overlap, look rounded."""
        with np.errstate(invalid="ignore"):
            large = np.isfinite(bounds) & (np.abs(bounds) >= 10.0 * _ROUNDED)
            rounded = np.logical_or.reduce(large & (np.mod(bounds, _ROUNDED) == 0.0))
            suspects = np.greater(bounds[0], bounds[1]) & rounded
        suspects |= (others != _NONE) & (rounded | rounded[others])
        self._n_rounded = int(suspects.sum())

    def _stop(self) -> None:
        if self._faults.stops:
            raise LookupRowsError(self._found)
        if self._n and self._faults.n_of(_SKIP) == self._n:
            raise self._error(f"no row that can be followed ({self._faults.kinds[0].told})", "export it again")

    @property
    def _told(self) -> Faults | None:
        return self._found if self._tells else None

    @property
    def _found(self) -> Faults:
        return Faults(
            file=self._lookup.file,
            where=self._where,
            n_rows=self._n_rows,
            kinds=self._faults.kinds,
            n_rounded=self._n_rounded,
        )

    def _others(self, found: list[Overlapping]) -> Overlapped:
        others = np.full(self._n, _NONE, np.int64)
        for part in found:
            others[part.rows] = part.others
        return others

    def _range(self, at: int) -> str:
        low, high = (self._frame[column][at] for column in (self._lookup.low, self._lookup.high) if column is not None)
        return f"{_written(low)}..{_written(high)}"

    def _number(self, at: int) -> int:
        return int(self._frame[_ROW][at])

    def _error(self, found: str, do: str) -> LookupFileError:
        return LookupFileError(self._lookup.file, self._where, found, do)


def _is_number(text: str) -> bool:
    return number_looked_up(text) is not None


def _is_address(text: str) -> bool:
    return ip_address(text) is not None


def _floats(column: pl.Series) -> NDArray[np.float64]:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _bounds(texts: pl.Series) -> list[float]:
    return [np.nan if text is None else _bound(text) for text in texts.to_list()]


def _bound(text: str) -> float:
    number = number_of(text)
    if number is not None:
        return number
    return {"inf": np.inf, "+inf": np.inf, "-inf": -np.inf}.get(text.strip().lower(), np.nan)


def _keys(numbers: NDArray[np.object_]) -> Bounds:
    return np.array([ipv6_key(number) for number in numbers.tolist()], IPV6_KEY)


def _written(bound: object) -> str:
    """A bound as a message shows it: 1540000000 for 1.54e9, at most as long as an address."""
    if bound is None:
        return "nothing"
    text = f"{bound:.0f}" if isinstance(bound, float) and bound.is_integer() else str(bound)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
