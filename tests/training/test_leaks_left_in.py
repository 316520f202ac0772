# SPDX-License-Identifier: Apache-2.0
"""The known leaks of two public sets, left among the attributes, are named by the hunt in `train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.scenario.load import scenario_from_mapping
from ringfence.training.evaluation import Scored, evaluate
from ringfence.training.examples import collect_examples
from ringfence.training.findings import leaks_in

from .conftest import ledger_of

pytestmark = pytest.mark.data


def named(folder: Path, frame: pl.DataFrame, time: str, label: str, attributes: dict[str, str]) -> dict[str, str]:
    """Hunt in a scenario of these attributes alone; return what kind of leak each column is taken for."""
    event = {
        "event_id": "row",
        "event_time": time,
        "attributes": attributes,
        "label": {"field": label, "values": {"fraud": [1], "legit": [0]}, "delay": "0d"},
    }
    described = {"decide": "payment", "sources": {"payment": "payments.csv"}, "events": {"payment": event}}
    scenario = scenario_from_mapping("payments", described, where="test")
    ledger = ledger_of(folder, frame.select(time, label, *attributes), scenario)
    examples = collect_examples(ledger, from_ms=None, until_ms=None)
    catalogue = Catalogue.build(scenario)
    rows = feature_rows(ledger, catalogue, examples.seq).rows
    blind = Scored(
        event_time_ms=examples.event_time_ms,
        fraud=examples.fraud,
        score=np.random.default_rng(0).random(len(examples)),
        amount_minor=examples.amount_minor,
    )
    figures = evaluate(blind, name="x", title="x", explanation="", seed=0, n_replicates=20)
    return {one.column: one.kind for one in leaks_in(ledger, catalogue, examples, rows, seed=0)(figures).suspicions}


def test_the_policy_number_that_orders_the_claims_is_named(data_sets: Path, tmp_path: Path) -> None:
    claims = pl.read_parquet(data_sets / "vehicle_claims_real" / "claims.parquet").filter(pl.col("Year") == 1994)
    kept = {"PolicyNumber": "number", "Age": "number", "Make": "category", "Fault": "category"}
    found = named(tmp_path, claims, "accident_date_derived", "FraudFound_P", kept)
    assert found == {"attribute.PolicyNumber": "running_number"}


def test_the_answer_key_of_the_card_payments_is_named(data_sets: Path, tmp_path: Path) -> None:
    path = data_sets / "card_payments_handbook" / "transactions.parquet"
    payments = pl.read_parquet(path).slice(600_000, 20_000)
    kept = {"TX_FRAUD_SCENARIO": "category", "TX_AMOUNT": "number"}
    found = named(tmp_path, payments, "TX_DATETIME", "TX_FRAUD", kept)
    assert found == {"attribute.TX_FRAUD_SCENARIO": "too_good"}
