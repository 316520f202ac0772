# SPDX-License-Identifier: Apache-2.0
"""What a world writes loads as a workspace, and its live claims pass the door as its history does."""

from __future__ import annotations

from itertools import islice

import numpy as np
import polars as pl

from ringfence.policy import load_policy
from ringfence.scenario import Door, IdentityKey, load_scenarios
from ringfence.scenario.columns import Columns
from ringfence.simulate import live_claims
from tests.simulate.insurer import FRAUD_RATE, N_CLAIMS, SEED, SmallWorld

SECRET = bytes(range(32))
YEAR_2100_MS = 4_102_444_800_000


def test_scenario_file_loads_with_its_roles_and_attributes(world: SmallWorld) -> None:
    scenario = load_scenarios(world.report.output / "ringfence.yaml")["motor-claims"]
    assert scenario.decide == "claim"
    assert scenario.time_zone == "Europe/Berlin"
    names = {role.name for role in scenario.roles}
    assert names == {
        "claimant", "vehicle", "repair_shop", "lawyer", "doctor", "witness", "broker", "household", "place", "photo"
    }  # fmt: skip
    assert scenario.role("witness").many
    assert scenario.role("photo").many
    assert scenario.role("household").strong
    assert {"sex", "phone"}.isdisjoint(attribute.name for attribute in scenario.value_attributes)


def test_policy_loads(world: SmallWorld) -> None:
    load_policy(world.report.output / "policies" / "motor-claims.yaml")


def test_history_is_admitted_without_a_reject(world: SmallWorld) -> None:
    scenario = load_scenarios(world.report.output / "ringfence.yaml")["motor-claims"]
    columns = Columns(scenario, IdentityKey(SECRET))
    admitted = columns.admit(scenario.event_type("claim"), world.claims.head(2_000), 0)
    assert admitted.rejects.is_empty()
    assert len(admitted) == 2_000
    changes = pl.read_parquet(world.report.output / "policy_changes.parquet").head(2_000)
    assert columns.admit(scenario.event_type("policy_change"), changes, 0).rejects.is_empty()


def test_live_claims_pass_the_door(world: SmallWorld) -> None:
    scenario = load_scenarios(world.report.output / "ringfence.yaml")["motor-claims"]
    door = Door(scenario, IdentityKey(SECRET))
    for claim in islice(live_claims(SEED, n_events=N_CLAIMS, fraud_rate=FRAUD_RATE), 200):
        admission = door.admit(claim.event, now_ms=YEAR_2100_MS)
        assert admission.event.event_time_ms == claim.event_time_ms


def test_live_claims_go_on_where_the_history_stops(world: SmallWorld) -> None:
    live = list(live_claims(SEED, n_events=N_CLAIMS, fraud_rate=FRAUD_RATE))
    times = np.array([claim.event_time_ms for claim in live])
    assert len(live) == N_CLAIMS * 180 // 730
    assert times[0] >= world.report.ends_ms
    assert bool((np.diff(times) >= 0).all())
    assert not {claim.event["event_id"] for claim in live} & set(world.claims["claim_id"])
    claimants = {claim.event["entities"]["claimant"] for claim in live}
    assert len(claimants & set(world.claims["claimant_id"])) > 0.4 * len(claimants)
    rings = {claim.ring_id for claim in live if claim.fraud}
    assert rings & set(world.truth["ring_id"].drop_nulls())
    assert all((claim.kind != "honest") == claim.fraud == (claim.ring_id is not None) for claim in live)
    assert {claim.label for claim in live} == {"fraud", "legit", None}
