# SPDX-License-Identifier: Apache-2.0
"""The focal loss, of which log-loss and weighted log-loss are special cases, with what boosting needs of it.

With log-odds z, label y, s = 2y - 1, u = s z and q = 1 / (1 + e^-u), the probability given to what came true:

    L     = -w (1 - q)^γ ln q
    dL/dz = s w (1 - q)^γ (γ q ln q - (1 - q))
    d²L   = w (1 - q)^γ q (-γ (γ q ln q - (1 - q)) + (1 - q) (γ ln q + γ + 1))

γ = 0 is log-loss. Where q is small and γ > 0 the second derivative is negative, and boosting takes its absolute value
(Dauphin et al., Identifying and attacking the saddle point problem, NeurIPS 2014). Lin et al., Focal loss for dense
object detection (ICCV 2017), equation 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Objective = Callable[[FloatArray, Any], tuple[FloatArray, FloatArray]]

LEAST: Final = 1e-6


def focal_loss(z: FloatArray, fraud: FloatArray, *, gamma: float, weight: FloatArray | float = 1.0) -> FloatArray:
    """Return the loss of each event, shape (n,).

    Parameters
    ----------
    z : shape (n,), log-odds.
    fraud : shape (n,), 0 or 1.
    gamma : >= 0; how fast an event that is already answered well stops to count.
    weight : > 0, of each event.
    """
    log_q, log_rest = _logs(z, fraud)
    loss: FloatArray = -weight * np.exp(gamma * log_rest) * log_q
    return loss


def focal_slopes(
    z: FloatArray, fraud: FloatArray, *, gamma: float, weight: FloatArray | float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """Return first and second derivative of `focal_loss` by z, each shape (n,)."""
    log_q, log_rest = _logs(z, fraud)
    q, rest = np.exp(log_q), np.exp(log_rest)
    scale = weight * np.exp(gamma * log_rest)
    inner = gamma * q * log_q - rest
    first = np.where(fraud > 0, 1.0, -1.0) * scale * inner
    second = scale * q * (-gamma * inner + rest * (gamma * log_q + gamma + 1.0))
    return first, second


def best_constant(fraud: FloatArray, *, gamma: float, weight: FloatArray | float = 1.0) -> float:
    """Return the log-odds that lose least when all events get the same: where boosting begins."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2.0
        pulls = focal_slopes(np.full(fraud.shape, middle), fraud, gamma=gamma, weight=weight)[0].sum()
        low, high = (low, middle) if pulls > 0 else (middle, high)
    return (low + high) / 2.0


def objective(fraud: FloatArray, *, gamma: float = 0.0, weight: FloatArray | float = 1.0) -> Objective:
    """Return the loss as LightGBM wants it: log-odds in, gradient and a positive Hessian out."""

    def slopes(z: FloatArray, dataset: Any) -> tuple[FloatArray, FloatArray]:
        first, second = focal_slopes(z, fraud, gamma=gamma, weight=weight)
        return first, np.maximum(np.abs(second), LEAST)

    return slopes


def _logs(z: FloatArray, fraud: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return ln q and ln(1 - q) without overflow."""
    u = np.where(fraud > 0, z, -z)
    return -np.logaddexp(0.0, -u), -np.logaddexp(0.0, u)
