# SPDX-License-Identifier: Apache-2.0
"""Which rows fall on which day. Planned rows are spread among the ordinary ones, and blocks cut the rows for making.

Rows of a span are numbered by day. A block is BLOCK consecutive numbers and has a generator of its own, so any block
can be made alone, and a reader may take as many at a time as it likes:

    day      0        1            2      3
    row      0 1 2 3  4 5 6 7 8 9  10 11  12 13 ...
    planned    x            x x    x
    block    |------ 0 ------|------ 1 ------|
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from ringfence.simulate.traits import Floats, Ints

BLOCK: Final = 8_192
DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Span:
    """A run of days and the numbers of their rows."""

    name: str
    first_day: int
    first_row: Ints  # (days + 1,) rows of day d are first_row[d] .. first_row[d + 1] - 1
    planned_row: Ints  # (p,) ascending rows that are planned
    planned: Ints  # (p,) which plan each follows

    @property
    def n(self) -> int:
        return int(self.first_row[-1])

    @property
    def n_blocks(self) -> int:
        return -(-self.n // BLOCK)

    def rows(self, block: int) -> Ints:
        """Numbers of a block's rows, ascending."""
        return np.arange(block * BLOCK, min(self.n, (block + 1) * BLOCK))

    def day_of(self, row: Ints) -> Ints:
        """Day of the world on which each row falls."""
        return self.first_day + np.searchsorted(self.first_row, row, side="right") - 1

    def planned_in(self, row: Ints) -> tuple[Ints, Ints]:
        """Return the planned rows of a run of rows: their place in `row`, and the plan each follows."""
        low, high = np.searchsorted(self.planned_row, [row[0], row[-1] + 1])
        return self.planned_row[low:high] - row[0], self.planned[low:high]

    def plan_of(self, row: Ints) -> Ints:
        """The plan that each row follows, in any order; -1 for ordinary rows."""
        if not len(self.planned):
            return np.full(len(row), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(self.planned_row, row), len(self.planned) - 1)
        return np.where(self.planned_row[place] == row, self.planned[place], -1)


def span_of(name: str, first_day: int, day_weight: Floats, n: int, planned_day: Ints, rng: np.random.Generator) -> Span:
    """Number the n rows of the days from `first_day` on.

    Parameters
    ----------
    day_weight : shape (days,), > 0: how many ordinary rows a day has, in proportion.
    planned_day : shape (p,), day of the world of every plan; those outside the span are left out, and at most half
        of the rows are planned.
    """
    end_day = first_day + len(day_weight)
    inside = np.flatnonzero((planned_day >= first_day) & (planned_day < end_day))[: n // 2]
    inside = inside[np.lexsort((rng.random(len(inside)), planned_day[inside]))]
    day = planned_day[inside] - first_day
    per_day = np.bincount(day, minlength=len(day_weight))
    counts = per_day + rng.multinomial(n - len(inside), day_weight / day_weight.sum())
    first_row = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    # k planned rows among the m of a day: one in each of k equal strata, at a random place of it.
    turn = np.arange(len(inside)) - (np.cumsum(per_day) - per_day)[day]
    begins, ends = turn * counts[day] // per_day[day], (turn + 1) * counts[day] // per_day[day]
    place = begins + (rng.random(len(inside)) * (ends - begins)).astype(np.int64)
    return Span(name, first_day, first_row, first_row[day] + place, inside)


def midnights_ms(ends: date, days_before: int, days: int, time_zone: str) -> Ints:
    """UTC milliseconds of local midnight, shape (days + 1,), from `days_before` days before `ends` on.

    A day's offset is the one at noon, so every day has 24 hours and a row's hour is the local one.
    """
    first = datetime.combine(ends, datetime.min.time()) - timedelta(days=days_before)
    zone = ZoneInfo(time_zone)
    noons = (first + timedelta(days=day, hours=12) for day in range(days + 1))
    return np.array([int(noon.replace(tzinfo=zone).timestamp()) * 1000 - DAY_MS // 2 for noon in noons], dtype=np.int64)
