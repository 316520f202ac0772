# SPDX-License-Identifier: Apache-2.0
"""The anomaly model's part in a training: scores of events that it had not seen, and the model of the release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.anomaly import MOST_EVENTS, AnomalyModel, train_anomaly
from ringfence.models.encoder import Encoder
from ringfence.models.errors import TooFewEventsError
from ringfence.training.folds import Fold

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_CHUNK: Final = 65_536  # rows encoded and scored at once


def anomaly_of(rows: FloatArray, encoder: Encoder, unread: IntArray, seed: int) -> AnomalyModel:
    """Fit on rows as the engine gives them, shape (n, n_features), without the columns `unread`.

    Raises
    ------
    TooFewEventsError
        If there are too few rows, or none that differ.
    """
    rows = rows[_drawn(np.arange(rows.shape[0]), MOST_EVENTS, np.random.default_rng(seed))]
    encoded = np.array(encoder.apply(rows))
    encoded[:, unread] = np.nan
    return train_anomaly(encoded, seed=seed)


def anomaly_out_of_fold(
    rows: FloatArray,
    folds: Sequence[Fold],
    *,
    is_category: Sequence[bool],
    unread: IntArray,
    seed: int,
    most: int | None = None,
) -> FloatArray | None:
    """Return each emitted example's surprise by a model of its fold's past, shape (n,), NaN where no fold emits it.

    None where some fold's events are too few, or hardly differ.

    Parameters
    ----------
    most : emitted examples of a block, drawn at random, that are scored; the others are NaN. None: all.
    """
    surprise = np.full(rows.shape[0], np.nan)
    for fold in folds:
        rng = np.random.default_rng(seed)
        past, emit = _drawn(fold.fit, MOST_EVENTS, rng), fold.emit if most is None else _drawn(fold.emit, most, rng)
        encoder = Encoder.fit(rows[past], is_category)
        try:
            model = anomaly_of(rows[past], encoder, unread, seed)
        except TooFewEventsError:
            return None
        for low in range(0, emit.shape[0], _CHUNK):
            part = emit[low : low + _CHUNK]
            surprise[part] = model.raw(encoder.apply(rows[part]))
    return surprise


def _drawn(positions: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    if positions.shape[0] <= most:
        return positions
    return np.sort(rng.choice(positions, size=most, replace=False))
