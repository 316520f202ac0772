# SPDX-License-Identifier: Apache-2.0
"""How much of the score is the linear model's, and how much the trees'? As much as each mix is likely, given the past.

    odds(a) = (1 - a) trees + a linear,   a = 0, 1/8 .. 1
    P(a | past) ~ C(8, 8a) prod over past events of the probability that odds(a) gave to what came true

The mix is the posterior mean of a. Before any evidence it is one half: the plain mean of two unlike models is hard to
beat (Clemen, Combining forecasts, 1989), and a few dozen frauds cannot tell a good weight from a better one. With many
the likelihood decides, and can leave the linear model out. Weights add up to one and nothing else is fitted, so that a
base rate which comes and goes moves no weight: level and slope are calibration's.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.models.branches import LINEAR
from ringfence.models.stack import BACKBONE, Stack
from ringfence.training.folds import Fold

FloatArray = NDArray[np.float64]

_PARTS: Final = 8
_SHARES: Final = np.arange(_PARTS + 1) / _PARTS
_PRIOR: Final = np.array([comb(_PARTS, part) for part in range(_PARTS + 1)]) / 2.0**_PARTS
LEAST: Final = 0.01  # of the linear model: one that counts for less is left out


class Mixed(NamedTuple):
    """A mix, and what it was worth."""

    stack: Stack
    gains: FloatArray  # (n,) how much log-loss of each event after the first block fell by mixes of the blocks before


def mix_in_time(
    trees: FloatArray,
    linear: FloatArray,
    fraud: NDArray[np.int8],
    folds: Sequence[Fold],
    *,
    legit_share: float = 1.0,
) -> Mixed:
    """Mix trees and linear model by what was found in all blocks.

    Parameters
    ----------
    trees, linear : out-of-fold log-odds, shape (n,); those of the trees are finite where a fold emits, the others may
        be NaN at random for some of these, which are then left out.
    fraud : shape (n,).
    folds : earliest first.
    legit_share : share of the legit examples that the trees saw, in (0, 1]; their log-odds stand too high by as much.
    """
    level = float(np.log(legit_share))
    cost = np.zeros(_PARTS + 1)  # minus the log-likelihood
    gains = [np.empty(0)]
    for at, fold in enumerate(folds):
        block = fold.emit[~np.isnan(linear[fold.emit])]
        odds = np.outer(1.0 - _SHARES, trees[block] + level) + np.outer(_SHARES, linear[block])
        if at:
            share = _mean_share(cost)
            mixed = (1.0 - share) * odds[0] + share * odds[-1]
            gains.append(_losses(odds[0], fraud[block]) - _losses(mixed, fraud[block]))
        cost += _losses(odds, fraud[block]).sum(axis=1)
    share = _mean_share(cost)
    if share < LEAST:
        return Mixed(Stack(), np.concatenate(gains))
    spoken = np.concatenate([fold.emit for fold in folds])
    spoken = spoken[~np.isnan(linear[spoken])]
    stack = Stack(
        members=(BACKBONE, LINEAR),
        weights=(1.0 - share, share),
        intercept=(1.0 - share) * level,
        centres=(float(trees[spoken].mean()), float(linear[spoken].mean())),
    )
    return Mixed(stack, np.concatenate(gains))


def _mean_share(cost: FloatArray) -> float:
    likely = _PRIOR * np.exp(cost.min() - cost)
    return float(likely @ _SHARES / likely.sum())


def _losses(odds: FloatArray, fraud: NDArray[np.int8]) -> FloatArray:
    found: FloatArray = np.logaddexp(0.0, np.where(fraud == 1, -odds, odds))
    return found
