# SPDX-License-Identifier: Apache-2.0
"""Which rung may answer, by the time left, what it took lately, and its breaker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ringfence.scoring.scorer import FULL, GBDT, RULES
from ringfence.serving.breaker import MS, BreakerSettings
from ringfence.serving.config import ServiceConfig
from ringfence.serving.ladder import HALVES_AFTER_NS, REMEMBERED, Estimate, Ladder, Why


def estimate_of(took_ms: list[float], n_events: int = 1) -> Estimate:
    estimate = Estimate()
    for took in took_ms:
        estimate.add(n_events, int(took * MS), 0)
    return estimate


def ladder(**took_ms: float) -> Ladder:
    """Two models; what each rung, and the commit, has been taking for one event; 1 ms of margin."""
    made = Ladder((FULL, GBDT), BreakerSettings(least_calls=4, open_ms=1_000), margin_ms=1.0, longest_ms=100.0)
    for what, took in took_ms.items():
        estimate = made.commit if what == "commit" else made.estimates[what]
        estimate.add(1, int(took * MS), 0)
    return made


def test_an_estimate_of_nothing_is_nothing() -> None:
    assert Estimate().at(1, 0) == 0


def test_an_estimate_is_the_length_that_nine_calls_in_ten_keep_to() -> None:
    draw = np.random.default_rng(5)
    took = draw.permutation(np.arange(1, REMEMBERED + 1)).tolist()
    assert estimate_of(took).at(1, 0) == 29 * MS


def test_one_long_call_in_ten_does_not_raise_the_estimate() -> None:
    assert estimate_of([2.0] * 28 + [500.0] * 3).at(1, 0) == 2 * MS
    assert estimate_of([2.0] * 28 + [500.0] * 4).at(1, 0) == 500 * MS


def test_only_the_newest_calls_count() -> None:
    assert estimate_of([9.0] * 100 + [2.0] * REMEMBERED).at(1, 0) == 2 * MS


def test_sizes_have_estimates_of_their_own_and_lend_them_to_those_never_seen() -> None:
    estimate = estimate_of([3.0], n_events=4)
    estimate.add(33, 40 * MS, 0)
    assert {estimate.at(n, 0) // MS for n in (1, 2, 3, 4, 5, 16, 32)} == {3}
    assert {estimate.at(n, 0) // MS for n in (33, 64, 65, 1_000)} == {40}


def test_an_estimate_halves_for_each_second_without_a_measure_and_is_mended_by_the_next() -> None:
    estimate = estimate_of([80.0])
    moments_ns = [0, HALVES_AFTER_NS - 1, HALVES_AFTER_NS, 2 * HALVES_AFTER_NS, 100 * HALVES_AFTER_NS]
    assert [estimate.at(1, moment_ns) // MS for moment_ns in moments_ns] == [80, 80, 40, 20, 0]
    estimate.add(1, 90 * MS, moments_ns[-1])
    assert estimate.at(1, moments_ns[-1]) == 90 * MS


#  full 10   margin 1   gbdt 2   rules 1   commit 3   margin 1      a deadline in 18 ms fits all of them
@pytest.mark.parametrize(
    ("left_ms", "full", "gbdt"),
    [
        (50, None, None),
        (18, None, None),
        (17.9, Why.NO_TIME, None),
        (7, Why.NO_TIME, None),
        (6.9, Why.NO_TIME, Why.NO_TIME),
        (0, Why.NO_TIME, Why.NO_TIME),
        (-20, Why.NO_TIME, Why.NO_TIME),
    ],
)
def test_a_rung_is_passed_over_when_it_and_the_rest_do_not_fit(
    left_ms: float, full: Why | None, gbdt: Why | None
) -> None:
    rungs = ladder(full=10, gbdt=2, rules=1, commit=3)
    left_ns = int(left_ms * MS)
    assert (rungs.why_not(FULL, 1, left_ns, 0), rungs.why_not(GBDT, 1, left_ns, 0)) == (full, gbdt)


def test_a_rung_is_waited_for_as_long_as_the_rest_still_fits() -> None:
    rungs = ladder(full=10, gbdt=2, rules=1, commit=3)
    assert rungs.wait_ns(FULL, 1, 50 * MS, 0) == 42 * MS
    assert rungs.wait_ns(GBDT, 1, 7 * MS, 0) == 2 * MS
    assert rungs.wait_ns(FULL, 1, 10_000 * MS, 0) == 100 * MS
    assert rungs.needed_ns(1, 0) == 18 * MS
    assert rungs.needed_ns(1, 0, busy=[FULL]) == 7 * MS
    assert rungs.needed_ns(1, 0, busy=[FULL, GBDT]) == 0


def test_a_rung_that_is_never_done_in_the_longest_wait_is_passed_over_whatever_the_deadline() -> None:
    assert ladder(full=101).why_not(FULL, 1, 10_000 * MS, 0) is Why.NO_TIME


def test_a_rung_whose_breaker_is_open_is_passed_over_and_tried_again_after_the_pause() -> None:
    rungs = ladder(full=10, gbdt=2, rules=1, commit=3)
    for _ in range(4):
        rungs.breakers[FULL].failed(0)
    assert rungs.why_not(FULL, 1, 50 * MS, 0) is Why.OPEN
    assert rungs.needed_ns(1, 0) == 7 * MS
    assert rungs.why_not(FULL, 1, 50 * MS, 1_000 * MS) is None


def test_no_time_is_kept_for_a_rung_that_would_not_be_asked() -> None:
    rungs = ladder(full=10, gbdt=2, rules=1, commit=3)
    for _ in range(4):
        rungs.breakers[GBDT].failed(0)
    assert rungs.wait_ns(FULL, 1, 50 * MS, 0) == 45 * MS
    for _ in range(4):
        rungs.breakers[FULL].failed(0)
    assert rungs.needed_ns(1, 0) == 0


def test_a_release_without_models_has_only_the_rules() -> None:
    rungs = Ladder((), BreakerSettings(), margin_ms=1.0, longest_ms=100.0)
    assert (rungs.rungs, list(rungs.estimates), rungs.needed_ns(1, 0)) == ((), [RULES], 0)


def test_every_reason_and_every_setting_is_on_the_page_of_serving() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text("utf-8")
    assert [str(why) for why in Why if f"`{why}`" not in page] == []
    of_time = ("deadline_ms", "longest_deadline_ms", "longest_score_ms", "margin_ms")
    assert [
        name for name in ("second_looks", *of_time, *BreakerSettings.__struct_fields__) if f"`{name}`" not in page
    ] == []
    assert [name for name in of_time if f"| `{name}` | {getattr(ServiceConfig(), name):,.0f} |" not in page] == []
