# SPDX-License-Identifier: Apache-2.0
"""Out-of-fold scores in time: what the tree count, the search and the calibration are chosen from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.encoder import Encoder
from ringfence.models.gbdt import Growth, cut_into_bins, grow_curve
from ringfence.training.calibrating import prior_log_odds
from ringfence.training.copies import Copies
from ringfence.training.effort import Effort
from ringfence.training.folds import Fold
from ringfence.training.ranking import Ranking

FloatArray = NDArray[np.float64]
Report = Callable[[int, int], None]

STEP = 10
_CHUNK = 16_384  # rows encoded and scored at once
HEADROOM = 1.5  # folds after the first grow to this multiple of its best count


class OutOfFold(msgspec.Struct, frozen=True, kw_only=True):
    """Scores that no example's own label had a part in. n examples, k points of the curve."""

    raw: FloatArray  # (n,) log-odds at the base rate of all examples; NaN where no fold emits the example
    n_trees: int  # the count chosen, over all folds together
    counts: NDArray[np.int64]  # (k,)
    log_loss: FloatArray  # (k,) mean over the emitted examples
    average_precision: float  # at the chosen count, over the emitted examples

    @property
    def emitted(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.raw)


class CrossFit(Protocol):
    """How one hyperparameter setting is tried."""

    def __call__(self, params: Mapping[str, Any]) -> OutOfFold: ...


def cross_fit(
    rows: FloatArray,
    fraud: NDArray[np.int8],
    folds: Sequence[Fold],
    *,
    is_category: Sequence[bool],
    params: Mapping[str, Any],
    seed: int,
    effort: Effort,
    unread: Sequence[int] | NDArray[np.int64] = (),
    step: int = STEP,
    n_threads: int = 1,
    report: Report | None = None,
) -> OutOfFold:
    """Fit each fold on its past, score its block, and choose one number of trees for all.

    The count minimises the log-loss summed over all blocks: one fold's own optimum jumps about where it holds a few
    dozen frauds, the sum of all hardly does.

    Parameters
    ----------
    rows : shape (n, n_features), as the engine gives them; each fold freezes its own vocabulary.
    fraud : shape (n,).
    folds : at least one, earliest first.
    effort : how many trees at most, and from how many rows; all emitted examples are scored whatever it says.
    unread : columns that no model may learn from.
    step : the curve runs from `step` to at most `effort.max_trees` trees.
    report : called once a fold.
    """

    copies = Copies()

    def grow(fold: Fold, max_trees: int, n_threads: int) -> _Grown:
        kept = fold.fit[keep_legit(fraud[fold.fit], effort.legit_share, np.random.default_rng(seed))]
        with copies.of(kept.shape[0] * rows.itemsize * rows.shape[1]):
            past = rows[kept]
            past[:, unread] = np.nan
            encoder = Encoder.fit(past, is_category)
            bins = cut_into_bins(
                encoder.apply(past, in_place=True),
                fraud[kept],
                seed=seed,
                categories=encoder.category_columns,
                params=params,
                num_threads=n_threads,
                bin_rows=effort.bin_rows,
                most_bins=effort.most_bins,
            )
            del past
        looked_at, weights = _looked_at(fold.emit, fraud, effort.curve_rows, np.random.default_rng(seed))
        losses = _Losses(fraud[looked_at], weights, effort.patience)
        later = encoder.apply(rows[looked_at], in_place=True)
        growth = grow_curve(bins, later, max_trees=max_trees, step=step, enough=losses)
        if report is not None:
            report(0, len(folds))
        return _Grown(fold, encoder, growth, np.array(losses.found), looked_at.shape[0] == fold.emit.shape[0])

    newest_first = list(reversed(folds))
    if effort.side_by_side:
        # One core a fold: boosters that share cores wait for each other at every split.
        with ThreadPoolExecutor(n_threads) as pool:
            grown = list(pool.map(lambda fold: grow(fold, effort.max_trees, 1), newest_first))
    else:
        # The newest fold has the most to learn from, so it needs the most trees: the others stop a little beyond it.
        max_trees, grown = effort.max_trees, []
        for fold in newest_first:
            grown.append(grow(fold, max_trees, n_threads))
            best_here = int(grown[-1].growth.counts[int(np.argmin(grown[-1].loss))])
            max_trees = min(max_trees, max(10 * step, int(HEADROOM * best_here) // step * step))
    n_counts = min(one.loss.shape[0] for one in grown)
    total = np.sum([one.loss[:n_counts] for one in grown], axis=0) / sum(fold.emit.shape[0] for fold in folds)
    counts = min((one.growth.counts for one in grown), key=len)
    best = int(np.argmin(total))
    oof = np.full(fraud.shape[0], np.nan)
    parts = [(one, part) for one in grown for part in one.parts()]
    with ThreadPoolExecutor(n_threads) as pool:
        for (one, part), raw in zip(
            parts, pool.map(lambda some: some[0].scores(best, rows, some[1]), parts), strict=True
        ):
            # Models of folds with more fraud forecast more of it: all are moved to one base rate (Elkan, 2001, thm 2).
            oof[one.fold.emit[part]] = raw + prior_log_odds(fraud) - prior_log_odds(fraud[one.fold.fit])
    there = ~np.isnan(oof)
    return OutOfFold(
        raw=oof,
        n_trees=int(counts[best]),
        counts=counts,
        log_loss=total,
        average_precision=Ranking(fraud[there], oof[there]).average_precision(),
    )


class _Grown(NamedTuple):
    """A fold's model, and how it fared in the fold's block while it grew."""

    fold: Fold
    encoder: Encoder
    growth: Growth
    loss: FloatArray
    is_whole: bool  # the curve was read from the whole block

    def parts(self) -> list[slice]:
        """Cut the block into what is scored at once."""
        return [slice(low, low + _CHUNK) for low in range(0, self.fold.emit.shape[0], _CHUNK)]

    def scores(self, at: int, rows: FloatArray, part: slice) -> FloatArray:
        """Return a part of the block's log-odds at one point of the curve."""
        if self.is_whole:
            whole: FloatArray = self.growth.raw[at, part]
            return whole
        encoded = self.encoder.apply(rows[self.fold.emit[part]], in_place=True)
        return self.growth.raw_after(int(self.growth.counts[at]), encoded)


class _Losses:
    """The log-loss of a block after every step, and whether more trees still promise a better one.

    Sampled negatives shift every score by about the same log-odds, which the calibrator undoes: counts are compared by
    how they order and spread the block, not by that shift.
    """

    def __init__(self, fraud: NDArray[np.int8], weights: FloatArray, patience: int | None) -> None:
        self.found: list[float] = []
        self._fraud, self._weights, self._patience = fraud, weights, patience

    def __call__(self, raw: FloatArray) -> bool:
        moved = raw + _shift(self._fraud, raw, self._weights)
        self.found.append(_log_loss(self._fraud, moved, self._weights))
        return self._patience is not None and len(self.found) - 1 - int(np.argmin(self.found)) >= self._patience


def _looked_at(
    emit: NDArray[np.int64], fraud: NDArray[np.int8], most: int | None, rng: np.random.Generator
) -> tuple[NDArray[np.int64], FloatArray]:
    """Draw up to `most` of each class of a block; how many each of them stands for makes their losses the block's."""
    if most is None:
        return emit, np.ones(emit.shape[0])
    positions, weights = [], []
    for value in (0, 1):
        of_class = emit[fraud[emit] == value]
        drawn = of_class if of_class.shape[0] <= most else rng.choice(of_class, size=most, replace=False)
        positions.append(drawn)
        weights.append(np.full(drawn.shape[0], of_class.shape[0] / max(drawn.shape[0], 1)))
    order = np.argsort(np.concatenate(positions), kind="stable")
    return np.concatenate(positions)[order], np.concatenate(weights)[order]


def keep_legit(fraud: NDArray[np.int8], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ascending positions of all frauds and of a random `share`, in (0, 1], of the legit examples."""
    if share >= 1.0:
        return np.arange(fraud.shape[0])
    return np.flatnonzero((fraud == 1) | (rng.random(fraud.shape[0]) < share))


def _shift(fraud: NDArray[np.int8], raw: FloatArray, weights: FloatArray, steps: int = 4) -> float:
    """Find the constant that makes the mean predicted probability the observed rate, by Newton's method."""
    n = float(weights.sum())
    rate = min(max(float((weights * fraud).sum()) / n, 1e-6), 1 - 1e-6)
    shift = 0.0
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-(raw + shift)))
        slope = float((weights * (p * (1 - p))).sum()) / n
        if slope < 1e-12:
            break
        shift += float(np.clip((rate - float((weights * p).sum()) / n) / slope, -3.0, 3.0))
    return shift


def _log_loss(fraud: NDArray[np.int8], raw: FloatArray, weights: FloatArray) -> float:
    """Sum of the negative log-likelihood of log-odds."""
    return float((weights * np.logaddexp(0.0, np.where(fraud == 1, -raw, raw))).sum())
