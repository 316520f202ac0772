# SPDX-License-Identifier: Apache-2.0
"""Tiny graph networks: drawn at random and not trained, in PyTorch and as they are served."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ringfence.models.gnn import Gnn, GnnHeader
from ringfence.models.gnn_inputs import Prepared
from ringfence.training.gnn_examples import ArrayExamples
from ringfence.training.gnn_export import onnx_graph
from ringfence.training.gnn_network import GnnNetwork
from ringfence.training.gnn_options import GnnOptions
from tests.oracles.gnn_worlds import inputs_of

TINY = {"members": 2, "width": 8, "heads": 2, "row_width": 6, "head_width": 5}


def network_and_served(examples: ArrayExamples, *, seed: int = 0, **changes: Any) -> tuple[GnnNetwork, Gnn]:
    """Draw all weights, those that start at zero too, and export."""
    options = GnnOptions(**{**TINY, **changes})
    inputs = inputs_of(examples, hops=options.hops, last=options.last, roles=options.roles)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = GnnNetwork(inputs, options, prior_log_odds=-2.0).eval()
        with torch.no_grad():
            for name in ("skip", "row_bias", "head_bias", "out"):
                value = getattr(network, name)
                value.copy_(torch.randn_like(value) * 0.5)
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    header = GnnHeader(inputs=inputs, shift=0.25, is_residual=False)
    return network, Gnn(header, onnx_graph(inputs, options, weights))


def untrained(examples: ArrayExamples, **changes: Any) -> Gnn:
    return network_and_served(examples, **changes)[1]


def said_by(network: GnnNetwork, prepared: Prepared) -> NDArray[np.float64]:
    """Return the mean log-odds of the members in PyTorch."""
    with torch.no_grad():
        odds = network(*(torch.from_numpy(part) for part in prepared)).mean(dim=1)
    return np.asarray(odds.numpy(), dtype=np.float64)
