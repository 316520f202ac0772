# SPDX-License-Identifier: Apache-2.0
"""What a score is worth against the truth: figures, the same of resampled worlds, and curves.

Resamples draw whole rings: the frauds of one ring are found together or missed together, so claims drawn one by one
would make intervals look narrower than they are. Every honest claim is drawn by itself. The queue of a day is not drawn
again: of a resample's frauds, those count as caught that were reviewed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.models.metrics import average_precision, brier, ece_equal_mass, recall_at_precision, roc_auc

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PRECISION: Final = 0.15
REVIEWS: Final = (50, 10)  # a day; the first is the capacity that the table is about
N_BINS: Final = 10
N_RESAMPLES: Final = 400
DAY_MS: Final = 86_400_000
REVIEW_GRID: Final = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200)
RECALL_GRID: Final = tuple(round(0.02 * step, 2) for step in range(1, 51))

RECALL: Final = "recall at 15 % precision"
AT: Final = {reviews: f"recall at {reviews} reviews a day" for reviews in REVIEWS}
AP, AUC, ECE, BRIER = "average precision", "ROC-AUC", "ECE", "Brier"
RANKING: Final = (RECALL, *AT.values(), AP, AUC)
CALIBRATION: Final = (ECE, BRIER)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one score, with the same of each resample; of no probability, without calibration."""

    values: dict[str, float]
    draws: dict[str, list[float | None]]  # N_RESAMPLES each; None where a resample holds no fraud
    recall_by_reviews: list[float]  # at REVIEW_GRID
    precision_by_recall: list[float]  # at RECALL_GRID


def reviewed(time_ms: Ints, score: Floats, reviews_a_day: int) -> Floats:
    """Return how likely each event is among its UTC day's highest scores, shape (n,), in [0, 1].

    A tie at the edge is drawn by lot: each of its events has the same chance of what is left.
    """
    day = time_ms // DAY_MS
    order = np.lexsort((-score, day))
    d, s = day[order], score[order]
    n = d.shape[0]
    first = np.searchsorted(d, d, side="left")  # where its day begins
    begins = np.ones(n, np.bool_)
    begins[1:] = (d[1:] != d[:-1]) | (s[1:] != s[:-1])
    tie = np.cumsum(begins) - 1
    tie_first = np.flatnonzero(begins)
    tie_size = np.diff(np.append(tie_first, n))
    before = (tie_first[tie] - first).astype(np.float64)  # of the day, with a higher score
    found = np.empty(n)
    found[order] = np.clip((reviews_a_day - before) / tie_size[tie], 0.0, 1.0)
    return found


def share_caught(fraud: Bools, chance: Floats, weights: Floats | None = None) -> float:
    """Return the expected share of frauds that are reviewed, NaN without frauds."""
    mass = np.ones(int(fraud.sum())) if weights is None else weights[fraud]
    return float(mass @ chance[fraud] / mass.sum()) if mass.sum() > 0.0 else float("nan")


def figures_of(judged: pl.DataFrame, score: Floats, probability: Floats | None, *, seed: int) -> Figures:
    """Judge a score.

    Parameters
    ----------
    judged : a row per claim: time_ms, fraud, group.
    score : shape (n,), higher is likelier fraud.
    probability : shape (n,), what is said to be the probability of fraud; None where nothing is.
    seed : of the resamples: the same seed on the same claims draws the same ones, so that figures can be paired.

    Raises
    ------
    SystemExit
        If the claims are all of one kind.
    """
    if judged["fraud"].n_unique() < 2:
        raise SystemExit(f"all {judged.height:,} judged claims are of one kind; take a larger world")
    order = np.argsort(-score, kind="stable")  # once: resamples are weights on sorted claims
    fraud, s = judged["fraud"].to_numpy()[order], score[order]
    time_ms, group = judged["time_ms"].to_numpy()[order], judged["group"].to_numpy()[order]
    label = fraud.astype(np.int8)
    p = None if probability is None else probability[order]
    chance = {reviews: reviewed(time_ms, s, reviews) for reviews in REVIEWS}

    def all_of(w: Floats | None) -> dict[str, float]:
        found = {RECALL: recall_at_precision(label, s, w, precision=PRECISION)}
        found |= {AT[reviews]: share_caught(fraud, chance[reviews], w) for reviews in REVIEWS}
        found |= {AP: average_precision(label, s, w), AUC: roc_auc(label, s, w)}
        if p is not None:
            found |= {ECE: ece_equal_mass(label, p, w, n_bins=N_BINS), BRIER: brier(label, p, w)}
        return found

    drawn = [all_of(w) for w in resampled(group, seed)]
    return Figures(
        values=all_of(None),
        draws={name: [one[name] if np.isfinite(one[name]) else None for one in drawn] for name in drawn[0]},
        recall_by_reviews=[share_caught(fraud, reviewed(time_ms, s, reviews)) for reviews in REVIEW_GRID],
        precision_by_recall=precisions(label, s),
    )


def resampled(group: Ints, seed: int, n_resamples: int = N_RESAMPLES) -> Iterator[Floats]:
    """Yield weights of resampled worlds, shape (n,): as many groups as there are, drawn with replacement.

    Groups are drawn in the order of their numbers, whatever the order of the events: two scores see the same worlds.
    """
    generator = np.random.default_rng(seed)
    names, at = np.unique(group, return_inverse=True)
    k = names.shape[0]
    for _ in range(n_resamples):
        yield np.bincount(generator.integers(0, k, k), minlength=k).astype(np.float64)[at]


def precisions(label: NDArray[np.int8], score: Floats) -> list[float]:
    """Return the best precision at which each recall of RECALL_GRID is reached; scores fall, ties enter together."""
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), score.shape[0] - 1)
    caught, flagged = np.cumsum(label)[last].astype(np.float64), last + 1.0
    best = np.maximum.accumulate((caught / flagged)[::-1])[::-1]
    at = np.searchsorted(caught, np.array(RECALL_GRID) * max(caught[-1], 1.0) - 1e-9)
    return [float(value) for value in best[np.minimum(at, len(best) - 1)]]


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A figure as the mean over runs, with its 95 % interval over resampled rings and claims."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0.0 or self.high < 0.0


def mean_of(runs: dict[int, list[Figures]], name: str, less: dict[int, list[Figures]] | None = None) -> Mean:
    """Average a figure over worlds and, within each, over model seeds.

    Parameters
    ----------
    runs : world -> its runs; those of one world have drawn the same resamples, worlds are independent of each other.
    less : the runs of another score, whose figure is taken off in every resample; where it has a single run a world
        (it knows no seed), that run is compared with each.
    """
    values, draws = [], []
    for world, found in runs.items():
        value = float(np.mean([one.values[name] for one in found]))
        drawn = _drawn(found, name)
        if less is not None:
            value -= float(np.mean([one.values[name] for one in less[world]]))
            drawn = drawn - _drawn(less[world], name)
        values.append(value)
        draws.append(drawn)
    low, high = np.nanquantile(np.mean(draws, axis=0), [0.025, 0.975])
    return Mean(value=float(np.mean(values)), low=float(low), high=float(high))


def _drawn(found: list[Figures], name: str) -> Floats:
    """Average the runs of a world, resample by resample, shape (N_RESAMPLES,); NaN where a figure is not defined."""
    return np.asarray(np.mean(np.array([one.draws[name] for one in found], dtype=np.float64), axis=0))


def aligned(judged: pl.DataFrame, frame: pl.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    """Return columns of `frame` in the order of the judged claims.

    Raises
    ------
    SystemExit
        If a judged claim has no row.
    """
    joined = judged.select("event_id").join(frame, on="event_id", how="left", maintain_order="left")
    found = {name: joined[name] for name in names}
    for name, values in found.items():
        if values.null_count():
            raise SystemExit(f"{values.null_count():,} of {judged.height:,} judged claims have no {name}")
    return found
