# SPDX-License-Identifier: Apache-2.0
"""Graph networks of PyTorch Geometric on sampled graphs, and how they are fitted: GCN, GraphSAGE, RGCN, and none.

    events ── linear ──┐                                    ┌── of the seed ──┐
                       ├── 64 ── convolution ── convolution ┤                 ├── 64 ── log-odds
    entities ─ linear ─┘                                    └── its input ────┘

All have the same inputs, width, depth, head and way of fitting; they differ in the convolution. Links go both ways;
RGCN has a matrix for each role and direction. Needs PyTorch and PyTorch Geometric; import it where it is used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch_geometric.nn import GCNConv, RGCNConv, SAGEConv

from benchmarks.pyg_graph import EventGraph, Sampled, sample
from benchmarks.pyg_inputs import Inputs, node_inputs

WIDTH: Final = 64
LAYERS: Final = 2
LAST: Final = 16  # events of an entity
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 1e-3, 1e-4, 0.3
LEGIT_PER_FRAUD: Final = 20
BATCH: Final = 256
FEWEST_STEPS: Final = 8  # of a pass, where examples are few
MOST_EPOCHS, PATIENCE = 60, 8
VALIDATION_SHARE: Final = 0.15  # of the training events, the last by time
NETWORKS: Final = ("GCN", "GraphSAGE", "RGCN", "no graph")


def use_threads(n: int) -> None:
    torch.set_num_threads(n)


class Network(nn.Module):
    """Linear inputs, two convolutions, a head on the seeds."""

    def __init__(self, kind: str, n_event_inputs: int, n_entity_inputs: int, n_roles: int) -> None:
        super().__init__()
        self.events, self.entities = nn.Linear(n_event_inputs, WIDTH), nn.Linear(n_entity_inputs, WIDTH)
        self.drop = nn.Dropout(DROPOUT)
        self.kind = kind
        self.layers = nn.ModuleList(_layer(kind, n_roles) for _ in range(0 if kind == "no graph" else LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in self.layers)
        self.head = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, 1))
        self.n_roles = n_roles

    def forward(self, events: Any, entities: Any, found: Sampled) -> Any:
        """Log-odds of the seeds, shape (s,)."""
        given = torch.cat([torch.relu(self.events(events)), torch.relu(self.entities(entities))])
        given = x = self.drop(given)
        there = torch.from_numpy(np.stack([found.link_event, found.link_entity + found.event.shape[0]]))
        links = torch.cat([there, there.flip(0)], dim=1)
        role = torch.from_numpy(found.link_role)
        kinds = torch.cat([role, role + self.n_roles])
        for layer, norm in zip(self.layers, self.norms, strict=True):
            passed = layer(x, links, kinds) if self.kind == "RGCN" else layer(x, links)
            x = self.drop(torch.relu(norm(passed)))
        return self.head(torch.cat([x[: found.n_seeds], given[: found.n_seeds]], dim=1)).squeeze(1)


def _layer(kind: str, n_roles: int) -> nn.Module:
    if kind == "GCN":
        return GCNConv(WIDTH, WIDTH)
    if kind == "GraphSAGE":
        return SAGEConv(WIDTH, WIDTH)
    return RGCNConv(WIDTH, WIDTH, 2 * n_roles)


@dataclass(frozen=True)
class Fitted:
    network: Network
    prior: float  # log-odds to add, since fewer legit events were learnt from than there are
    n_epochs: int
    validation: tuple[float, ...]  # log-loss after each epoch, on drawn events of the validation
    fit_s: float


@dataclass(frozen=True)
class Fitting:
    """What is learnt from, and how much time there is."""

    graph: EventGraph
    inputs: Inputs
    seed: int
    budget_s: float
    looks_ahead: bool = False

    def fit(self, kind: str) -> Fitted:
        """Choose the passes on the last 15 % of the training events by time, then fit on all of them for as many."""
        began = time.perf_counter()
        train = self.graph.train[np.argsort(self.graph.time_ms[self.graph.train], kind="stable")]
        cut = round(train.shape[0] * (1.0 - VALIDATION_SHARE))
        rng = np.random.default_rng(self.seed)
        judge = _drawn(train[cut:], self.graph, rng)
        network, losses, epoch_s = self._new(kind), [], 0.0
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        while len(losses) < MOST_EPOCHS and len(losses) - int(np.argmin([*losses, np.inf])) <= PATIENCE:
            at = time.perf_counter()
            self._pass(network, optimiser, train[:cut], rng)
            losses.append(self._loss(network, judge))
            epoch_s = max(epoch_s, time.perf_counter() - at)
            spent, best = time.perf_counter() - began, int(np.argmin(losses)) + 1
            if spent + epoch_s * (1 + 1.2 * best) > self.budget_s:
                break
        n_epochs = int(np.argmin(losses)) + 1
        network = self._new(kind)
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        for _ in range(n_epochs):
            self._pass(network, optimiser, train, rng)
        n_legit, n_drawn = ((self.graph.label[one] == 0).sum() for one in (train, _drawn(train, self.graph, rng)))
        prior = float(np.log(max(n_drawn, 1) / max(n_legit, 1)))
        return Fitted(network, prior, n_epochs, tuple(losses), time.perf_counter() - began)

    def raw(self, network: Network, events: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-odds of some events, shape (n,), each from what it may see."""
        network.eval()
        with torch.no_grad():
            found = [self._asked(network, part).numpy() for part in _parts(events, 2 * BATCH)]
        return np.concatenate([np.zeros(0), *found]).astype(np.float64)

    def _new(self, kind: str) -> Network:
        torch.manual_seed(self.seed)
        n_entity_inputs = self.graph.n_entity_types + 2
        return Network(kind, self.inputs.values.shape[1] + 5, n_entity_inputs, len(self.graph.roles))

    def _pass(self, network: Network, optimiser: Any, events: NDArray[np.int64], rng: np.random.Generator) -> None:
        network.train()
        drawn = rng.permutation(_drawn(events, self.graph, rng))
        for part in _parts(drawn, min(BATCH, max(drawn.shape[0] // FEWEST_STEPS, 1))):
            optimiser.zero_grad()
            truth = torch.from_numpy(self.graph.label[part].astype(np.float32))
            loss = nn.functional.binary_cross_entropy_with_logits(self._asked(network, part), truth)
            loss.backward()
            optimiser.step()

    def _loss(self, network: Network, events: NDArray[np.int64]) -> float:
        odds, y = self.raw(network, events), self.graph.label[events]
        return float(np.mean(np.logaddexp(0.0, odds) - odds * y))

    def _asked(self, network: Network, seeds: NDArray[np.int64]) -> Any:
        layers = 0 if network.kind == "no graph" else LAYERS
        found = sample(self.graph, seeds, last=LAST, layers=max(layers, 1), looks_ahead=self.looks_ahead)
        events, entities = node_inputs(self.graph, self.inputs, found)
        return network(torch.from_numpy(events), torch.from_numpy(entities), found)


def _drawn(events: NDArray[np.int64], graph: EventGraph, rng: np.random.Generator) -> NDArray[np.int64]:
    """All frauds, and so many legit events for each."""
    frauds, legit = (events[graph.label[events] == value] for value in (1, 0))
    n = min(legit.shape[0], LEGIT_PER_FRAUD * max(frauds.shape[0], 1))
    return np.concatenate([frauds, rng.permutation(legit)[:n]])


def _parts(events: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    return (events[at : at + size] for at in range(0, events.shape[0], size))
