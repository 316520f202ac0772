# SPDX-License-Identifier: Apache-2.0
"""A further file that says something about ranges of numbers, such as the country of addresses: how to look it up."""

from __future__ import annotations

from typing import Final

import numpy as np

from ringfence.drafting.names import plain_name
from ringfence.drafting.profile import Column, Profile
from ringfence.scenario.derived import BadRows, Derived, Lookup, Overlaps
from ringfence.scenario.errors import LookupFileError
from ringfence.scenario.lookup_faults import Fault
from ringfence.scenario.lookup_rows import LookupRows

_LOW: Final = frozenset(["lower", "low", "from", "start", "begin", "min", "first"])
_HIGH: Final = frozenset(["upper", "high", "to", "end", "max", "last"])
_MOST_COLUMNS: Final = 8
_MOST_ROWS: Final = 3_000_000  # of a table that is asked for faults as a whole
_ORDERED: Final = 0.999  # share of the rows whose bounds are the right way round
_HELD: Final = 0.5  # share of the main file's values that some range of the rows looked at may hold


def lookup_of(main: Profile, other: Profile) -> str | None:
    """Say how to look the other file's values up; None where it is no table of ranges of a column of the main file."""
    if len(other.columns) > _MOST_COLUMNS:
        return None
    numbers = [column for column in other.columns if column.kind == "number"]
    lows = [column for column in numbers if _LOW & set(column.words)]
    highs = [column for column in numbers if _HIGH & set(column.words) and column not in lows]
    values = [column for column in other.columns if column.kind == "text" and column.n_distinct > 1]
    if len(lows) != 1 or len(highs) != 1 or not values:
        return None
    low, high, value = lows[0], highs[0], values[0]
    given = low.given & high.given
    if not given.any() or float(np.mean(low.values[given] <= high.values[given])) < _ORDERED:
        return None
    asked = _asked(main, low, high)
    if asked is None:
        return None
    name = plain_name(value.name.lower(), main.table.names)
    file = other.table.path.name
    what = f"it tells {value.name} for ranges of {asked.name}"
    kinds, settings = _faults(other, low, high, value), ""
    if kinds:
        settings = "".join(f", {setting}" for setting in dict.fromkeys(kind.setting for kind in kinds))
        told = "; ".join(f"{len(kind.rows):,} x {kind.what}" for kind in kinds)
        what += f" (with faults: {told})"
    made = (
        f"{name}: {{lookup: {{file: {file}, from: {low.name}, to: {high.name}, value: {value.name}{settings}}}, "
        f"field: {asked.name}}}"
    )
    keep = f". CHECK{settings[1:]}: by these words rows with faults are used as they are; mend the file to do without"
    return f"{what}: copy it into the workspace, and write under `derive:` {made}{keep if kinds else ''}"


def _faults(other: Profile, low: Column, high: Column, value: Column) -> tuple[Fault, ...]:
    """What an import would find wrong with the rows of the table, or with a sample where they are very many."""
    table = other.table
    frame = table.sample() if table.n_rows > _MOST_ROWS else table.collect(table.rows)
    lookup = Lookup(
        file=table.path.name,
        value=value.name,
        low=low.name,
        high=high.name,
        bad_rows=BadRows.SKIP,
        overlaps=Overlaps.NARROWEST,
    )
    drafted = Derived(name="drafted", how=lookup, inputs=())
    try:
        faults = LookupRows(drafted, lookup, "drafted", frame, "UTC", tells=True).prepare().faults
    except LookupFileError:
        return ()
    return () if faults is None else faults.kinds


def _asked(main: Profile, low: Column, high: Column) -> Column | None:
    """The column whose name the bounds carry, and whose numbers lie among them."""
    of = (set(low.words) - _LOW) & (set(high.words) - _HIGH)
    for column in main.columns:
        if not of or not of & set(column.words):
            continue
        values = column.values[column.given] if column.kind == "number" else np.empty(0)
        inside = (values >= np.nanmin(low.values)) & (values <= np.nanmax(high.values))
        if len(values) and float(inside.mean()) >= _HELD:
            return column
    return None
