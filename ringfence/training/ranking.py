# SPDX-License-Identifier: Apache-2.0
"""The order that scores put events in, compressed to what PR and ROC curves need, so that resampling is cheap."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Interval(msgspec.Struct, frozen=True):
    """A figure with its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A curve on a fixed grid with a pointwise 95 % band; all shape (n_grid,)."""

    x: FloatArray
    y: FloatArray
    low: FloatArray
    high: FloatArray


class Ranking:
    """Fraud and legit counts per cell of equal rank, highest score first.

    Neighbouring scores without any fraud between them fall into one cell: neither average precision nor the area under
    the ROC curve depends on the order inside. Drawing every event Poisson(1) times, the Poisson bootstrap, is then the
    same as drawing each cell's counts from a Poisson of its count: O(n_fraud) per replicate instead of O(n_events).
    The unit of resampling is the event; dependence between events of one entity is not modelled.
    """

    def __init__(self, fraud: NDArray[np.int8], score: FloatArray) -> None:
        is_falling = bool((score[1:] <= score[:-1]).all())
        order = slice(None) if is_falling else np.argsort(-score, kind="stable")
        y, s = fraud[order].astype(np.int64), score[order]
        ends = np.flatnonzero(np.append(s[1:] != s[:-1], True)) if s.shape[0] else np.empty(0, np.int64)
        tied_fraud = np.diff(np.cumsum(y)[ends], prepend=0)
        self._set(s[ends], tied_fraud, np.diff(ends + 1, prepend=0) - tied_fraud)

    @property
    def counts(self) -> tuple[FloatArray, FloatArray]:
        """Fraud and legit events per cell."""
        return self.fraud, self.legit

    def cell_of(self, score: FloatArray) -> NDArray[np.int64]:
        """Return the cell of each score, shape (n,); scores are among those that were ranked."""
        return np.searchsorted(-self.threshold, -score, side="left").astype(np.int64)

    @classmethod
    def of_counts(cls, score: FloatArray, fraud: NDArray[np.int64], legit: NDArray[np.int64]) -> Ranking:
        """Rank groups of events that share a score: what the events themselves would give, for the price of the groups.

        Parameters
        ----------
        score, fraud, legit : shape (n groups,), in any order; a score may come twice, and a group may be empty.
        """
        some = (fraud + legit) > 0
        distinct, group = np.unique(-score[some], return_inverse=True)
        ranking = cls.__new__(cls)
        counts = [np.bincount(group, of_class[some], distinct.shape[0]).astype(np.int64) for of_class in (fraud, legit)]
        ranking._set(-distinct, *counts)
        return ranking

    def _set(self, score: FloatArray, fraud: NDArray[np.int64], legit: NDArray[np.int64]) -> None:
        """Make cells of groups of equal score, highest first."""
        has_fraud = fraud > 0
        # A cell starts at every tie group with fraud, and at a group without that follows one with.
        starts = has_fraud | np.append(True, has_fraud[:-1]) if score.shape[0] else has_fraud
        cell = np.cumsum(starts) - 1
        n_cells = int(cell[-1]) + 1 if score.shape[0] else 0
        self.fraud = np.bincount(cell, fraud, n_cells).astype(np.float64)
        self.legit = np.bincount(cell, legit, n_cells).astype(np.float64)
        self.threshold = score[np.flatnonzero(np.append(starts[1:], True))] if score.shape[0] else score  # lowest of it

    def average_precision(self) -> float:
        return average_precision(self.fraud, self.legit)

    def roc_auc(self) -> float:
        return roc_auc(self.fraud, self.legit)

    def resampled(self, rng: np.random.Generator, n_replicates: int) -> list[tuple[FloatArray, FloatArray]]:
        """Draw `n_replicates` pairs of (fraud, legit) counts per cell; those without both classes are dropped."""
        draws = []
        for _ in range(n_replicates):
            fraud, legit = rng.poisson(self.fraud).astype(np.float64), rng.poisson(self.legit).astype(np.float64)
            if fraud.sum() > 0 and legit.sum() > 0:
                draws.append((fraud, legit))
        return draws


def paired_draws(
    fraud: NDArray[np.int8], first: FloatArray, second: FloatArray, rng: np.random.Generator, n_replicates: int
) -> Iterator[tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]]:
    """Draw the same events for two ways of scoring them, with replacement and as many as there are.

    Parameters
    ----------
    fraud, first, second : shape (n,), n > 0.

    Yields
    ------
    (fraud, legit) counts per cell of the first ranking, and of the second.

    Notes
    -----
    What a figure needs of a draw are counts per cell, so events are counted where they are drawn instead of being
    weighted and put in order: the same as `models.paired_bootstrap` of the same generator, for a fraction of its time.
    """
    n = fraud.shape[0]
    rankings = [Ranking(fraud, score) for score in (first, second)]
    # Each event's place in one array of counts: legit of every cell, then fraud of every cell.
    places = [
        ranking.cell_of(score) + fraud.astype(np.int64) * ranking.fraud.shape[0]
        for ranking, score in zip(rankings, (first, second), strict=True)
    ]
    for _ in range(n_replicates):
        drawn = rng.integers(0, n, n)
        counts = [
            np.bincount(place[drawn], minlength=2 * ranking.fraud.shape[0]).astype(np.float64)
            for ranking, place in zip(rankings, places, strict=True)
        ]
        (one, other), (n_one, n_other) = counts, (len(ranking.fraud) for ranking in rankings)
        yield (one[n_one:], one[:n_one]), (other[n_other:], other[:n_other])


def average_precision_interval(ranking: Ranking, draws: list[tuple[FloatArray, FloatArray]]) -> Interval:
    return interval_of(ranking.average_precision(), [average_precision(*draw) for draw in draws])


def roc_auc_interval(ranking: Ranking, draws: list[tuple[FloatArray, FloatArray]]) -> Interval:
    return interval_of(ranking.roc_auc(), [roc_auc(*draw) for draw in draws])


def recall_at_precision_interval(
    ranking: Ranking, draws: list[tuple[FloatArray, FloatArray]], precision: float
) -> Interval:
    """Largest recall at which the precision is at least `precision`; 0 where it never is."""
    return interval_of(
        recall_at_precision(ranking.fraud, ranking.legit, precision),
        [recall_at_precision(*draw, precision) for draw in draws],
    )


def pr_curve(ranking: Ranking, draws: list[tuple[FloatArray, FloatArray]], grid: FloatArray) -> Curve:
    """Precision at each recall of `grid`, which lies in (0, 1]."""
    return curve_of(grid, _precision_on(ranking.fraud, ranking.legit, grid), [_precision_on(*d, grid) for d in draws])


def roc_curve(ranking: Ranking, draws: list[tuple[FloatArray, FloatArray]], grid: FloatArray) -> Curve:
    """True positive rate at each false positive rate of `grid`, which lies in [0, 1]."""
    return curve_of(grid, _tpr_on(ranking.fraud, ranking.legit, grid), [_tpr_on(*d, grid) for d in draws])


def average_precision(fraud: FloatArray, legit: FloatArray) -> float:
    """Return average precision from counts per cell, highest first; NaN without fraud."""
    total = fraud.sum()
    if total == 0:
        return float("nan")
    tp = np.cumsum(fraud)
    seen = tp + np.cumsum(legit)
    return float(np.sum(fraud * np.divide(tp, seen, out=np.zeros_like(tp), where=seen > 0)) / total)


def roc_auc(fraud: FloatArray, legit: FloatArray) -> float:
    """Return the area under the ROC curve from counts per cell, highest first; NaN where a class is absent."""
    n_fraud, n_legit = fraud.sum(), legit.sum()
    if n_fraud == 0 or n_legit == 0:
        return float("nan")
    below = n_legit - np.cumsum(legit)  # legit ranked strictly lower; ties count a half
    return float(np.sum(fraud * (below + 0.5 * legit)) / (n_fraud * n_legit))


def recall_at_precision(fraud: FloatArray, legit: FloatArray, precision: float) -> float:
    """Return the largest recall at a precision of at least `precision`, from counts per cell; 0 where there is none."""
    tp = np.cumsum(fraud)
    seen = tp + np.cumsum(legit)
    good = (tp >= precision * seen) & (tp > 0)
    return float(tp[good].max() / fraud.sum()) if good.any() else 0.0


def _precision_on(fraud: FloatArray, legit: FloatArray, grid: FloatArray) -> FloatArray:
    if fraud.sum() == 0:
        return np.full(grid.shape[0], np.nan)
    tp = np.cumsum(fraud)
    seen = tp + np.cumsum(legit)
    at = np.minimum(np.searchsorted(tp, grid * fraud.sum() - 1e-9, side="left"), tp.shape[0] - 1)
    precision: FloatArray = np.divide(tp[at], seen[at], out=np.zeros(grid.shape[0]), where=seen[at] > 0)
    return precision


def _tpr_on(fraud: FloatArray, legit: FloatArray, grid: FloatArray) -> FloatArray:
    if fraud.sum() == 0 or legit.sum() == 0:
        return np.full(grid.shape[0], np.nan)
    fpr = np.append(0.0, np.cumsum(legit) / legit.sum())
    tpr = np.append(0.0, np.cumsum(fraud) / fraud.sum())
    rate: FloatArray = np.interp(grid, fpr, tpr)  # over a vertical step it takes the upper end
    return rate


def interval_of(value: float, replicates: list[float]) -> Interval:
    """Put the middle 95 % of resampled values around a value."""
    if not replicates or np.isnan(value):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(replicates, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def curve_of(grid: FloatArray, y: FloatArray, replicates: list[FloatArray]) -> Curve:
    """Put the middle 95 % of resampled curves, pointwise, around a curve; each has shape (n_grid,)."""
    if not replicates:
        return Curve(x=grid, y=y, low=y, high=y)
    low, high = np.quantile(np.stack(replicates), [0.025, 0.975], axis=0)
    return Curve(x=grid, y=y, low=low, high=high)
