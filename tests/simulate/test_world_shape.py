# SPDX-License-Identifier: Apache-2.0
"""The world looks like an insurer's files, and its rings like rings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from tests.simulate.insurer import FRAUD_RATE, N_CLAIMS, SmallWorld


def test_every_claim_has_its_own_id_and_its_truth(world: SmallWorld) -> None:
    assert world.claims.height == world.truth.height == N_CLAIMS
    assert world.claims["claim_id"].n_unique() == N_CLAIMS
    assert world.claims["claim_id"].equals(world.truth["claim_id"])


def test_report_counts_what_was_written(world: SmallWorld) -> None:
    report, truth = world.report, world.truth
    assert report.n_events == N_CLAIMS
    assert report.n_fraud == truth["fraud"].sum()
    assert report.n_rings == truth["ring_id"].drop_nulls().n_unique()
    assert report.n_labelled == world.claims["is_fraud"].count()
    assert report.n_labelled_fraud == (world.claims["is_fraud"] == 1).sum()
    assert report.n_policy_changes == pl.read_parquet(report.output / "policy_changes.parquet").height
    assert report.as_dict()["output"] == str(report.output)


def test_fraud_rate_is_near_the_one_asked_for(world: SmallWorld) -> None:
    assert 0.7 * FRAUD_RATE < world.report.n_fraud / N_CLAIMS < 1.3 * FRAUD_RATE
    assert set(world.truth["kind"].unique()) == {"honest", "staged_accident", "shop_collusion", "ghost_injury"}


def test_amounts_are_long_tailed_with_large_claims_carrying_most_fraud_loss(world: SmallWorld) -> None:
    amount = world.claims["claim_amount"].to_numpy()
    fraud = world.truth["fraud"].to_numpy()
    assert 0.07 < float((amount > 25_000).mean()) < 0.09
    assert float(amount.mean()) > 2.0 * float(np.median(amount))
    large = float(amount[fraud & (amount > 25_000)].sum() / amount[fraud].sum())
    assert 0.5 < large < 0.8


def test_times_lie_inside_the_history_and_labels_follow_their_claims(world: SmallWorld) -> None:
    time_ms = world.claims["claim_time"].dt.timestamp("ms")
    known_ms = world.claims["label_time"].dt.timestamp("ms")
    assert world.report.starts_ms <= int(time_ms.min()) <= int(time_ms.max()) < world.report.ends_ms  # type: ignore[arg-type]
    assert bool((known_ms > time_ms).drop_nulls().all())
    assert int(known_ms.max()) < world.report.ends_ms  # type: ignore[arg-type]
    assert world.claims["is_fraud"].is_null().equals(world.claims["label_time"].is_null())


def test_labels_are_partial_and_sometimes_wrong(world: SmallWorld) -> None:
    rows = world.claims.select("claim_id", "is_fraud").join(world.truth, on="claim_id")
    known = rows.filter(pl.col("is_fraud").is_not_null())
    assert 0.25 < known.height / rows.height < 0.5
    fraud = rows.filter("fraud")
    assert 0.3 < (fraud["is_fraud"] == 1).sum() / fraud.height < 0.75
    assert (fraud["is_fraud"] == 0).sum() > 0
    assert rows.filter(~pl.col("fraud") & (pl.col("is_fraud") == 1)).height > 0


def test_ring_members_share_shops_lawyers_and_doctors_beyond_chance(world: SmallWorld) -> None:
    rows = world.claims.join(world.truth.select("claim_id", "kind", "ring_id"), on="claim_id")
    staged = rows.filter(pl.col("kind") == "staged_accident")
    honest = rows.filter(pl.col("kind") == "honest")
    for column in ("repair_shop_id", "lawyer_id", "doctor_id", "claimant_id"):
        inside = _chance_of_sharing(staged, column, "ring_id")
        # Honest claims of one region in the same fortnight: as near to each other as strangers come.
        near = honest.with_columns(fortnight=pl.col("claim_time").dt.epoch("s") // (14 * 86_400))
        outside = _chance_of_sharing(near, column, "region", "fortnight")
        assert inside > 2.0 * outside, (column, inside, outside)


def _chance_of_sharing(rows: pl.DataFrame, column: str, *groups: str) -> float:
    """Chance that two claims of one group name the same entity."""
    counts = rows.drop_nulls(column).group_by(*groups, column).len("n")
    totals = counts.group_by(*groups).agg(
        same=(pl.col("n") * (pl.col("n") - 1)).sum(), pairs=pl.col("n").sum() * (pl.col("n").sum() - 1)
    )
    return float(totals["same"].sum() / totals["pairs"].sum())


def test_a_rings_members_turn_over(world: SmallWorld) -> None:
    staged = world.claims.join(world.truth, on="claim_id").filter(pl.col("kind") == "staged_accident")
    largest = staged.filter(pl.col("ring_id") == staged["ring_id"].mode()[0]).sort("claim_time")
    early, late = largest.head(largest.height // 3), largest.tail(largest.height // 3)
    assert set(early["claimant_id"]) != set(late["claimant_id"])


def test_members_of_rings_are_listed_with_their_role_and_claims(world: SmallWorld) -> None:
    members = pl.read_parquet(world.report.output / "truth_rings.parquet")
    assert set(members["ring_id"]) == set(world.truth["ring_id"].drop_nulls())
    assert members.filter(role="claimant")["n_claims"].sum() == world.report.n_fraud
    claimants = world.claims.join(world.truth.filter("fraud"), on="claim_id")["claimant_id"]
    assert set(members.filter(role="claimant")["entity_id"]) == set(claimants)


def test_no_witness_is_the_claimant_or_named_twice(world: SmallWorld) -> None:
    rows = world.claims.select("claimant_id", "witness_ids")
    assert rows.select(pl.col("witness_ids").list.contains(pl.col("claimant_id")).any()).item() is False
    assert rows.select((pl.col("witness_ids").list.n_unique() == pl.col("witness_ids").list.len()).all()).item()


def test_hailstorms_are_honest_bursts_in_one_region(world: SmallWorld) -> None:
    storms = world.claims.join(world.truth, on="claim_id").filter(pl.col("hailstorm").is_not_null())
    assert not storms["fraud"].any()
    assert storms.group_by("hailstorm").agg(pl.col("region").n_unique())["region"].max() == 1
    assert storms.group_by("hailstorm").len()["len"].max() > 20  # type: ignore[operator]


def test_policy_changes_name_persons_who_also_claim(world: SmallWorld, tmp_path: Path) -> None:
    changes = pl.read_parquet(world.report.output / "policy_changes.parquet")
    assert changes["change_id"].n_unique() == changes.height
    assert len(set(changes["person_id"]) & set(world.claims["claimant_id"])) > 1_000
    assert set(changes["change"].unique()) == {"start", "lapse", "address", "vehicle", "payment", "cover"}
