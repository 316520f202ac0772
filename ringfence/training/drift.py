# SPDX-License-Identifier: Apache-2.0
"""How far the events that were scored differ from those that were learnt from, feature by feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Feature

FloatArray = NDArray[np.float64]

N_BINS: Final = 10
MOST_ROWS: Final = 50_000  # of either side
_COLUMNS: Final = 64  # copied at once
SOME_DRIFT: Final = 0.1  # the rule of thumb of credit scoring: below 0.1 little, above 0.25 much
MUCH_DRIFT: Final = 0.25


class FeatureDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One feature in both windows; shares sum to 1 over the bins."""

    name: str
    sentence: str
    family: str
    psi: float  # population stability index
    by_chance: float  # what samples of these sizes from one distribution would show on average
    before: list[float]  # share of the events that were learnt from, by bin; the last bin is "missing"
    after: list[float]  # of those that were scored
    median_before: float  # NaN for a category, or where all are missing
    median_after: float
    is_category: bool


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """All features, most drifted first."""

    n_before: int
    n_after: int
    what: str  # which events are compared
    features: list[FeatureDrift]

    @property
    def n_much(self) -> int:
        return sum(feature.psi >= MUCH_DRIFT for feature in self.features)


def drift_between(
    rows: FloatArray,
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    features: Sequence[Feature],
    *,
    what: str,
    seed: int,
) -> Drift:
    """Compare feature rows of two windows.

    Parameters
    ----------
    rows : shape (n, n_features), as the engine gives them.
    before, after : positions in `rows`, each at least one; `MOST_ROWS` of either at most are compared, drawn by `seed`.

    Notes
    -----
    PSI = sum over bins of (a - b) ln(a / b), the symmetrised Kullback-Leibler divergence (Jeffreys, 1946), over tenths
    of `before`, or over the ten largest values of a category, with one bin for missing; half an event is added to each.
    Without any drift it averages (bins - 1)(1 / n_before + 1 / n_after).
    """
    rng = np.random.default_rng(seed)
    old, new = _sample(before, rng), _sample(after, rng)
    found = []
    for low in range(0, len(features), _COLUMNS):
        # Rows first, then columns: a column of many rows lies all over the memory. A few of them, or it is taken twice.
        earlier, later = (np.asfortranarray(rows[some, low : low + _COLUMNS]) for some in (old, new))
        found += [
            _feature(feature, earlier[:, column], later[:, column])
            for column, feature in enumerate(features[low : low + _COLUMNS])
        ]
    found.sort(key=lambda drift: -drift.psi)
    return Drift(n_before=int(before.shape[0]), n_after=int(after.shape[0]), what=what, features=found)


def psi(before: FloatArray, after: FloatArray) -> float:
    """Return the population stability index of two vectors of counts over the same bins."""
    a = (before + 0.5) / (before + 0.5).sum()
    b = (after + 0.5) / (after + 0.5).sum()
    return float(np.sum((b - a) * np.log(b / a)))


def _sample(positions: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    if positions.shape[0] <= MOST_ROWS:
        return positions
    return np.sort(rng.choice(positions, size=MOST_ROWS, replace=False))


def _feature(feature: Feature, before: FloatArray, after: FloatArray) -> FeatureDrift:
    known_before, known_after = before[~np.isnan(before)], after[~np.isnan(after)]
    if feature.is_category:
        values, counts = np.unique(known_before, return_counts=True)
        largest = np.sort(values[np.argsort(-counts, kind="stable")[:N_BINS]])
        places = [_category_bins(known, largest) for known in (known_before, known_after)]
        n_bins = largest.shape[0] + 1
    else:
        inner = np.linspace(0.0, 1.0, N_BINS + 1)[1:-1]
        edges = np.unique(np.quantile(known_before, inner)) if known_before.shape[0] else np.empty(0)
        # A value that fills several tenths is an edge of its own: what lies at it is kept apart from what lies above.
        places = [np.searchsorted(edges, known, side="left") for known in (known_before, known_after)]
        n_bins = len(edges) + 1
    counts_of = [
        np.append(np.bincount(place, minlength=n_bins), values.shape[0] - place.shape[0]).astype(np.float64)
        for place, values in zip(places, (before, after), strict=True)
    ]
    used = int(np.count_nonzero(counts_of[0] + counts_of[1]))
    kept = [counts / max(counts.sum(), 1.0) for counts in counts_of]
    return FeatureDrift(
        name=feature.name,
        sentence=feature.sentence,
        family=feature.family,
        psi=psi(*counts_of),
        by_chance=max(used - 1, 0) * (1.0 / before.shape[0] + 1.0 / after.shape[0]),
        before=[float(share) for share in kept[0]],
        after=[float(share) for share in kept[1]],
        median_before=_median(known_before, feature),
        median_after=_median(known_after, feature),
        is_category=feature.is_category,
    )


def _category_bins(values: FloatArray, largest: FloatArray) -> NDArray[np.int64]:
    if not largest.shape[0]:
        return np.zeros(values.shape[0], np.int64)
    at = np.minimum(np.searchsorted(largest, values), largest.shape[0] - 1)
    place: NDArray[np.int64] = np.where(largest[at] == values, at, largest.shape[0])
    return place


def _median(known: FloatArray, feature: Feature) -> float:
    return float("nan") if feature.is_category or not known.shape[0] else float(np.median(known))
