# SPDX-License-Identifier: Apache-2.0
"""Out-of-fold log-odds of a graph network in time: what a stack is fitted on, and how many epochs are chosen from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.training.calibrating import prior_log_odds
from ringfence.training.folds import Fold
from ringfence.training.gnn import fitted_inputs, training_module
from ringfence.training.gnn_examples import Examples
from ringfence.training.gnn_options import Device, GnnOptions, default_options

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class GnnOutOfFold(msgspec.Struct, frozen=True, kw_only=True):
    """Log-odds that no example's own label had a part in, but for the choice of one number of epochs. n examples."""

    raw: FloatArray  # (n,) at the base rate of all that the folds name; NaN where none is; the offset is not in it
    n_epochs: int  # chosen, over all folds together
    log_loss: FloatArray  # (epochs,) weighted mean of the blocks after each, at their own base rates

    @property
    def emitted(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.raw)


def cross_fit_gnn(
    examples: Examples,
    fraud: NDArray[np.int8],
    folds: Sequence[Fold],
    *,
    offset: FloatArray | None = None,
    options: GnnOptions | None = None,
    seed: int = 0,
    device: Device = "auto",
    n_threads: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> GnnOutOfFold:
    """Fit each fold on its past, score its block after every epoch, and choose one number of epochs for all.

    The number minimises the log-loss over all blocks, each weighted by the frauds that its network learnt from: with
    few it has learnt all that it will after a pass or two, and the network of the release learns from more than any.

    Parameters
    ----------
    examples : n of them; `fraud` of shape (n,), of which only what the folds name is looked at.
    folds : at least one, earliest first; the same as the trees' where the two are to be stacked.
    offset : shape (n,), another model's out-of-fold log-odds, NaN where it has none: such examples are neither learnt
        from nor scored, and a fold whose past has none left with both labels is passed over. The network learns what
        to add to it.
    options, seed, device, n_threads : as in `train_gnn`.
    report : called with (folds done, folds in all).

    Raises
    ------
    MissingExtraError, DeviceError
        As in `train_gnn`.
    """
    run = training_module("ringfence.training.gnn_run")
    judged = fraud[np.unique(np.concatenate([part for fold in folds for part in (fold.fit, fold.emit)]))]
    chosen = options or default_options(int(judged.sum()))
    curves: list[tuple[Fold, IntArray, FloatArray]] = []
    losses: list[FloatArray] = []
    weights: list[float] = []
    for done, fold in enumerate(reversed(folds)):
        fit, emit = _with_offset(fold.fit, offset), _with_offset(fold.emit, offset)
        if emit.shape[0] and 0 < int(fraud[fit].sum()) < fit.shape[0]:
            found = run.run(
                inputs=fitted_inputs(examples, fit, chosen, seed=seed),
                examples=examples,
                fraud=fraud,
                offset=offset,
                fit=fit,
                later=emit,
                n_epochs=chosen.most_epochs,
                options=chosen,
                seed=seed,
                device=device,
                n_threads=n_threads,
                checkpoint=None,
                progress=None,
            )
            curves.append((fold, emit, found.later_curve))
            losses.append(np.array([epoch.later_loss for epoch in found.epochs]))
            weights.append(float(fraud[fit].sum()) * emit.shape[0])
        if report is not None:
            report(done + 1, len(folds))
    raw = np.full(fraud.shape[0], np.nan)
    if not curves:
        return GnnOutOfFold(raw=raw, n_epochs=chosen.most_epochs, log_loss=np.empty(0))
    total = np.average(losses, axis=0, weights=weights)
    best = int(np.argmin(total))
    for fold, emit, curve in curves:
        # Networks of folds with more fraud forecast more of it: all are moved to one base rate, as the trees are.
        rate = 0.0 if offset is not None else prior_log_odds(judged) - prior_log_odds(fraud[fold.fit])
        raw[emit] = curve[best] + rate
    return GnnOutOfFold(raw=raw, n_epochs=best + 1, log_loss=total)


def _with_offset(positions: IntArray, offset: FloatArray | None) -> IntArray:
    return positions if offset is None else positions[~np.isnan(offset[positions])]
