# SPDX-License-Identifier: Apache-2.0
"""How much does each model count? Forecasts by how likely each mix of them made the past, other branches by test.

Trees, linear model and graph network answer the same question from the same columns, one closely, one cautiously, one
with the neighbours beside: `training.mixing` averages them. Any other branch is tried as a release would use it:
weights are fitted on the blocks before, and judged on the next one against weights fitted without it. It stays where
the mean gain of log-loss is above zero with 97.5 % confidence; else the stack does without it, and the report says what
was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.branches import LINEAR
from ringfence.models.gnn_branch import GNN
from ringfence.models.stack import BACKBONE, Stack, fit_stack
from ringfence.training.crossfit import OutOfFold
from ringfence.training.folds import Fold
from ringfence.training.mixing import losses, mix_in_time

FloatArray = NDArray[np.float64]

# Forecasts beside the trees, in the order in which they join, and the share from which on each takes part.
FORECASTS: Final = {LINEAR: 0.01, GNN: 0.1}
COSTLY: Final = frozenset({GNN})  # every event would pay for it: the next blocks must have been forecast better, too
_SIGMAS: Final = 1.959964  # of a two-sided interval of 95 %


class BranchWorth(msgspec.Struct, frozen=True, kw_only=True):
    """What a branch added to those before it, in blocks of time that its weight was not fitted on.

    Linear model and graph network take part by their share of the mix, whether or not the interval excludes zero.
    """

    name: str
    n: int  # events judged
    gain: float  # of log-loss, mean per event; above zero: better with it
    low: float  # 95 % interval of the gain, normal approximation
    high: float
    weight: float  # in the stack; 0 where it was left out

    @property
    def stays(self) -> bool:
        return self.weight > 0.0


def stack_in_time(
    members: Mapping[str, FloatArray], fraud: NDArray[np.int8], folds: Sequence[Fold], *, legit_share: float = 1.0
) -> tuple[Stack, list[BranchWorth]]:
    """Mix forecasts, and add other branches one after the other, each for what it adds in time.

    Parameters
    ----------
    members : out-of-fold raw scores by name, each of shape (n,); the backbone's are finite where a fold emits, others
        may be NaN at random for some of these, which are then left out. Others are tried in this order.
    fraud : shape (n,).
    folds : earliest first.
    legit_share : share of the legit examples that the trees saw, in (0, 1].

    Returns
    -------
    The stack, fitted on all blocks, and what each branch was found to be worth. Where no branch stays the stack is the
    backbone as it is, and where there is a single block none can be tried.
    """
    core, worth = core_in_time(members, fraud, folds, legit_share=legit_share)
    before = dict(zip(core.members, core.weights, strict=True))
    chosen = list(core.members)
    for name in members:
        if name == BACKBONE or name in FORECASTS:
            continue
        gains = _gains(members, fraud, folds, chosen, [*chosen, name], before)
        found = _worth_of(name, gains, 0.0)
        if found.n > 0 and found.low > 0.0:
            chosen.append(name)
        worth.append(found)
    if len(chosen) == len(core.members):
        return core, worth
    emitted = _scored(members, chosen, np.concatenate([fold.emit for fold in folds]))
    stack = fit_stack({name: members[name][emitted] for name in chosen}, fraud[emitted], chosen, before=before)
    return stack, [msgspec.structs.replace(one, weight=stack.weight_of(one.name)) for one in worth]


def core_in_time(
    members: Mapping[str, FloatArray], fraud: NDArray[np.int8], folds: Sequence[Fold], *, legit_share: float = 1.0
) -> tuple[Stack, list[BranchWorth]]:
    """Mix the trees with every other forecast that counts for enough; arguments as `stack_in_time` has them.

    Returns
    -------
    The mix, the backbone alone where nothing else takes part, and what each of `FORECASTS` was found to be worth.
    """
    core, worth, taken = Stack(), [], {BACKBONE: members[BACKBONE]}
    said = mix_in_time(taken, fraud, folds, legit_share=legit_share).said
    for name, least in FORECASTS.items():
        if name not in members:
            continue
        mixed = mix_in_time({**taken, name: members[name]}, fraud, folds, legit_share=legit_share)
        at = ~np.isnan(said) & ~np.isnan(mixed.said)
        found = _worth_of(name, losses(said[at], fraud[at]) - losses(mixed.said[at], fraud[at]), 0.0)
        worth.append(found)
        if mixed.stack.weight_of(name) >= least and (found.gain > 0.0 or name not in COSTLY):
            core, said, taken = mixed.stack, mixed.said, {**taken, name: members[name]}
    return core, [msgspec.structs.replace(one, weight=core.weight_of(one.name)) for one in worth]


def _worth_of(name: str, gains: FloatArray, weight: float) -> BranchWorth:
    n = gains.shape[0]
    mean = float(gains.mean()) if n else 0.0
    reach = _SIGMAS * float(gains.std()) / float(np.sqrt(n)) if n else 0.0
    return BranchWorth(name=name, n=n, gain=mean, low=mean - reach, high=mean + reach, weight=weight)


def comparable(members: Mapping[str, FloatArray], stack: Stack, folds: Sequence[Fold]) -> dict[str, FloatArray]:
    """Leave out what is no member of the stack and has nothing to say in more than half of the blocks.

    Comparisons are of examples that all speak of: one that is silent so long would leave them little to go by.
    """

    def n_spoken(said: FloatArray) -> int:
        return sum(bool((~np.isnan(said[fold.emit])).any()) for fold in folds)

    return {name: said for name, said in members.items() if name in stack.members or 2 * n_spoken(said) >= len(folds)}


def on_common_ground(
    stacked: FloatArray, folds: Sequence[Fold], out_of_fold: OutOfFold
) -> tuple[list[Fold], OutOfFold]:
    """Leave to calibration and figures what every member of the stack spoke of: one may have seen the other examples.

    Parameters
    ----------
    stacked : shape (n,), NaN where a member does not speak.

    Returns
    -------
    The folds that still emit something, and the trees' scores there.
    """
    speaks = ~np.isnan(stacked)
    cut = [msgspec.structs.replace(fold, emit=fold.emit[speaks[fold.emit]]) for fold in folds]
    raw = np.where(speaks, out_of_fold.raw, np.nan)
    return [fold for fold in cut if fold.emit.shape[0]], msgspec.structs.replace(out_of_fold, raw=raw)


def _gains(
    members: Mapping[str, FloatArray],
    fraud: NDArray[np.int8],
    folds: Sequence[Fold],
    without: Sequence[str],
    names: Sequence[str],
    before: Mapping[str, float],
) -> FloatArray:
    """Return how much the log-loss of each event falls with the last of `names`."""
    found = [np.empty(0)]
    for at in range(1, len(folds)):
        past = _scored(members, names, np.concatenate([fold.emit for fold in folds[:at]]))
        if not 0 < int(fraud[past].sum()) < past.shape[0]:
            continue
        block = _scored(members, names, folds[at].emit)
        losses = []
        for taken in (without, names):
            stack = fit_stack({name: members[name][past] for name in taken}, fraud[past], taken, before=before)
            odds = stack.raw({name: members[name][block] for name in taken})
            losses.append(np.logaddexp(0.0, np.where(fraud[block] == 1, -odds, odds)))
        found.append(losses[0] - losses[1])
    return np.concatenate(found)


def _scored(members: Mapping[str, FloatArray], names: Sequence[str], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those positions that every one of `names` has a score for."""
    there = np.all([~np.isnan(members[name][positions]) for name in names], axis=0)
    found: NDArray[np.int64] = positions[there]
    return found
