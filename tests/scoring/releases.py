# SPDX-License-Identifier: Apache-2.0
"""A small release over made-up rows of a real catalogue."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.models import AnomalyBranch, Encoder, Ensemble, Stack, fit_calibrator, train_anomaly, train_gbdt
from ringfence.policy import policy_from_text
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario
from ringfence.scoring import Contents, Made, Release, write_release

POLICY = """\
costs:
  currency: EUR
  missed_fraud: {amount_share: 1.0}
  review: {cost: 25, detects: 0.9}
  challenge: {friction: 2, stops: 0.7}
  false_decline: {fixed: 50}
"""


@cache
def scenario() -> Scenario:
    data: dict[str, Any] = {
        "decide": "claim",
        "sources": {"claim": "claims.csv"},
        "windows": ["7d", "30d"],
        "events": {
            "claim": {
                "event_id": "claim_id",
                "event_time": "claim_time",
                "amount": {"field": "amount", "currency": "EUR"},
                "entities": {
                    "claimant": {"column": "claimant_id", "type": "person"},
                    "repair_shop": "shop_id",
                    "witness": {"column": "witness_ids", "type": "person", "many": True},
                },
                "attributes": {
                    "policy_age_days": "number",
                    "vehicle_make": "category",
                    "sex": {"type": "category", "use": "audit_only"},
                    "phone": {"type": "text", "personal": True},
                },
                "label": {"field": "is_fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "30d"},
            }
        },
    }
    return scenario_from_mapping("motor-claims", data, where="ringfence.yaml")


@cache
def rows_and_labels(n: int = 600, seed: int = 4) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    catalogue = Catalogue.build(scenario())
    g = np.random.default_rng(seed)
    rows = g.exponential(2.0, size=(n, len(catalogue.features)))
    rows[g.random(rows.shape) < 0.1] = np.nan
    for column, feature in enumerate(catalogue.features):
        if feature.unit == "0/1":
            rows[:, column] = g.integers(0, 2, n)
        if feature.is_category:
            rows[:, column] = g.integers(10**9, 10**9 + 8, n)
    risk = np.nan_to_num(rows[:, catalogue.index("repair_shop.fraud_count_30d")])
    risk = risk + np.nan_to_num(rows[:, catalogue.index("claimant.count_7d")]) + g.normal(size=n)
    return rows, (risk > 6.0).astype(np.int64)


def contents(*, seed: int = 1, card: str = "# card", policy: str = POLICY) -> Contents:
    rows, labels = rows_and_labels()
    catalogue = Catalogue.build(scenario())
    encoder = Encoder.fit(rows, [feature.is_category for feature in catalogue.features])
    gbdt = train_gbdt(
        encoder.apply(rows),
        labels,
        n_trees=25,
        seed=seed,
        categories=encoder.category_columns,
        params={"min_data_in_leaf": 10, "num_leaves": 15},
    )
    encoded = encoder.apply(rows)
    anomaly = train_anomaly(encoded, seed=seed)
    members = {"gbdt": gbdt.raw(encoded), "anomaly": anomaly.raw(encoded)}
    stack = Stack(members=("gbdt", "anomaly"), weights=(0.9, 0.2), intercept=-0.3)
    return Contents(
        scenario=scenario(),
        ensemble=Ensemble(encoder=encoder, gbdt=gbdt, branches={"anomaly": AnomalyBranch(anomaly)}, stack=stack),
        calibrator=fit_calibrator(stack.raw(members), labels),
        gbdt_calibrator=fit_calibrator(members["gbdt"], labels),
        policy=policy_from_text(policy, where="policy.yaml"),
        made=Made(
            data_digest="0" * 32, examples_from_ms=None, until_ms=1, until_seq=9, n_examples=600, n_fraud=50, seed=seed
        ),
        metrics={"average_precision": 0.5},
        card=card,
        report="<html></html>",
    )


def release_in(directory: Path) -> Release:
    return write_release(directory, contents())
