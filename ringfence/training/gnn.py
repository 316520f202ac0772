# SPDX-License-Identifier: Apache-2.0
"""Train a graph network: blocks of examples from disk, a later window to stop by, an exported graph that is checked.

torch and onnx are imported when a network is trained and not before; without them the error names the extra.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.errors import ModelShapeError, TooFewLabelsError
from ringfence.models.gnn import Gnn, GnnHeader
from ringfence.models.gnn_inputs import GnnInputs
from ringfence.training.errors import ExportMismatchError, MissingExtraError
from ringfence.training.gnn_examples import Examples, Taken
from ringfence.training.gnn_options import Device, GnnOptions, default_options

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Progress = Callable[[int, int, float], None]  # epochs done, at most, log-loss of the later window (NaN without one)

BLOCK: Final = 8_192  # examples in memory at a time
MOST_TO_FIT: Final = 30_000  # examples that the inputs are scaled by
MOST_ROUNDING: Final = 1e-5  # log-odds between PyTorch and ONNX Runtime
LATER_SHARE: Final = 0.15


class GnnEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured after one pass."""

    epoch: int  # from 1
    loss: float  # mean log-loss while training, dropout and sampling of legit examples in it
    later_loss: float  # mean log-loss of the later window at its own base rate; NaN without one


class TrainedGnn(msgspec.Struct, frozen=True, kw_only=True):
    """A network and how it came about."""

    gnn: Gnn
    epochs: tuple[GnnEpoch, ...]
    best_epoch: int
    n_parameters: int
    device: str


def train_gnn(
    examples: Examples,
    fraud: NDArray[np.int8],
    event_time_ms: IntArray,
    *,
    fit: IntArray,
    later: IntArray | None = None,
    offset: FloatArray | None = None,
    options: GnnOptions | None = None,
    seed: int = 0,
    n_epochs: int | None = None,
    device: Device = "auto",
    n_threads: int = 1,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> TrainedGnn:
    """Fit a network on some examples, stop by later ones, and return it ready to serve.

    Parameters
    ----------
    examples : n of them.
    fraud, event_time_ms : shape (n,), 1 for fraud and 0 for legit; only those of `fit` and `later` are looked at.
    fit : ascending positions of the examples to learn from: whose labels were known then.
    later : ascending positions of the examples to stop by. None: the last 15 % of `fit` by event time, which are then
        learnt from too, by a second fit over as many epochs as were best.
    offset : shape (n,), another model's out-of-fold log-odds. The network then learns what to add to them.
    options : None: by the number of frauds.
    seed : the same call on the same machine and version of torch gives the same bytes.
    n_epochs : train for exactly so many and look at no later window.
    device : auto takes a GPU where there is one.
    n_threads : of torch on the processor.
    checkpoint : file that is written after every epoch and taken up where it was written by the same call.
    progress : called after every epoch.

    Raises
    ------
    MissingExtraError
        Where torch or onnx is not installed.
    TooFewLabelsError
        Where one of the two classes is absent from `fit`.
    ModelShapeError
        Where arrays differ in length.
    DeviceError
        Where the device is not available.
    ExportMismatchError
        If the exported graph differs from the network by more than 1e-5.
    """
    run = training_module("ringfence.training.gnn_run")
    export = training_module("ringfence.training.gnn_export")
    _check(examples, fraud, event_time_ms, fit, offset)
    chosen = options or default_options(int(fraud[fit].sum()))
    once = {"examples": examples, "fraud": fraud, "offset": offset, "options": chosen, "device": device}
    once |= {"n_threads": n_threads, "progress": progress, "seed": seed}
    epochs: tuple[GnnEpoch, ...] = ()
    if later is None and n_epochs is None:
        early, late = _halves(event_time_ms, fit)
        if 0 < int(fraud[early].sum()) < early.shape[0] and 0 < int(fraud[late].sum()) < late.shape[0]:
            inputs = fitted_inputs(examples, early, chosen, seed=seed)
            found = run.run(inputs=inputs, fit=early, later=late, n_epochs=None, checkpoint=_beside(checkpoint), **once)
            epochs, n_epochs = found.epochs, found.best_epoch
        else:
            n_epochs = chosen.most_epochs
    inputs = fitted_inputs(examples, fit, chosen, seed=seed)
    found = run.run(
        inputs=inputs, fit=fit, later=None if n_epochs else later, n_epochs=n_epochs, checkpoint=checkpoint, **once
    )
    header = GnnHeader(
        inputs=inputs,
        shift=found.shift,
        is_residual=offset is not None,
        made={
            "options": msgspec.to_builtins(chosen),
            "seed": seed,
            "epochs": found.best_epoch,
            "n_fit": int(fit.shape[0]),
            "n_fraud": int(fraud[fit].sum()),
            "versions": {name: str(training_module(name).__version__) for name in ("torch", "onnx")},
        },
    )
    gnn = Gnn(header, export.onnx_graph(inputs, chosen, found.weights))
    check_export(gnn, found.log_odds, examples.take(np.sort(fit[:: max(1, fit.shape[0] // 64)][:64])))
    return TrainedGnn(
        gnn=gnn,
        epochs=epochs or found.epochs,
        best_epoch=found.best_epoch,
        n_parameters=sum(int(weight.size) for weight in found.weights.values()),
        device=found.device,
    )


def fitted_inputs(examples: Examples, fit: IntArray, options: GnnOptions, *, seed: int) -> GnnInputs:
    """Scale by a draw of the examples that are learnt from."""
    some = fit
    if fit.shape[0] > MOST_TO_FIT:
        some = np.sort(np.random.default_rng([seed, 1]).choice(fit, MOST_TO_FIT, replace=False))
    taken = examples.take(some)
    return GnnInputs.fit(
        taken.sampled,
        taken.rows if options.reads_rows else None,
        seats=examples.seats,
        event_columns=examples.event_columns,
        seat_columns=examples.seat_columns,
        hops=options.hops,
        last=options.last,
        roles=options.roles,
        categories=examples.categories,
    )


def check_export(gnn: Gnn, log_odds: Callable[[Any], FloatArray], taken: Taken) -> float:
    """Hold the exported graph against the network, all together, one by one, and with nobody sampled; return the gap.

    Raises
    ------
    ExportMismatchError
        If they differ by more than 1e-5.
    """
    prepared = gnn.inputs.prepare(taken.sampled, taken.rows)
    expected = log_odds(prepared)
    found = gnn.forward(prepared)
    names = prepared._fields
    singles = [{name: getattr(prepared, name)[i : i + 1] for name in names} for i in range(expected.shape[0])]
    each = [gnn.forward(prepared._replace(**single)) for single in singles]
    empty = prepared._replace(
        events=np.zeros_like(prepared.events), per=np.ones_like(prepared.per), nodes=np.zeros_like(prepared.nodes)
    )
    gaps = [found - expected, np.concatenate([*each, np.empty(0)]) - expected, gnn.forward(empty) - log_odds(empty)]
    difference = max(float(np.abs(gap).max(initial=0.0)) for gap in gaps)
    if not difference <= MOST_ROUNDING:
        raise ExportMismatchError(difference, MOST_ROUNDING, expected.shape[0])
    return difference


def training_module(name: str) -> ModuleType:
    """Import what needs torch or onnx.

    Raises
    ------
    MissingExtraError
        Where one of them is not installed; names the extra that brings it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        library = (error.name or name).partition(".")[0]
        if library == "ringfence":
            raise
        raise MissingExtraError(library, "gnn") from error


def _halves(event_time_ms: IntArray, fit: IntArray) -> tuple[IntArray, IntArray]:
    times = np.sort(event_time_ms[fit])
    edge = times[min(int((1.0 - LATER_SHARE) * fit.shape[0]), fit.shape[0] - 1)]
    return fit[event_time_ms[fit] < edge], fit[event_time_ms[fit] >= edge]


def _beside(checkpoint: Path | None) -> Path | None:
    return None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.first")


def _check(
    examples: Examples,
    fraud: NDArray[np.int8],
    event_time_ms: IntArray,
    fit: IntArray,
    offset: FloatArray | None,
) -> None:
    n = len(examples)
    lengths = {"fraud": fraud.shape, "event_time_ms": event_time_ms.shape}
    lengths |= {} if offset is None else {"offset": offset.shape}
    for name, shape in lengths.items():
        if shape != (n,):
            raise ModelShapeError(f"train_gnn: {name} of shape {shape} does not go with {n} examples")
    n_fraud = int(fraud[fit].sum())
    if n_fraud == 0 or n_fraud == fit.shape[0]:
        raise TooFewLabelsError("train_gnn", n_fraud, int(fit.shape[0]) - n_fraud)
