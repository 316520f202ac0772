# SPDX-License-Identifier: Apache-2.0
"""Lookup files of a workspace or a release: read, checked row by row, and prepared for the doors."""

from __future__ import annotations

import io
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.derivations import input_texts, number_of
from ringfence.scenario.derived import Derived, Lookup
from ringfence.scenario.errors import LookupFileError, did_you_mean, shown
from ringfence.scenario.identity import id_texts
from ringfence.scenario.ip_address import ip_address, plain_ipv4
from ringfence.scenario.lookup_table import (
    ALWAYS_FROM,
    ALWAYS_TO,
    IPV6_KEY,
    Bounds,
    Entries,
    LookupTable,
    Ranges,
    Value,
    address_locator,
    entries_of,
    ipv6_key,
    key_table,
    number_locator,
)
from ringfence.scenario.spec import Attribute, AttributeType, Scenario
from ringfence.scenario.times import moments_ms
from ringfence.scenario.values import canonical_values

_LARGEST: Final = 2.0**53  # exclusive: beyond it float64 skips whole numbers
_PARQUET: Final = b"PAR1"
_MOST_CELLS: Final = 20_000_000

Lookups = Mapping[str, LookupTable]  # by "event type.name" of the derived value


def digest_of(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def with_digests(scenario: Scenario, workspace: Path) -> Scenario:
    """Note in a scenario what its lookup files hold; a file that is not there is noted as such, and asked for later."""
    if not scenario.lookups:
        return scenario
    digests: dict[str, str] = {}
    for file in {lookup.file for lookup in scenario.lookups.values()}:
        path = workspace / file
        digests[file] = digest_of(path.read_bytes()) if _is_inside(path, workspace) and path.is_file() else ""
    event_types = []
    for event_type in scenario.event_types:
        derived = tuple(
            msgspec.structs.replace(one, how=msgspec.structs.replace(one.how, digest=digests[one.how.file]))
            if isinstance(one.how, Lookup)
            else one
            for one in event_type.derived
        )
        event_types.append(msgspec.structs.replace(event_type, derived=derived))
    return msgspec.structs.replace(scenario, event_types=tuple(event_types))


def read_lookup_files(scenario: Scenario, workspace: Path) -> dict[str, bytes]:
    """Read the files that a scenario looks values up in, by the name that it gives them.

    Raises
    ------
    LookupFileError
        If one is missing, lies outside the workspace, or is another one than when ringfence.yaml was read.
    """
    files: dict[str, bytes] = {}
    for where, lookup in scenario.lookups.items():
        path = workspace / lookup.file
        if not _is_inside(path, workspace):
            raise LookupFileError(path, where, "a place outside the workspace", "put the file into the workspace")
        try:
            data = files.get(lookup.file) or path.read_bytes()
        except OSError as error:
            found = error.strerror or "an error"
            raise LookupFileError(path, where, found, "correct `lookup.file`, or add the file") from None
        if digest_of(data) != lookup.digest:
            raise LookupFileError(path, where, "a change since ringfence.yaml was read", "run the command again")
        files[lookup.file] = data
    return files


def prepare_lookups(scenario: Scenario, files: Mapping[str, bytes]) -> Lookups:
    """Check and index the lookup tables of a scenario.

    Parameters
    ----------
    files : the content of each lookup file, by the name that the scenario gives it.

    Raises
    ------
    LookupFileError
        If a table lacks a column, or a row of it cannot be followed: a bound or key that is missing, a range that
        overlaps another, a value that is none.
    """
    prepared: dict[str, LookupTable] = {}
    frames: dict[str, pl.DataFrame] = {}
    for event_type in scenario.event_types:
        for derived in event_type.derived:
            if isinstance(derived.how, Lookup):
                where = f"{event_type.name}.{derived.name}"
                if derived.how.file not in frames:
                    frames[derived.how.file] = _frame(derived.how, files, where)
                table = _Table(derived, derived.how, where, frames[derived.how.file], scenario.time_zone)
                prepared[where] = table.prepare()
    return prepared


def _is_inside(path: Path, workspace: Path) -> bool:
    return path.resolve().is_relative_to(workspace.resolve())


def _frame(lookup: Lookup, files: Mapping[str, bytes], where: str) -> pl.DataFrame:
    if lookup.file not in files:
        raise LookupFileError(lookup.file, where, "no such file", "hand the lookup files of the scenario over")
    data = files[lookup.file]
    try:
        if data.startswith(_PARQUET):
            return pl.read_parquet(io.BytesIO(data))
        separator = "\t" if lookup.file.lower().endswith(".tsv") else ","
        return pl.read_csv(io.BytesIO(data), infer_schema=False, separator=separator)
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        found = f"neither CSV (UTF-8) nor Parquet ({str(error).strip().splitlines()[0][:120]})"
        raise LookupFileError(lookup.file, where, found, "export it again") from None


class _Table:
    """One lookup on its way from rows to an index. Rows are counted from 1 in errors, without the header."""

    def __init__(self, derived: Derived, lookup: Lookup, where: str, frame: pl.DataFrame, time_zone: str) -> None:
        self._derived, self._lookup, self._where, self._zone = derived, lookup, where, time_zone
        for key in ("key", "low", "high", "value", "valid_from", "valid_to"):
            column = getattr(lookup, key)
            if column is not None and column not in frame.columns:
                raise self._error(f"no column {column!r}", did_you_mean(column, frame.columns))
        if not frame.height:
            raise self._error("no rows", "export it again")
        self._rows = frame.with_row_index("\x1frow", 1)
        given = frame[lookup.value].is_not_null()
        self._frame = self._rows.filter(given)  # a row without a value is as good as none
        self._from_ms = self._moments(lookup.valid_from, ALWAYS_FROM)
        self._to_ms = self._moments(lookup.valid_to, ALWAYS_TO)
        self._refuse(self._from_ms >= self._to_ms, "`valid_from` that is not before `valid_to`", "correct the row")

    def prepare(self) -> LookupTable:
        values = self._values()
        if self._lookup.key is not None:
            keys = input_texts(self._frame[self._lookup.key])[0]
            self._refuse(keys.is_null().to_numpy(), f"no key in {self._lookup.key!r}", "fill it in, or drop the row")
            entries, locate = key_table(keys.to_list(), self._entries)
            self._refuse_overlap(entries, "the same key twice", "give a key one row, or rows for different times")
            return LookupTable(locate, values)
        assert self._lookup.low is not None
        assert self._lookup.high is not None
        bounds = [self._frame[column] for column in (self._lookup.low, self._lookup.high)]
        if all(column.dtype.is_numeric() for column in bounds):
            return self._numbers(np.array([_floats(column) for column in bounds]), values)
        low, high = (input_texts(column)[0] for column in bounds)
        self._refuse(
            (low.is_null() | high.is_null()).to_numpy(),
            "a range without a bound",
            "fill it in, or drop the row; inf has no end",
        )
        if not any(np.isnan(_bound(text)) for text in low.head(100).to_list()):
            return self._numbers(np.array([_bounds(texts) for texts in (low, high)]), values)
        return self._addresses(low, high, values)

    def _values(self) -> list[Value]:
        column = self._frame[self._lookup.value]
        if self._derived.is_role:
            found, bad = id_texts(column)
            bad = bad | found.is_null().to_numpy()
            rule = "an id is a text of 1 to 512 characters or a whole number"
        else:
            kind = AttributeType.NUMBER if self._derived.is_number else AttributeType.CATEGORY
            found, bad = canonical_values(Attribute(name="", column="", type=kind), column, self._zone)
            bad = bad | found.is_null().to_numpy()
            rule = f"it is read as a {kind.value}; write `type` beside `lookup` to read it otherwise"
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise self._error(f"{shown(column[at])} as a value", rule, at)
        return found.to_list()

    def _moments(self, name: str | None, absent: int) -> NDArray[np.int64]:
        if name is None:
            return np.full(self._frame.height, absent, np.int64)
        time_ms, missing, bad = moments_ms(self._frame[name], self._zone)
        self._refuse(bad, f"no moment in {name!r}", "write ISO 8601, such as 2024-05-01")
        return np.where(missing, np.int64(absent), time_ms)

    def _numbers(self, bounds: NDArray[np.float64], values: list[Value]) -> LookupTable:
        finite = np.isfinite(bounds)
        self._refuse(
            np.isnan(bounds[0]) | np.isnan(bounds[1]),
            "no number as a bound",
            "write all bounds as numbers, or all as IPs",
        )
        self._refuse(
            np.logical_or.reduce(finite & (np.abs(bounds) >= _LARGEST)),
            "a bound of 2^53 or more",
            "write IPv6 addresses with colons",
        )
        self._refuse(np.greater(bounds[0], bounds[1]), "a range whose `from` lies above its `to`", "correct the row")
        whole = bool((bounds[finite] == np.floor(bounds[finite])).all())
        ranges = self._ranges(bounds[0], np.nextafter(bounds[1], np.inf), self._all())
        return LookupTable(number_locator(ranges, whole=whole), values, ranges)

    def _addresses(self, low: pl.Series, high: pl.Series, values: list[Value]) -> LookupTable:
        v4_low, v4_high = plain_ipv4(low), plain_ipv4(high)
        v6_low, v6_high = np.zeros(len(low), IPV6_KEY), np.zeros(len(low), IPV6_KEY)
        is_v4 = ~np.isnan(v4_low) & ~np.isnan(v4_high)
        broken = np.zeros(len(low), np.bool_)
        rest = np.flatnonzero(~is_v4)
        for at, begins, ends in zip(
            rest.tolist(), low.gather(rest).to_list(), high.gather(rest).to_list(), strict=True
        ):
            begin, end = ip_address(begins), ip_address(ends)
            if begin is None or end is None or begin.version != end.version:
                broken[at] = True
            elif begin.version == 4:
                is_v4[at], v4_low[at], v4_high[at] = True, begin.number, end.number
            else:
                v6_low[at], v6_high[at] = ipv6_key(begin.number), ipv6_key(end.number)
        self._refuse(broken, "a bound that is no IP address", "write both as addresses of one version, or as numbers")
        above = np.where(is_v4, v4_low > v4_high, v6_low > v6_high)
        self._refuse(above, "a range whose `from` lies above its `to`", "correct the row")
        v4, v6 = np.flatnonzero(is_v4), np.flatnonzero(~is_v4)
        v6_stop = np.array([_next(key) for key in v6_high[v6].tolist()], IPV6_KEY)
        v4_ranges = self._ranges(v4_low[v4], v4_high[v4] + 1.0, v4)
        return LookupTable(address_locator(v4_ranges, self._ranges(v6_low[v6], v6_stop, v6)), values, v4_ranges)

    def _ranges(self, low: Bounds, stop: Bounds, rows: NDArray[np.int64]) -> Ranges:
        # Cells begin wherever a range begins or has ended; with validity several rows share a cell, at different times.
        if self._lookup.valid_from is None and self._lookup.valid_to is None:
            order = np.argsort(low, kind="stable")
            twice = np.flatnonzero(low[order][1:] < stop[order][:-1])
            if len(twice):
                one, two = int(rows[order[twice[0]]]), int(rows[order[twice[0] + 1]])
                self._overlaps(one, two, len(twice))
        cuts = np.unique(np.concatenate((low, stop)))
        first, last = np.searchsorted(cuts, low), np.searchsorted(cuts, stop)
        counts = last - first
        if counts.sum() > _MOST_CELLS:
            raise self._error(f"ranges that cut each other into {counts.sum():,} pieces", "split the wide ranges")
        begins = np.cumsum(counts) - counts
        cell = np.arange(counts.sum()) - np.repeat(begins - first, counts)
        entries = entries_of(cell, np.repeat(rows, counts), self._from_ms, self._to_ms, len(cuts))
        self._refuse_overlap(entries, "ranges that overlap", "a number or address lies in one range at a time")
        return Ranges(cuts, entries)

    def _all(self) -> NDArray[np.int64]:
        return np.arange(self._frame.height, dtype=np.int64)

    def _entries(self, cell: NDArray[np.int64], n_cells: int) -> Entries:
        return entries_of(cell, self._all(), self._from_ms, self._to_ms, n_cells)

    def _refuse_overlap(self, entries: Entries, found: str, do: str) -> None:
        overlap = entries.overlap()
        if overlap is not None:
            raise self._error(f"{found} (also in row {self._number(overlap.other)})", do, overlap.row)

    def _overlaps(self, one: int, two: int, n: int) -> None:
        more = f", and {n - 1:,} more" if n > 1 else ""
        found = f"ranges that overlap: {self._shown(one)} and row {self._number(two)}, {self._shown(two)}{more}"
        raise self._error(found, "a number or address lies in one range at a time: mend or drop one of them", one)

    def _shown(self, at: int) -> str:
        assert self._lookup.low is not None
        assert self._lookup.high is not None
        return f"{self._frame[self._lookup.low][at]}..{self._frame[self._lookup.high][at]}"

    def _refuse(self, bad: NDArray[np.bool_], found: str, do: str) -> None:
        if bad.any():
            more = f" (as in {int(bad.sum()) - 1:,} more rows)" if bad.sum() > 1 else ""
            raise self._error(f"{found}{more}", do, int(np.flatnonzero(bad)[0]))

    def _number(self, at: int) -> int:
        return int(self._frame["\x1frow"][at])

    def _error(self, found: str, do: str, at: int | None = None) -> LookupFileError:
        return LookupFileError(self._lookup.file, self._where, found, do, row=None if at is None else self._number(at))


def _floats(column: pl.Series) -> NDArray[np.float64]:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _bounds(texts: pl.Series) -> list[float]:
    return [_bound(text) for text in texts.to_list()]


def _next(key: bytes) -> bytes:
    # numpy cuts zero bytes off the end of what it gives back.
    return ipv6_key(int.from_bytes(key.ljust(17, b"\0"), "big") + 1)


def _bound(text: str) -> float:
    number = number_of(text)
    if number is not None:
        return number
    return {"inf": np.inf, "+inf": np.inf, "-inf": -np.inf}.get(text.strip().lower(), np.nan)
