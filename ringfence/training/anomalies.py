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

_CHUNK: Final = 65_536  # rows encoded and scored at once


def anomaly_of(rows: FloatArray, encoder: Encoder, unread: NDArray[np.int64], seed: int) -> AnomalyModel:
    """Fit on rows as the engine gives them, shape (n, n_features), without the columns `unread`.

    Raises
    ------
    TooFewEventsError
        If there are too few rows, or none that differ.
    """
    if rows.shape[0] > MOST_EVENTS:
        rows = rows[np.sort(np.random.default_rng(seed).choice(rows.shape[0], MOST_EVENTS, replace=False))]
    encoded = np.array(encoder.apply(rows))
    encoded[:, unread] = np.nan
    return train_anomaly(encoded, seed=seed)


def anomaly_out_of_fold(
    rows: FloatArray,
    folds: Sequence[Fold],
    *,
    is_category: Sequence[bool],
    unread: NDArray[np.int64],
    seed: int,
) -> FloatArray | None:
    """Return each emitted example's surprise by a model of its fold's past, shape (n,), NaN where no fold emits it.

    None where some fold's events are too few, or hardly differ.
    """
    surprise = np.full(rows.shape[0], np.nan)
    for fold in folds:
        encoder = Encoder.fit(rows[fold.fit], is_category)
        try:
            model = anomaly_of(rows[fold.fit], encoder, unread, seed)
        except TooFewEventsError:
            return None
        for low in range(0, fold.emit.shape[0], _CHUNK):
            part = fold.emit[low : low + _CHUNK]
            surprise[part] = model.raw(encoder.apply(rows[part]))
    return surprise
