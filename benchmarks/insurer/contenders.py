# SPDX-License-Identifier: Apache-2.0
"""Who is compared: each contender learns from the labels known at the cut and scores the claims after it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.commands import ringfence
from benchmarks.insurer.figures import Figures, aligned, figures_of
from benchmarks.insurer.releases import EVERY_BRANCH, Trained, network_alone, train, trained_scores
from benchmarks.insurer.work import Work
from benchmarks.insurer.worlds import Bench, without_entities
from benchmarks.worlds.oracle import oracle_score
from benchmarks.worlds.regression import regression_score
from benchmarks.worlds.rules import fired
from ringfence.models.calibration import sigmoid
from ringfence.models.gnn_branch import GNN

Floats = NDArray[np.float64]

RUNGS: Final = ("full", "gbdt", "rules")
FULL: Final = "full"


@dataclass(frozen=True)
class Answer:
    """What a contender says of the judged claims."""

    scores: pl.DataFrame  # event_id, score, and probability where it says one
    seconds: float  # to learn, from the imported ledger or the loaded files; the judged claims' scores not counted
    processor_s: float | None = None  # of all cores together; None: not measured apart
    peak_gb: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a contender in a world."""

    contender: str
    world: int
    seed: int
    seconds: float
    processor_s: float | None
    peak_gb: float | None
    figures: Figures


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """Why a contender has no result."""

    why: str


@dataclass(frozen=True)
class Contender:
    key: str
    title: str
    is_seeded: bool
    answer: Callable[[Work, Bench, int], Answer | Left]


def _rules(work: Work, bench: Bench, seed: int) -> Answer:
    world = bench.judge()
    began = _now()
    count = fired(world)[world.cut :].sum_horizontal().to_numpy().astype(np.float64)
    return Answer(_frame(world.claims["claim_id"][world.cut :], count), *_since(began))


def _logistic(work: Work, bench: Bench, seed: int) -> Answer:
    world = bench.judge()
    began = _now()
    log_odds, _ = regression_score(world)
    return Answer(_frame(world.claims["claim_id"][world.cut :], log_odds, sigmoid(log_odds)), *_since(began))


def _oracle(work: Work, bench: Bench, seed: int) -> Answer:
    world = bench.judge()
    began = _now()
    return Answer(_frame(world.claims["claim_id"][world.cut :], oracle_score(world)), *_since(began))


def _attributes(work: Work, bench: Bench, seed: int) -> Answer:
    return _of_trees(bench, train(bench, without_entities(bench), seed, without=EVERY_BRANCH))


def _trees(work: Work, bench: Bench, seed: int) -> Answer:
    return _of_trees(bench, train(bench, bench.folder, seed, without=EVERY_BRANCH))


def _of_trees(bench: Bench, trained: Trained) -> Answer:
    said = trained_scores(bench, trained)
    shutil.rmtree(trained.path)  # nobody asks it again
    return Answer(
        said.select("event_id", score="full", probability="full"), trained.seconds, trained.processor_s, trained.peak_gb
    )


def ensemble(work: Work, bench: Bench, seed: int) -> tuple[Trained, pl.DataFrame]:
    """Train all branches, as `ringfence train` does by default, or take what an earlier step left."""
    noted, said = work.path(f"world-{bench.number}", f"training-{seed}"), _said_path(work, bench, seed)
    trained = work.read(noted, Trained)
    if trained is None or not said.exists():
        trained = train(bench, bench.folder, seed)
        trained_scores(bench, trained).write_parquet(said)
        work.keep(noted, trained)
    return trained, pl.read_parquet(said)


def _said_path(work: Work, bench: Bench, seed: int) -> Path:
    return work.folder / f"world-{bench.number}" / f"said-{seed}.parquet"


def _full(work: Work, bench: Bench, seed: int) -> Answer:
    trained, said = ensemble(work, bench, seed)
    return Answer(
        said.select("event_id", score="full", probability="full"), trained.seconds, trained.processor_s, trained.peak_gb
    )


def _network(work: Work, bench: Bench, seed: int) -> Answer | Left:
    trained, said = ensemble(work, bench, seed)
    seconds = trained.network_seconds
    if f"member_{GNN}" not in said.columns:  # the stack does without it: train it all the same
        found = network_alone(bench, seed)
        if isinstance(found, str):
            return Left(why=found)
        said, seconds = found
    raw = said[f"member_{GNN}"].to_numpy()
    return Answer(_frame(said["event_id"], raw, sigmoid(raw)), seconds)


def _graph_sage(work: Work, bench: Bench, seed: int, *, inputs: str) -> Answer | Left:
    for library in ("torch", "torch_geometric"):
        if find_spec(library) is None:
            return Left(why=f"{library} is not installed")
    if find_spec("benchmarks.pyg") is None:
        return Left(why="benchmarks.pyg is not there")
    graph_sage_scores: Callable[..., pl.DataFrame] = import_module("benchmarks.pyg").graph_sage_scores
    folder = bench.folder.with_name("graph")
    if not (folder / "manifest.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        ringfence(
            "export",
            "graph",
            "-w",
            str(bench.folder),
            "--until",
            bench.until,
            "--later-labels",
            "--output",
            str(folder),
        )
    began = _now()
    scores = graph_sage_scores(folder, seed=seed, inputs=inputs)
    return Answer(scores.select("event_id", "score"), *_since(began))  # which is no calibrated probability


CONTENDERS: Final = (
    Contender("rules", "15 hand rules, by how many fire", False, _rules),
    Contender("logistic", "logistic regression, attributes and simple counts", False, _logistic),
    Contender("attributes", "GBDT, attributes of the claim", True, _attributes),
    Contender("trees", "GBDT, engine features", True, _trees),
    Contender("network", "graph network alone", True, _network),
    Contender(
        "graphsage", "GraphSAGE (PyTorch Geometric), attributes", True, partial(_graph_sage, inputs="attributes")
    ),
    Contender(
        "graphsage-rows",
        "GraphSAGE (PyTorch Geometric), engine features",
        True,
        partial(_graph_sage, inputs="features"),
    ),
    Contender(FULL, "**ringfence, all branches**", True, _full),
    Contender("oracle", "oracle that sees the rings", False, _oracle),
)
BY_KEY: Final = {one.key: one for one in CONTENDERS}


def measured(work: Work, bench: Bench, contender: Contender, seed: int) -> Result | Left:
    """Return what a contender achieved, from the work folder or by measuring it now; a reason is never kept."""
    seed = seed if contender.is_seeded else 0
    path = work.path(f"world-{bench.number}", f"{contender.key}-{seed}")
    kept = work.read(path, Result)
    if kept is not None:
        return kept
    work.step(f"world {bench.number}, seed {seed}: {contender.title.strip('*')}")
    answer = contender.answer(work, bench, seed)
    if isinstance(answer, Left):
        work.tell(f"left out: {answer.why}")
        return answer
    claims = bench.judged()
    names = tuple(name for name in ("score", "probability") if name in answer.scores.columns)
    found = {name: column.to_numpy() for name, column in aligned(claims, answer.scores, names).items()}
    result = Result(
        contender=contender.key,
        world=bench.number,
        seed=seed,
        seconds=answer.seconds,
        processor_s=answer.processor_s,
        peak_gb=answer.peak_gb,
        figures=figures_of(claims, found["score"], found.get("probability"), seed=bench.number),
    )
    work.keep(path, result)
    return result


def _now() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    """Return seconds by the clock, and of the processor."""
    return time.monotonic() - began[0], time.process_time() - began[1]


def _frame(event_id: pl.Series, score: Floats, probability: Floats | None = None) -> pl.DataFrame:
    columns = {"event_id": event_id, "score": score}
    return pl.DataFrame(columns if probability is None else columns | {"probability": probability})
