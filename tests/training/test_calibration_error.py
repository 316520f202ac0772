# SPDX-License-Identifier: Apache-2.0
"""The interval of the calibration error holds its own estimate, and the truth about as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ringfence.models.metrics import ece_equal_mass
from ringfence.training.calibration_error import calibration_error_interval

FloatArray = NDArray[np.float64]


def drawn(rng: np.random.Generator, n: int, *, slope: float, shift: float) -> tuple[FloatArray, FloatArray]:
    """Scores, and the true probabilities behind them; equal at slope 1 and shift 0."""
    log_odds = rng.normal(-3.0, 1.5, n)
    return 1.0 / (1.0 + np.exp(-log_odds)), 1.0 / (1.0 + np.exp(-(slope * log_odds + shift)))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 9_999),
    n=st.sampled_from([1, 2, 9, 50, 700]),
    slope=st.sampled_from([1.0, 0.3]),
    shift=st.sampled_from([-2.0, 0.0, 3.0]),
)
def test_interval_holds_its_own_estimate_and_is_not_below_zero(seed: int, n: int, slope: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    score, truth = drawn(rng, n, slope=slope, shift=shift)
    fraud = (rng.random(n) < truth).astype(np.int8)
    found = calibration_error_interval(fraud, score, rng, n_bins=10, n_replicates=40)
    assert found.value == pytest.approx(ece_equal_mass(fraud, score, n_bins=10), abs=1e-12)
    assert 0.0 <= found.low <= found.value <= found.high


@pytest.mark.parametrize(
    ("slope", "shift", "least"), [(1.0, 0.0, 0.95), (1.0, 0.2, 0.88), (0.7, 0.0, 0.88), (1.0, 0.8, 0.88)]
)
def test_interval_holds_the_true_error_nearly_as_often_as_it_says(slope: float, shift: float, least: float) -> None:
    rng = np.random.default_rng(7)
    n_samples, n_held = 300, 0
    for _ in range(n_samples):
        score, truth = drawn(rng, 4_000, slope=slope, shift=shift)
        fraud = (rng.random(4_000) < truth).astype(np.int8)
        parts = np.array_split(np.argsort(score, kind="stable"), 10)
        true_error = float(np.mean([abs(score[part].mean() - truth[part].mean()) for part in parts]))
        found = calibration_error_interval(fraud, score, rng, n_bins=10, n_replicates=200)
        n_held += found.low <= true_error <= found.high
    assert n_held / n_samples >= least
