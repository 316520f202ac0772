# SPDX-License-Identifier: Apache-2.0
"""How long it took until the truth about the examples was known, and how the scores fared as time went by."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.training.slices import wilson

DAY_MS: Final = 86_400_000
N_POINTS: Final = 60
N_BUCKETS: Final = 12
MIN_BUCKET: Final = 50  # events: fewer buckets where they would be smaller


class LabelDelay(msgspec.Struct, frozen=True, kw_only=True):
    """Days from the event to its standing label, of one class of examples."""

    label: str  # fraud | legit
    n: int
    median_days: float
    p90_days: float
    days: list[float]  # ascending
    share: list[float]  # of the labels known within so many days


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Scored events of a stretch of time."""

    from_ms: int
    to_ms: int
    n: int
    n_fraud: int
    fraud_rate: float
    low: float  # Wilson 95 % interval of the rate
    high: float
    mean_score: float


def label_delays(
    event_time_ms: NDArray[np.int64], known_at_ms: NDArray[np.int64], fraud: NDArray[np.int8]
) -> list[LabelDelay]:
    """Tell how late labels came, fraud and legit apart; every array has shape (n,), n > 0."""
    found = []
    for label, value in (("fraud", 1), ("legit", 0)):
        days = np.sort((known_at_ms - event_time_ms)[fraud == value] / DAY_MS)
        if not days.shape[0]:
            continue
        at = np.unique(np.linspace(0, days.shape[0] - 1, N_POINTS).astype(np.int64))
        found.append(
            LabelDelay(
                label=label,
                n=int(days.shape[0]),
                median_days=float(np.median(days)),
                p90_days=float(np.quantile(days, 0.9)),
                days=[float(day) for day in days[at]],
                share=[float(share) for share in (at + 1) / days.shape[0]],
            )
        )
    return found


def through_time(event_time_ms: NDArray[np.int64], fraud: NDArray[np.int8], score: NDArray[np.float64]) -> list[Bucket]:
    """Cut the window into up to `N_BUCKETS` stretches of equal length and compare rate and score in each."""
    low, high = int(event_time_ms.min()), int(event_time_ms.max()) + 1
    n_buckets = int(min(N_BUCKETS, max(1, event_time_ms.shape[0] // MIN_BUCKET), max(1, high - low)))
    edges = np.linspace(low, high, n_buckets + 1)
    place = np.clip(np.searchsorted(edges, event_time_ms, side="right") - 1, 0, n_buckets - 1)
    found = []
    for at in range(n_buckets):
        mask = place == at
        n = int(mask.sum())
        if not n:
            continue
        rate = float(fraud[mask].mean())
        bounds = wilson(rate, n)
        found.append(
            Bucket(
                from_ms=int(edges[at]),
                to_ms=int(edges[at + 1]),
                n=n,
                n_fraud=int(fraud[mask].sum()),
                fraud_rate=rate,
                low=bounds[0],
                high=bounds[1],
                mean_score=float(score[mask].mean()),
            )
        )
    return found
