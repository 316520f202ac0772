# SPDX-License-Identifier: Apache-2.0
"""How much of the score is each forecast's? As much as each mix of trees, linear model and network is likely.

    odds(a) = sum_i a_i forecast_i,   a_i in 0, 1/8 .. 1, adding up to one
    P(a | past) ~ 8! / prod (8 a_i)! prod over past events of the probability that odds(a) gave to what came true

The mix is the posterior mean of a. Before any evidence all weigh the same: the plain mean of unlike models is hard to
beat (Clemen, Combining forecasts, 1989), and a few dozen frauds cannot tell a good weight from a better one. With many
the likelihood decides, and can leave a model out. Weights add up to one and nothing else is fitted, so that a base rate
which comes and goes moves no weight: level and slope are calibration's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import lgamma
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.models.stack import BACKBONE, Stack
from ringfence.training.folds import Fold

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_PARTS: Final = 8


class Mixed(NamedTuple):
    """A mix, and what mixes of the past said."""

    stack: Stack
    said: FloatArray  # (n,) log-odds of each block by the mix of the blocks before; NaN in the first, and where one is


def mix_in_time(
    forecasts: Mapping[str, FloatArray],
    fraud: NDArray[np.int8],
    folds: Sequence[Fold],
    *,
    legit_share: float = 1.0,
) -> Mixed:
    """Mix forecasts by what was found in all blocks.

    Parameters
    ----------
    forecasts : out-of-fold log-odds by name, shape (n,), the backbone among them. Its are finite where a fold emits,
        others may be NaN at random for some of these, which are then left out.
    fraud : shape (n,).
    folds : earliest first.
    legit_share : share of the legit examples that the trees saw, in (0, 1]; their log-odds stand too high by as much.
    """
    level = float(np.log(legit_share))
    names = list(forecasts)
    odds = [forecasts[name] + level if name == BACKBONE else forecasts[name] for name in names]
    mixes, likely = _mixes(len(names))
    said = np.full(fraud.shape[0], np.nan)
    spoken = []
    for at, fold in enumerate(folds):
        block = fold.emit[np.all([~np.isnan(one[fold.emit]) for one in odds], axis=0)]
        here = [one[block] for one in odds]
        if at:
            said[block] = _mixed(here, _mean(mixes, likely))
        likely = likely - np.array([losses(_mixed(here, weights), fraud[block]).sum() for weights in mixes])
        spoken.append(block)
    found = _mean(mixes, likely)
    everywhere = np.concatenate(spoken)
    stack = Stack(
        members=tuple(names),
        weights=tuple(found.tolist()),
        intercept=float(found[names.index(BACKBONE)]) * level,
        centres=tuple(float(forecasts[name][everywhere].mean()) for name in names),
    )
    return Mixed(stack, said)


def losses(odds: FloatArray, fraud: NDArray[np.int8]) -> FloatArray:
    """Return the log-loss of each event, shape (n,)."""
    found: FloatArray = np.logaddexp(0.0, np.where(fraud == 1, -odds, odds))
    return found


def _mixes(n: int) -> tuple[FloatArray, FloatArray]:
    """Return every mix of n forecasts, shape (n_mixes, n), and the logarithm of how likely it is before any label."""
    parts = [one for one in product(range(_PARTS + 1), repeat=n) if sum(one) == _PARTS]
    likely = np.array([-sum(lgamma(part + 1) for part in one) for one in parts])
    return np.array(parts) / _PARTS, likely


def _mean(mixes: FloatArray, likely: FloatArray) -> FloatArray:
    chance = np.exp(likely - likely.max())
    mean: FloatArray = chance @ mixes / chance.sum()
    return mean


def _mixed(odds: Sequence[FloatArray], weights: FloatArray) -> FloatArray:
    total: FloatArray = np.zeros(odds[0].shape[0])
    for one, weight in zip(odds, weights, strict=True):
        total += weight * one
    return total
