# SPDX-License-Identifier: Apache-2.0
"""What a lookup table answers, row by row."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    low: float  # inclusive
    high: float  # inclusive
    from_ms: int | None  # inclusive
    to_ms: int | None  # exclusive
    value: str


def holds(row: Row, number: float, time_ms: int) -> bool:
    begins = row.from_ms is None or row.from_ms <= time_ms
    return row.low <= number <= row.high and begins and (row.to_ms is None or time_ms < row.to_ms)


def value_at(rows: list[Row], number: float, time_ms: int) -> str | None:
    """The value of the only row that holds."""
    found = [row.value for row in rows if holds(row, number, time_ms)]
    assert len(found) < 2
    return found[0] if found else None


def narrowest_at(rows: list[Row], number: float, time_ms: int) -> str | None:
    """The value of the narrowest row that holds; of equally narrow ones of the later beginning, then of the first."""
    found = [(row.high - row.low, -row.low, at) for at, row in enumerate(rows) if holds(row, number, time_ms)]
    return rows[min(found)[2]].value if found else None


def overlapping(rows: list[Row]) -> list[int]:
    """Which rows hold for a number at a time for which another one does; counted from 1."""
    return [
        at + 1 for at, row in enumerate(rows) if any(contradicts([row, other]) for other in rows[:at] + rows[at + 1 :])
    ]


def contradicts(rows: list[Row]) -> bool:
    """Whether two rows hold for one number at one time."""
    return any(
        max(a.low, b.low) <= min(a.high, b.high)
        and (a.from_ms is None or b.to_ms is None or a.from_ms < b.to_ms)
        and (b.from_ms is None or a.to_ms is None or b.from_ms < a.to_ms)
        for i, a in enumerate(rows)
        for b in rows[:i]
    )
