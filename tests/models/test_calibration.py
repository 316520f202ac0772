# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ringfence.models import Calibrator, TooFewLabelsError, correct_prior, fit_calibrator
from ringfence.models.calibration import Method, sigmoid, towards_raw
from ringfence.models.metrics import brier_skill, calibration_line, ece_equal_mass

METHODS: tuple[Method, ...] = ("platt", "beta", "isotonic")


def drawn(
    n: int, seed: int, *, bias: float = -3.0, stretch: float = 2.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Raw scores `stretch` times too extreme and shifted: the truth is sigmoid(raw / stretch + bias)."""
    g = np.random.default_rng(seed)
    raw = g.normal(size=n) * 3.0
    return raw, (g.random(n) < sigmoid(raw / stretch + bias)).astype(np.int64)


@pytest.mark.parametrize("method", METHODS)
def test_calibrated_scores_are_calibrated_on_other_events(method: Method) -> None:
    calibrator = fit_calibrator(*drawn(40_000, 1), method=method)
    raw, labels = drawn(40_000, 2)
    score = calibrator.apply(raw)
    slope, intercept = calibration_line(labels, score)
    assert slope == pytest.approx(1.0, abs=0.08)
    assert intercept == pytest.approx(0.0, abs=0.2)
    assert ece_equal_mass(labels, score) < 0.008
    assert brier_skill(labels, score) > brier_skill(labels, sigmoid(raw))


@pytest.mark.parametrize("method", METHODS)
def test_mean_score_equals_the_rate_of_fraud_it_was_fitted_on(method: Method) -> None:
    raw, labels = drawn(3_000, 4)
    assert fit_calibrator(raw, labels, method=method).apply(raw).mean() == pytest.approx(labels.mean(), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 10_000),
    n=st.integers(12, 300),
    coarse=st.booleans(),
)
def test_score_rises_strictly_with_the_raw_score(method: Method, seed: int, n: int, coarse: bool) -> None:
    g = np.random.default_rng(seed)
    raw = g.normal(size=n) * 2.0
    if coarse:
        raw = np.round(raw)
    labels = (g.random(n) < 0.3).astype(np.int64)
    labels[:2] = [0, 1]
    calibrator = fit_calibrator(raw, labels, method=method)
    grid = np.linspace(-12.0, 12.0, 2_001)
    score = calibrator.apply(grid)
    assert np.all(np.diff(score) > 0.0)
    assert np.all((score > 0.0) & (score < 1.0))


def test_scores_that_run_backwards_still_keep_their_order() -> None:
    raw, labels = drawn(2_000, 5)
    for method in METHODS:
        assert np.all(np.diff(fit_calibrator(-raw, labels, method=method).apply(np.linspace(-5, 5, 50))) > 0.0)


@pytest.mark.parametrize(("n_fraud", "method"), [(199, "platt"), (200, "beta"), (999, "beta"), (1000, "isotonic")])
def test_method_follows_the_number_of_frauds(n_fraud: int, method: Method) -> None:
    labels = np.repeat([1, 0], [n_fraud, 3_000])
    raw = np.random.default_rng(0).normal(size=labels.shape[0]) + labels
    fitted = fit_calibrator(raw, labels)
    assert (fitted.method, fitted.n_fraud, fitted.n_legit) == (method, n_fraud, 3_000)


@pytest.mark.parametrize("method", METHODS)
def test_calibrator_survives_its_json_to_the_bit(method: Method) -> None:
    raw, labels = drawn(2_000, 6)
    calibrator = fit_calibrator(raw, labels, method=method)
    again = Calibrator.from_json(calibrator.to_json())
    assert again == calibrator
    assert again.apply(raw).tobytes() == calibrator.apply(raw).tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_score_alone_equals_score_in_a_batch(method: Method) -> None:
    raw, labels = drawn(2_000, 7)
    calibrator = fit_calibrator(raw, labels, method=method)
    alone = np.concatenate([calibrator.apply(raw[i : i + 1]) for i in range(300)])
    assert alone.tobytes() == calibrator.apply(raw[:300]).tobytes()


def test_prior_correction_undoes_the_sampling_of_negatives() -> None:
    # 1 fraud to 9 legit becomes, with a third of the legit kept, 1 to 3
    assert sigmoid(correct_prior(np.log(np.array([1 / 3])), negatives_kept=1 / 3))[0] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="share"):
        correct_prior(np.zeros(1), negatives_kept=0.0)


def test_one_class_is_refused() -> None:
    with pytest.raises(TooFewLabelsError, match="3 fraud and 0 legit"):
        fit_calibrator(np.zeros(3), np.ones(3, dtype=np.int64))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_a_map_averaged_with_the_raw_score_lies_between_both(method: Method, weight: float) -> None:
    raw, labels = drawn(2_000, 8)
    calibrator = fit_calibrator(raw, labels, method=method)
    grid = np.linspace(-9.0, 9.0, 400)
    expected = weight * calibrator.log_odds(grid) + (1.0 - weight) * (grid + 0.5)
    inside = (grid > raw.min()) & (grid < raw.max()) if method == "isotonic" else np.ones(400, dtype=np.bool_)
    found = towards_raw(calibrator, weight, shift=0.5).log_odds(grid)
    assert np.all(np.diff(found) > 0.0)
    assert found[inside] == pytest.approx(expected[inside])
    with pytest.raises(ValueError, match="weight"):
        towards_raw(calibrator, 1.1)
