# SPDX-License-Identifier: Apache-2.0
"""A logistic regression that finds out by itself which groups of columns are worth listening to.

Weights of a group have a normal prior of mean zero and precision `lambda_g`, which is raised or lowered until the
examples are most likely under it (MacKay, Bayesian interpolation, Neural Computation 1992, equation 4.5, with the
posterior taken as normal around its mode):

    gamma_g  = n_g - lambda_g trace_g(H^-1)                 columns of the group that the examples determine
    lambda_g = (gamma_g + k) / (w_g' w_g + k / lambda_F)    lambda_F: the same of the group's family, k = 0

Adaptive group ridge regression in short (van de Wiel et al., Statistics in Medicine 2016). A group that tells nothing
ends with a precision that leaves nothing of it, without a test and without a validation set, which a few dozen frauds
would not be enough for.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from ringfence.models.calibration import sigmoid

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PSEUDO_WEIGHTS: Final = 0.1  # k: weights at its family's variance that a group is taken to have beside its own
LEAST, MOST = 2.0, 1e5  # of a precision; columns have variance 1, so weights of 0.7 are usual at the least
_FIRST: Final = 100.0
_ROUNDS: Final = 25
_SETTLED: Final = 0.05  # change of a precision's logarithm
_STEPS: Final = 1  # of Newton's method while precisions still move
_LAST_STEPS: Final = 25


class Weights(NamedTuple):
    """The most likely weights under the precisions found; 0 of a group that ended at `MOST`."""

    of_columns: FloatArray  # (p,)
    intercept: float
    precisions: FloatArray  # (n_groups,)


def fit_evidence(columns: FloatArray, fraud: NDArray[np.int8], groups: IntArray, families: IntArray) -> Weights:
    """Fit weights and precisions; the same arguments give the same.

    Parameters
    ----------
    columns : shape (n, p), mean 0 and variance 1, no missing values.
    fraud : shape (n,), of both classes.
    groups : shape (p,), 0 .. n_groups - 1, none of them empty.
    families : shape (n_groups,), of each group, 0 .. n_families - 1.
    """
    y = fraud.astype(np.float64)
    n_groups, p = families.shape[0], columns.shape[1]
    sizes = np.bincount(groups, minlength=n_groups).astype(np.float64)
    precisions = np.full(n_groups, _FIRST)
    weights = np.zeros(p)
    at = np.array([np.log(y.mean()) - np.log1p(-y.mean())])
    heard = np.arange(p)  # columns of groups that still count
    with threadpool_limits(1, user_api="blas"):  # one order of adding up; and cores that others use are not waited for
        for _ in range(_ROUNDS):
            at = np.append(weights[heard], at[-1])
            at, factor = _newton(columns, y, precisions[groups[heard]], at, _STEPS)
            weights[heard] = at[:-1]
            spread = np.zeros(p)
            spread[heard] = np.diag(cho_solve(factor, np.eye(at.shape[0])))[:-1]
            squares = np.bincount(groups, weights**2, minlength=n_groups)
            known = np.clip(sizes - precisions * np.bincount(groups, spread, minlength=n_groups), 1e-3, sizes)
            of_family = np.bincount(families, known) / np.maximum(np.bincount(families, squares), 1e-12)
            wanted = (known + PSEUDO_WEIGHTS) / (squares + PSEUDO_WEIGHTS / np.minimum(of_family, MOST)[families])
            wanted = np.clip(wanted, LEAST, MOST)
            is_heard = precisions < MOST / 2.0
            moved = np.abs(np.log(wanted / precisions))[is_heard].max(initial=0.0)
            precisions = np.where(is_heard, precisions**0.3 * wanted**0.7, MOST)
            now = np.flatnonzero(precisions[groups] < MOST / 2.0)
            if now.shape[0] < heard.shape[0]:
                columns, kept = columns[:, np.isin(heard, now)], now
                weights[np.setdiff1d(heard, kept)] = 0.0
                heard = kept
            if moved < _SETTLED:
                break
        at, _ = _newton(columns, y, precisions[groups[heard]], np.append(weights[heard], at[-1]), _LAST_STEPS)
    weights[heard] = at[:-1]
    return Weights(weights, float(at[-1]), precisions)


def _newton(
    columns: FloatArray, y: FloatArray, price: FloatArray, at: FloatArray, steps: int
) -> tuple[FloatArray, tuple[FloatArray, bool]]:
    """Go up to `steps` downhill from `at`; return where that led, and the factored curvature before the last step."""
    p = columns.shape[1]
    odds = columns @ at[:-1] + at[-1]
    loss = _loss(odds, y, price, at)
    while True:
        chance = sigmoid(odds)
        weight = chance * (1.0 - chance)
        curvature = np.empty((p + 1, p + 1))
        scaled = columns * np.sqrt(weight)[:, None]
        curvature[:p, :p] = scaled.T @ scaled
        curvature[:p, p] = curvature[p, :p] = scaled.T @ np.sqrt(weight)
        curvature[p, p] = weight.sum()
        curvature[np.arange(p + 1), np.arange(p + 1)] += np.append(price, 1e-9)
        del scaled
        factor = cho_factor(curvature, lower=True)
        slope = np.append(columns.T @ (chance - y) + price * at[:-1], (chance - y).sum())
        step, length = cho_solve(factor, slope), 1.0
        promised = float(slope @ step)
        while True:
            there = at - length * step
            odds = columns @ there[:-1] + there[-1]
            found = _loss(odds, y, price, there)
            if found <= loss - 1e-4 * length * promised or length < 1e-6:
                break
            length /= 2.0
        gained, at, loss, steps = loss - found, there, found, steps - 1
        if not steps or gained < 1e-7 * max(1.0, abs(loss)):
            return at, factor


def _loss(odds: FloatArray, y: FloatArray, price: FloatArray, at: FloatArray) -> float:
    return float(np.logaddexp(0.0, np.where(y == 1.0, -odds, odds)).sum() + 0.5 * (price * at[:-1] ** 2).sum())
