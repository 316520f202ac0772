# SPDX-License-Identifier: Apache-2.0
"""Weights that follow, found slowly: one number at a time, each by halving the interval that holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_FAR = 60.0  # log-odds; no intercept lies beyond


def followed(
    released: Mapping[str, float],
    trained: Mapping[str, float],
    members: Mapping[str, FloatArray],
    fraud: NDArray[np.int8],
    *,
    worth: float,
    band: tuple[float, float],
) -> tuple[dict[str, float], float]:
    """Return weights by member, and the intercept, where log-loss and the pull to `released` are least in sum."""
    names = list(released)

    def surplus(weights: Mapping[str, float], columns: Mapping[str, FloatArray], intercept: float) -> FloatArray:
        return risk(sum(weights[name] * columns[name] for name in names) + intercept) - fraud

    def best_intercept(weights: Mapping[str, float], columns: Mapping[str, FloatArray]) -> float:
        return _root(lambda at: float(surplus(weights, columns, at).sum()), -_FAR, _FAR)

    p = surplus(released, members, best_intercept(released, members)) + fraud
    v = p * (1.0 - p)
    centre = {name: float(np.average(members[name], weights=v)) for name in names}
    column = {name: members[name] - centre[name] for name in names}
    n_fraud = int(fraud.sum())
    pull = {
        (one, other): worth * float((v * column[one] * column[other]).sum()) / n_fraud
        for one in names
        for other in names
    }
    weights = dict(released)
    furthest = inf
    while furthest > 1e-11:
        furthest = 0.0
        intercept = best_intercept(weights, column)
        for name in names:

            def slope(at: float, name: str = name, intercept: float = intercept) -> float:
                tried = {**weights, name: at}
                back = sum(pull[name, one] * (tried[one] - released[one]) for one in names)
                return float((column[name] * surplus(tried, column, intercept)).sum()) + back

            low, high = (end * trained[name] for end in band)
            found = low if slope(low) >= 0.0 else high if slope(high) <= 0.0 else _root(slope, low, high)
            furthest = max(furthest, abs(found - weights[name]))
            weights[name] = found
    return weights, best_intercept(weights, members)


def risk(odds: FloatArray) -> FloatArray:
    """Return probabilities of log-odds."""
    found: FloatArray = 1.0 / (1.0 + np.exp(-odds))
    return found


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Halve [low, high] until nothing lies between, where `rising` goes from below zero to above."""
    width = inf
    while high - low < width:
        width = high - low
        middle = 0.5 * (low + high)
        if rising(middle) < 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
