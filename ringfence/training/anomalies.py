# SPDX-License-Identifier: Apache-2.0
"""The anomaly model's part in a training: scores of events that it had not seen, and the model of the release."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.anomaly import MOST_EVENTS, AnomalyModel, train_anomaly
from ringfence.models.branches import ANOMALY, AnomalyBranch
from ringfence.models.encoder import Encoder
from ringfence.models.errors import TooFewEventsError
from ringfence.training.learner import Task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_CHUNK: Final = 16_384  # rows encoded and scored at once


class AnomalyLearner:
    """Grows a forest on events, whatever their labels; none where they are too few, or hardly differ."""

    name: Final = ANOMALY
    is_told: Final = True

    def out_of_fold(self, task: Task, *, most: int | None) -> FloatArray | None:
        """Return each emitted example's surprise by a model of its fold's past, as `Learner` says."""
        rows, surprise = task.rows, np.full(task.rows.shape[0], np.nan)
        for fold in task.folds:
            rng = np.random.default_rng(task.seed)
            past = _drawn(fold.fit, MOST_EVENTS, rng)
            emit = fold.emit if most is None else _drawn(fold.emit, most, rng)
            encoder = Encoder.fit(rows[past], task.is_category)
            try:
                model = _model_of(rows[past], encoder, task)
            except TooFewEventsError:
                return None
            for low in range(0, emit.shape[0], _CHUNK):
                part = emit[low : low + _CHUNK]
                surprise[part] = model.raw(encoder.apply(rows[part]))
        return surprise

    def fit(self, task: Task, encoder: Encoder) -> AnomalyBranch:
        return AnomalyBranch(_model_of(task.rows, encoder, task))


def _model_of(rows: FloatArray, encoder: Encoder, task: Task) -> AnomalyModel:
    rows = rows[_drawn(np.arange(rows.shape[0]), MOST_EVENTS, np.random.default_rng(task.seed))]
    encoded = np.array(encoder.apply(rows))
    encoded[:, task.unread] = np.nan
    return train_anomaly(encoded, seed=task.seed)


def _drawn(positions: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    if positions.shape[0] <= most:
        return positions
    return np.sort(rng.choice(positions, size=most, replace=False))
