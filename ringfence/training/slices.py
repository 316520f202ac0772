# SPDX-License-Identifier: Apache-2.0
"""The same scores on a part of the events: entities seen before or never, and the largest values of attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2

from ringfence.training import ranking
from ringfence.training.ranking import Interval, Ranking

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

N_VALUES: Final = 5  # the largest of an attribute, all of an Enum; all others together make one part more
MIN_EVENTS: Final = 50  # smaller values go to the others
N_ATTRIBUTES: Final = 12
FEW_FRAUDS: Final = 10  # below, a part is shown with its interval and a warning
N_REPLICATES: Final = 200


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the events, such as those of claimants never seen before."""

    name: str
    n: int
    n_fraud: int
    average_precision: Interval
    roc_auc: Interval
    group: str = ""  # role or attribute that parts the events
    fraud_rate: Interval  # with a Wilson interval
    mean_score: float
    observed_to_expected: Interval  # frauds by the sum of scores: 1 is calibrated in this part; exact Poisson interval

    @property
    def few_frauds(self) -> bool:
        return self.n_fraud < FEW_FRAUDS


class Falling:
    """Events by falling score, put in order once for all slices; n events."""

    def __init__(self, fraud: NDArray[np.int8], score: FloatArray) -> None:
        self._order = np.argsort(-score, kind="stable")
        self._fraud, self._score = fraud[self._order], score[self._order]

    def of(self, mask: Mask) -> tuple[NDArray[np.int8], FloatArray]:
        """Return label and score of the events of a mask, highest score first."""
        among = mask[self._order]
        return self._fraud[among], self._score[among]


def slice_of(
    name: str,
    fraud: NDArray[np.int8],
    score: FloatArray,
    mask: Mask,
    rng: np.random.Generator,
    *,
    group: str,
    falling: Falling | None = None,
) -> Slice:
    """Measure the events of a non-empty `mask`; every argument array has shape (n,). `falling`: the same, in order."""
    y, p = fraud[mask], score[mask]
    n, n_fraud = int(y.shape[0]), int(y.sum())
    cells = Ranking(y, p) if falling is None else Ranking(*falling.of(mask))
    draws = cells.resampled(rng, N_REPLICATES)
    low, high = wilson(n_fraud / n, n)
    return Slice(
        name=name,
        group=group,
        n=n,
        n_fraud=n_fraud,
        average_precision=ranking.average_precision_interval(cells, draws),
        roc_auc=auc_interval(cells.roc_auc(), n_fraud, n - n_fraud),
        fraud_rate=Interval(n_fraud / n, low, high),
        mean_score=float(p.mean()),
        observed_to_expected=count_ratio(n_fraud, float(p.sum())),
    )


def novelty_slices(
    fraud: NDArray[np.int8], score: FloatArray, novelty: Mapping[str, FloatArray], rng: np.random.Generator
) -> list[Slice]:
    """Part the events by whether a role's entity came before; events without one are in neither part."""
    parts, falling = [], Falling(fraud, score)
    for role, values in novelty.items():
        for name, mask in ((f"{role} seen before", values == 0), (f"{role} never seen", values > 0)):
            if mask.any():
                parts.append(slice_of(name, fraud, score, mask, rng, group=role, falling=falling))
    return parts


def value_slices(
    fraud: NDArray[np.int8], score: FloatArray, columns: Mapping[str, pl.Series], rng: np.random.Generator
) -> list[Slice]:
    """Part the events by the values of a column: the largest values, all others, and missing.

    Parameters
    ----------
    columns : name -> n values as text, null where missing. Columns with one value only are left out, and so is all
        beyond the first `N_ATTRIBUTES`.
    """
    parts, falling = [], Falling(fraud, score)
    for attribute, values in list(columns.items())[:N_ATTRIBUTES]:
        counts = values.drop_nulls().value_counts().filter(pl.col("count") >= MIN_EVENTS)
        most = len(values.dtype.categories) if isinstance(values.dtype, pl.Enum) else N_VALUES
        counts = counts.sort("count", values.name, descending=[True, False]).head(most)
        if isinstance(values.dtype, pl.Enum):
            counts = counts.sort(values.name)  # bands in their own order
        largest = counts[values.name].to_list()
        missing = values.is_null().to_numpy()
        masks = {value: (values == value).fill_null(False).to_numpy() for value in largest}
        others = ~missing & ~np.any([*masks.values(), np.zeros(len(values), np.bool_)], axis=0)
        n_others = int(values.filter(pl.Series(others)).n_unique())
        named = [*masks.items(), (f"{n_others:,} other values" if n_others != 1 else "the other value", others)]
        named = [(name, mask) for name, mask in [*named, ("missing", missing)] if mask.any()]
        if largest and len(named) > 1:
            parts += [
                slice_of(str(name), fraud, score, mask, rng, group=attribute, falling=falling) for name, mask in named
            ]
    return parts


def amount_bands(amounts: FloatArray) -> pl.Series | None:
    """Name each event's quarter by amount, major units, shape (n,) with NaN where missing; None without four."""
    known = amounts[~np.isnan(amounts)]
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if known.shape[0] else np.empty(0)
    if edges.shape[0] < 3:
        return None
    texts = [f"{edge:,.0f}" if abs(edge) >= 100 else f"{edge:,.2f}" for edge in edges.tolist()]
    names = [f"up to {texts[0]}", f"{texts[0]} to {texts[1]}", f"{texts[1]} to {texts[2]}", f"above {texts[2]}"]
    place = np.searchsorted(edges, amounts, side="left")
    named = [None if np.isnan(amount) else names[at] for amount, at in zip(amounts, place, strict=True)]
    return pl.Series("amount", named, dtype=pl.Enum(list(dict.fromkeys(names))))


def wilson(rate: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a rate seen in `n` > 0 events."""
    shrink = 1.0 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z * float(np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))) / shrink
    return max(0.0, centre - half), min(1.0, centre + half)


def auc_interval(auc: float, n_fraud: int, n_legit: int, z: float = 1.96) -> Interval:
    """Return the area under the ROC curve with a 95 % interval that is honest for a handful of frauds.

    Notes
    -----
    Newcombe's method 5 (Statistics in Medicine 25, 2006): the areas whose own standard error, by Hanley and McNeil's
    formula, allows what was found. A bootstrap of two frauds that both rank first would say "1.000 to 1.000".
    """
    if not np.isfinite(auc):
        return Interval(auc, float("nan"), float("nan"))
    middle = (n_fraud + n_legit) / 2.0 - 1.0

    def beyond(area: float) -> float:
        spread = 1.0 + middle * ((1.0 - area) / (2.0 - area) + area / (1.0 + area))
        return (auc - area) ** 2 - z * z * area * (1.0 - area) * spread / (n_fraud * n_legit)

    # A hair inside: at 0 and 1 the standard error vanishes, so that the estimate itself would be a root.
    low = 0.0 if auc <= 0.0 else float(brentq(beyond, 0.0, auc * (1.0 - 1e-9)))
    high = 1.0 if auc >= 1.0 else float(brentq(beyond, 1.0 - (1.0 - auc) * (1.0 - 1e-9), 1.0))
    return Interval(auc, low, high)


def count_ratio(observed: int, expected: float) -> Interval:
    """Return observed / expected with the exact 95 % interval of a Poisson count (Garwood, 1936); NaN where 0 / 0."""
    if not expected > 0.0:
        return Interval(float("nan"), float("nan"), float("nan"))
    low = chi2.ppf(0.025, 2 * observed) / 2.0 if observed else 0.0
    high = chi2.ppf(0.975, 2 * observed + 2) / 2.0
    return Interval(observed / expected, float(low) / expected, float(high) / expected)
