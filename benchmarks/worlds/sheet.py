# SPDX-License-Identifier: Apache-2.0
"""Everything that is measured of one world, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.worlds.columns import column_areas
from benchmarks.worlds.judged import Judged
from benchmarks.worlds.leaks import Leak, leaks
from benchmarks.worlds.oracle import oracle_score
from benchmarks.worlds.realism import Realism, realism
from benchmarks.worlds.regression import regression_score
from benchmarks.worlds.rules import Catch, catches
from benchmarks.worlds.shapes import Shapes, shapes
from benchmarks.worlds.sightings import Bools, Floats
from benchmarks.worlds.trees import tree_scores
from ringfence.models import bootstrap
from ringfence.models.metrics import average_precision, recall_at_precision, roc_auc

PRECISION: Final = 0.15
N_RESAMPLES: Final = 300


@dataclass(frozen=True)
class Skill:
    """What a score is worth among the claims after the cut, by the truth."""

    roc_auc: float
    average_precision: float
    recall: float  # share of fraud caught by the lowest threshold whose alerts are 15 % fraud
    low: float  # 95 % interval of `recall`, over resampled claims
    high: float


@dataclass(frozen=True)
class Sheet:
    seed: int
    n_claims: int
    n_tested: int
    n_fraud: int
    n_fraud_tested: int
    n_rings: int
    n_labels: int  # known at the cut, and trained on
    n_label_frauds: int
    columns: dict[str, float]  # best first
    rules: dict[str, Catch]
    models: dict[str, Skill]
    inputs: list[str]  # of the regression
    leaks: dict[str, Leak]
    realism: Realism
    shapes: Shapes


def measure(
    world: Judged, workspace: Path, *, seed: int, ends_ms: int, tell: Callable[[str], None], quick: bool = False
) -> Sheet:
    """Measure a world whose files lie in `workspace`; `tell` hears what is being done.

    `quick` leaves out all trees: the leak hunt stays empty and LightGBM is not among the models.
    """
    fraud = world.fraud[world.tested_on]
    tell("columns")
    columns = column_areas(world)
    tell("rules")
    rules = catches(world)
    tell("regression")
    regression, inputs = regression_score(world)
    scores = {"logistic regression, attributes and simple counts": regression, "oracle": oracle_score(world)}
    found: dict[str, Leak] = {}
    if not quick:
        tell("trees")
        trees = tree_scores(world, workspace, ends_ms)
        scores = {
            "LightGBM, attributes": trees["attributes"],
            "LightGBM, engine features": trees["engine"],
        } | scores
        tell("leaks")
        found = leaks(world)
    return Sheet(
        seed=seed,
        n_claims=world.n,
        n_tested=len(fraud),
        n_fraud=int(world.fraud.sum()),
        n_fraud_tested=int(fraud.sum()),
        n_rings=world.truth["ring_id"].drop_nulls().n_unique(),
        n_labels=int(world.trained_on.sum()),
        n_label_frauds=int((world.trained_on & world.label).sum()),
        columns=columns,
        rules=rules,
        models={name: skill(fraud, score) for name, score in scores.items()},
        inputs=inputs,
        leaks=found,
        realism=realism(world),
        shapes=shapes(world),
    )


def skill(fraud: Bools, score: Floats) -> Skill:
    label = fraud.astype(np.int8)
    recall = partial(recall_at_precision, precision=PRECISION)
    interval = bootstrap({"recall": recall}, label, score, seed=1, n_resamples=N_RESAMPLES)["recall"]
    return Skill(
        roc_auc(label, score), average_precision(label, score), recall(label, score), interval.low, interval.high
    )
