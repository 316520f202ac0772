# SPDX-License-Identifier: Apache-2.0
"""What scores of a test are worth: figures averaged over seeds, with intervals, and beside other scores in pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.metrics import average_precision, recall_at_precision, roc_auc

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
REVIEWS: Final = 50  # a day
PRECISION: Final = 0.15
RESAMPLES: Final = 500
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Asked:
    """The events that are asked about."""

    fraud: NDArray[np.int8]  # (n,)
    day: IntArray  # (n,)


@dataclass(frozen=True)
class Figure:
    """A value with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return _three(self.value)
        return f"{_three(self.value)} ({_three(self.low)} to {_three(self.high)})"

    @property
    def signed(self) -> str:
        """As a difference is written."""
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})".replace("0.", ".")


def asked_of(fraud: NDArray[np.int8], time_ms: IntArray) -> Asked:
    return Asked(fraud, time_ms // _DAY_MS)


def reviewed(test: Asked, score: FloatArray, reviews: int = REVIEWS) -> NDArray[np.bool_]:
    """Tell which events are among the highest-scoring `reviews` of their day; of equal ones the earlier comes first."""
    order = np.lexsort((-score, test.day))
    begins = np.searchsorted(test.day[order], test.day[order])
    found = np.zeros(score.shape[0], np.bool_)
    found[order[np.arange(order.shape[0]) - begins < reviews]] = True
    return found


def figures(test: Asked, scores: list[FloatArray], beside: list[FloatArray] | None = None) -> dict[str, Figure]:
    """Average each figure over the scores of several seeds; intervals are over events, drawn with replacement.

    Parameters
    ----------
    beside : other scores; the difference in AP and ROC-AUC is told too, on the same draws.
    """
    draws = np.random.default_rng(0).multinomial(
        test.fraud.shape[0], np.full(test.fraud.shape[0], 1.0 / test.fraud.shape[0]), size=RESAMPLES
    )
    weights = [None, *draws.astype(np.float64)]
    ranking: dict[str, Callable[[FloatArray], FloatArray]] = {
        "AP": lambda score: _each(average_precision, test.fraud, score, weights),
        "ROC-AUC": lambda score: _each(roc_auc, test.fraud, score, weights),
    }
    more: dict[str, Callable[[FloatArray], FloatArray]] = {
        "recall at 15 % precision": lambda score: _each(
            lambda y, s, w: recall_at_precision(y, s, w, precision=PRECISION), test.fraud, score, weights
        ),
        f"recall at {REVIEWS} reviews a day": lambda score: _caught(test.fraud, reviewed(test, score), weights),
    }
    found = {name: np.mean([of(one) for one in scores], axis=0) for name, of in (ranking | more).items()}
    if beside is not None:
        for name, of in ranking.items():
            found[f"{name} less"] = found[name] - np.mean([of(one) for one in beside], axis=0)
    return {name: Figure(float(v[0]), *map(float, np.nanquantile(v[1:], [0.025, 0.975]))) for name, v in found.items()}


def _each(
    metric: Callable[..., float], fraud: NDArray[np.int8], score: FloatArray, weights: list[FloatArray | None]
) -> FloatArray:
    order = np.argsort(-score, kind="stable")
    y, s = fraud[order], score[order]
    return np.array([metric(y, s, None if w is None else w[order]) for w in weights])


def _caught(fraud: NDArray[np.int8], found: NDArray[np.bool_], weights: list[FloatArray | None]) -> FloatArray:
    is_fraud = fraud == 1
    return np.array(
        [np.average(found[is_fraud], weights=None if w is None else np.maximum(w[is_fraud], 1e-12)) for w in weights]
    )


def _three(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if value < 1.0 else "1.0"
