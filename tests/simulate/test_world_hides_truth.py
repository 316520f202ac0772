# SPDX-License-Identifier: Apache-2.0
"""No column gives fraud away by itself, and ids, row order, missing values and decimals say nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.simulate.insurer import SmallWorld

HIGHEST_AUC = 0.70
HIGHEST_LEAK = 0.56  # .50 and chance: about 600 positives


def roc_auc(fraud: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Area under the ROC curve by ranks, ties shared, whichever way the column points."""
    rank = pl.Series(score).rank("average").to_numpy()
    n_fraud = int(fraud.sum())
    area = (rank[fraud].sum() - n_fraud * (n_fraud + 1) / 2) / (n_fraud * (len(fraud) - n_fraud))
    return float(max(area, 1.0 - area))


def fraud_rate_elsewhere(values: pl.Series, fraud: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each row's category scored by the fraud rate that the other four fifths of the rows show."""
    code = values.fill_null("?").rank("dense").cast(pl.Int64).to_numpy()
    fold = np.random.default_rng(5).integers(0, 5, len(code))
    score = np.zeros(len(code))
    for part in range(5):
        rest = fold != part
        n = np.bincount(code[rest], minlength=int(code.max()) + 1)
        hits = np.bincount(code[rest], fraud[rest], minlength=int(code.max()) + 1)
        score[~rest] = ((hits + 20.0 * fraud.mean()) / (n + 20.0))[code[~rest]]
    return score


@pytest.mark.parametrize("column", ["claim_amount", "policy_age_days", "vehicle_age_years", "reported_after_days"])
def test_no_number_gives_fraud_away(world: SmallWorld, column: str) -> None:
    score = world.claims[column].fill_null(-1).cast(pl.Float64).to_numpy()
    assert roc_auc(world.truth["fraud"].to_numpy(), score) < HIGHEST_AUC


@pytest.mark.parametrize("column", ["vehicle_make", "claim_type", "region", "sex"])
def test_no_category_gives_fraud_away(world: SmallWorld, column: str) -> None:
    fraud = world.truth["fraud"].to_numpy()
    assert roc_auc(fraud, fraud_rate_elsewhere(world.claims[column], fraud)) < HIGHEST_AUC


@pytest.mark.parametrize(
    "column", ["repair_shop_id", "lawyer_id", "doctor_id", "broker_id", "claimant_id", "vehicle_id"]
)
def test_how_often_an_entity_occurs_does_not_give_fraud_away(world: SmallWorld, column: str) -> None:
    count = world.claims.select(pl.len().over(column)).to_series().cast(pl.Float64).to_numpy()
    assert roc_auc(world.truth["fraud"].to_numpy(), count) < HIGHEST_AUC


def test_narrative_and_hour_do_not_give_fraud_away(world: SmallWorld) -> None:
    fraud = world.truth["fraud"].to_numpy()
    length = world.claims["narrative"].str.len_chars().cast(pl.Float64).to_numpy()
    hour = world.claims["claim_time"].dt.hour().cast(pl.Float64).to_numpy()
    assert roc_auc(fraud, length) < HIGHEST_LEAK
    assert roc_auc(fraud, hour) < 0.60


@pytest.mark.parametrize("column", ["repair_shop_id", "lawyer_id", "doctor_id", "broker_id", "reported_after_days"])
def test_what_is_missing_says_nothing(world: SmallWorld, column: str) -> None:
    missing = world.claims[column].is_null().cast(pl.Float64).to_numpy()
    assert roc_auc(world.truth["fraud"].to_numpy(), missing) < HIGHEST_LEAK


def test_ids_order_and_decimals_say_nothing(world: SmallWorld) -> None:
    fraud = world.truth["fraud"].to_numpy()
    claims = world.claims
    for column in ("claim_id", "claimant_id", "vehicle_id"):
        number = claims[column].str.strip_chars_start("CLPV").cast(pl.Float64).to_numpy()
        assert roc_auc(fraud, number) < HIGHEST_LEAK, column
    cents = np.rint(claims["claim_amount"].to_numpy() * 100.0)
    assert roc_auc(fraud, np.mod(cents, 100.0)) < HIGHEST_LEAK
    assert roc_auc(fraud, np.mod(cents, 1_000.0)) < HIGHEST_LEAK
    assert roc_auc(fraud, np.arange(float(len(fraud)))) < 0.60  # rings come and go, so the calendar is not flat


def test_claims_file_holds_nothing_of_the_truth(world: SmallWorld) -> None:
    hidden = set(world.truth.columns) - {"claim_id", "claim_time"}
    assert not hidden & set(world.claims.columns)
