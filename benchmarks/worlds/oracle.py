# SPDX-License-Identifier: Apache-2.0
"""An oracle that sees the rings, though not which claims are fraud: what finding every ring would be worth."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from benchmarks.worlds.judged import Judged, kind_of
from benchmarks.worlds.sightings import DAY_MS, Floats, Ints, Sightings

REACH_MS: Final = 90 * DAY_MS


def oracle_score(world: Judged) -> Floats:
    """Score each claim after the cut by how far those it names are at work for one ring at the time.

    Each entity counts with the share of its other claims, up to 90 days before and after, that belong to the ring; a
    claim's score is the sum over its entities, for the ring where that is largest, and 0 where nobody is at work for
    any. The claim's own truth is left out, so honest claims of members, of a colluding shop's other customers, or of
    a hub that a ring once used, are the oracle's errors.
    """
    ring = world.truth["ring_id"].rank("dense").fill_null(0).cast(pl.Int64).to_numpy() - 1
    n_rings = int(ring.max()) + 1
    parts = []
    acting = set(world.members["role"])  # brokers, say, are named with claims but act in no ring
    for kind in dict.fromkeys(kind_of(role) for role in world.links if role in acting):
        links = [one for role, one in world.links.items() if kind_of(role) == kind]
        row, code = np.concatenate([one.row for one in links]), np.concatenate([one.code for one in links])
        parts.append(_at_work(row, code, ring, n_rings, world.time_ms))
    total = pl.concat(parts).group_by("row", "ring").agg(pl.col("share").sum())
    best = total.group_by("row").agg(pl.col("share").max())
    scores = np.zeros(world.n)
    scores[best["row"].to_numpy()] = best["share"].to_numpy()
    return scores[world.tested_on]


def _at_work(row: Ints, code: Ints, ring: Ints, n_rings: int, time_ms: Ints) -> pl.DataFrame:
    """For each claim, entity of it, and ring of that entity: the ring's share of the entity's other claims nearby."""
    inside = ring[row] >= 0
    tied = pl.DataFrame({"code": code[inside], "ring": ring[row[inside]]}).unique(maintain_order=True)
    asked = pl.DataFrame({"row": row, "code": code}).join(tied, on="code", how="inner", maintain_order="left")
    at, who, of = (asked[name].to_numpy() for name in ("row", "code", "ring"))
    of_ring = Sightings(code[inside] * n_rings + ring[row[inside]], time_ms[row[inside]])
    of_all = Sightings(code, time_ms[row])
    own = ring[at] == of
    nearby = _around(of_ring, who * n_rings + of, time_ms[at]) - own
    all_nearby = _around(of_all, who, time_ms[at]) - 1
    share = nearby / np.maximum(all_nearby, 1)
    return pl.DataFrame({"row": at, "ring": of, "share": share}).filter(pl.col("share") > 0)


def _around(seen: Sightings, key: Ints, time_ms: Ints) -> Ints:
    return seen.before(key, time_ms + REACH_MS + 1, 2 * REACH_MS + 1)
