# SPDX-License-Identifier: Apache-2.0
"""The anomaly model: scikit-learn's forest to the last bit, and a surprise that means what it says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from ringfence.models.anomaly import AnomalyModel, expected_length, train_anomaly
from ringfence.models.errors import ModelShapeError, TooFewEventsError

N, N_COLUMNS = 3_000, 12


def drawn(seed: int, n: int = N) -> np.ndarray:
    """Correlated numbers of very different sizes, a code column, and a tenth of all values missing."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(0).normal(size=(N_COLUMNS, N_COLUMNS))
    rows = rng.normal(size=(n, N_COLUMNS)) @ mix
    rows[:, 0] = np.exp(rows[:, 0])
    rows[:, 1] *= 1e9
    rows[:, 2] = rng.integers(0, 5, n)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows


@pytest.fixture(scope="module")
def model() -> AnomalyModel:
    return train_anomaly(drawn(1), seed=3)


def test_path_lengths_are_those_of_scikit_learn(model: AnomalyModel) -> None:
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=3).fit(drawn(1).astype(np.float32))
    rows = drawn(2)
    mean_length = model.walker.raw(rows.astype(np.float32).astype(np.float64)) / model.n_trees
    score = -(2.0 ** -(mean_length / expected_length(np.array([256]))))
    np.testing.assert_allclose(score, forest.score_samples(rows.astype(np.float32)), rtol=1e-12)


@pytest.mark.compiled
def test_surprise_orders_events_as_the_forest_does_even_beyond_what_it_saw(model: AnomalyModel) -> None:
    rows = np.concatenate([drawn(2), 1e3 * drawn(4), 1e300 * np.ones((1, N_COLUMNS)), np.full((1, N_COLUMNS), np.inf)])
    lengths = model.walker.raw(np.clip(rows, -3.4e38, 3.4e38).astype(np.float32).astype(np.float64))
    order = np.argsort(-lengths, kind="stable")
    surprise = model.raw(rows)
    assert np.isfinite(surprise).all()
    assert (surprise >= 0.0).all()
    assert (np.diff(surprise[order]) >= 0.0).all()
    shorter = lengths < model.lengths[0]
    assert shorter.any()
    assert surprise[shorter].min() > np.log(N) - 1e-9


@pytest.mark.compiled
def test_surprise_says_how_rare_an_event_is_among_those_of_its_kind(model: AnomalyModel) -> None:
    unseen = model.raw(drawn(8, 20_000))
    for share in (0.5, 0.1, 0.01):
        assert np.mean(unseen >= -np.log(share)) == pytest.approx(share, rel=0.35)


def test_planted_outliers_come_first_without_a_label() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(2_000, 8))
    rows[:20] += 6.0 * rng.choice([-1.0, 1.0], size=(20, 8))
    assert set(np.argsort(-train_anomaly(rows, seed=1).raw(rows))[:20]) == set(range(20))


def test_contributions_name_the_column_that_is_out_of_place() -> None:
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(2_000, 6))
    model = train_anomaly(rows, seed=1)
    odd = np.zeros((6, 6))
    np.fill_diagonal(odd, 9.0)
    assert np.argmax(model.contributions(odd), axis=1).tolist() == list(range(6))


def test_a_row_scores_alone_as_among_others_and_after_a_round_trip(model: AnomalyModel) -> None:
    rows = drawn(7, 300)
    together = model.raw(rows)
    again = AnomalyModel.from_bytes(model.to_bytes())
    assert np.concatenate([again.raw(rows[i : i + 1]) for i in range(300)]).tobytes() == together.tobytes()
    assert again.to_bytes() == model.to_bytes() == train_anomaly(drawn(1), seed=3).to_bytes()


def test_expected_length_is_the_mean_depth_of_an_unsuccessful_search() -> None:
    harmonic = np.array([sum(1.0 / k for k in range(1, n)) for n in range(3, 400)])
    n = np.arange(3, 400)
    np.testing.assert_allclose(expected_length(n), 2.0 * harmonic - 2.0 * (n - 1) / n, atol=0.6)
    assert expected_length(np.array([0, 1, 2])).tolist() == [0.0, 0.0, 1.0]


def test_too_few_events_equal_events_and_other_widths_are_refused(model: AnomalyModel) -> None:
    with pytest.raises(TooFewEventsError, match="found 10, expected at least 32"):
        train_anomaly(drawn(1, 10), seed=1)
    with pytest.raises(TooFewEventsError, match="events that differ"):
        train_anomaly(np.ones((100, 3)), seed=1)
    with pytest.raises(ModelShapeError):
        model.raw(np.zeros((2, N_COLUMNS + 1)))
