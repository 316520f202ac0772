# SPDX-License-Identifier: Apache-2.0
"""Token buckets: what they let through depends on the moments alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.serving.errors import RateLimitedError
from ringfence.serving.rates import Level, Rate, RateLimits, level_at, wait_s

NOW_MS = 1_750_000_000_000


def taken(limits: RateLimits, rate: Rate | None, now_ms: int, name: str = "desk") -> bool:
    try:
        limits.take(name, rate, now_ms=now_ms)
    except RateLimitedError:
        return False
    return True


#  rate 2/s, burst 3   t (ms)   0 0 0 0    499   500    1000
#                               1 1 1 -     -     1      1
def test_a_burst_passes_and_then_what_comes_in_over_time() -> None:
    limits, rate = RateLimits(), Rate(2, 3)
    moments = [0, 0, 0, 0, 499, 500, 1000, 1000]
    passed = [taken(limits, rate, NOW_MS + moment) for moment in moments]
    assert passed == [True, True, True, False, False, True, True, False]


@given(st.floats(0.1, 50), st.integers(1, 20), st.lists(st.integers(0, 2_000), min_size=1, max_size=200))
def test_no_span_of_time_lets_more_through_than_burst_and_rate(per_s: float, burst: int, steps: list[int]) -> None:
    limits, rate = RateLimits(), Rate(per_s, burst)
    now_ms, passed = NOW_MS, []
    for step in steps:
        now_ms += step
        if taken(limits, rate, now_ms):
            passed.append(now_ms)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span_s = (passed[last] - passed[first]) / 1000
            assert last - first + 1 <= burst + span_s * per_s + 1e-6


@given(st.floats(0.05, 50), st.integers(1, 20), st.integers(1, 100))
def test_who_waits_as_long_as_told_gets_through(per_s: float, burst: int, debt: int) -> None:
    limits, rate = RateLimits(), Rate(per_s, burst)
    limits.charge("desk", rate, burst + debt, now_ms=NOW_MS)
    with pytest.raises(RateLimitedError) as refused:
        limits.take("desk", rate, now_ms=NOW_MS)
    wait = refused.value.retry_after_s
    assert wait is not None
    assert wait == 1 or not taken(limits, rate, NOW_MS + wait * 1000 - 1001)
    assert taken(limits, rate, NOW_MS + wait * 1000)


def test_a_batch_may_leave_a_debt_which_is_paid_before_anything_else_passes() -> None:
    limits, rate = RateLimits(), Rate(10, 10)
    limits.take("desk", rate, now_ms=NOW_MS)
    limits.charge("desk", rate, 99, now_ms=NOW_MS)
    assert wait_s(level_at(Level(-90, NOW_MS), rate, NOW_MS), rate) == 10
    assert not taken(limits, rate, NOW_MS + 9_000)
    assert taken(limits, rate, NOW_MS + 9_100)


def test_keys_do_not_share_a_bucket_and_the_default_counts_where_a_key_has_no_rate() -> None:
    limits = RateLimits(Rate(1, 1))
    assert taken(limits, None, NOW_MS, "one")
    assert not taken(limits, None, NOW_MS, "one")
    assert taken(limits, None, NOW_MS, "two")
    assert all(taken(limits, Rate(1, 5), NOW_MS, "three") for _ in range(5))


def test_without_any_rate_nothing_is_limited() -> None:
    assert all(taken(RateLimits(), None, NOW_MS) for _ in range(10_000))


def test_a_clock_that_is_set_back_neither_fills_a_bucket_nor_freezes_it() -> None:
    limits, rate = RateLimits(), Rate(1, 1)
    assert taken(limits, rate, NOW_MS)
    assert not taken(limits, rate, NOW_MS - 3_600_000)
    assert taken(limits, rate, NOW_MS - 3_600_000 + 1_000)


def test_buckets_of_keys_that_are_gone_are_forgotten() -> None:
    limits, rate = RateLimits(), Rate(1, 1)
    assert taken(limits, rate, NOW_MS, "gone")
    assert taken(limits, rate, NOW_MS, "stays")
    limits.keep(frozenset({"stays"}))
    assert taken(limits, rate, NOW_MS, "gone")
    assert not taken(limits, rate, NOW_MS, "stays")


@pytest.mark.parametrize(("per_s", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (float("inf"), None), (5, 0)])
def test_a_rate_that_makes_no_sense_is_refused(per_s: float, burst: int | None) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Rate.of(per_s, burst)


def test_without_a_burst_those_of_a_second_may_come_at_once() -> None:
    assert (Rate.of(2.5), Rate.of(0.1)) == (Rate(2.5, 3), Rate(0.1, 1))
