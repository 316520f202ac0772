# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ringfence.models import paired_bootstrap
from ringfence.models.metrics import average_precision, recall_at_precision, roc_auc
from ringfence.models.resampling import difference_of
from ringfence.training import ranking
from ringfence.training.ranking import Ranking


def _scored(seed: int, n: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fraud = (rng.random(n) < 0.1).astype(np.int8)
    score = rng.normal(size=n) + 1.2 * fraud
    return fraud, np.round(score, 1) if ties else score


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_cells_keep_average_precision_and_auc_of_the_full_ranking(seed: int, ties: bool) -> None:
    fraud, score = _scored(seed, 500, ties=ties)
    cells = Ranking(fraud, score)
    assert cells.average_precision() == pytest.approx(average_precision_score(fraud, score), abs=1e-12)
    assert cells.roc_auc() == pytest.approx(roc_auc_score(fraud, score), abs=1e-12)
    assert cells.fraud.shape[0] <= 2 * fraud.sum() + 1


def test_cells_hold_every_event_once() -> None:
    fraud, score = _scored(1, 300, ties=True)
    cells = Ranking(fraud, score)
    assert cells.fraud.sum() == fraud.sum()
    assert cells.legit.sum() == (1 - fraud).sum()
    assert np.all(np.diff(cells.threshold) < 0)


def test_roc_curve_passes_through_the_exact_points() -> None:
    fraud, score = _scored(2, 400, ties=False)
    fpr, tpr, _ = roc_curve(fraud, score, drop_intermediate=False)
    grid = np.unique(fpr)
    curve = ranking.roc_curve(Ranking(fraud, score), [], grid)
    highest = np.array([tpr[fpr == value].max() for value in grid])
    assert curve.y == pytest.approx(highest, abs=1e-12)


def test_interval_contains_the_value_and_narrows_with_more_events() -> None:
    widths = []
    for n in (300, 6000):
        fraud, score = _scored(3, n, ties=False)
        cells = Ranking(fraud, score)
        interval = ranking.average_precision_interval(cells, cells.resampled(np.random.default_rng(0), 200))
        assert interval.low < interval.value < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] < 0.5 * widths[0]


def test_poisson_cells_resample_like_poisson_events() -> None:
    fraud, score = _scored(4, 400, ties=False)
    cells = Ranking(fraud, score)
    fast = ranking.roc_auc_interval(cells, cells.resampled(np.random.default_rng(0), 300))
    rng = np.random.default_rng(1)
    slow = []
    for _ in range(300):
        weights = rng.poisson(1.0, fraud.shape[0])
        slow.append(roc_auc_score(fraud, score, sample_weight=weights))
    low, high = np.quantile(slow, [0.025, 0.975])
    assert fast.low == pytest.approx(low, abs=0.025)
    assert fast.high == pytest.approx(high, abs=0.025)


def test_recall_at_precision_is_zero_where_the_precision_is_never_reached() -> None:
    fraud = np.array([0, 0, 1, 0, 1], dtype=np.int8)
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    cells = Ranking(fraud, score)
    assert ranking.recall_at_precision_interval(cells, [], 0.9).value == 0.0
    assert ranking.recall_at_precision_interval(cells, [], 0.4).value == 1.0


def test_one_class_has_no_figure_and_raises_nothing() -> None:
    cells = Ranking(np.zeros(5, dtype=np.int8), np.arange(5.0))
    assert np.isnan(cells.average_precision())
    assert np.isnan(cells.roc_auc())
    assert cells.resampled(np.random.default_rng(0), 10) == []
    assert np.isnan(Ranking(np.zeros(0, dtype=np.int8), np.zeros(0)).roc_auc())


@pytest.mark.parametrize("seed", range(4))
def test_groups_rank_as_their_events_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 6, 9) / 5.0  # some twice
    fraud, legit = rng.integers(0, 4, 9), rng.integers(0, 4, 9)
    events = Ranking(
        np.repeat(np.tile([1, 0], 9), np.stack([fraud, legit], axis=1).ravel()).astype(np.int8),
        np.repeat(score, fraud + legit),
    )
    groups = Ranking.of_counts(score, fraud, legit)
    for name in ("fraud", "legit", "threshold"):
        np.testing.assert_array_equal(getattr(groups, name), getattr(events, name))


@pytest.mark.parametrize("ties", [False, True])
def test_paired_draws_give_the_differences_of_the_paired_bootstrap(ties: bool) -> None:
    fraud, first = _scored(3, 400, ties=ties)
    second = np.round(first + np.random.default_rng(8).normal(0.0, 0.1, 400), 1 if ties else 12)
    metrics = {
        "ap": (average_precision, ranking.average_precision),
        "auc": (roc_auc, ranking.roc_auc),
        "recall": (
            partial(recall_at_precision, precision=0.3),
            partial(ranking.recall_at_precision, precision=0.3),
        ),
    }
    expected = paired_bootstrap(
        {name: by_event for name, (by_event, _) in metrics.items()}, fraud, first, second, seed=5, n_resamples=60
    )
    draws = list(ranking.paired_draws(fraud, first, second, np.random.default_rng(5), 60))
    for name, (_, by_cell) in metrics.items():
        value = by_cell(*Ranking(fraud, first).counts) - by_cell(*Ranking(fraud, second).counts)
        found = difference_of(value, np.array([by_cell(*one) - by_cell(*other) for one, other in draws]))
        for part in ("value", "low", "high", "share_above_zero", "n_resamples"):
            assert getattr(found, part) == pytest.approx(getattr(expected[name], part), abs=1e-12), (name, part)
