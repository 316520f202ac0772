# SPDX-License-Identifier: Apache-2.0
"""One run of stochastic gradient descent over a graph network. Imports torch; reached through `train_gnn` only.

Legit examples are drawn afresh for every epoch; sampling multiplies the odds of fraud by 1 / share, which the logarithm
of the share, added to what the network says, undoes (Elkan, 2001, theorem 2).
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ringfence.models.gnn_inputs import GnnInputs, Prepared
from ringfence.training.errors import DeviceError
from ringfence.training.gnn import BLOCK, GnnEpoch, Progress
from ringfence.training.gnn_examples import Examples
from ringfence.training.gnn_network import GnnNetwork
from ringfence.training.gnn_options import Device, GnnOptions

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Found(NamedTuple):
    weights: dict[str, NDArray[Any]]
    shift: float
    epochs: tuple[GnnEpoch, ...]
    best_epoch: int
    device: str
    log_odds: Callable[[Prepared], FloatArray]  # of the network in PyTorch, shift in it
    after: Callable[[int], Found]  # the same of the network after so many epochs, where all were kept


def run(
    *,
    inputs: GnnInputs,
    examples: Examples,
    fraud: NDArray[np.int8],
    offset: FloatArray | None,
    fit: IntArray,
    later: IntArray | None,
    n_epochs: int | None,
    options: GnnOptions,
    seed: int,
    device: Device,
    n_threads: int,
    checkpoint: Path | None,
    progress: Progress | None,
    keeps_epochs: bool = False,
) -> Found:
    """Train until the later window stops to gain, or for `n_epochs`; parameters as in `train_gnn`.

    `keeps_epochs`: the weights after every epoch are kept, and `Found.after` tells of each.
    """
    place = chosen_device(device)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn = _Draw(fraud, fit, options.negatives_per_fraud)
            network = GnnNetwork(inputs, options, prior_log_odds=0.0 if offset is not None else drawn.prior_log_odds)
            key = _key(inputs, options, seed, fit, later, offset, n_epochs)
            loop = _Loop(network.to(place), options, drawn, place, key, checkpoint)
            total = n_epochs or options.most_epochs
            shift = 0.0 if offset is not None else drawn.shift
            every: list[dict[str, Any]] = []
            loop.resume()
            while loop.done < total and not (later is not None and n_epochs is None and loop.is_stale):
                loss = loop.epoch(examples, fraud, offset, seed)
                later_loss = float("nan")
                if later is not None:
                    said = loop.scored(examples, later) + shift
                    later_loss = loss_at_base_rate(fraud[later], _sum(said, offset, later))
                if keeps_epochs:
                    every.append(_copied(loop.average))
                loop.finish(loss, later_loss, keeps=later is None)
                if progress is not None:
                    progress(loop.done, total, later_loss)

            def found(state: dict[str, Any], n_passes: int) -> Found:
                loop.average.load_state_dict(state)
                return Found(
                    weights={name: value.detach().cpu().numpy().copy() for name, value in state.items()},
                    shift=shift,
                    epochs=tuple(loop.epochs),
                    best_epoch=n_passes,
                    device=place.type,
                    log_odds=lambda prepared: loop.log_odds(prepared) + shift,
                    after=lambda n: found(every[n - 1], n),
                )

            return found(loop.best, loop.best_epoch)
    finally:
        torch.set_num_threads(threads_before)


def chosen_device(device: Device) -> Any:
    """Return the torch device; auto takes CUDA, then Apple's, then the processor."""
    available = ["cpu"]
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if torch.backends.mps.is_available():
        available.insert(0, "mps") if len(available) == 1 else available.insert(1, "mps")
    if device == "auto":
        return torch.device(available[0])
    if device not in available:
        raise DeviceError(device, tuple(available))
    return torch.device(device)


class _Draw:
    """Every fraud and a share of the legit examples, drawn afresh for each epoch."""

    def __init__(self, fraud: NDArray[np.int8], fit: IntArray, negatives_per_fraud: float | None) -> None:
        self.fraud, self.legit = fit[fraud[fit] == 1], fit[fraud[fit] != 1]
        wanted = self.legit.shape[0] if negatives_per_fraud is None else round(negatives_per_fraud * len(self.fraud))
        self.n_legit = max(1, min(wanted, int(self.legit.shape[0])))
        self.shift = float(np.log(self.n_legit / self.legit.shape[0]))
        self.prior_log_odds = float(np.log(len(self.fraud) / self.n_legit))

    def decay(self, options: GnnOptions) -> float:
        return min(options.prior_strength / len(self.fraud), options.most_decay)

    def blocks(self, generator: np.random.Generator) -> Iterator[IntArray]:
        """Yield blocks of positions, each ascending; together one epoch, in random order."""
        legit = self.legit
        if self.n_legit < legit.shape[0]:
            legit = generator.choice(legit, self.n_legit, replace=False)
        order = generator.permutation(np.concatenate([self.fraud, legit]))
        for at in range(0, order.shape[0], BLOCK):
            yield np.sort(order[at : at + BLOCK])

    @property
    def n(self) -> int:
        return int(self.fraud.shape[0]) + self.n_legit


class _Loop:
    """Network, optimiser, the average of weights that is kept, and what was best so far."""

    def __init__(
        self, network: Any, options: GnnOptions, drawn: _Draw, device: Any, key: str, checkpoint: Path | None
    ) -> None:
        self.network, self.options, self.drawn, self.device = network, options, drawn, device
        self.key, self.checkpoint = key, checkpoint
        biases = [value for name, value in network.named_parameters() if name.endswith("bias")]
        others = [value for name, value in network.named_parameters() if not name.endswith("bias")]
        self.optimiser = torch.optim.AdamW(
            [{"params": others, "weight_decay": drawn.decay(options)}, {"params": biases, "weight_decay": 0.0}],
            lr=options.learning_rate,
            fused=device.type == "cpu",
        )
        self.average = GnnNetwork(network.inputs, options, prior_log_odds=0.0).to(device)
        self.average.load_state_dict(network.state_dict())
        self.average.eval()
        self.best = _copied(self.average)
        self.best_epoch = 0
        self.best_loss = float("inf")
        self.epochs: list[GnnEpoch] = []
        self.steps = 0

    @property
    def done(self) -> int:
        return len(self.epochs)

    @property
    def is_stale(self) -> bool:
        return self.done - self.best_epoch >= self.options.patience

    def epoch(self, examples: Examples, fraud: NDArray[np.int8], offset: FloatArray | None, seed: int) -> float:
        """Pass over one draw of the examples; return the mean loss."""
        options, generator = self.options, np.random.default_rng([seed, 2, self.done])
        torch.manual_seed(seed * 1_000_003 + self.done)  # dropout, the same after a resume
        n_steps = -(-self.drawn.n // options.batch) * options.most_epochs
        self.network.train()
        summed = 0.0
        for positions in self.drawn.blocks(generator):
            taken = examples.take(positions)
            fed = self._tensors(self.network.inputs.prepare(taken.sampled, taken.rows))
            truth = self._tensor(fraud[positions].astype(np.float32))
            given = None if offset is None else self._tensor(offset[positions].astype(np.float32) - self.drawn.shift)
            order = generator.permutation(positions.shape[0])
            for at in range(0, order.shape[0], options.batch):
                rows = torch.from_numpy(order[at : at + options.batch]).to(self.device)
                odds = self.network(*(part[rows] for part in fed))
                if given is not None:
                    odds = odds + given[rows, None]
                wanted = truth[rows, None].expand_as(odds)
                loss = torch.nn.functional.binary_cross_entropy_with_logits(odds, wanted)
                self._step(loss, n_steps)
                summed += float(loss.detach()) * rows.shape[0]
        return summed / self.drawn.n

    def _step(self, loss: Any, n_steps: int) -> None:
        share = min(self.steps / max(n_steps, 1), 1.0)
        warm = min(1.0, (self.steps + 1) / 20.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.learning_rate * warm * (0.05 + 0.475 * (1.0 + math.cos(math.pi * share)))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        # As of a running mean at first, so that the start is soon forgotten.
        keep = min(self.options.smoothing, (self.steps - 1.0) / (self.steps + 9.0))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1.0 - keep)

    def scored(self, examples: Examples, positions: IntArray) -> FloatArray:
        """Return log-odds before prior correction, shape (n positions,)."""
        found = np.empty(positions.shape[0])
        for at in range(0, positions.shape[0], BLOCK):
            part = slice(at, at + BLOCK)
            taken = examples.take(positions[part])
            found[part] = self.log_odds(self.network.inputs.prepare(taken.sampled, taken.rows))
        return found

    def log_odds(self, prepared: Prepared) -> FloatArray:
        """Return the mean over the members, shape (n,), before prior correction."""
        with torch.no_grad():
            odds = self.average(*self._tensors(prepared)).mean(dim=1)
        return np.asarray(odds.cpu().numpy(), dtype=np.float64)

    def finish(self, loss: float, later_loss: float, *, keeps: bool) -> None:
        self.epochs.append(GnnEpoch(epoch=self.done + 1, loss=loss, later_loss=later_loss))
        if keeps or later_loss < self.best_loss:
            self.best_loss, self.best_epoch, self.best = later_loss, self.done, _copied(self.average)
        if self.checkpoint is not None:
            self._save(self.checkpoint)

    def _save(self, path: Path) -> None:
        state = {
            "key": self.key,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "optimiser": self.optimiser.state_dict(),
            "epochs": msgspec.to_builtins(self.epochs),
            "steps": self.steps,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        torch.save(state, beside)
        beside.replace(path)

    def resume(self) -> None:
        """Go on where the same call was interrupted; a checkpoint of another one, or a damaged one, is left alone."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
            return
        if not isinstance(state, dict) or state.get("key") != self.key:
            return
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best, self.best_epoch, self.best_loss = state["best"], state["best_epoch"], state["best_loss"]
        self.epochs = msgspec.convert(state["epochs"], list[GnnEpoch])
        self.steps = state["steps"]

    def _tensors(self, prepared: Prepared) -> list[Any]:
        return [self._tensor(part) for part in prepared]

    def _tensor(self, array: NDArray[Any]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def _copied(network: Any) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def loss_at_base_rate(fraud: NDArray[np.int8], log_odds: FloatArray) -> float:
    """Return the mean log-loss after the one shift of all log-odds that makes their mean probability the rate seen.

    A later window has its own rate of fraud, and sampling of legit examples moves all log-odds alike: neither is to
    decide when training stops. The shift is found by bisection, within 30 of 0.
    """
    truth = fraud == 1
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2.0
        mean = float((1.0 / (1.0 + np.exp(-np.clip(log_odds + middle, -500, 500)))).mean())
        low, high = (middle, high) if mean < float(truth.mean()) else (low, middle)
    shifted = log_odds + (low + high) / 2.0
    return float(np.logaddexp(0.0, np.where(truth, -shifted, shifted)).mean())


def _sum(found: FloatArray, offset: FloatArray | None, positions: IntArray) -> FloatArray:
    return found if offset is None else found + offset[positions]


def _key(
    inputs: GnnInputs,
    options: GnnOptions,
    seed: int,
    fit: IntArray,
    later: IntArray | None,
    offset: FloatArray | None,
    n_epochs: int | None,
) -> str:
    """Name a run by all that it depends on and that is at hand; versions of torch as well."""
    digest = sha256(
        msgspec.json.encode([inputs, options, seed, n_epochs, str(torch.__version__)], order="deterministic")
    )
    for part in (fit, later, offset):
        digest.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
