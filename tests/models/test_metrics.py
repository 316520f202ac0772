# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from ringfence.models import bootstrap, paired_bootstrap
from ringfence.models import metrics as m


def drawn(n: int, seed: int, *, ties: bool = True) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    g = np.random.default_rng(seed)
    scores = g.random(n)
    labels = (g.random(n) < scores**3).astype(np.int64)
    labels[:2] = [0, 1]
    return labels, np.round(scores, 2) if ties else scores


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 200), ties=st.booleans(), weighted=st.booleans())
def test_rankings_agree_with_scikit_learn(seed: int, n: int, ties: bool, weighted: bool) -> None:
    labels, scores = drawn(n, seed, ties=ties)
    weights = np.random.default_rng(seed + 1).integers(0, 4, n).astype(np.float64) if weighted else None
    if weights is not None:
        weights[:2] = 1.0
    assert m.average_precision(labels, scores, weights) == pytest.approx(
        sk.average_precision_score(labels, scores, sample_weight=weights)
    )
    assert m.roc_auc(labels, scores, weights) == pytest.approx(sk.roc_auc_score(labels, scores, sample_weight=weights))
    assert m.brier(labels, scores, weights) == pytest.approx(sk.brier_score_loss(labels, scores, sample_weight=weights))


def test_whole_weights_equal_repeated_events() -> None:
    labels, scores = drawn(150, 3)
    times = np.random.default_rng(4).integers(0, 4, 150)
    again = (np.repeat(labels, times), np.repeat(scores, times))
    weights = times.astype(np.float64)
    for metric in (
        m.average_precision,
        m.roc_auc,
        m.brier_skill,
        m.calibration_slope,
        lambda y, s, w=None: m.recall_at_precision(y, s, w, precision=0.5),
        lambda y, s, w=None: m.recall_at_capacity(y, s, w, share=0.1),
        lambda y, s, w=None: m.precision_at_capacity(y, s, w, share=0.1),
    ):
        assert metric(labels, scores, weights) == pytest.approx(metric(*again))


def test_recall_at_precision_and_capacity_by_hand() -> None:
    #  score  .9 .8 .7 .6 .5 .4 .3 .2 .1 .0
    #  fraud   1  1  0  1  0  0  0  0  0  1
    labels = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 1])
    scores = np.linspace(0.9, 0.0, 10)
    assert m.recall_at_precision(labels, scores, precision=0.75) == 0.75
    assert m.recall_at_precision(labels, scores, precision=1.0) == 0.5
    assert m.recall_at_capacity(labels, scores, share=0.2) == 0.5
    assert m.precision_at_capacity(labels, scores, share=0.3) == pytest.approx(2 / 3)
    # all tied: a fifth of the events holds a fifth of the frauds on average
    assert m.recall_at_capacity(labels, np.zeros(10), share=0.2) == pytest.approx(0.2)


def test_calibration_line_is_the_unpenalised_logistic_regression() -> None:
    g = np.random.default_rng(5)
    p = g.uniform(0.02, 0.9, 2_000)
    labels = (g.random(2_000) < p**1.5).astype(np.int64)
    x = np.log(p / (1 - p))
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000).fit(x[:, None], labels)
    slope, intercept = m.calibration_line(labels, p)
    assert slope == pytest.approx(fitted.coef_[0, 0], abs=1e-4)
    assert intercept == pytest.approx(fitted.intercept_[0], abs=1e-4)


def test_equal_mass_calibration_error_by_hand() -> None:
    # two bins of two: means .15 and .75, rates .5 and .5
    assert m.ece_equal_mass(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.7, 0.8]), n_bins=2) == pytest.approx(0.3)


def test_constant_forecast_has_no_skill() -> None:
    labels = np.array([0, 0, 0, 1])
    assert m.brier_skill(labels, np.full(4, 0.25)) == pytest.approx(0.0)


def test_figures_without_frauds_are_nan() -> None:
    labels, scores = np.zeros(4, dtype=np.int64), np.linspace(0, 1, 4)
    for metric in (m.average_precision, m.roc_auc, m.brier_skill, m.calibration_slope):
        assert np.isnan(metric(labels, scores))


def test_curves_run_from_nothing_to_everything() -> None:
    labels, scores = drawn(100, 9)
    recall, precision, threshold = m.precision_recall_curve(labels, scores)
    assert recall.shape == precision.shape == threshold.shape
    assert recall[-1] == 1.0
    assert precision[-1] == pytest.approx(labels.mean())
    false, true = m.roc_curve(labels, scores)
    assert np.trapezoid(true, false) == pytest.approx(m.roc_auc(labels, scores))


def test_detected_groups_leave_the_later_periods() -> None:
    #  day 0: cards 1 (fraud, .9), 2 (.8), 3 (.1)      top 2: 1 and 2 -> one found, card 1 leaves
    #  day 1: cards 1 (fraud, .9), 2 (fraud, .7), 3 (.6), 4 (.5)  top 2 of 2, 3, 4: 2 and 3 -> one found
    days = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    cards = np.array([1, 2, 3, 1, 2, 3, 4, 2])
    scores = np.array([0.9, 0.8, 0.1, 0.9, 0.7, 0.6, 0.5, 0.2])
    labels = np.array([1, 0, 0, 1, 0, 0, 0, 1])
    assert m.grouped_precision_at_k(labels, scores, days, cards, k=2) == 0.5


def test_bootstrap_interval_holds_the_figure_and_repeats_with_its_seed() -> None:
    labels, scores = drawn(500, 1)
    metrics = {"ap": m.average_precision, "brier": m.brier}
    first = bootstrap(metrics, labels, scores, seed=1, n_resamples=200)
    assert first == bootstrap(metrics, labels, scores, seed=1, n_resamples=200)
    assert first != bootstrap(metrics, labels, scores, seed=2, n_resamples=200)
    assert first["ap"].low < first["ap"].value < first["ap"].high
    assert first["ap"].value == pytest.approx(sk.average_precision_score(labels, scores))


def test_bootstrap_by_groups_is_wider_where_events_of_a_group_agree() -> None:
    g = np.random.default_rng(2)
    groups = np.repeat(np.arange(30), 20)
    labels = np.repeat((g.random(30) < 0.4).astype(np.int64), 20)
    scores = np.repeat(g.random(30), 20)
    alone = bootstrap({"b": m.brier}, labels, scores, seed=1, n_resamples=200)["b"]
    grouped = bootstrap({"b": m.brier}, labels, scores, seed=1, n_resamples=200, groups=groups)["b"]
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_paired_bootstrap_tells_better_from_equal() -> None:
    labels, scores = drawn(800, 6, ties=False)
    worse = scores + np.random.default_rng(7).normal(size=800) * 0.5
    better = paired_bootstrap({"auc": m.roc_auc}, labels, scores, worse, seed=1, n_resamples=200)["auc"]
    assert better.excludes_zero
    assert better.share_above_zero == 1.0
    equal = paired_bootstrap({"auc": m.roc_auc}, labels, scores, scores * 2, seed=1, n_resamples=50)["auc"]
    assert (equal.value, equal.low, equal.high, equal.excludes_zero) == (0.0, 0.0, 0.0, False)
