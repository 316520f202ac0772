# SPDX-License-Identifier: Apache-2.0
"""A fraud that nobody has seen before: how many of its rings are flagged within a day of their third claim?

    cut    onset                e1 ──── e2 ── e3 ····│ + 24 h      flagged: one of e1, e2, e3 or what came
     |-------|------------------●───────●─────●──────┤ e4          up to 24 h later was sent to review

Models and regression were fitted before the cut, where the pattern does not occur. The same is counted for the rings of
the base world whose third claim comes after the cut: those of patterns that training could know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.insurer.contenders import ensemble
from benchmarks.insurer.figures import DAY_MS, REVIEWS, Floats, aligned
from benchmarks.insurer.releases import said_of
from benchmarks.insurer.work import Work
from benchmarks.insurer.worlds import Bench, shocked_world
from benchmarks.worlds.judged import Judged
from benchmarks.worlds.regression import regression_score
from benchmarks.worlds.rules import fired
from ringfence.models.gnn_branch import GNN
from ringfence.policy.costs import ACTIONS, APPROVE
from ringfence.scoring.release import load_release
from ringfence.training.comparisons.detection import alerted_of

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

PATTERN: Final = "storage_fees"
WITHIN_MS: Final = DAY_MS
SAME: Final = 1e-5  # scores before the onset, base world against shocked world
BY_POLICY: Final = "by the release's own policy"
UNSEEN, KNOWN = "unseen", "known"


class Flagged(msgspec.Struct, frozen=True, kw_only=True):
    """Of the rings whose third claim was judged, with 24 hours left after it."""

    n_rings: int
    n_flagged: int
    n_claims: int  # of these rings, judged
    n_claims_flagged: int

    def __add__(self, other: Flagged) -> Flagged:
        return Flagged(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


Told = dict[str, dict[str, Flagged]]  # unseen or known -> "CONTENDER, N a day" -> what was flagged


def flagged_rings(
    ring: list[str | None], time_ms: Ints, flag: Bools, earlier: Mapping[str, int], end_ms: int
) -> Flagged:
    """Count the rings that were flagged by 24 hours after their third claim.

    Parameters
    ----------
    ring : of each judged claim, None where it is of none; claims in time order, as is `time_ms`, shape (n,).
    flag : shape (n,), whether the claim was sent to review.
    earlier : claims of a ring before the judged ones; a ring that had three is not counted.
    end_ms : of the history: rings whose day after the third claim is not over by then are not counted.
    """
    places: dict[str, list[int]] = {}
    for at, name in enumerate(ring):
        if name is not None:
            places.setdefault(name, []).append(at)
    n_rings = n_flagged = n_claims = n_claims_flagged = 0
    for name, mine in places.items():
        to_third = 2 - earlier.get(name, 0)
        if not 0 <= to_third < len(mine):
            continue
        until = int(time_ms[mine[to_third]]) + WITHIN_MS
        if until > end_ms:
            continue
        n_rings += 1
        n_flagged += any(bool(flag[at]) for at in mine if time_ms[at] <= until)
        n_claims += len(mine)
        n_claims_flagged += sum(bool(flag[at]) for at in mine)
    return Flagged(n_rings=n_rings, n_flagged=n_flagged, n_claims=n_claims, n_claims_flagged=n_claims_flagged)


def measured_unseen(work: Work, bench: Bench, seed: int) -> Told:
    """Count the rings that a release flags in the shocked world, and in the base world."""
    path = work.path(f"world-{bench.number}", f"unseen-{seed}")
    kept = work.read(path, Told)
    if kept is not None:
        return kept
    shocked = shocked_world(work, bench)
    work.step(f"world {bench.number}, seed {seed}: a pattern unseen in training")
    trained, base_said = ensemble(work, bench, seed)
    said = said_of(shocked.ledger(), load_release(Path(trained.path)), bench.split.cut_ms)
    _check_same(bench, shocked, base_said, said)
    found = {UNSEEN: _by_release(shocked, said, UNSEEN), KNOWN: _by_release(bench, base_said, KNOWN)}
    work.keep(path, found)
    return found


def measured_without_release(work: Work, bench: Bench) -> Told:
    """Count the rings that the regression and the rules flag: once a world, since neither has a seed."""
    path = work.path(f"world-{bench.number}", "unseen-without-release")
    kept = work.read(path, Told)
    if kept is not None:
        return kept
    shocked = shocked_world(work, bench)
    work.step(f"world {bench.number}: a pattern unseen in training, by regression and rules")
    found = {}
    for kind, one in ((UNSEEN, shocked), (KNOWN, bench)):
        world = one.judge()
        scores = {
            "logistic": regression_score(world)[0],
            "rules": fired(world)[world.cut :].sum_horizontal().to_numpy().astype(np.float64),
        }
        found[kind] = _Rings.of(one, world, kind).by_capacity(scores)
    work.keep(path, found)
    return found


@dataclass(frozen=True)
class _Rings:
    """The judged claims of a world, and which ring of one kind of pattern each is of."""

    ring: list[str | None]
    time_ms: Ints
    earlier: dict[str, int]
    end_ms: int

    @classmethod
    def of(cls, bench: Bench, world: Judged, kind: str) -> _Rings:
        claims = bench.judged(world)
        wanted = pl.col("kind") == PATTERN if kind == UNSEEN else pl.col("kind") != PATTERN
        ring = claims.select(pl.when(wanted & pl.col("fraud")).then("ring_id")).to_series().to_list()
        before = world.truth[: world.cut].filter("fraud")["ring_id"].drop_nulls().value_counts()
        return cls(ring, claims["time_ms"].to_numpy(), dict(before.iter_rows()), bench.split.ends_ms)

    def flagged(self, flag: Bools) -> Flagged:
        return flagged_rings(self.ring, self.time_ms, flag, self.earlier, self.end_ms)

    def by_capacity(self, scores: Mapping[str, Floats]) -> dict[str, Flagged]:
        return {
            f"{name}, {reviews} a day": self.flagged(alerted_of(self.time_ms, score, reviews))
            for name, score in scores.items()
            for reviews in REVIEWS
        }


def _by_release(bench: Bench, said: pl.DataFrame, kind: str) -> dict[str, Flagged]:
    world = bench.judge()
    rings = _Rings.of(bench, world, kind)
    names = [name for name in ("full", "gbdt", f"member_{GNN}") if name in said.columns]
    columns = aligned(bench.judged(world), said, (*names, "action"))
    acted = (columns["action"] != ACTIONS[APPROVE]).to_numpy()
    return rings.by_capacity({name: columns[name].to_numpy() for name in names}) | {BY_POLICY: rings.flagged(acted)}


def _check_same(bench: Bench, shocked: Bench, base_said: pl.DataFrame, said: pl.DataFrame) -> None:
    """Claims before the onset are the same in both worlds, so they must have the same scores."""
    onset = shocked.judge().truth.filter(kind=PATTERN)["claim_time"].min()
    before = bench.judge().truth.filter(pl.col("claim_time").dt.date() < pl.lit(onset).dt.date())
    both = base_said.select("event_id", "full").join(said.select("event_id", again="full"), on="event_id")
    both = both.join(before.select(event_id="claim_id"), on="event_id", how="semi")
    apart = both.select((pl.col("full") - pl.col("again")).abs().max()).item()
    if not both.height or apart > SAME:
        raise SystemExit(
            f"world {bench.number}: {both.height} claims before the onset, whose scores in the two worlds differ by up "
            f"to {apart}; they are the same claims, so a release read them differently"
        )
