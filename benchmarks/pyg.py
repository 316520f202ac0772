# SPDX-License-Identifier: Apache-2.0
"""Graph networks of PyTorch Geometric on the exported graph, beside the trees and the network of a release.

    python -m benchmarks.pyg claims|insurer [--events 80000] [--world 1] [--seeds 3] [--write]

The graph is what `ringfence export graph --until CUT --later-labels` writes, the split that of `train --until CUT` and
`score --from CUT`. Each event sees its entities' last 16 events before it, and of labels what was known before it, in
training, validation and test alike (`benchmarks.pyg_graph`). Rows marked "cheat" see later events, too. Needs
`pip install -c constraints.txt -e '.[bench,gnn]'`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.commands import ROOT, ringfence
from benchmarks.gnn import Variant, answered, stacked
from benchmarks.gnn_tasks import Task, load, trees
from benchmarks.pyg_figures import Asked, Figure, asked_of, figures
from benchmarks.pyg_graph import read_graph
from benchmarks.pyg_inputs import ALL_FEATURES, ATTRIBUTES, event_inputs
from benchmarks.written import write_table


@dataclass(frozen=True)
class Run:
    """One row of the table."""

    model: str
    inputs: str
    looks_ahead: bool = False

    @property
    def name(self) -> str:
        given = "attributes" if self.inputs == ATTRIBUTES else "all features"
        return f"{'cheat: ' if self.looks_ahead else ''}{self.model}, {given}"


RUNS = (
    *(
        Run(model, inputs)
        for inputs in (ATTRIBUTES, ALL_FEATURES)
        for model in ("no graph", "GCN", "GraphSAGE", "RGCN")
    ),
    Run("GraphSAGE", ATTRIBUTES, looks_ahead=True),
)
TITLES = {"claims": "The motor claims network (P2)", "insurer": "A simulated insurer"}


@dataclass(frozen=True)
class PygAnswer:
    """What a network said of the test, and what that took."""

    scores: pl.DataFrame  # event_id (str), score (f64, 0 to 1, not calibrated), in order of seq
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
    raw = fitting.raw(fitted.network, graph.test) + fitted.prior
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
    event_id (str), score (f64, 0 to 1, not calibrated) of all events of the part `test`, in order of seq.
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


def _graph(task: Task, folder: Path) -> Path:
    """Export the task's graph, split where its test begins; kept in `folder` for the next run."""
    cut_ms = int(task.events.filter("is_test")["event_time_ms"][0])
    home = task.files.directory.parent / "workspace"
    if not (folder / "manifest.json").exists():
        cut = datetime.fromtimestamp(cut_ms / 1000, tz=UTC).isoformat(timespec="milliseconds")
        at = ("--workspace", str(home), "--until", cut, "--output", str(folder))
        ringfence("export", "graph", "--later-labels", *at)
    return folder


def _answer(folder: Path, kept: Path, run: Run, seed: int, budget_s: float) -> PygAnswer:
    """Fit and score, or read what an earlier run kept."""
    path = kept / f"pyg-{run.model.replace(' ', '-')}-{run.inputs}-{'ahead' if run.looks_ahead else 'causal'}-{seed}"
    if not path.with_suffix(".json").exists():
        found = fit_and_score(
            folder, run.model, seed=seed, inputs=run.inputs, looks_ahead=run.looks_ahead, budget_s=budget_s
        )
        found.scores.write_parquet(path.with_suffix(".parquet"))
        figures_of = {name: getattr(found, name) for name in ("n_epochs", "validation", "fit_s", "s_per_1000")}
        path.with_suffix(".json").write_text(json.dumps(figures_of))
    return PygAnswer(pl.read_parquet(path.with_suffix(".parquet")), **json.loads(path.with_suffix(".json").read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("claims", "insurer"))
    parser.add_argument("--events", type=int, default=80_000, help="claims of the simulated insurer")
    parser.add_argument("--world", type=int, default=1, help="its seed")
    parser.add_argument("--seeds", type=int, default=3, help="of each network of PyTorch Geometric")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds that one of them may be fitted for")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--runs", default="", help="rows, with semicolons between; none: all")
    parser.add_argument("--trees-alone", action="store_true", help="leave out our network, which takes minutes to fit")
    parser.add_argument("--work", type=Path, default=Path("build/gnn"), help="what is made is kept there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/gnn.md")
    arguments = parser.parse_args()
    _models().use_threads(arguments.threads)

    task = load(arguments.task, arguments.work, n_events=arguments.events, seed=arguments.world)
    home = task.files.directory.parent
    kept = home / "answers"
    kept.mkdir(exist_ok=True)
    folder = _graph(task, home / "graph")
    answers: dict[Run, list[PygAnswer]] = {}
    for run in RUNS:
        if not arguments.runs or run.name in arguments.runs.split(";"):
            found = [_answer(folder, kept, run, seed, arguments.budget) for seed in range(arguments.seeds)]
            told = "; ".join(
                f"{one.n_epochs} passes, log-loss {one.validation:.4f}, {one.fit_s:.0f} s" for one in found
            )
            print(f"{run.name}: {told}", flush=True)
            answers[run] = found
    graph = read_graph(folder)
    # Events that happened before the cut and were reported after it are no test events of an export.
    is_asked = task.events["event_id"].is_in(graph.events["event_id"].gather(graph.test).implode()).to_numpy()
    at = np.flatnonzero(is_asked[task.test])
    asked = task.events[task.test[at]]
    test = asked_of(asked["fraud"].to_numpy().astype(np.int8), asked["event_time_ms"].to_numpy())
    alone, rows = _ours(task, kept, test, at, trees_alone=arguments.trees_alone)
    for run, found in answers.items():
        scores = [asked.join(one.scores, on="event_id", how="left", maintain_order="left")["score"] for one in found]
        fit_s, each = (float(np.mean([getattr(one, name) for one in found])) for name in ("fit_s", "s_per_1000"))
        rows.append(_row(run.name, figures(test, [score.to_numpy() for score in scores], [alone]), fit_s, each))
    options = "" if arguments.task == "claims" else f" --events {arguments.events} --world {arguments.world}"
    options += f" --budget {arguments.budget:g}" + (" --trees-alone" if arguments.trees_alone else "")
    told = (
        f"{TITLES[arguments.task]}: {graph.train.shape[0]:,} labelled events to learn from, "
        f"{int((graph.label == 1).sum())} of them fraud; {test.fraud.shape[0]:,} of the test, {int(test.fraud.sum())} "
        f"of them fraud. Networks of PyTorch Geometric are means of {arguments.seeds} seeds "
        f"(`python -m benchmarks.pyg {arguments.task}{options} --seeds {arguments.seeds} --write`):"
    )
    text = "\n".join([told, "", HEADER, *rows])
    print(text)
    if arguments.write:
        write_table(ROOT / "docs" / "gnn.md", f"pyg {arguments.task}", text)


def _ours(
    task: Task, kept: Path, test: Asked, at: NDArray[np.int64], *, trees_alone: bool
) -> tuple[NDArray[np.float64], list[str]]:
    """Log-odds of the product's trees on the test, and the rows of trees, network and both; one seed."""
    began, timed = time.perf_counter(), kept / "trees-0.json"
    of_trees = trees(task, 0, kept)
    if not timed.exists():
        timed.write_text(json.dumps({"fit_s": time.perf_counter() - began}))
    alone = of_trees.test[at]
    first = _row("ringfence, trees", figures(test, [alone]), json.loads(timed.read_text())["fit_s"], None)
    if trees_alone:
        return alone, [first]
    network = answered(task, of_trees, Variant({}), 0, kept)
    both, _ = stacked(of_trees, network, task.fraud[task.train])
    took = network.figures
    return alone, [
        first,
        _row("ringfence, network", figures(test, [network.test[at]], [alone]), took["fit_s"], 1e3 / took["per_s"]),
        _row("ringfence, stacked", figures(test, [both[at]], [alone]), None, None),
    ]


HEADER = (
    "| | AP | ROC-AUC | recall at 15 % precision | at 50 reviews a day | AP less trees | fit, s | s per 1,000 |\n"
    "|---|---|---|---|---|---|---|---|"
)


def _row(name: str, found: dict[str, Figure], fit_s: float | None, each: float | None) -> str:
    less = found["AP less"].signed if "AP less" in found else ""
    cells = [str(found[key]) for key in ("AP", "ROC-AUC", "recall at 15 % precision", "recall at 50 reviews a day")]
    timed = ["" if fit_s is None else f"{fit_s:.0f}", "" if each is None else f"{each:.2f}"]
    return f"| {' | '.join([name, *cells, less, *timed])} |"


if __name__ == "__main__":
    main()
