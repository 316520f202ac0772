# SPDX-License-Identifier: Apache-2.0
"""No rule of what people never do marks planned claims: honest people have accidents away and change brokers too."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ringfence.simulate import simulate_motor_claims

N_CLAIMS = 60_000
# Of 0.56 % fraud; two to four times that is what counting honestly gives, a tell-tale has tens of per cent.
HIGHEST_PRECISION_FAR = 0.03
HIGHEST_PRECISION_BROKER = 0.03
HIGHEST_LIFT_OVER_CIRCLES = 3.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("telltale")
    simulate_motor_claims(N_CLAIMS, 4, output)
    return output


def never_seen_in_the_region(claims: pl.DataFrame, columns: tuple[str, ...]) -> pl.Series:
    """Claims naming an entity with three earlier claims or more, none of them in this claim's region."""
    fires = [
        pl.col(column).is_not_null()
        & (pl.int_range(pl.len()).over(column) >= 3)
        & (pl.int_range(pl.len()).over(column, "region") == 0)
        for column in columns
    ]
    return claims.select(pl.any_horizontal(fires)).to_series()


def named_another_broker_earlier(claims: pl.DataFrame, changes: pl.DataFrame) -> pl.Series:
    """Claims whose claimant named another broker before, in a claim or in a contract event."""
    said = pl.concat(
        [
            changes.select("broker_id", person="person_id", at="changed_at", row=pl.lit(-1, pl.Int64)),
            claims.select(
                "broker_id", person="claimant_id", at="claim_time", row=pl.int_range(pl.len(), dtype=pl.Int64)
            ),
        ]
    )
    said = said.filter(pl.col("broker_id").is_not_null()).sort("at", "row")
    earlier = said.with_columns(
        any=pl.int_range(pl.len()).over("person"), same=pl.int_range(pl.len()).over("person", "broker_id")
    )
    rows = earlier.filter((pl.col("row") >= 0) & (pl.col("any") > pl.col("same")))["row"]
    return claims.select(pl.int_range(pl.len(), dtype=pl.Int64).is_in(rows.implode())).to_series()


def precision(flagged: pl.Series, fraud: pl.Series) -> float:
    assert flagged.sum() > 0.01 * len(flagged)  # what many honest people do
    return float((flagged & fraud).sum() / flagged.sum())


def test_a_provider_never_seen_in_the_region_marks_no_fraud(folder: Path) -> None:
    claims, truth = pl.read_parquet(folder / "claims.parquet"), pl.read_parquet(folder / "truth.parquet")
    for columns in (("doctor_id", "place_id"), ("lawyer_id",), ("repair_shop_id",), ("household_id",)):
        flagged = never_seen_in_the_region(claims, columns)
        assert precision(flagged, truth["fraud"]) < HIGHEST_PRECISION_FAR, columns


def test_another_broker_than_before_marks_no_fraud(folder: Path) -> None:
    claims, truth = pl.read_parquet(folder / "claims.parquet"), pl.read_parquet(folder / "truth.parquet")
    flagged = named_another_broker_earlier(claims, pl.read_parquet(folder / "policy_changes.parquet"))
    assert precision(flagged, truth["fraud"]) < HIGHEST_PRECISION_BROKER


def test_places_lie_in_one_region_whoever_claims(folder: Path) -> None:
    claims = pl.read_parquet(folder / "claims.parquet").filter(pl.col("place_id").is_not_null())
    assert claims.group_by("place_id").agg(pl.col("region").n_unique())["region"].max() == 1


def test_circles_show_photos_again_as_rings_do(folder: Path) -> None:
    claims, truth = pl.read_parquet(folder / "claims.parquet"), pl.read_parquet(folder / "truth.parquet")
    shown = claims.select(row=pl.int_range(pl.len()), photo="photo_hashes").explode("photo").drop_nulls()
    again = shown.filter(pl.len().over("photo") > 1)["row"].unique()
    repeats = claims.select(pl.int_range(pl.len()).is_in(again.implode())).to_series()
    staged, circle = (truth["kind"] == "staged_accident"), truth["decoy"].fill_null("") == "circle"
    assert float(repeats.filter(staged).mean()) < HIGHEST_LIFT_OVER_CIRCLES * float(repeats.filter(circle).mean())
