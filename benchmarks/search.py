# SPDX-License-Identifier: Apache-2.0
"""What `ringfence train --trials N` gains on later events, and how long it takes: the default beside a search.

    python -m benchmarks.search [--sets p2,p3] [--trials 20] [--seeds 1] [--write]

The splits in time of `benchmarks.p2` and `benchmarks.p3`, through the command line, without a network on either side.
The search knows nothing after the cut; the test is asked once for each release. Scores of the seeds are averaged;
differences are paired bootstraps over the events of the test. What is made is kept in --work. --write puts the table
into docs/training.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks import p2, p3
from benchmarks.commands import ROOT
from benchmarks.written import write_table
from ringfence.models import paired_bootstrap
from ringfence.models.gnn_branch import GNN
from ringfence.models.metrics import FloatArray, Labels, average_precision

PAGE = ROOT / "docs" / "training.md"
RESAMPLES = 2_000
HEADER = (
    "| | test | log-loss, default | less with the search | AP, default | more with the search | "
    "train and score, s: default, search |\n|" + "---|" * 7
)


def log_loss(labels: Labels, scores: FloatArray, weights: FloatArray | None = None) -> float:
    """Mean negative log-likelihood."""
    p = np.clip(scores, 1e-12, 1.0 - 1e-12)
    return float(np.average(-np.where(labels == 1, np.log(p), np.log1p(-p)), weights=weights))


METRICS = {"log-loss": log_loss, "AP": average_precision}


@dataclass(frozen=True)
class Run:
    """Truth and score of the test in one order, and how long training and scoring took."""

    truth: NDArray[np.int64]
    score: FloatArray
    seconds: float


def claims_network(work: Path, seed: int, trials: int) -> pl.DataFrame:
    _, test, cut = p2.split()
    return test.join(p2.scores_of(work, cut, seed, trials, None, network=False), on="event_id", how="left")


def vehicle_claims(work: Path, seed: int, trials: int) -> pl.DataFrame:
    claims = pl.read_parquet(p3.DATA)
    found = p3.scores_of(work, seed, claims, "--trials", str(trials), "--without", GNN)
    return found.rename({p3.LABEL: "fraud"})


@dataclass(frozen=True)
class DataSet:
    name: str
    workspace: Callable[[Path], Path]
    scored: Callable[[Path, int, int], pl.DataFrame]  # workspace, seed, trials


SETS = {
    "p2": DataSet("motor claims network (P2)", lambda folder: p2.workspace(folder, None), claims_network),
    "p3": DataSet("vehicle claims, 1994 to 1995 (P3)", p3.workspace, vehicle_claims),
}


def run_of(name: str, seed: int, trials: int, work: Path) -> Run:
    """Train and score once, in a workspace of its own, so that no run begins with another's rows; kept in `work`."""
    path = work / f"{name}-{seed}-{trials}.npz"
    if not path.exists():
        folder = SETS[name].workspace(work / f"{name}-{seed}-{trials}")
        began = time.perf_counter()
        found = SETS[name].scored(folder, seed, trials)
        seconds = time.perf_counter() - began
        if found["score"].null_count():
            raise SystemExit(f"{found['score'].null_count()} events of the test have no score")
        np.savez(path, truth=found["fraud"].to_numpy(), score=found["score"].to_numpy(), seconds=seconds)
    with np.load(path) as kept:
        return Run(kept["truth"], kept["score"], float(kept["seconds"]))


def line_of(name: str, n_seeds: int, trials: int, work: Path) -> str:
    pairs = [(run_of(name, seed, 0, work), run_of(name, seed, trials, work)) for seed in range(n_seeds)]
    truth = pairs[0][0].truth
    default, searched = (np.mean([pair[side].score for pair in pairs], axis=0) for side in (0, 1))
    gain = paired_bootstrap(METRICS, truth, searched, default, seed=0, n_resamples=RESAMPLES)
    loss, ap = gain["log-loss"], gain["AP"]
    took = ", ".join(f"{np.mean([pair[side].seconds for pair in pairs]):.0f}" for side in (0, 1))
    return (
        f"| {SETS[name].name} | {truth.shape[0]:,}, {int(truth.sum())} fraud | {log_loss(truth, default):.4f} | "
        f"{-loss.value:+.4f} ({-loss.high:+.4f} to {-loss.low:+.4f}) | {average_precision(truth, default):.3f} | "
        f"{ap.value:+.3f} ({ap.low:+.3f} to {ap.high:+.3f}) | {took} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS), help="with commas between")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("build/search"), help="what is made is kept there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/training.md")
    arguments = parser.parse_args()
    names = arguments.sets.split(",")
    if unknown := [name for name in names if name not in SETS]:
        raise SystemExit(f"no data set {unknown[0]!r}; there are: {', '.join(SETS)}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    lines = [line_of(name, arguments.seeds, arguments.trials, arguments.work) for name in names]
    head = (
        f"{arguments.trials} trials beside the default, {arguments.seeds} "
        f"{'seed' if arguments.seeds == 1 else 'seeds'}, without a network; events after the cut, which no setting was "
        f"chosen by. 95 % intervals are paired, over these events. Written by `python -m benchmarks.search "
        f"--sets {arguments.sets} --trials {arguments.trials} --seeds {arguments.seeds} --write`."
    )
    text = "\n".join([head, "", HEADER, *lines])
    print(text)
    if arguments.write:
        write_table(PAGE, "search", text)


if __name__ == "__main__":
    main()
