# SPDX-License-Identifier: Apache-2.0
"""The claims of a planted pair are equal in all that a column shows and a count can see, and differ two hops away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ringfence.engine import Catalogue, feature_rows
from ringfence.ledger import Ledger
from ringfence.ledger.importer import import_files
from ringfence.scenario.clock import FakeClock
from ringfence.simulate import Shock, WorldSettingError, WorldSettings, simulate_motor_claims
from ringfence.simulate.gadgets import KIND_OF_ROLE, N_CLAIMS, ROLES, SIZE, closed, opened
from ringfence.workspace import Workspace

N_PAIRS = 18  # more than one schedule
ONE = {
    "claimant": "claimant_id", "household": "household_id", "vehicle": "vehicle_id", "shop": "repair_shop_id",
    "lawyer": "lawyer_id", "doctor": "doctor_id", "broker": "broker_id", "place": "place_id",
}  # fmt: skip
MANY = {"witness": "witness_ids", "photo": "photo_hashes"}
TYPE = {"claimant": "person", "witness": "person"}
IDS = {"claim_id", "phone", *ONE.values(), *MANY.values()}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("planted")
    simulate_motor_claims(1_000, 3, output, fraud_rate=0.02, days=400, planted_pairs=N_PAIRS)
    return output


def pairs_of(folder: Path) -> list[tuple[str, str]]:
    return pl.read_parquet(folder / "planted_pairs.parquet").select("ring_claim_id", "honest_claim_id").rows()


def entities_of(claim: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(role, entity) of everybody that a claim names; entities of one type are the same whatever the role."""
    for role, column in ONE.items():
        if claim[column] is not None:
            yield role, f"{TYPE.get(role, role)}:{claim[column]}"
    for role, column in MANY.items():
        for value in claim[column]:
            yield role, f"{TYPE.get(role, role)}:{value}"


class Counter:
    """The brute-force counts about a claim: plain lists of all claims before it."""

    def __init__(self, claims: pl.DataFrame) -> None:
        self.rows = {row["claim_id"]: row for row in claims.iter_rows(named=True)}
        self.by_entity: dict[str, list[str]] = defaultdict(list)
        for claim_id, row in self.rows.items():
            for entity in {entity for _, entity in entities_of(row)}:
                self.by_entity[entity].append(claim_id)

    def earlier(self, entity: str, claim_id: str) -> list[str]:
        now = self.rows[claim_id]["claim_time"]
        return [other for other in self.by_entity[entity] if self.rows[other]["claim_time"] < now]

    def shown(self, claim_id: str) -> dict[str, Any]:
        return {column: value for column, value in self.rows[claim_id].items() if column not in IDS}

    def one_hop(self, claim_id: str) -> list[Any]:
        """Per role: what its entities did before, with whom, in which role; per pair of roles: how often together."""
        now = self.rows[claim_id]
        counts: list[Any] = []
        named = list(entities_of(now))
        for role, entity in named:
            past = []
            partners: dict[tuple[str, str], set[str]] = defaultdict(set)
            for other in self.earlier(entity, claim_id):
                row = self.rows[other]
                roles = tuple(sorted(r for r, e in entities_of(row) if e == entity))
                past.append((now["claim_time"] - row["claim_time"], row["claim_amount"], roles, row["is_fraud"]))
                for other_role, partner in entities_of(row):
                    partners["any", other_role].add(partner)
                    for own_role in roles:
                        partners[own_role, other_role].add(partner)
            counts.append((role, sorted(past, key=str), sorted((key, len(who)) for key, who in partners.items())))
        for (role_a, a), (role_b, b) in combinations(named, 2):
            together = set(self.earlier(a, claim_id)) & set(self.earlier(b, claim_id))
            counts.append((role_a, role_b, len(together)))
        return sorted(counts, key=str)

    def partners_counts(self, claim_id: str) -> list[Any]:
        """How many claims each partner of each entity had by now: what a second look at each neighbour would see."""
        found = []
        for role, entity in entities_of(self.rows[claim_id]):
            for other in self.earlier(entity, claim_id):
                for other_role, partner in entities_of(self.rows[other]):
                    found.append((role, other_role, len(self.earlier(partner, claim_id))))
        return sorted(found)

    def reach(self, claim_id: str, hops: int) -> int:
        """Persons, shops, lawyers and doctors within so many hops, the claim's own not counted."""
        own = {entity for role, entity in entities_of(self.rows[claim_id]) if role in ROLES}
        seen = set(own)
        for _ in range(hops):
            claims = {other for entity in seen for other in self.earlier(entity, claim_id)}
            seen |= {entity for other in claims for role, entity in entities_of(self.rows[other]) if role in ROLES}
        return len(seen - own)


def test_no_two_entities_of_a_gadget_meet_twice() -> None:
    order = np.random.default_rng(1).permutation(N_CLAIMS)
    for wiring in (closed(2, order), opened(16, order, np.random.default_rng(2))):
        meetings = [
            tuple(sorted(((int(KIND_OF_ROLE[a]), int(claim[a])), (int(KIND_OF_ROLE[b]), int(claim[b])))))
            for claim in wiring.entity.reshape(-1, len(ROLES))
            for a, b in combinations(range(len(ROLES)), 2)
        ]
        assert len(set(meetings)) == len(meetings)
    assert closed(2, order).reach == 4 * SIZE - len(ROLES)
    assert opened(16, order, np.random.default_rng(2)).reach > 10 * closed(2, order).reach


def test_both_claims_of_a_pair_show_the_same_and_count_the_same_and_reach_differently(planted: Path) -> None:
    counter = Counter(pl.read_parquet(planted / "claims.parquet"))
    pairs = pairs_of(planted)
    assert len(pairs) == N_PAIRS
    for ring, honest in pairs:
        assert counter.shown(ring) == counter.shown(honest)
        assert counter.one_hop(ring) == counter.one_hop(honest)
        assert counter.partners_counts(ring) == counter.partners_counts(honest)
        assert len(counter.earlier(next(e for r, e in entities_of(counter.rows[ring]) if r == "claimant"), ring)) == 5
        for hops in (1, 2):
            assert 2 * counter.reach(ring, hops) < counter.reach(honest, hops)


def test_message_passing_without_identities_cannot_tell_the_pair_apart(planted: Path) -> None:
    # Colour refinement (Weisfeiler and Leman, 1968) over claims and entities, roles on the edges, six rounds.
    claims = pl.read_parquet(planted / "claims.parquet")
    rows = {row["claim_id"]: row for row in claims.iter_rows(named=True)}
    named = {claim_id: list(entities_of(row)) for claim_id, row in rows.items()}
    of_claim = {claim_id: hash((row["claim_time"], row["claim_amount"])) for claim_id, row in rows.items()}
    for _ in range(6):
        seen: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for claim_id, entities in named.items():
            for role, entity in entities:
                seen[entity].append((role, of_claim[claim_id]))
        of_entity = {entity: hash(tuple(sorted(around))) for entity, around in seen.items()}
        of_claim = {
            claim_id: hash((of_claim[claim_id], tuple(sorted((role, of_entity[entity]) for role, entity in entities))))
            for claim_id, entities in named.items()
        }
    for ring, honest in pairs_of(planted):
        assert of_claim[ring] == of_claim[honest]
    others = [colour for claim_id, colour in of_claim.items() if claim_id in claims["claim_id"].head(300).to_list()]
    assert len(set(others)) > 200  # the colours do tell other claims apart


LINKED = ("one_hop", "neighbour_risk", "rings")


def test_features_of_both_claims_are_equal_but_for_those_that_walk_links(planted: Path) -> None:
    workspace = Workspace(planted)
    scenario = workspace.scenario()
    import_files(workspace.ledger_dir(scenario), scenario, planted, FakeClock(4_102_444_800_000))
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    events = ledger.events(0).filter(pl.col("event_id").is_in(sum(pairs_of(planted), ())))
    catalogue = Catalogue.build(scenario)
    rows = feature_rows(ledger, catalogue, np.sort(events["seq"].to_numpy())).rows
    of = dict(zip(events.sort("seq")["event_id"], rows, strict=True))
    walks = np.array([feature.family in LINKED for feature in catalogue.features])
    met, common = catalogue.index("event.others"), catalogue.index("event.common")
    for ring, honest in pairs_of(planted):
        np.testing.assert_array_equal(of[ring][~walks], of[honest][~walks])
        # A ring closes on itself: its members met fewer others, and the same ones.
        assert of[ring][met] < of[honest][met]
        assert of[ring][common] > of[honest][common]
    varying = (~(rows == rows[0]) & ~np.isnan(rows)).any(axis=0)
    assert varying.sum() >= 30  # between schedules: the rows are not all constants


def test_the_judge_knows_who_is_who_and_the_insurer_nothing(planted: Path) -> None:
    truth = pl.read_parquet(planted / "truth.parquet")
    pairs = pl.read_parquet(planted / "planted_pairs.parquet")
    ring = pairs.join(truth, left_on="ring_claim_id", right_on="claim_id")
    honest = pairs.join(truth, left_on="honest_claim_id", right_on="claim_id")
    assert ring["fraud"].all()
    assert set(ring["kind"]) == {"planted"}
    assert ring["ring_id"].n_unique() == N_PAIRS
    assert not honest["fraud"].any()
    assert honest["ring_id"].null_count() == N_PAIRS
    assert truth.filter(pl.col("ring_id").is_in(ring["ring_id"].implode())).height == N_PAIRS * N_CLAIMS
    assert ring["label"].null_count() == honest["label"].null_count() == N_PAIRS
    members = pl.read_parquet(planted / "truth_rings.parquet").filter(kind="planted")
    assert members.filter(role="claimant").group_by("ring_id").len()["len"].unique().to_list() == [SIZE]


def test_planted_pairs_change_no_other_claim(planted: Path, tmp_path: Path) -> None:
    without = simulate_motor_claims(1_000, 3, tmp_path, fraud_rate=0.02, days=400)
    claims = pl.read_parquet(planted / "claims.parquet")
    usual = pl.read_parquet(tmp_path / "claims.parquet")
    assert claims.join(usual, on="claim_id", how="semi").equals(usual)
    extra = claims.join(usual, on="claim_id", how="anti")
    assert extra.height == (N_PAIRS + 2 * 16) * N_CLAIMS  # the open copies come in sixteens
    for column in ("claimant_id", "vehicle_id", "household_id", "repair_shop_id", "lawyer_id", "doctor_id", "phone"):
        assert not set(extra[column]) & set(usual[column])
    times = claims["claim_time"].dt.timestamp("ms")
    assert times.is_sorted()  # one block: nothing about the order of rows tells planted claims from others
    assert without.n_planted_pairs == without.n_planted_claims == without.n_planted_fraud == 0


def test_planted_claims_and_frauds_are_counted_apart(tmp_path: Path) -> None:
    report = simulate_motor_claims(1_000, 3, tmp_path, planted_pairs=3)
    assert (report.n_planted_claims, report.n_planted_fraud) == ((3 + 16) * N_CLAIMS, 3 * N_CLAIMS)
    assert report.n_events == 1_000 + report.n_planted_claims
    truth = pl.read_parquet(tmp_path / "truth.parquet")
    assert (truth["kind"] == "planted").sum() == report.n_planted_fraud
    assert truth["fraud"].sum() == report.n_fraud


def test_pairs_are_not_touched_by_shocks(planted: Path, tmp_path: Path) -> None:
    shocks = (Shock(name="amounts", onset=0.1), Shock(name="holiday", onset=0.5), Shock(name="broken_field", onset=0.1))
    simulate_motor_claims(1_000, 3, tmp_path, fraud_rate=0.02, days=400, planted_pairs=N_PAIRS, shocks=shocks)
    assert pairs_of(tmp_path) == pairs_of(planted)
    probes = pl.Series(sum(pairs_of(planted), ())).implode()
    both = [pl.read_parquet(f / "claims.parquet").filter(pl.col("claim_id").is_in(probes)) for f in (planted, tmp_path)]
    assert both[0].equals(both[1])


def test_so_many_pairs_are_refused() -> None:
    with pytest.raises(WorldSettingError, match="planted_pairs is 10001"):
        WorldSettings(n_events=1_000, seed=1, planted_pairs=10_001)
