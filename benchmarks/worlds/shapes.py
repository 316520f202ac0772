# SPDX-License-Identifier: Apache-2.0
"""Distributions of a world: how often entities are named, amounts, gaps, sizes of rings, delay of labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.worlds.judged import Judged
from benchmarks.worlds.sightings import DAY_MS, Floats, Ints


@dataclass(frozen=True)
class Shapes:
    degrees: dict[str, Ints]  # role -> claims of each entity named in it
    amounts: Floats  # honest, EUR
    fraud_amounts: Floats
    gaps: dict[str, Floats]  # role -> days between an entity's consecutive claims
    fraud_gaps: dict[str, Floats]  # the same, gaps that end in a fraudulent claim
    ring_claims: Ints  # fraudulent claims of each ring
    ring_people: Ints  # claimants and witnesses of each ring, customers of colluding shops left out
    label_delays: Floats  # days from claim to label, labels that say legit
    fraud_delays: Floats  # labels that say fraud
    labelled: float  # share of claims with a label in the file
    fraud_known: float  # share of fraud that is labelled fraud in the file


def shapes(world: Judged) -> Shapes:
    amount = world.claims["claim_amount"].to_numpy()
    truth, members = world.truth, world.members
    gaps, fraud_gaps = {}, {}
    for role, links in world.links.items():
        order = np.lexsort((links.row, links.code))
        code, row = links.code[order], links.row[order]
        again = np.flatnonzero(code[1:] == code[:-1]) + 1
        days = (world.time_ms[row[again]] - world.time_ms[row[again - 1]]) / DAY_MS
        gaps[role], fraud_gaps[role] = days, days[world.fraud[row[again]]]
    people = members.filter(pl.col("entity_type") == "person", pl.col("kind") != "shop_collusion")
    delay = (world.label_ms - world.time_ms) / DAY_MS
    has_label = world.claims["is_fraud"].is_not_null().to_numpy()
    return Shapes(
        degrees={role: np.bincount(links.code)[np.unique(links.code)] for role, links in world.links.items()},
        amounts=amount[~world.fraud],
        fraud_amounts=amount[world.fraud],
        gaps=gaps,
        fraud_gaps=fraud_gaps,
        ring_claims=truth.drop_nulls("ring_id").group_by("ring_id").len()["len"].sort().to_numpy().astype(np.int64),
        ring_people=people.group_by("ring_id")
        .agg(n=pl.col("entity_id").n_unique())["n"]
        .sort()
        .to_numpy()
        .astype(np.int64),
        label_delays=delay[has_label & ~world.label],
        fraud_delays=delay[world.label],
        labelled=float(has_label.mean()),
        fraud_known=float(world.label[world.fraud].mean()),
    )
