# SPDX-License-Identifier: Apache-2.0
"""What one column alone says about the label: the yardstick by which a leak stands out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.training import ranking
from ringfence.training.ranking import Interval, Ranking

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_QUANTILES: Final = 32  # of all values, and as many of the frauds' values
MOST_CODES: Final = 500  # values of a category that get a bin of their own
STRENGTH: Final = 5.0  # pseudo-count of the base rate in a bin, in events
N_REPLICATES: Final = 200
MOST_OF_A_CLASS: Final = 50_000  # rows looked at
_COLUMNS: Final = 64  # copied at once


class SingleColumn(msgspec.Struct, frozen=True, kw_only=True):
    """How well one column alone orders the examples; intervals are NaN unless asked for."""

    column: int
    name: str
    average_precision: Interval
    roc_auc: Interval


def single_columns(
    rows: FloatArray,
    fraud: NDArray[np.int8],
    names: Sequence[str],
    is_category: Sequence[bool],
    *,
    seed: int,
    n_intervals: int = 12,
    at: IntArray | None = None,
) -> list[SingleColumn]:
    """Rank columns by what each alone is worth, most telling first.

    Parameters
    ----------
    rows : shape (n_rows, n_columns), NaN where missing.
    fraud : shape (n,), both classes at least twice.
    seed : of halves, sample and intervals.
    n_intervals : columns, of the most telling, that get an interval.
    at : shape (n,), the row of each example; None: they are the rows, in order. Only rows looked at are copied.

    Notes
    -----
    A column is cut into bins (quantiles of all values and of the frauds' values; single values of a category; missing)
    and every event takes the smoothed fraud rate of its bin among the *other* half of the events, so that neither a
    direction nor a shape is assumed and no label scores itself.
    """
    rng = np.random.default_rng(seed)
    kept = np.sort(np.concatenate([_sample(np.flatnonzero(fraud == value), rng) for value in (0, 1)]))
    y = fraud[kept].astype(np.int64)
    half = np.empty(y.shape[0], np.int64)
    for value in (0, 1):  # stratified: with ten frauds, chance alone may put nine into one half
        shuffled = rng.permutation(np.flatnonzero(y == value))
        half[shuffled] = np.arange(shuffled.shape[0]) % 2
    taken = kept if at is None else at[kept]
    found = []
    for column, name in enumerate(names):
        if column % _COLUMNS == 0:  # a column of many rows lies all over the memory
            looked_at = np.asfortranarray(rows[taken, column : column + _COLUMNS])
        values = looked_at[:, column % _COLUMNS]
        bins, n_bins = _category_bins(values) if is_category[column] else _number_bins(values, y)
        cells = _cells(bins, n_bins, y, half)
        point = Interval(cells.average_precision(), float("nan"), float("nan"))
        area = Interval(cells.roc_auc(), float("nan"), float("nan"))
        found.append((cells, SingleColumn(column=column, name=name, average_precision=point, roc_auc=area)))
    found.sort(key=lambda item: (-item[1].roc_auc.value, item[1].column))
    told = []
    for place, (cells, one) in enumerate(found):
        if place < n_intervals:
            draws = cells.resampled(rng, N_REPLICATES)
            one = msgspec.structs.replace(
                one,
                average_precision=ranking.average_precision_interval(cells, draws),
                roc_auc=ranking.roc_auc_interval(cells, draws),
            )
        told.append(one)
    return told


def _sample(positions: IntArray, rng: np.random.Generator) -> IntArray:
    if positions.shape[0] <= MOST_OF_A_CLASS:
        return positions
    return rng.choice(positions, size=MOST_OF_A_CLASS, replace=False)


def _number_bins(values: FloatArray, y: IntArray) -> tuple[IntArray, int]:
    known = ~np.isnan(values)
    shares = np.linspace(0.0, 1.0, N_QUANTILES + 1)[1:-1]
    parts = [part for part in (values[known], values[known & (y == 1)]) if part.shape[0]]
    edges = np.unique(np.concatenate([np.quantile(part, shares, method="nearest") for part in parts] or [np.empty(0)]))
    # Values at an edge lie apart from those around it: 0 and 1, or one magic number, are values of their own.
    before = np.searchsorted(edges, values, side="left")
    place = 2 * before + (np.append(edges, np.nan)[before] == values)
    n_bins = 2 * edges.shape[0] + 2
    return np.where(known, place, n_bins - 1), n_bins


def _category_bins(values: FloatArray) -> tuple[IntArray, int]:
    known = ~np.isnan(values)
    codes, counts = np.unique(values[known], return_counts=True)
    own = np.sort(codes[np.argsort(-counts, kind="stable")[:MOST_CODES]])
    if not own.shape[0]:
        return np.where(known, 0, 1), 2
    at = np.minimum(np.searchsorted(own, values), own.shape[0] - 1)
    place = np.where(own[at] == values, at, own.shape[0])
    return np.where(known, place, own.shape[0] + 1), own.shape[0] + 2


def _cells(bins: IntArray, n_bins: int, y: IntArray, half: IntArray) -> Ranking:
    key = half * n_bins + bins
    events = np.bincount(key, minlength=2 * n_bins).reshape(2, n_bins)
    frauds = np.bincount(key, weights=y, minlength=2 * n_bins).reshape(2, n_bins)
    rate = float(y.mean())
    other = (frauds[::-1] + STRENGTH * rate) / (events[::-1] + STRENGTH)
    known = frauds.astype(np.int64)
    return Ranking.of_counts(other.ravel(), known.ravel(), (events - known).ravel())
