# SPDX-License-Identifier: Apache-2.0
"""Did fraud become more, or less, frequent while the examples were gathered? The rate by stretch, and where it broke.

A break is the boundary that parts the examples into the two likeliest rates: the likelihood-ratio statistic

    G = 2 (l(before) + l(after) - l(all)),    l(k of n) = k log(k / n) + (n - k) log(1 - k / n)

is chi-squared with one degree of freedom for a boundary chosen beforehand (Wilks, 1938); as the best of several is
taken, its p-value is multiplied by their number (Bonferroni).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import xlog1py, xlogy
from scipy.stats import chi2

from ringfence.training.label_delay import MIN_BUCKET, N_BUCKETS
from ringfence.training.slices import wilson

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

N_BOUNDARIES: Final = 60  # looked at, equally far apart in time
TIMES: Final = 2.0  # one rate at least so many times the other: frauds come in clusters, which no p-value here knows
LEAST_P: Final = 0.001


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Examples of a stretch of time; `from_ms` is in it, `to_ms` is not."""

    from_ms: int
    to_ms: int
    n: int
    n_fraud: int
    fraud_rate: float
    low: float  # Wilson 95 % interval of the rate
    high: float


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """The moment at which the rate changed most, and both sides of it."""

    at_ms: int
    before: Stretch
    after: Stretch
    p_value: float  # corrected for the boundaries looked at


class BaseRate(msgspec.Struct, frozen=True, kw_only=True):
    """The fraud rate of the examples through time; no stretch is empty."""

    stretches: list[Stretch]
    broke: Break | None


def base_rate(event_time_ms: IntArray, known_at_ms: IntArray, fraud: NDArray[np.int8]) -> BaseRate:
    """Follow the fraud rate of examples and find where it broke, if it did.

    Parameters
    ----------
    event_time_ms, known_at_ms, fraud : shape (n,), n > 0. Where one kind of label takes longer than the other, the
        newest events with a label are mostly of the other kind, which would look like a break: events are left out that
        are younger than nine of ten labels of the slower kind take, before the newest label.
    """
    delay = known_at_ms - event_time_ms
    slowest = max(float(np.quantile(delay[fraud == value], 0.9)) for value in (0, 1) if (fraud == value).any())
    kept = event_time_ms <= known_at_ms.max() - slowest
    if not kept.any():
        return BaseRate(stretches=[], broke=None)
    order = np.argsort(event_time_ms[kept], kind="stable")
    times, frauds = event_time_ms[kept][order], np.append(0, np.cumsum(fraud[kept][order].astype(np.int64)))
    low, high = int(times[0]), int(times[-1]) + 1

    def stretch(from_ms: int, to_ms: int) -> Stretch | None:
        first, last = (int(at) for at in np.searchsorted(times, (from_ms, to_ms)))
        if first == last:
            return None
        n, n_fraud = last - first, int(frauds[last] - frauds[first])
        bounds = wilson(n_fraud / n, n)
        return Stretch(
            from_ms=from_ms,
            to_ms=to_ms,
            n=n,
            n_fraud=n_fraud,
            fraud_rate=n_fraud / n,
            low=bounds[0],
            high=bounds[1],
        )

    count = int(min(N_BUCKETS, max(1, times.shape[0] // MIN_BUCKET), high - low))
    edges = [int(edge) for edge in np.linspace(low, high, count + 1)]
    found = [stretch(start, end) for start, end in pairwise(edges)]
    broke = _break(times, frauds)
    told: Break | None = None
    if broke is not None:
        at_ms, p_value = broke
        before, after = stretch(low, at_ms), stretch(at_ms, high)
        assert before is not None  # at least MIN_BUCKET events lie on either side
        assert after is not None
        apart = before.low > after.high or after.low > before.high
        rates = sorted(((before.n_fraud + 0.5) / (before.n + 1), (after.n_fraud + 0.5) / (after.n + 1)))
        if apart and p_value < LEAST_P and rates[1] >= TIMES * rates[0]:
            told = Break(at_ms=at_ms, before=before, after=after, p_value=p_value)
    return BaseRate(stretches=[one for one in found if one is not None], broke=told)


def _break(times: IntArray, frauds: IntArray) -> tuple[int, float] | None:
    """The likeliest boundary, in ms, with its corrected p-value; None where there are too few events on either side."""
    n, total = times.shape[0], int(frauds[-1])
    edges = np.unique(np.linspace(times[0], times[-1] + 1, N_BOUNDARIES + 1).astype(np.int64))[1:-1]
    place = np.searchsorted(times, edges)
    wide = (place >= MIN_BUCKET) & (n - place >= MIN_BUCKET)
    edges, place = edges[wide], place[wide]
    if not edges.shape[0]:
        return None
    before = frauds[place]
    gain = 2.0 * (_likelihood(before, place) + _likelihood(total - before, n - place))
    gain -= 2.0 * _likelihood(np.array([total]), np.array([n]))
    best = int(np.argmax(gain))
    return int(edges[best]), float(min(1.0, chi2.sf(max(gain[best], 0.0), 1) * edges.shape[0]))


def _likelihood(n_fraud: IntArray, n: IntArray) -> FloatArray:
    rate = n_fraud / n
    return np.asarray(xlogy(n_fraud, rate) + xlog1py(n - n_fraud, -rate))
