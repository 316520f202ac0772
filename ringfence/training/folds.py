# SPDX-License-Identifier: Apache-2.0
"""Expanding windows: every example is scored by a model that saw only what came before it."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """Fit on `fit`, emit out-of-fold scores on `emit`; both ascending positions among the examples."""

    fit: IntArray
    emit: IntArray
    start_ms: int  # event time of the first emitted example
    end_ms: int  # event time of the last emitted example
    label_delay: bool  # True: every fitted label was known before start_ms; False: plain time order


def expanding_folds(
    event_time_ms: IntArray,
    known_at_ms: IntArray,
    fraud: NDArray[np.int8],
    *,
    n_blocks: int = 5,
    first_share: float = 0.3,
    min_fraud: int = 10,
    keep_share: float = 0.5,
) -> list[Fold]:
    """Cut the examples into blocks of time and let each be scored by what was known before it.

    ```
    time  ──────────────────────────────────────────────▶
          fit ............|emit|
          fit .................|emit|
          fit ......................|emit|
    ```

    Parameters
    ----------
    event_time_ms, known_at_ms, fraud : shape (n,), in ledger order.
    n_blocks : emitted blocks of about equal size, >= 1.
    first_share : share of the examples, in (0, 1), that is only ever fitted.
    min_fraud : a fold needs that many fraud and that many legit examples to fit, or it is left out.
    keep_share : the label delay is respected where it leaves at least this share of a fold's fraud examples; otherwise
        the fold falls back to plain time order and says so.

    Returns
    -------
    list of Fold, earliest first; empty where the examples are too few. Examples with the time of a boundary never
    stand on both sides of it.
    """
    if n_blocks < 1 or not 0.0 < first_share < 1.0:
        raise ValueError(f"need n_blocks >= 1 and 0 < first_share < 1, got {n_blocks} and {first_share}")
    n = event_time_ms.shape[0]
    order = np.argsort(event_time_ms, kind="stable")
    times = event_time_ms[order]
    edges = np.linspace(first_share, 1.0, n_blocks + 1) * n
    folds: list[Fold] = []
    for low, high in pairwise(edges):
        # Move each boundary to the first example of its millisecond, so that no burst is cut in two.
        start = int(np.searchsorted(times, times[min(int(low), n - 1)], side="left")) if n else 0
        stop = n if int(high) >= n else int(np.searchsorted(times, times[int(high)], side="left"))
        if start >= stop or start == 0:
            continue
        start_ms = int(times[start])
        before = order[:start]
        known = before[known_at_ms[before] < start_ms]
        delayed = _teaches(fraud[known], min_fraud) and int(fraud[known].sum()) >= keep_share * int(fraud[before].sum())
        fit = known if delayed else before
        if not _teaches(fraud[fit], min_fraud):
            continue
        folds.append(
            Fold(
                fit=np.sort(fit).astype(np.int64),
                emit=np.sort(order[start:stop]).astype(np.int64),
                start_ms=start_ms,
                end_ms=int(times[stop - 1]),
                label_delay=bool(delayed),
            )
        )
    return folds


def _teaches(fraud: NDArray[np.int8], needed: int) -> bool:
    n_fraud = int(fraud.sum())
    return n_fraud >= needed and fraud.shape[0] - n_fraud >= needed
