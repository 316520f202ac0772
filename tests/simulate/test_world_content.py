# SPDX-License-Identifier: Apache-2.0
"""What is in the world beside rings: addresses that change, cars that are sold, places, photos, and honest crowds."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ringfence.simulate.motor import difficulty, parties
from tests.simulate.insurer import N_CLAIMS, SmallWorld


def test_people_move_and_their_contract_says_so(world: SmallWorld) -> None:
    changes = pl.read_parquet(world.report.output / "policy_changes.parquet")
    moved = changes.filter(pl.col("change") == "address")
    assert 0.07 < moved["person_id"].n_unique() / (0.9 * N_CLAIMS) < 0.13  # five in a hundred a year
    after = world.claims.join(
        moved.select("changed_at", new_address="household_id", claimant_id="person_id"), on="claimant_id"
    ).filter(pl.col("claim_time") > pl.col("changed_at") + pl.duration(days=1))
    assert float((after["household_id"] == after["new_address"]).to_numpy().mean()) > 0.9


def test_families_share_an_address_and_cars_are_sold_out_of_it(world: SmallWorld) -> None:
    together = world.claims.group_by("household_id").agg(pl.col("claimant_id").n_unique().alias("n"))
    assert 0.1 < float((together["n"] > 1).to_numpy().mean()) < 0.6
    owners = world.claims.group_by("vehicle_id").agg(pl.col("phone").n_unique().alias("n"))  # a family's telephone
    assert 0.005 < float((owners["n"] > 1).to_numpy().mean()) < 0.1


def test_accidents_crowd_at_blackspots(world: SmallWorld) -> None:
    uses = world.claims.drop_nulls("place_id").group_by("place_id").len().sort("len", descending=True)["len"]
    hundredth = uses.head(uses.len() // 100).sum() / uses.sum()
    assert 0.03 < hundredth < 0.4


def test_photos_repeat_more_often_in_rings_but_most_repeats_are_honest(world: SmallWorld) -> None:
    rows = world.claims.select("claim_id", "photo_hashes").join(world.truth.select("claim_id", "fraud"), on="claim_id")
    shown = rows.explode("photo_hashes").drop_nulls("photo_hashes")
    again = shown.with_columns(again=pl.col("photo_hashes").cum_count().over("photo_hashes") > 1)
    by_claim = again.group_by("claim_id", "fraud").agg(pl.col("again").any())
    share = dict(by_claim.group_by("fraud").agg(pl.col("again").mean()).iter_rows())
    assert 0.003 < share[False] < 0.05
    assert share[True] > 2.0 * share[False]
    assert (by_claim["again"] & ~by_claim["fraud"]).sum() > (by_claim["again"] & by_claim["fraud"]).sum()


def test_a_claim_sent_twice_repeats_its_photos_words_and_amount(world: SmallWorld) -> None:
    copies = world.claims.join(world.truth.filter(pl.col("decoy") == "sent_twice"), on="claim_id")
    assert copies.height > 20
    same = ["claimant_id", "vehicle_id", "claim_amount", "narrative", "claim_type", "repair_shop_id"]
    found = copies.join(world.claims, on=same, suffix="_first", nulls_equal=True).filter(
        pl.col("claim_time_first") < pl.col("claim_time")
    )
    assert found["claim_id"].n_unique() > 0.9 * copies.height
    assert bool((found["photo_hashes"] == found["photo_hashes_first"]).all())
    assert not copies["fraud"].any()


def test_drivers_of_a_fleet_have_one_accident_after_another(world: SmallWorld) -> None:
    rows = world.claims.join(world.truth, on="claim_id")
    fleet = rows.filter(pl.col("decoy") == "fleet")
    assert 0.04 < fleet.height / rows.height < 0.06
    per_driver = fleet.height / fleet["claimant_id"].n_unique()
    others = rows.filter(pl.col("decoy").is_null() & ~pl.col("fraud"))
    assert per_driver > 1.5 * others.height / others["claimant_id"].n_unique()


def test_honest_circles_share_providers_as_rings_do(world: SmallWorld) -> None:
    rows = world.claims.join(world.truth, on="claim_id")
    uses = world.claims.group_by("claimant_id").len("uses")
    mean = {
        name: float(part.join(uses, on="claimant_id")["uses"].mean())  # type: ignore[arg-type]
        for name, part in (
            ("circle", rows.filter(pl.col("decoy") == "circle")),
            ("ring", rows.filter(pl.col("kind") == "staged_accident")),
            ("other", rows.filter(pl.col("decoy").is_null() & ~pl.col("fraud"))),
        )
    }
    assert mean["circle"] > mean["ring"] > mean["other"]


def test_no_quarter_of_the_history_has_much_more_fraud_than_another(world: SmallWorld) -> None:
    fraud = world.truth["fraud"].to_numpy()
    quarters = np.array([part.mean() for part in np.array_split(fraud, 8)])
    assert float(quarters.max()) < 1.5 * float(quarters.min())


def test_fraud_as_a_whole_names_lawyers_doctors_and_shops_as_often_as_honest_claims() -> None:
    shares = np.array([difficulty.STAGED_SHARE, difficulty.COLLUSION_SHARE, difficulty.GHOST_SHARE])
    assert float(shares.sum()) == pytest.approx(1.0)
    named = np.array(parties.party_shares())
    assert shares @ named[1:4] == pytest.approx(named[0])
    assert float(named.min()) > 0.0
    assert float(named.sum(axis=1).max()) <= 1.0
    shops = np.array(parties.shop_shares())
    assert float(shares @ shops[1:4]) == pytest.approx(float(shops[0]))
