# SPDX-License-Identifier: Apache-2.0
"""Segments found by k-means: which of k typical events an event is nearest to, frozen when a release is made.

Each feature is cut at the 1st and 99th percentile of the training rows, moved to their mean and divided by their
standard deviation, so that no feature and no single row outweighs the others. A missing value lies at the mean; where
it is neither rare nor usual among the training rows, a coordinate of its own says so, 1 where missing and 0 where not.

Lloyd's algorithm (IEEE Transactions on Information Theory 28, 1982) from k-means++ seeds (Arthur and Vassilvitskii,
SODA 2007), begun N_STARTS times; the start with the least sum of squares stays. Written here and not taken from SciPy:
`scipy.cluster.vq` multiplies matrices, whose last bits depend on threads, runs a fixed number of rounds without a look
at convergence, and leaves empty clusters to the caller. The same rows and seed must give the same release.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.errors import ModelShapeError, TooFewDistinctError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_STARTS: Final = 5
MOST_ROUNDS: Final = 100
MOST_ROWS: Final = 50_000  # drawn from the training rows beyond that: centres move by less than their meaning
LEAST_MISSING: Final = 0.01  # share of missing values from which on, and up to the same share of given ones, they count
TELLING: Final = 0.5  # standard deviations from the mean from which on a feature names a segment
MOST_TOLD: Final = 3


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How one feature becomes a coordinate, or two."""

    name: str
    low: float  # values beyond are cut to these
    high: float
    mean: float
    spread: float  # > 0
    tells_missing: bool  # a second coordinate says whether the value is missing


class Segmentation(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """k centres in the coordinates of `scales`. Segments are numbered from 1, the largest in training first."""

    scales: tuple[Scale, ...]
    columns: tuple[int, ...]  # of a feature row, in the order of `scales`
    n_features: int  # width of a feature row
    centres: tuple[tuple[float, ...], ...]
    sizes: tuple[int, ...]  # training rows, of those looked at, nearest to each centre

    @classmethod
    def fit(cls, rows: FloatArray, names: Sequence[str], columns: Sequence[int], *, k: int, seed: int) -> Segmentation:
        """Find k segments.

        Parameters
        ----------
        rows : shape (n, n_features), NaN where missing.
        names, columns : the features that count, and where the rows have them.
        k : >= 2.

        Raises
        ------
        TooFewDistinctError
            If the rows hold fewer than k different points.
        """
        generator = np.random.default_rng(seed)
        if rows.shape[0] > MOST_ROWS:
            rows = rows[np.sort(generator.choice(rows.shape[0], MOST_ROWS, replace=False))]
        scales = tuple(_scale(name, rows[:, column]) for name, column in zip(names, columns, strict=True))
        points = _points(rows[:, list(columns)], scales)
        n_distinct = np.unique(points, axis=0).shape[0]
        if n_distinct < k:
            raise TooFewDistinctError(k=k, n_distinct=n_distinct, names=tuple(names))
        found = min((_lloyd(points, k, generator) for _ in range(N_STARTS)), key=lambda one: one.squares)
        sizes = np.bincount(found.nearest, minlength=k)
        order = np.lexsort((np.arange(k), -sizes))
        return cls(
            scales=scales,
            columns=tuple(int(column) for column in columns),
            n_features=rows.shape[1],
            centres=tuple(tuple(centre) for centre in found.centres[order].tolist()),
            sizes=tuple(sizes[order].tolist()),
        )

    @cached_property
    def _centres(self) -> FloatArray:
        return np.array(self.centres, dtype=np.float64)

    def of(self, rows: FloatArray) -> IntArray:
        """Return the segment of each row, shape (n,), 1 to k; of two centres as near the one with the lower number.

        A row's segment does not depend on the rows beside it.
        """
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ModelShapeError(f"rows for segments: found shape {rows.shape}, expected (n, {self.n_features})")
        return _nearest(_points(rows[:, list(self.columns)], self.scales), self._centres)[0] + 1

    @property
    def names(self) -> tuple[str, ...]:
        """What each segment is called, such as `2: high event.amount, low card.age_days`, in their order."""
        return tuple(f"{number}: {self._told(centre)}" for number, centre in enumerate(self.centres, start=1))

    def _told(self, centre: tuple[float, ...]) -> str:
        told: list[tuple[float, str]] = []
        at = 0
        for scale in self.scales:
            place = centre[at]
            if scale.tells_missing and centre[at + 1] >= TELLING:
                told.append((2.0 * centre[at + 1], f"no {scale.name}"))
            elif abs(place) >= TELLING:
                told.append((abs(place), f"{'high' if place > 0 else 'low'} {scale.name}"))
            at += 1 + scale.tells_missing
        told.sort(key=lambda one: -one[0])
        return ", ".join(text for _, text in told[:MOST_TOLD]) or "near the mean of all"

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> Segmentation:
        return msgspec.json.decode(data, type=cls)


class _Found(NamedTuple):
    centres: FloatArray  # (k, d)
    nearest: IntArray  # (n,)
    squares: float


def _scale(name: str, values: FloatArray) -> Scale:
    given = values[np.isfinite(values)]
    missing = 1.0 - given.shape[0] / max(values.shape[0], 1)
    if not given.shape[0]:
        return Scale(name=name, low=0.0, high=0.0, mean=0.0, spread=1.0, tells_missing=False)
    low, high = (float(edge) for edge in np.quantile(given, [0.01, 0.99]))
    cut = np.clip(given, low, high)
    return Scale(
        name=name,
        low=low,
        high=high,
        mean=float(cut.mean()),
        spread=float(cut.std()) or 1.0,
        tells_missing=bool(LEAST_MISSING <= missing <= 1.0 - LEAST_MISSING),
    )


def _points(values: FloatArray, scales: tuple[Scale, ...]) -> FloatArray:
    """Return coordinates, shape (n, d); `values` has one column per scale."""
    coordinates = []
    for column, scale in enumerate(scales):
        given = values[:, column]
        missing = np.isnan(given)
        coordinates.append(np.where(missing, 0.0, (np.clip(given, scale.low, scale.high) - scale.mean) / scale.spread))
        if scale.tells_missing:
            coordinates.append(missing.astype(np.float64))
    return np.stack(coordinates, axis=1)


def _nearest(points: FloatArray, centres: FloatArray) -> tuple[IntArray, FloatArray]:
    # Squares are summed coordinate by coordinate, without a matrix product: the same bits for a row alone, in any batch
    # and on any number of threads.
    best = np.full(points.shape[0], np.inf)
    nearest = np.zeros(points.shape[0], np.int64)
    for number, centre in enumerate(centres):
        squares = np.zeros(points.shape[0])
        for column in range(points.shape[1]):
            squares += (points[:, column] - centre[column]) ** 2
        closer = squares < best
        best[closer] = squares[closer]
        nearest[closer] = number
    return nearest, best


def _lloyd(points: FloatArray, k: int, generator: np.random.Generator) -> _Found:
    centres = _seeds(points, k, generator)
    nearest, squares = _nearest(points, centres)
    for _ in range(MOST_ROUNDS):
        sizes = np.bincount(nearest, minlength=k)
        for number in range(k):
            if sizes[number]:
                centres[number] = points[nearest == number].mean(axis=0)
            else:  # whoever lies furthest from its centre begins a segment of its own
                furthest = int(np.argmax(squares))
                centres[number] = points[furthest]
                squares[furthest] = 0.0
        moved, squares = _nearest(points, centres)
        if np.array_equal(moved, nearest):
            break
        nearest = moved
    return _Found(centres, moved, float(squares.sum()))


def _seeds(points: FloatArray, k: int, generator: np.random.Generator) -> FloatArray:
    # k-means++: each next seed with a probability in proportion to its squared distance from those before.
    centres = points[[int(generator.integers(points.shape[0]))]]
    while centres.shape[0] < k:
        weights = np.cumsum(_nearest(points, centres)[1])
        drawn = int(np.searchsorted(weights, generator.random() * weights[-1], side="right"))
        centres = np.concatenate([centres, points[[min(drawn, points.shape[0] - 1)]]])
    return centres
