# SPDX-License-Identifier: Apache-2.0
"""What a study says: one way to make the scores held against others, on the same events, event by event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.resampling import Difference, difference_of
from ringfence.training import ranking
from ringfence.training.ranking import Interval, Ranking

FloatArray = NDArray[np.float64]

ALERT_PRECISION: Final = 0.15
METRICS: Final[dict[str, Callable[[FloatArray, FloatArray], float]]] = {  # of fraud and legit counts per cell
    "average_precision": ranking.average_precision,
    "roc_auc": ranking.roc_auc,
    "recall_at_15": partial(ranking.recall_at_precision, precision=ALERT_PRECISION),
}
TITLES: Final = {
    "average_precision": "average precision",
    "roc_auc": "ROC-AUC",
    "recall_at_15": "frauds found at 15 % precision",
}
_MOST_DRAWN: Final = 50_000_000  # events drawn in all resamples of a comparison: a minute or so
_N_RESAMPLES: Final = (100, 500)  # at least, at most


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One way to make the scores, and what it was found to be worth."""

    name: str
    text: str = ""  # what is different, where the name does not say it
    n_features: int | None  # that trees read; None where that is not what differs
    seconds: float | None  # of fitting, on this machine, with whatever else ran there; None: not timed
    figures: dict[str, Interval]  # by METRICS
    against: dict[str, Difference] = {}  # the first variant minus this one: above zero, the first is better
    is_control: bool = False  # differs by chance alone: how large a difference means nothing


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A question, the ways that were compared to answer it, and the answer."""

    name: str  # as in `--study NAME`
    title: str
    question: str
    answer: str
    is_good: bool | None  # what the answer means for the release as it is; None: neither good nor bad
    window: str = ""  # what the ways were compared on, in words
    n: int = 0
    n_fraud: int = 0
    variants: list[Variant] = []  # the first is what the others are held against; empty: there was nothing to compare
    notes: list[str] = []


class Judge:
    """Holds ways of scoring the same n events against the first of them."""

    def __init__(self, fraud: NDArray[np.int8], *, seed: int) -> None:
        self._fraud, self._seed = fraud, seed
        self._first: FloatArray | None = None
        fewest, most = _N_RESAMPLES
        self._n_resamples = int(np.clip(_MOST_DRAWN // max(fraud.shape[0], 1), fewest, most))

    def variant(
        self,
        name: str,
        scores: FloatArray,
        *,
        n_features: int | None,
        seconds: float | None,
        text: str = "",
        is_control: bool = False,
    ) -> Variant:
        """Measure scores of shape (n,); all but the first that comes are held against the first."""
        cells = Ranking(self._fraud, scores)
        draws = cells.resampled(np.random.default_rng(self._seed), self._n_resamples)
        against: dict[str, Difference] = {}
        if self._first is None:
            self._first = scores
        else:
            against = self._differences(self._first, scores)
        return Variant(
            name=name,
            text=text,
            n_features=n_features,
            seconds=seconds,
            figures={
                "average_precision": ranking.average_precision_interval(cells, draws),
                "roc_auc": ranking.roc_auc_interval(cells, draws),
                "recall_at_15": ranking.recall_at_precision_interval(cells, draws, ALERT_PRECISION),
            },
            against=against,
            is_control=is_control,
        )

    def _differences(self, first: FloatArray, second: FloatArray) -> dict[str, Difference]:
        ways = [Ranking(self._fraud, score) for score in (first, second)]
        value = {name: metric(*ways[0].counts) - metric(*ways[1].counts) for name, metric in METRICS.items()}
        drawn: dict[str, list[float]] = {name: [] for name in METRICS}
        generator = np.random.default_rng(self._seed)
        for one, other in ranking.paired_draws(self._fraud, first, second, generator, self._n_resamples):
            for name, metric in METRICS.items():
                drawn[name].append(metric(*one) - metric(*other))
        return {name: difference_of(value[name], np.array(drawn[name])) for name in METRICS}


def says_more(first: Mapping[str, Difference]) -> tuple[bool, str]:
    """Tell whether the first way orders events better than chance would explain, and both differences in words.

    Parameters
    ----------
    first : `Variant.against` of the other way.
    """
    both = {name: first[name] for name in ("average_precision", "roc_auc")}
    told = ", ".join(f"{TITLES[name]} {in_words(gain)}" for name, gain in both.items())
    return any(gain.low > 0.0 for gain in both.values()), told


def in_words(difference: Difference) -> str:
    """Write a difference with its interval, signs spelt out."""
    return f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})".replace("-", "−")
