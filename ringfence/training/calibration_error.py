# SPDX-License-Identifier: Apache-2.0
"""How far are scores from the rates they promise? The expected calibration error, with an interval that is honest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringfence.models import metrics
from ringfence.training.ranking import Interval

FloatArray = NDArray[np.float64]


def calibration_error_interval(
    fraud: NDArray[np.integer[Any]], score: FloatArray, rng: np.random.Generator, *, n_bins: int, n_replicates: int
) -> Interval:
    """Measure the expected calibration error over bins of equal mass, with a 95 % interval.

    Parameters
    ----------
    fraud, score : shape (n,), n > 0; 0 or 1, and calibrated probability.

    Returns
    -------
    An interval that is never below 0 and holds its own value.

    Notes
    -----
    A sum of absolute differences is biased upwards by sampling (Roelofs et al., Mitigating bias in calibration error
    estimation, AISTATS 2022), and resamples are biased once more: their percentiles lie above the estimate where the
    scores are good, and always miss a true error of 0. So the interval is the basic bootstrap's, which mirrors the
    percentiles at the estimate (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 5.2.1), of
    fraud counts drawn within each bin. It begins at 0 wherever scores that are true probabilities would show as large
    an error in one of forty samples (consistency resampling: Bröcker and Smith, Weather and Forecasting 22, 2007), and
    is widened to the estimate where mirroring leaves that outside.
    """
    mass, predicted, observed = metrics.reliability(fraud, score, n_bins=n_bins)
    sizes = mass.astype(np.int64)
    share = mass / mass.sum()
    value = float(np.sum(share * np.abs(predicted - observed)))

    def quantiles(rates: FloatArray) -> tuple[float, float]:
        drawn = rng.binomial(sizes, np.clip(rates, 0.0, 1.0), size=(n_replicates, sizes.shape[0])) / mass
        low, high = np.quantile(np.abs(drawn - predicted) @ share, [0.025, 0.975])
        return float(low), float(high)

    low, high = quantiles(observed)
    _, by_chance = quantiles(predicted)
    mirrored_low, mirrored_high = 2.0 * value - high, 2.0 * value - low
    return Interval(value, 0.0 if value <= by_chance else min(max(mirrored_low, 0.0), value), max(mirrored_high, value))
