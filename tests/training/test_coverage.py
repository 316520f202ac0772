# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from ringfence.training.coverage import BAD_RATES, MISSED, PRECISIONS, Coverage, coverage_of
from ringfence.training.ranking import Ranking
from tests.oracles.coverage_twin import most_approved, most_approved_at, most_declined

GRID = np.linspace(0.05, 1.0, 20)


def _scored(seed: int, n: int = 240) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fraud = (rng.random(n) < 0.15).astype(np.int8)
    return fraud, np.round(rng.normal(size=n) + 1.5 * fraud, 1)  # ties


def _covered(fraud: np.ndarray, score: np.ndarray, n_draws: int = 0) -> Coverage:
    ranking = Ranking(fraud, score)
    return coverage_of(ranking, ranking.resampled(np.random.default_rng(0), n_draws), GRID)


@pytest.mark.parametrize("seed", range(6))
def test_shares_are_those_of_the_best_of_all_thresholds(seed: int) -> None:
    fraud, score = _scored(seed)
    n, y, s = fraud.shape[0], fraud.tolist(), score.tolist()
    found = _covered(fraud, score)
    rate = Fraction(int(fraud.sum()), n)
    by_limit = {(one.limit, one.at_most): one for one in found.approved}
    for missed in MISSED:
        events, frauds = most_approved(y, s, missed=Fraction(str(missed)))
        one = by_limit["missed", missed]
        assert (one.share.value, one.missed.value) == pytest.approx((events / n, frauds / sum(y)))
    for part in BAD_RATES:
        events, frauds = most_approved_at(y, s, bad_rate=Fraction(str(part)) * rate)
        one = by_limit["bad_rate", part * float(rate)]
        assert one.share.value == pytest.approx(events / n)
        assert one.bad_rate.value == pytest.approx(frauds / events, nan_ok=True)
    for at, precision in enumerate(PRECISIONS):
        events, frauds = most_declined(y, s, precision=Fraction(str(precision)))
        assert found.declined[at].share.value == pytest.approx(events / n)
        assert found.declined[at].recall.value == pytest.approx(frauds / sum(y))


def test_both_sides_together_are_what_nobody_looks_at() -> None:
    #  score  .1 .2 .3 .4 .5 .6 .7 .8 .9 1.0
    #  fraud                      x     x  x     approve up to .6 (no fraud), decline .9 and 1.0
    fraud = np.array([0, 0, 0, 0, 0, 0, 1, 0, 1, 1], dtype=np.int8)
    found = _covered(fraud, np.arange(1, 11) / 10)
    assert found.told.share.value == pytest.approx(0.8)
    assert {one.share.value for one in found.declined if one.precision > 0.75} == {0.2}


def test_all_is_decided_where_both_sides_meet() -> None:
    fraud = np.array([0, 0, 0, 1, 1], dtype=np.int8)
    found = _covered(fraud, np.arange(5.0))
    assert {one.share.value for one in found.decided} == {1.0}


def test_acceptance_is_the_mean_over_the_orders_of_a_tie() -> None:
    fraud, score = _scored(3)
    found = _covered(fraud, score).acceptance
    rng = np.random.default_rng(5)
    drawn = np.zeros((2_000, GRID.shape[0]))
    ends = np.round(GRID * fraud.shape[0]).astype(int)
    for row in drawn:
        order = np.lexsort((rng.random(fraud.shape[0]), score))
        row[:] = np.cumsum(fraud[order])[ends - 1] / ends
    assert found.y == pytest.approx(drawn.mean(axis=0), abs=0.003)
    assert found.y[-1] == pytest.approx(fraud.mean())


def test_intervals_hold_the_figures_and_narrow_with_more_events() -> None:
    widths = []
    for n in (400, 8_000):
        rng = np.random.default_rng(1)
        fraud = (rng.random(n) < 0.15).astype(np.int8)
        told = _covered(fraud, rng.normal(size=n) + 2.0 * fraud, n_draws=200).told.share
        assert told.low <= told.value <= told.high
        widths.append(told.high - told.low)
    assert widths[1] < 0.5 * widths[0]


def test_nothing_is_defined_without_a_fraud() -> None:
    found = _covered(np.zeros(5, dtype=np.int8), np.arange(5.0))
    assert np.isnan([one.share.value for one in found.approved]).all()
    assert np.isnan(found.told.share.value)
    assert np.isnan(found.acceptance.y).all()
