# SPDX-License-Identifier: Apache-2.0
"""Spans with more or fewer rows and plans from some day on: earlier days stay, and no row is lost."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.simulate.calendar import Span, span_of
from ringfence.simulate.surges import with_holiday, with_plans, without_plans

#  day             10      11          12        13       14
#  row             0 1 2   3 4 5 6 7   8 9 10    11 12    13 14 15 16 17 18 19
#  plan            . 5 .   . . 6 . 7   8 .  .    .  .     .  .  9  .  .  .  .
SPAN = Span("history", 10, np.array([0, 3, 8, 11, 13, 20]), np.array([1, 5, 7, 8, 15]), np.array([5, 6, 7, 8, 9]))


def plans_by_day(span: Span) -> list[tuple[int, int]]:
    return sorted(zip(span.day_of(span.planned_row).tolist(), span.planned.tolist(), strict=True))


@pytest.mark.parametrize("n", [60, 200, 4_000])
def test_every_plan_has_a_row_of_its_own(n: int) -> None:
    rng = np.random.default_rng(2)
    planned_day = rng.integers(0, 30, 60)
    span = span_of("history", 0, np.ones(30), n, planned_day, rng)
    assert span.n == n
    assert len(span.planned) == min(60, n // 2)
    assert np.unique(span.planned_row).size == len(span.planned)
    np.testing.assert_array_equal(span.day_of(span.planned_row), planned_day[span.planned])


def test_further_plans_take_ordinary_rows_of_their_days() -> None:
    plan, day = np.array([20, 21, 22, 23, 24, 25]), np.array([13, 9, 12, 13, 13, 15])
    span = with_plans(SPAN, plan, day, np.random.default_rng(1))
    # Days 9 and 15 are outside, and day 13 has two rows for its three plans.
    assert plans_by_day(span) == sorted([*plans_by_day(SPAN), (12, 22), (13, 20), (13, 23)])
    assert np.unique(span.planned_row).size == span.planned_row.size
    np.testing.assert_array_equal(span.planned_row, np.sort(span.planned_row))
    np.testing.assert_array_equal(span.first_row, SPAN.first_row)
    kept = dict(zip(span.planned, span.planned_row, strict=True))
    assert [kept[plan] for plan in SPAN.planned] == SPAN.planned_row.tolist()


def test_without_further_plans_a_span_stays_as_it_is() -> None:
    assert with_plans(SPAN, np.array([20]), np.array([99]), np.random.default_rng(1)) is SPAN


def test_dropped_plans_leave_ordinary_rows() -> None:
    dropped = np.arange(10) == 7
    span, rows = without_plans(SPAN, dropped)
    assert rows.tolist() == [7]
    assert span.planned.tolist() == [5, 6, 8, 9]
    assert span.plan_of(np.array([7, 8, 5])).tolist() == [-1, 8, 6]


@pytest.mark.parametrize("change", [-0.9, -0.5, 0.5, 1.0])
def test_holiday_keeps_earlier_days_all_plans_and_the_number_of_rows(change: float) -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(20, 60, 40)
    first_row = np.concatenate([[0], np.cumsum(counts)])
    planned_row = np.sort(rng.choice(first_row[-1], 120, replace=False))
    span = Span("history", 100, first_row, planned_row, rng.permutation(120))
    after = with_holiday(span, 115, 7, change, np.random.default_rng(4))
    assert after.n == span.n
    assert plans_by_day(after) == plans_by_day(span)
    assert np.unique(after.planned_row).size == 120
    np.testing.assert_array_equal(after.planned_row, np.sort(after.planned_row))
    np.testing.assert_array_equal(after.first_row[:16], first_row[:16])
    before = planned_row < first_row[15]
    np.testing.assert_array_equal(after.planned_row[before], planned_row[before])
    planned = np.bincount(np.searchsorted(first_row, planned_row, side="right") - 1, minlength=40)
    ordinary = np.stack([np.diff(each.first_row) - planned for each in (span, after)])
    assert ordinary.min() >= 0
    during = ordinary[:, 15:22].sum(axis=1)
    assert during[1] / during[0] == pytest.approx(1.0 + change, abs=0.12)
