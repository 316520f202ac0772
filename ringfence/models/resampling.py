# SPDX-License-Identifier: Apache-2.0
"""Bootstrap intervals of metrics, alone and paired: resamples are weights on events sorted once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ringfence.models.metrics import Metric

FloatArray = NDArray[np.float64]

N_RESAMPLES: Final = 1000


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its percentile interval."""

    value: float
    low: float
    high: float
    n_resamples: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """First minus second, on the same resamples, with its percentile interval."""

    value: float
    low: float
    high: float
    share_above_zero: float  # of resamples; near 1: the first is better, near 0: the second
    n_resamples: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0.0 or self.high < 0.0


def bootstrap(
    metrics: Mapping[str, Metric],
    labels: NDArray[np.integer[Any]],
    scores: FloatArray,
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    groups: NDArray[np.integer[Any]] | None = None,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Return each metric with a percentile interval.

    Parameters
    ----------
    metrics : name -> function of (labels, scores, weights).
    labels, scores : shape (n,).
    groups : shape (n,), or None. Events of one group (an entity, a day) are drawn together: without it, intervals
        assume independent events.
    level : in (0, 1).

    Notes
    -----
    Resamples in which a metric is not defined (no fraud drawn) are left out of its interval.
    """
    order = np.argsort(-scores, kind="stable")
    y, s = labels[order], scores[order]
    drawn = {name: np.empty(n_resamples) for name in metrics}
    for at, weights in enumerate(_resamples(labels.shape[0], groups, n_resamples, seed)):
        w = weights[order]
        for name, metric in metrics.items():
            drawn[name][at] = metric(y, s, w)
    return {
        name: Interval(value=metric(y, s, None), n_resamples=n_resamples, **_bounds(drawn[name], level))
        for name, metric in metrics.items()
    }


def paired_bootstrap(
    metrics: Mapping[str, Metric],
    labels: NDArray[np.integer[Any]],
    first: FloatArray,
    second: FloatArray,
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    groups: NDArray[np.integer[Any]] | None = None,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Return each metric's difference, first minus second, over resamples that both share."""
    orders = [np.argsort(-scores, kind="stable") for scores in (first, second)]
    pairs = [(labels[order], scores[order]) for order, scores in zip(orders, (first, second), strict=True)]
    drawn = {name: np.empty(n_resamples) for name in metrics}
    for at, weights in enumerate(_resamples(labels.shape[0], groups, n_resamples, seed)):
        w1, w2 = weights[orders[0]], weights[orders[1]]
        for name, metric in metrics.items():
            drawn[name][at] = metric(*pairs[0], w1) - metric(*pairs[1], w2)
    return {
        name: difference_of(metric(*pairs[0], None) - metric(*pairs[1], None), drawn[name], level=level)
        for name, metric in metrics.items()
    }


def difference_of(value: float, drawn: FloatArray, *, level: float = 0.95) -> Difference:
    """Put the interval of resampled differences, shape (n_resamples,), around a difference; NaN are left out of it."""
    return Difference(
        value=value,
        share_above_zero=float(np.mean(drawn > 0.0)),
        n_resamples=drawn.shape[0],
        **_bounds(drawn, level),
    )


def _resamples(n: int, groups: NDArray[np.integer[Any]] | None, n_resamples: int, seed: int) -> Iterator[FloatArray]:
    generator = np.random.default_rng(seed)
    if groups is None:
        for _ in range(n_resamples):
            yield np.bincount(generator.integers(0, n, n), minlength=n).astype(np.float64)
        return
    names, at = np.unique(groups, return_inverse=True)
    k = names.shape[0]
    for _ in range(n_resamples):
        yield np.bincount(generator.integers(0, k, k), minlength=k).astype(np.float64)[at]


def _bounds(drawn: FloatArray, level: float) -> dict[str, float]:
    known = drawn[~np.isnan(drawn)]
    if known.shape[0] == 0:
        return {"low": float("nan"), "high": float("nan")}
    low, high = np.quantile(known, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return {"low": float(low), "high": float(high)}
