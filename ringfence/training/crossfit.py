# SPDX-License-Identifier: Apache-2.0
"""Out-of-fold scores in time: what the tree count, the search and the calibration are chosen from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.encoder import Encoder
from ringfence.models.gbdt import grow_curve
from ringfence.training.calibrating import prior_log_odds
from ringfence.training.folds import Fold
from ringfence.training.ranking import Ranking

FloatArray = NDArray[np.float64]
Report = Callable[[int, int], None]

STEP = 10
MAX_TREES = 400
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
    legit_share: float = 1.0,
    unread: Sequence[int] | NDArray[np.int64] = (),
    max_trees: int = MAX_TREES,
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
    legit_share : share of the legit examples that are fitted, in (0, 1]; all are scored.
    unread : columns that no model may learn from.
    max_trees, step : the curve runs from `step` to at most `max_trees` trees.
    report : called with (folds done, folds in all).
    """
    curves: list[FloatArray] = []
    losses: list[FloatArray] = []
    counts = np.empty(0, dtype=np.int64)
    # The newest fold has the most to learn from, so it needs the most trees: the others stop a little beyond it.
    newest_first = list(reversed(folds))
    for done, fold in enumerate(newest_first):
        kept = fold.fit[keep_legit(fraud[fold.fit], legit_share, np.random.default_rng(seed))]
        past = rows[kept]  # a copy
        past[:, unread] = np.nan
        encoder = Encoder.fit(past, is_category)
        counts, raw = grow_curve(
            encoder.apply(past),
            fraud[kept],
            encoder.apply(rows[fold.emit]),
            max_trees=max_trees,
            step=step,
            seed=seed,
            categories=encoder.category_columns,
            params=params,
            num_threads=n_threads,
        )
        # Sampled negatives shift every score by about the same log-odds, which the calibrator undoes: compare counts
        # by how they order and spread the block, not by that shift.
        loss = np.array([_log_loss(fraud[fold.emit], at + _shift(fraud[fold.emit], at)) for at in raw])
        curves.append(raw)
        losses.append(loss)
        max_trees = min(max_trees, max(10 * step, int(HEADROOM * counts[int(np.argmin(loss))]) // step * step))
        if report is not None:
            report(done + 1, len(folds))
    n_counts = min(loss.shape[0] for loss in losses)
    total = np.sum([loss[:n_counts] for loss in losses], axis=0) / sum(fold.emit.shape[0] for fold in folds)
    best = int(np.argmin(total))
    oof = np.full(fraud.shape[0], np.nan)
    for fold, raw in zip(newest_first, curves, strict=True):
        # Models of folds with more fraud forecast more of it: all are moved to one base rate (Elkan, 2001, theorem 2).
        oof[fold.emit] = raw[best] + prior_log_odds(fraud) - prior_log_odds(fraud[fold.fit])
    there = ~np.isnan(oof)
    return OutOfFold(
        raw=oof,
        n_trees=int(counts[best]),
        counts=counts[:n_counts],
        log_loss=total,
        average_precision=Ranking(fraud[there], oof[there]).average_precision(),
    )


def keep_legit(fraud: NDArray[np.int8], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ascending positions of all frauds and of a random `share`, in (0, 1], of the legit examples."""
    if share >= 1.0:
        return np.arange(fraud.shape[0])
    return np.flatnonzero((fraud == 1) | (rng.random(fraud.shape[0]) < share))


def search(
    try_setting: CrossFit, default: Mapping[str, Any], *, trials: int, seed: int, report: Report | None = None
) -> tuple[dict[str, Any], OutOfFold, list[dict[str, Any]]]:
    """Try the default and then `trials` random settings; the lowest out-of-fold log-loss wins.

    Returns
    -------
    The winning parameters, its out-of-fold scores, and one line per setting for metrics.json.
    """
    rng = np.random.default_rng(seed)
    best_params, best = dict(default), try_setting(default)
    lines = [_line(best_params, best)]
    for trial in range(trials):
        params = {**default, **_draw(rng)}
        found = try_setting(params)
        lines.append(_line(params, found))
        if found.log_loss.min() < best.log_loss.min():
            best_params, best = params, found
        if report is not None:
            report(trial + 1, trials)
    return best_params, best, lines


def _draw(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "num_leaves": int(rng.choice([7, 11, 15, 23, 31, 47])),
        "min_data_in_leaf": int(rng.choice([10, 20, 35, 50, 100, 200])),
        "learning_rate": float(rng.choice([0.02, 0.03, 0.05])),
        "feature_fraction": float(rng.choice([0.2, 0.3, 0.4, 0.5, 0.7])),
        "bagging_fraction": float(rng.choice([0.5, 0.65, 0.8, 1.0])),
        "lambda_l2": float(10.0 ** rng.uniform(0.0, 2.0)),
        "extra_trees": bool(rng.random() < 0.25),
    }


def _line(params: Mapping[str, Any], found: OutOfFold) -> dict[str, Any]:
    return {
        **params,
        "n_trees": found.n_trees,
        "log_loss": round(float(found.log_loss.min()), 6),
        "average_precision": round(found.average_precision, 6),
    }


def _shift(fraud: NDArray[np.int8], raw: FloatArray, steps: int = 4) -> float:
    """Find the constant that makes the mean predicted probability the observed rate, by Newton's method."""
    rate = min(max(float(fraud.mean()), 1e-6), 1 - 1e-6)
    shift = 0.0
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-(raw + shift)))
        slope = float(np.mean(p * (1 - p)))
        if slope < 1e-12:
            break
        shift += float(np.clip((rate - float(p.mean())) / slope, -3.0, 3.0))
    return shift


def _log_loss(fraud: NDArray[np.int8], raw: FloatArray) -> float:
    """Sum of the negative log-likelihood of log-odds."""
    return float(np.logaddexp(0.0, np.where(fraud == 1, -raw, raw)).sum())
