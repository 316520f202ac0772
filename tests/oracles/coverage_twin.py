# SPDX-License-Identifier: Apache-2.0
"""The slow twin of `training.coverage`: every threshold between two events is tried, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction


def sides(fraud: list[int], score: list[float], *, lowest: bool) -> Iterator[tuple[int, int]]:
    """Yield (events, frauds) on one side of every threshold, ties together, none first."""
    yield 0, 0
    for threshold in sorted(set(score), reverse=not lowest):
        there = [y for y, s in zip(fraud, score, strict=True) if (s <= threshold if lowest else s >= threshold)]
        yield len(there), sum(there)


def most_approved(fraud: list[int], score: list[float], *, missed: Fraction) -> tuple[int, int]:
    """Return (events, frauds) of the largest part to approve that holds at most this share of all frauds."""
    return max(side for side in sides(fraud, score, lowest=True) if side[1] <= missed * sum(fraud))


def most_approved_at(fraud: list[int], score: list[float], *, bad_rate: Fraction) -> tuple[int, int]:
    """Return (events, frauds) of the largest part to approve whose fraud rate is at most this."""
    return max(side for side in sides(fraud, score, lowest=True) if side[1] <= bad_rate * side[0])


def most_declined(fraud: list[int], score: list[float], *, precision: Fraction) -> tuple[int, int]:
    """Return (events, frauds) of the part to decline with most frauds at this precision, and the fewest events then."""
    kept = [side for side in sides(fraud, score, lowest=False) if side[1] >= precision * side[0]]
    frauds = max(side[1] for side in kept)
    return min(side for side in kept if side[1] == frauds)
