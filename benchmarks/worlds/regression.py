# SPDX-License-Identifier: Apache-2.0
"""A logistic regression on what a claim says and on simple counts: what a good analyst has within a week."""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.worlds.judged import NOT_SHOWN_TO_MODELS, Judged, kind_of
from benchmarks.worlds.sightings import DAY_MS, EVER, Floats, Links, Sightings, links_before, most, pair

SPANS: Final = {"ever": EVER, "90 d": 90 * DAY_MS, "30 d": 30 * DAY_MS}
STRENGTH: Final = 0.1  # scikit-learn's C


def attributes(world: Judged) -> dict[str, Floats]:
    """The claim itself: numbers (log1p; a missing one at its median and flagged), categories one by one, time."""
    columns: dict[str, Floats] = {}
    for name in world.numbers():
        values = world.claims[name].cast(pl.Float64)
        columns[name] = np.log1p(np.maximum(values.fill_null(values.median()).to_numpy(), 0.0))
        if values.null_count():
            columns[f"{name} is missing"] = values.is_null().to_numpy().astype(np.float64)
    for name in world.categories():
        if name not in NOT_SHOWN_TO_MODELS:
            for value in world.claims[name].drop_nulls().unique().sort():
                columns[f"{name} = {value}"] = (
                    (world.claims[name] == value).fill_null(False).to_numpy().astype(np.float64)
                )
    hour = (world.local.dt.hour().cast(pl.Float64) + world.local.dt.minute() / 60.0).to_numpy()
    columns |= {"hour (sine)": np.sin(hour / 12.0 * np.pi), "hour (cosine)": np.cos(hour / 12.0 * np.pi)}
    columns["weekend"] = (world.local.dt.weekday() >= 6).to_numpy().astype(np.float64)
    for name in world.texts():
        if name not in NOT_SHOWN_TO_MODELS:
            columns[f"length of {name}"] = np.log1p(world.claims[name].fill_null("").str.len_chars().to_numpy())
    for role, links in world.links.items():
        columns[f"number of {role}"] = np.bincount(links.row, minlength=world.n).astype(np.float64)
    return columns


def simple_counts(world: Judged) -> dict[str, Floats]:
    """log1p of counts over strictly earlier moments; of several entities in a role, the largest count.

    Per role: earlier claims of the entity in that role, ever and in the last 90 and 30 days, and its claims known to
    be fraud by then; for persons also earlier claims in the other role; for every two roles: earlier claims that name
    both entities.
    """
    n, time_ms, counts = world.n, world.time_ms, {}
    for role, links in world.links.items():
        for name, span in SPANS.items():
            counts[f"{role}: earlier claims, {name}"] = most(n, links, links_before(links, links, time_ms, span))
        at = world.label[links.row]
        frauds = Sightings(links.code[at], world.label_ms[links.row][at])
        counts[f"{role}: known frauds"] = most(n, links, frauds.before(links.code, time_ms[links.row]))
        for other in world.links.values():
            if other.role != role and kind_of(other.role) == kind_of(role):
                counts[f"{role}: earlier claims as {other.role}"] = most(n, links, links_before(links, other, time_ms))
    for one, two in combinations(world.links.values(), 2):
        both = _both(one, two, n)
        counts[f"{one.role} and {two.role}: earlier claims together"] = most(n, both, links_before(both, both, time_ms))
    return {name: np.log1p(count.astype(np.float64)) for name, count in counts.items()}


def _both(one: Links, two: Links, n: int) -> Links:
    """Link each claim to the pairs that it names of two roles."""
    names = pl.DataFrame({"row": one.row, "one": one.code}).join(
        pl.DataFrame({"row": two.row, "two": two.code}), on="row", how="inner", maintain_order="left"
    )
    return Links(
        f"{one.role}~{two.role}", names["row"].to_numpy(), pair(names["one"].to_numpy(), names["two"].to_numpy())
    )


def regression_score(world: Judged) -> tuple[Floats, list[str]]:
    """Fit on the labels known at the cut; return the log-odds of the claims after it, and the names of the inputs."""
    columns = attributes(world) | simple_counts(world)
    rows = np.column_stack(list(columns.values()))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1_000))
    model.fit(rows[world.trained_on], world.label[world.trained_on])
    return model.decision_function(rows[world.tested_on]), list(columns)
