# SPDX-License-Identifier: Apache-2.0
"""Which features tell the time rather than the event? What is learnt from them is an epoch, and it does not come back.

The age of an entity that was there from the start, how much it has done so far, the month of a history of one year:
each moment has values of its own, so trees learn from them how much fraud there was *then*. Later events have values
that no earlier one had.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.training.folds import Fold

FloatArray = NDArray[np.float64]

# Chosen on cuts inside the training spans of four benchmark sets: lower thresholds lose features that carry something.
TELLS_TIME: Final = 0.8
_MOST: Final = 5_000  # values looked at on each side
_LEAST: Final = 20  # fewer present values on a side: nothing can be said


def clocks(
    rows: FloatArray, folds: Sequence[Fold], is_category: Sequence[bool], *, n_threads: int = 1
) -> NDArray[np.int64]:
    """Find the features by which a fold's later events can be told from its earlier ones.

    Parameters
    ----------
    rows : shape (n, n_features), of the examples; NaN where missing.
    folds : at least one; `fit` lies before `emit`.
    is_category : length n_features.

    Returns
    -------
    Ascending columns whose distance between the two sides is `TELLS_TIME` or more in the median fold: the
    Kolmogorov-Smirnov distance of numbers, the total variation distance of categories, both in [0, 1] and over present
    values only. Where the earlier side has no value and the later one has, it is 1.
    """

    def distances_of(fold: Fold) -> list[float]:
        # Rows first, then columns: a column of many rows lies all over the memory.
        before, after = (np.asfortranarray(rows[_spread(some)]) for some in (fold.fit, fold.emit))
        return [
            _distance(before[:, column], after[:, column], categorical=categorical)
            for column, categorical in enumerate(is_category)
        ]

    with ThreadPoolExecutor(n_threads) as pool:
        distances = np.array(list(pool.map(distances_of, folds)))
    return np.flatnonzero(np.median(distances, axis=0) >= TELLS_TIME)


def _spread(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    if positions.shape[0] <= _MOST:
        return positions
    return positions[np.linspace(0, positions.shape[0] - 1, _MOST).astype(np.int64)]


def _distance(before: FloatArray, after: FloatArray, *, categorical: bool) -> float:
    before, after = np.sort(before[~np.isnan(before)]), np.sort(after[~np.isnan(after)])
    if after.shape[0] < _LEAST or 0 < before.shape[0] < _LEAST:
        return 0.0
    if before.shape[0] == 0:
        return 1.0
    values = np.unique(np.concatenate([before, after]))
    gap = np.searchsorted(before, values, "right") / before.shape[0]
    gap = gap - np.searchsorted(after, values, "right") / after.shape[0]
    if categorical:
        return float(np.abs(np.diff(gap, prepend=0.0)).sum() / 2.0)
    return float(np.abs(gap).max())
