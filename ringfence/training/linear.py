# SPDX-License-Identifier: Apache-2.0
"""The linear model's part in a training: log-odds of events that it had not seen, and the model of the release.

A feature is one column or several: a number's logarithm, cut at its 1st and 99th percentile; a column for each code of
a category that ten events have; and one for being missing. All are standardised. Each of the event's own features is a
group of its own, other families are one each (`training.evidence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ringfence.models.branches import LINEAR
from ringfence.models.encoder import Encoder
from ringfence.models.linear import LinearModel
from ringfence.training.calibrating import prior_log_odds
from ringfence.training.evidence import fit_evidence
from ringfence.training.folds import Fold
from ringfence.training.learner import Task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_FRAUDS: Final = 2_000  # of one fit: 700 columns of 10,000 examples take 56 MB
MOST_LEGIT: Final = 8_000
FEWEST: Final = 5  # of either class
_RARE: Final = 10  # events of a code, or with a value, below which it is no column
_EDGE: Final = 0.01  # share of values beyond the cuts; of missing ones, or present ones, below which it is no column
_CHUNK: Final = 16_384  # rows encoded and scored at once
_PRESENT, _MISSING = -1, -2  # what a column is of; else a code


class LinearLearner:
    """Fits a logistic regression of all features that are no clocks.

    Parameters
    ----------
    families : of each column of a task's rows; None: all are one family.
    own : the family of which each feature is judged for itself, since its features have nothing in common.
    """

    name: Final = LINEAR
    is_told: Final = False  # where it does not help, nobody needs to hear it

    def __init__(self, families: Sequence[str] | None = None, *, own: str = "event") -> None:
        self._families, self._own = families, own

    def out_of_fold(self, task: Task, *, most: int | None) -> FloatArray | None:
        """Return each emitted example's log-odds by a model of its fold's past, as `Learner` says.

        All stand at the base rate of all examples, as those of the trees do (Elkan, 2001, theorem 2).
        """
        found = np.full(task.fraud.shape[0], np.nan)

        def fitted(fold: Fold) -> tuple[Encoder, LinearModel | None]:
            seen = _drawn_by_class(fold.fit, task)
            encoder = Encoder.fit(task.rows[seen], task.is_category)
            return encoder, self._fitted(task, seen, encoder)

        # Around all folds: the limit is the process's, and the first to end would lift it for those that still run.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(task.n_threads) as pool:
            models = list(pool.map(fitted, task.folds))
        for fold, (encoder, model) in zip(task.folds, models, strict=True):
            if model is None:
                return None
            emit = fold.emit if most is None else _drawn(fold.emit, most, np.random.default_rng(task.seed))
            for low in range(0, emit.shape[0], _CHUNK):
                part = emit[low : low + _CHUNK]
                found[part] = model.raw_of(encoder.apply(task.rows[part], in_place=True))
        return found

    def fit(self, task: Task, encoder: Encoder) -> LinearModel:
        model = self._fitted(task, _drawn_by_class(np.arange(task.fraud.shape[0]), task), encoder)
        assert model is not None, "asked only where it found something out of fold"
        return model

    def _fitted(self, task: Task, seen: IntArray, encoder: Encoder) -> LinearModel | None:
        fraud = task.fraud[seen]
        n_fraud = int(fraud.sum())
        if not FEWEST <= n_fraud <= fraud.shape[0] - FEWEST:
            return None
        rows = encoder.apply(task.rows[seen], in_place=True)
        rows[:, task.unread] = np.nan
        design = _design(rows, task.is_category)
        if not design.feature.shape[0]:
            return None
        groups, families = self._grouped(design.feature)
        found = fit_evidence(design.columns, fraud, groups, families)
        moved = prior_log_odds(task.fraud) - prior_log_odds(fraud)
        return _model(design, found.of_columns / design.spread, found.intercept + moved, task, encoder)

    def _grouped(self, feature: IntArray) -> tuple[IntArray, IntArray]:
        families = self._families
        of = [self._own if families is None else families[column] for column in feature.tolist()]
        told = [
            f"{family}:{column}" if family == self._own else family
            for family, column in zip(of, feature.tolist(), strict=True)
        ]
        _, first, groups = np.unique(told, return_index=True, return_inverse=True)
        _, family_of = np.unique([of[place] for place in first], return_inverse=True)
        return groups.astype(np.int64), family_of.astype(np.int64)


class _Design(NamedTuple):
    """p columns made of features."""

    columns: FloatArray  # (n, p), standardised
    feature: IntArray  # (p,) column of the rows
    kind: IntArray  # (p,) _PRESENT, _MISSING, or a code
    mean: FloatArray  # (p,) before it was standardised
    spread: FloatArray  # (p,) likewise, > 0
    low: FloatArray  # (n_features,) of the cut logarithm
    high: FloatArray
    centre: FloatArray  # (n_features,) its mean where present: what a missing value counts as, beside being missing


def _design(rows: FloatArray, is_category: Sequence[bool]) -> _Design:
    n, n_features = rows.shape
    low, high, centre = np.zeros(n_features), np.zeros(n_features), np.zeros(n_features)
    columns: list[FloatArray] = []
    of: list[tuple[int, int]] = []
    for feature in range(n_features):
        value = rows[:, feature]
        there = ~np.isnan(value)
        n_there = int(there.sum())
        if n_there < _RARE:
            continue
        if is_category[feature]:
            codes, counts = np.unique(value[there], return_counts=True)
            for code in codes[counts >= _RARE].tolist():
                columns.append((value == code).astype(np.float64))
                of.append((feature, int(code)))
        else:
            size = _logarithm(value)
            low[feature], high[feature] = np.quantile(size[there], [_EDGE, 1.0 - _EDGE])
            if low[feature] == high[feature]:  # hardly ever another value: that one counts
                low[feature], high[feature] = size[there].min(), size[there].max()
            size = np.clip(size, low[feature], high[feature])
            centre[feature] = size[there].mean()
            columns.append(np.where(there, size - centre[feature], 0.0))
            of.append((feature, _PRESENT))
        if _EDGE < n_there / n < 1.0 - _EDGE:
            columns.append((~there).astype(np.float64))
            of.append((feature, _MISSING))
    joined = np.column_stack(columns) if columns else np.empty((n, 0))
    columns.clear()
    mean, spread = joined.mean(axis=0), joined.std(axis=0)
    kept = spread > 1e-9
    joined, mean, spread = joined[:, kept], mean[kept], spread[kept]
    joined -= mean
    joined /= spread
    feature_of, kind = (np.array([one[place] for one in of], dtype=np.int64)[kept] for place in (0, 1))
    return _Design(joined, feature_of, kind, mean, spread, low, high, centre)


def _model(design: _Design, weights: FloatArray, intercept: float, task: Task, encoder: Encoder) -> LinearModel:
    """Turn weights of columns as they were before they were standardised into shares of features."""
    n_features = task.rows.shape[1]
    base: FloatArray = np.zeros(n_features)  # where every column is 0
    np.subtract.at(base, design.feature, weights * design.mean)
    slope, missing = np.zeros(n_features), base.copy()
    sizes = np.zeros(n_features, dtype=np.int64)
    for vocabulary in encoder.vocabularies:
        sizes[vocabulary.column] = len(vocabulary.values) + 1  # the last: unseen, or rare
    begins = np.concatenate([[0], np.cumsum(sizes)])
    table: FloatArray = np.repeat(base, sizes)
    for feature, kind, weight in zip(design.feature.tolist(), design.kind.tolist(), weights.tolist(), strict=True):
        if kind == _PRESENT:
            slope[feature] = weight
        elif kind == _MISSING:
            missing[feature] += weight
        else:
            table[begins[feature] + kind] += weight
    return LinearModel(
        slope=slope,
        centre=design.centre,
        low=design.low,
        high=design.high,
        present=base,
        missing=missing,
        begins=begins,
        table=table,
        intercept=intercept,
    )


def _logarithm(value: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):
        found: FloatArray = np.sign(value) * np.log1p(np.abs(value))
    return found


def _drawn_by_class(positions: IntArray, task: Task) -> IntArray:
    rng = np.random.default_rng(task.seed)
    is_fraud = task.fraud[positions] == 1
    drawn = [_drawn(positions[kind], most, rng) for kind, most in ((is_fraud, MOST_FRAUDS), (~is_fraud, MOST_LEGIT))]
    return np.sort(np.concatenate(drawn))


def _drawn(positions: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    if positions.shape[0] <= most:
        return positions
    return np.sort(rng.choice(positions, size=most, replace=False))
