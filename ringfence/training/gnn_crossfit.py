# SPDX-License-Identifier: Apache-2.0
"""Out-of-fold log-odds of a graph network in time: what a stack is fitted on, and how many epochs are chosen from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.gnn import Gnn, GnnHeader
from ringfence.models.gnn_inputs import GnnInputs
from ringfence.training.calibrating import prior_log_odds
from ringfence.training.folds import Fold
from ringfence.training.gnn import BLOCK, check_export, fitted_inputs, training_module
from ringfence.training.gnn_examples import Examples
from ringfence.training.gnn_options import Device, GnnOptions, default_options

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

HEADROOM: Final = 1.5  # folds after the first train for this multiple of its best number of epochs, and one more
_CHECKED: Final = 64  # examples on which an exported network is held against the trained one


class FoldNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """The network of one fold's past, as it is served."""

    fold: Fold
    emit: IntArray  # what it may be asked about: the fold's block, less examples without an offset
    gnn: Gnn
    to_base_rate: float  # what moves its log-odds to the base rate of all examples


class FoldNetworks(msgspec.Struct, frozen=True, kw_only=True):
    """Networks of all folds after the number of epochs that was best for all of them together."""

    networks: tuple[FoldNetwork, ...]  # latest fold first; none of a fold whose past has one label only
    n_epochs: int
    log_loss: FloatArray  # (epochs,) weighted mean of the blocks after each, at their own base rates


class GnnOutOfFold(msgspec.Struct, frozen=True, kw_only=True):
    """Log-odds that no example's own label had a part in, but for the choice of one number of epochs. n examples."""

    raw: FloatArray  # (n,) at the base rate of all that the folds name; NaN where none is; the offset is not in it
    n_epochs: int  # chosen, over all folds together
    log_loss: FloatArray  # (epochs,) weighted mean of the blocks after each, at their own base rates

    @property
    def emitted(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.raw)


def fold_networks(
    examples: Callable[[IntArray], Examples],
    fraud: NDArray[np.int8],
    folds: Sequence[Fold],
    *,
    there: NDArray[np.bool_] | None = None,
    most_judged: int | None = None,
    offset: FloatArray | None = None,
    options: GnnOptions | None = None,
    seed: int = 0,
    device: Device = "auto",
    n_threads: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> FoldNetworks:
    """Fit each fold on its past, ask it about its block after every epoch, and choose one number of epochs for all.

    The number minimises the log-loss over all blocks, each weighted by the frauds that its network learnt from: with
    few it has learnt all that it will after a pass or two, and the network of the release learns from more than any.
    The newest fold, which learns from the most, stops where its block gains no more; the others go little further.

    Parameters
    ----------
    examples : given the positions that a network learns from, the n examples as it is to see them.
    fraud : shape (n,), of which only what the folds name is looked at.
    folds : at least one, earliest first; the same as the trees' where the two are to be stacked.
    there : shape (n,), which examples can be taken: all frauds, legit ones at random. None: all of them.
    most_judged : legit examples of a block, at most, that epochs are chosen by, drawn at random. None: all.
    offset : shape (n,), another model's out-of-fold log-odds, NaN where it has none: such examples are neither learnt
        from nor scored, and a fold whose past has none left with both labels is passed over. The network learns what
        to add to it.
    options, seed, device, n_threads : as in `train_gnn`.
    report : called with (folds done, folds in all).

    Raises
    ------
    MissingExtraError, DeviceError, ExportMismatchError
        As in `train_gnn`.
    """
    run, export = (training_module(f"ringfence.training.{name}") for name in ("gnn_run", "gnn_export"))
    named = np.unique(np.concatenate([part for fold in folds for part in (fold.fit, fold.emit)]))
    chosen = options or default_options(int(fraud[named].sum()))
    there = np.ones(fraud.shape[0], np.bool_) if there is None else there
    made: list[tuple[Fold, IntArray, IntArray, Examples, GnnInputs, Any]] = []
    losses: list[FloatArray] = []
    weights: list[float] = []
    most_epochs: int | None = None
    for done, fold in enumerate(reversed(folds)):
        fit, emit = _with_offset(fold.fit[there[fold.fit]], offset), _with_offset(fold.emit, offset)
        judged = _judged(emit[there[emit]], fraud, most_judged, np.random.default_rng([seed, 4]))
        if judged.shape[0] and 0 < int(fraud[fit].sum()) < fit.shape[0]:
            taken = examples(fit)
            inputs = fitted_inputs(taken, fit, chosen, seed=seed)
            found = run.run(
                inputs=inputs,
                examples=taken,
                fraud=fraud,
                offset=offset,
                fit=fit,
                later=judged,
                n_epochs=most_epochs,
                options=chosen,
                seed=seed,
                device=device,
                n_threads=n_threads,
                checkpoint=None,
                progress=None,
                keeps_epochs=True,
            )
            made.append((fold, fit, emit, taken, inputs, found))
            losses.append(np.array([epoch.later_loss for epoch in found.epochs]))
            reach = math.ceil(HEADROOM * (int(np.argmin(losses[-1])) + 1)) + 1
            most_epochs = min(reach, losses[-1].shape[0])
            weights.append(float(fraud[fit].sum()) * emit.shape[0])
        if report is not None:
            report(done + 1, len(folds))
    if not made:
        return FoldNetworks(networks=(), n_epochs=chosen.most_epochs, log_loss=np.empty(0))
    n_epochs = min(loss.shape[0] for loss in losses)
    total = np.average([loss[:n_epochs] for loss in losses], axis=0, weights=weights)
    best = int(np.argmin(total))
    networks = []
    for fold, fit, emit, taken, inputs, found in made:
        after = found.after(best + 1)
        header = GnnHeader(inputs=inputs, shift=after.shift, is_residual=offset is not None)
        gnn = Gnn(header, export.onnx_graph(inputs, chosen, after.weights))
        check_export(gnn, after.log_odds, taken.take(fit[:: max(1, fit.shape[0] // _CHECKED)][:_CHECKED]))
        # Networks of folds with more fraud forecast more of it: all are moved to one base rate, as the trees are.
        rate = 0.0 if offset is not None else prior_log_odds(fraud[named]) - prior_log_odds(fraud[fit])
        networks.append(FoldNetwork(fold=fold, emit=emit, gnn=gnn, to_base_rate=rate))
    return FoldNetworks(networks=tuple(networks), n_epochs=best + 1, log_loss=total)


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
    """Score each fold's block by a network of its past; parameters and errors as in `fold_networks`.

    Parameters
    ----------
    examples : n of them, the same for all folds.
    """
    found = fold_networks(
        lambda fit: examples,
        fraud,
        folds,
        offset=offset,
        options=options,
        seed=seed,
        device=device,
        n_threads=n_threads,
        report=report,
    )
    raw = np.full(fraud.shape[0], np.nan)
    for one in found.networks:
        for low in range(0, one.emit.shape[0], BLOCK):
            part = one.emit[low : low + BLOCK]
            taken = examples.take(part)
            raw[part] = one.gnn.raw(taken.sampled, taken.rows) + one.to_base_rate
    return GnnOutOfFold(raw=raw, n_epochs=found.n_epochs, log_loss=found.log_loss)


def _judged(positions: IntArray, fraud: NDArray[np.int8], most_legit: int | None, rng: np.random.Generator) -> IntArray:
    legit = positions[fraud[positions] != 1]
    if most_legit is None or legit.shape[0] <= most_legit:
        return positions
    kept = rng.choice(legit, most_legit, replace=False)
    return np.sort(np.concatenate([positions[fraud[positions] == 1], kept]))


def _with_offset(positions: IntArray, offset: FloatArray | None) -> IntArray:
    return positions if offset is None else positions[~np.isnan(offset[positions])]
