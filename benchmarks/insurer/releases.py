# SPDX-License-Identifier: Apache-2.0
"""Releases as `ringfence train` makes them, and what every rung and member of one says of the claims after the cut."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.commands import ringfence
from benchmarks.insurer.worlds import Bench, iso
from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.ledger import Ledger
from ringfence.models.branch import Need
from ringfence.models.branches import RULES
from ringfence.models.gnn_branch import GNN
from ringfence.models.stack import BACKBONE
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.scorer import FULL, Scorer
from ringfence.training.learners import OFFERS
from ringfence.training.score import shown
from ringfence.workspace import Workspace

EVERY_BRANCH: Final = tuple(offer.name for offer in OFFERS)
TIES: Final = 5  # claims of the very moment at which examples begin
NETWORK_PHASES: Final = ("sampling", "networks")


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """One training."""

    path: str  # of the release
    seconds: float
    processor_s: float  # of all cores together: what a busy machine does not stretch
    peak_gb: float
    phases: dict[str, float]  # name -> seconds
    n_examples: int
    n_fraud: int
    weights: dict[str, float]  # of the members in the stack
    worth: dict[str, list[float]]  # branch -> what it was found to add out of fold: gain of log-loss, low, high
    not_tried: dict[str, str]

    @property
    def network_seconds(self) -> float:
        return sum(self.phases.get(name, 0.0) for name in NETWORK_PHASES)


def train(bench: Bench, folder: Path, seed: int, *, without: tuple[str, ...] = ()) -> Trained:
    """Run `ringfence train` in a process of its own, on the labels known at the cut."""
    split = bench.split
    options = [word for name in without for word in ("--without", name)]
    began, used = time.monotonic(), _children_s()
    said = ringfence(
        "train", "-w", str(folder), "--examples-from", iso(split.warm_ms), "--until", bench.until,
        "--seed", str(seed), *options,
    )  # fmt: skip
    seconds = time.monotonic() - began
    if abs(said["n_examples"] - split.n_labels) > TIES:
        raise SystemExit(f"{said['n_examples']:,} examples, where {split.n_labels:,} labels were to teach everybody")
    release = load_release(Path(said["path"]))
    return Trained(
        path=said["path"],
        seconds=seconds,
        processor_s=_children_s() - used,
        peak_gb=max(phase["peak_bytes"] for phase in said["phases"]) / 1e9,
        phases={phase["name"]: phase["seconds"] for phase in said["phases"]},
        n_examples=said["n_examples"],
        n_fraud=said["n_fraud"],
        weights=dict(zip(release.stack.members, release.stack.weights, strict=True)),
        worth={one["name"]: [one["gain"], one["low"], one["high"]] for one in release.metrics["branches"]},
        not_tried=release.metrics["branches_not_tried"],
    )


def _children_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def said_of(ledger: Ledger, release: Release, from_ms: int) -> pl.DataFrame:
    """Score the claims from a moment on by every rung, as serving would have at their moment.

    Returns
    -------
    event_id; score, raw and action of the rung `full`; score and raw of `gbdt`, and of `rules` where there are rules;
    log-odds of each other member as `member_NAME`.
    """
    scorer = Scorer(release)
    events = ledger.events(from_ms, None, ledger.last_seq).sort("seq")
    known, reads_texts = Ledger.open(ledger.directory, release.scenario), Need.TEXTS in release.ensemble.needs
    parts: list[dict[str, NDArray[np.float64]]] = []
    done = 0
    for seen in shown(ledger, release, events["seq"].to_numpy()):
        block = slice(done, done + seen.n)
        texts = event_texts(known, events["seq"][block].to_numpy()) if reads_texts else ()
        found = scorer.score(seen._replace(texts=texts))
        part = {"full": found.score, "full_raw": found.raw}
        trees = found.raws[BACKBONE]
        part |= {"gbdt": release.gbdt_calibrator.apply(trees), "gbdt_raw": trees}
        if release.rules is not None:
            rules, calibrator = release.rules
            raw = rules.log_odds(rules.points(seen.rows))
            part |= {"rules": calibrator.apply(raw), "rules_raw": raw}
        part |= {f"member_{name}": raw for name, raw in found.raws.items() if name not in (BACKBONE, RULES)}
        parts.append(part)
        done += seen.n
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    amounts = events["amount_minor"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    actions = release.policy.decide(columns["full"], amounts, rung=FULL, reviews_left=None).names
    return pl.DataFrame({"event_id": events["event_id"], **columns, "action": actions})


def trained_scores(bench: Bench, trained: Trained) -> pl.DataFrame:
    return said_of(bench.ledger(), load_release(Path(trained.path)), bench.split.cut_ms)


def network_alone(bench: Bench, seed: int) -> tuple[pl.DataFrame, float] | str:
    """Train the graph network as `train` would, whether or not a stack would keep it, and score the judged claims.

    Returns
    -------
    event_id and log-odds as `member_gnn`, and seconds without those of the trees; or why there is no network.
    """
    from ringfence.engine.catalogue import Catalogue
    from ringfence.engine.replay import sampled_batches
    from ringfence.models.seen import Seen
    from ringfence.steps.making import row_cache
    from ringfence.training.examples import collect_examples
    from ringfence.training.fitting import fit
    from ringfence.training.gnn_learner import GnnLearner
    from ringfence.training.learner import Task
    from ringfence.training.recalled import recalled_rows
    from ringfence.training.samples import sampled

    here: Workspace = bench.workspace
    scenario, ledger, split = here.scenario(), bench.ledger(), bench.split
    catalogue, n_threads = Catalogue.build(scenario), os.cpu_count() or 1
    examples = collect_examples(ledger, from_ms=split.warm_ms, until_ms=split.cut_ms - 1, settled_after_ms=0)
    rows = recalled_rows(
        ledger, catalogue, examples.seq, row_cache(here, scenario), n_threads=n_threads, report=lambda *_: None
    ).rows
    is_category = [feature.is_category for feature in catalogue.features]
    trees = fit(rows, examples, is_category=is_category, seed=seed, n_threads=n_threads, learners=())
    task = Task(
        rows=rows, fraud=examples.fraud, event_time_ms=examples.event_time_ms, folds=trees.folds,
        is_category=is_category, unread=trees.clocks, seed=seed, n_threads=n_threads,
    )  # fmt: skip
    began = time.monotonic()
    with sampled(
        ledger, catalogue, examples.seq, examples.fraud, here.state_dir(scenario) / "samples", seed=seed
    ) as samples:
        learner = GnnLearner(samples)
        if learner.out_of_fold(task, most=1) is None:
            return "too few frauds in some fold's past"
        branch = learner.fit(task, trees.ensemble.encoder)
        sampling = Catalogue.build(scenario, neighbourhoods=samples.last)
    seconds = time.monotonic() - began
    events = ledger.events(split.cut_ms, None, ledger.last_seq).sort("seq")
    raws = []
    for batch in sampled_batches(ledger, sampling, events["seq"].to_numpy()):
        seen = Seen(*batch)
        raws.append(branch.raw(seen, trees.ensemble.encode(seen.rows)))
    return pl.DataFrame({"event_id": events["event_id"], f"member_{GNN}": np.concatenate(raws)}), seconds
