# SPDX-License-Identifier: Apache-2.0
"""What a score is worth: ranking, alerts and calibration, each of them also under the weights of a resample.

All functions take `labels` (n,) of 0 and 1, `scores` (n,) and optional `weights` (n,) >= 0, one per event. Events
with the same score enter together. Where a figure is not defined (no fraud, no legit event), it is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ringfence.models.calibration import sigmoid

if TYPE_CHECKING:
    from collections.abc import Callable

    Metric = Callable[["Labels", "FloatArray", "FloatArray | None"], float]

FloatArray = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]


def average_precision(labels: Labels, scores: FloatArray, weights: FloatArray | None = None) -> float:
    """Return the area under precision-recall by steps: sum of precision x gain in recall, as scikit-learn has it."""
    caught, flagged = _ladder(labels, scores, weights)
    if caught[-1] == 0.0:
        return float("nan")
    gained = np.diff(caught, prepend=0.0)
    return float(np.sum(np.divide(caught, flagged, out=np.zeros_like(caught), where=flagged > 0) * gained) / caught[-1])


def roc_auc(labels: Labels, scores: FloatArray, weights: FloatArray | None = None) -> float:
    """Return the probability that a fraud scores above a legit event, ties counting half."""
    caught, flagged = _ladder(labels, scores, weights)
    false = flagged - caught
    if caught[-1] == 0.0 or false[-1] == 0.0:
        return float("nan")
    area = np.sum(np.diff(false, prepend=0.0) * (caught + np.concatenate([[0.0], caught[:-1]])) / 2.0)
    return float(area / (caught[-1] * false[-1]))


def recall_at_precision(
    labels: Labels, scores: FloatArray, weights: FloatArray | None = None, *, precision: float
) -> float:
    """Return the largest share of frauds caught by a threshold whose alerts are at least `precision` fraud; else 0."""
    caught, flagged = _ladder(labels, scores, weights)
    if caught[-1] == 0.0:
        return float("nan")
    good = caught >= precision * flagged
    return float(caught[good].max(initial=0.0) / caught[-1])


def recall_at_capacity(labels: Labels, scores: FloatArray, weights: FloatArray | None = None, *, share: float) -> float:
    """Return the share of frauds among the highest-scoring `share` of events, in (0, 1].

    A tie at the edge is taken in proportion: the expected value over the tie's orders.
    """
    caught, flagged = _ladder(labels, scores, weights)
    if caught[-1] == 0.0:
        return float("nan")
    return _caught_at(caught, flagged, share * flagged[-1]) / float(caught[-1])


def precision_at_capacity(
    labels: Labels, scores: FloatArray, weights: FloatArray | None = None, *, share: float
) -> float:
    """Return the rate of fraud among the highest-scoring `share` of events, in (0, 1]; ties in proportion."""
    caught, flagged = _ladder(labels, scores, weights)
    room = share * float(flagged[-1])
    return _caught_at(caught, flagged, room) / room if room > 0 else float("nan")


def brier(labels: Labels, scores: FloatArray, weights: FloatArray | None = None) -> float:
    """Return the mean squared distance between score and label."""
    return float(np.average((scores - labels) ** 2, weights=weights))


def brier_skill(labels: Labels, scores: FloatArray, weights: FloatArray | None = None) -> float:
    """Return 1 - Brier / Brier of the constant base rate: above 0 is better than knowing the rate alone."""
    rate = float(np.average(labels, weights=weights))
    if rate in (0.0, 1.0):
        return float("nan")
    return 1.0 - brier(labels, scores, weights) / (rate * (1.0 - rate))


def calibration_line(labels: Labels, scores: FloatArray, weights: FloatArray | None = None) -> tuple[float, float]:
    """Return slope and intercept of a logistic regression of the label on the score's log-odds.

    (1, 0) is calibrated; a slope below 1 means that scores are too extreme (Cox, 1958; Van Calster et al., 2019).
    Scores are kept within [1e-12, 1 - 1e-12].
    """
    p = np.clip(scores, 1e-12, 1.0 - 1e-12)
    x = np.log(p) - np.log1p(-p)
    w = np.ones_like(x) if weights is None else weights
    y = labels.astype(np.float64)
    if float(np.average(y, weights=w)) in (0.0, 1.0):
        return float("nan"), float("nan")
    slope, intercept = 1.0, 0.0
    for _ in range(50):
        q = sigmoid(slope * x + intercept)
        h = w * q * (1.0 - q)
        g = np.array([np.sum(w * (y - q) * x), np.sum(w * (y - q))])
        hessian = np.array([[np.sum(h * x * x), np.sum(h * x)], [np.sum(h * x), np.sum(h)]])
        if not np.linalg.det(hessian) > 1e-12:
            return float("nan"), float("nan")
        step = np.clip(np.linalg.solve(hessian, g), -2.0, 2.0)
        slope, intercept = slope + float(step[0]), intercept + float(step[1])
        if float(np.abs(step).max()) < 1e-10:
            break
    return slope, intercept


def calibration_slope(labels: Labels, scores: FloatArray, weights: FloatArray | None = None) -> float:
    return calibration_line(labels, scores, weights)[0]


def ece_equal_mass(labels: Labels, scores: FloatArray, weights: FloatArray | None = None, *, n_bins: int = 20) -> float:
    """Return the mean distance between mean score and fraud rate over bins of equal mass, weighted by mass.

    A constant forecast has a small one: read it beside Brier skill and calibration slope.
    """
    mass, predicted, observed = reliability(labels, scores, weights, n_bins=n_bins)
    return float(np.sum(mass * np.abs(predicted - observed)) / np.sum(mass))


def reliability(
    labels: Labels, scores: FloatArray, weights: FloatArray | None = None, *, n_bins: int = 20
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mass, mean score and fraud rate of up to `n_bins` bins of equal mass, scores ascending."""
    order = np.argsort(scores, kind="stable")
    w = np.ones(order.shape[0]) if weights is None else weights[order]
    total = np.cumsum(w)
    bins = np.minimum(((total - w / 2.0) / total[-1] * n_bins).astype(np.int64), n_bins - 1)
    mass: FloatArray = np.bincount(bins, weights=w, minlength=n_bins).astype(np.float64)
    predicted = np.bincount(bins, weights=w * scores[order], minlength=n_bins)
    observed = np.bincount(bins, weights=w * labels[order], minlength=n_bins)
    kept = mass > 0
    return mass[kept], predicted[kept] / mass[kept], observed[kept] / mass[kept]


def precision_recall_curve(labels: Labels, scores: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return recall, precision and threshold at every distinct score, highest first."""
    caught, flagged = _ladder(labels, scores, None)
    return caught / max(float(caught[-1]), 1.0), caught / flagged, np.unique(scores)[::-1].astype(np.float64)


def roc_curve(labels: Labels, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return false positive rate and recall at every distinct score, from (0, 0) to (1, 1)."""
    caught, flagged = _ladder(labels, scores, None)
    false = flagged - caught
    return (
        np.concatenate([[0.0], false / max(float(false[-1]), 1.0)]),
        np.concatenate([[0.0], caught / max(float(caught[-1]), 1.0)]),
    )


def grouped_precision_at_k(
    labels: Labels, scores: FloatArray, periods: NDArray[np.integer[Any]], groups: NDArray[np.integer[Any]], *, k: int
) -> float:
    """Return the mean over periods of the rate of fraud among the k groups with the highest score of that period.

    With days and cards this is the Fraud Detection Handbook's card precision top-k: each period, groups rank by
    their highest score; of the first k those with a fraud in that period count, and are left out of later periods.

    Parameters
    ----------
    periods, groups : shape (n,), whole numbers; periods run in ascending order.
    k : >= 1; the divisor even where a period has fewer groups.
    """
    known: set[int] = set()
    found = []
    for period in np.unique(periods):
        today = np.flatnonzero(periods == period)
        today = today[~np.isin(groups[today], np.fromiter(known, dtype=np.int64, count=len(known)))]
        names, at = np.unique(groups[today], return_inverse=True)
        highest = np.full(names.shape[0], -np.inf)
        np.maximum.at(highest, at, scores[today])
        is_fraud = np.zeros(names.shape[0], dtype=np.bool_)
        np.logical_or.at(is_fraud, at, labels[today] == 1)
        first = np.lexsort((names, -highest))[:k]
        caught = names[first][is_fraud[first]]
        known.update(int(name) for name in caught)
        found.append(caught.shape[0] / k)
    return float(np.mean(found)) if found else float("nan")


def _ladder(labels: Labels, scores: FloatArray, weights: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Return mass of fraud and of all events at or above each distinct score, highest first."""
    falling = scores.shape[0] < 2 or bool(np.all(scores[:-1] >= scores[1:]))  # resamples come sorted already
    order = slice(None) if falling else np.argsort(-scores, kind="stable")
    s = scores[order]
    w = np.ones(s.shape[0]) if weights is None else weights[order]
    last = np.append(np.flatnonzero(s[1:] != s[:-1]), s.shape[0] - 1)
    return np.cumsum(w * labels[order])[last], np.cumsum(w)[last]


def _caught_at(caught: FloatArray, flagged: FloatArray, room: float) -> float:
    return float(np.interp(room, np.concatenate([[0.0], flagged]), np.concatenate([[0.0], caught])))
