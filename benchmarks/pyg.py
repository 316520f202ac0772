# SPDX-License-Identifier: Apache-2.0
"""Graph networks of PyTorch Geometric on the exported graph, beside the trees and the network of a release.

    python -m benchmarks.pyg claims|insurer [--events 80000] [--world 1] [--seeds 3] [--write]

The graph is what `ringfence export graph --until CUT --later-labels` writes, the split that of `train --until CUT` and
`score --from CUT`. Each event sees its entities' last 16 events before it, and of labels what was known before it, in
training, validation and test alike (`benchmarks.pyg_graph`). Rows marked "cheat" see later events, too. Needs
`pip install -c constraints.txt -e '.[bench,gnn]'`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.pyg_graph import read_graph
from benchmarks.pyg_inputs import ATTRIBUTES, event_inputs


@dataclass(frozen=True)
class PygAnswer:
    """What a network said of the test, and what that took."""

    scores: pl.DataFrame  # event_id (str), score (f64, ranks; not calibrated), in order of seq
    n_epochs: int
    validation: float  # log-loss on drawn events of the validation, at its best
    fit_s: float
    s_per_1000: float  # seconds per 1,000 scored events, sampling included


def fit_and_score(
    folder: Path,
    model: str,
    *,
    seed: int,
    inputs: str = ATTRIBUTES,
    looks_ahead: bool = False,
    budget_s: float = 300.0,
) -> PygAnswer:
    """Fit one network on the part `train` of an exported graph, and score its part `test`.

    Parameters
    ----------
    model : one of `benchmarks.pyg_models.NETWORKS`.
    inputs : "attributes", or "features" for the engine's features besides.
    looks_ahead : a cheat: links and labels of later events, too.
    budget_s : seconds that fitting may take, about.
    """
    models = _models()
    graph = read_graph(folder)
    fitting = models.Fitting(graph, event_inputs(folder, graph, inputs), seed, budget_s, looks_ahead)
    fitted = fitting.fit(model)
    began = time.perf_counter()
    raw = fitting.raw(fitted.network, graph.test)
    spent = time.perf_counter() - began
    scores = pl.DataFrame(
        {"event_id": graph.events["event_id"].gather(graph.test), "score": 1.0 / (1.0 + np.exp(-raw))}
    )
    each = 1_000.0 * spent / max(graph.test.shape[0], 1)
    return PygAnswer(scores, fitted.n_epochs, min(fitted.validation), fitted.fit_s, each)


def graph_sage_scores(folder: Path, *, seed: int, inputs: str = ATTRIBUTES, budget_s: float = 300.0) -> pl.DataFrame:
    """GraphSAGE on an exported graph.

    Parameters
    ----------
    folder : of `ringfence export graph --until CUT`; with `--later-labels` test events see labels that became known
        between the cut and them, as the product's features do.

    Returns
    -------
    event_id (str), score (f64, ranks; not calibrated) of all events of the part `test`, in order of seq.
    """
    return fit_and_score(folder, "GraphSAGE", seed=seed, inputs=inputs, budget_s=budget_s).scores


def _models() -> Any:
    """Import what needs PyTorch Geometric, where it is used."""
    try:
        from benchmarks import pyg_models
    except ImportError as error:
        raise SystemExit(
            f"{error}; PyTorch Geometric is needed: pip install -c constraints.txt -e '.[bench,gnn]'"
        ) from error
    return pyg_models
