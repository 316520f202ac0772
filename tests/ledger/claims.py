# SPDX-License-Identifier: Apache-2.0
"""A small scenario, a door into its ledger, and files to import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody
from ringfence.scenario.batch import Batch
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario

DAY = 86_400_000
T0 = 1_700_000_000_000


def claims_scenario(**label: Any) -> Scenario:
    """Motor claims with several witnesses, a personal attribute, and labels from several sources."""
    return scenario_from_mapping(
        "claims",
        {
            "decide": "claim",
            "time_zone": "Europe/Berlin",
            "label_precedence": ["court", "investigator"],
            "features": {"text": True},
            "sources": {"claim": {"files": "claims.parquet"}, "policy_change": {"files": "changes.parquet"}},
            "events": {
                "claim": {
                    "event_id": "id",
                    "event_time": "at",
                    "amount": {"field": "amount", "currency": "EUR"},
                    "entities": {
                        "claimant": {"column": "claimant", "type": "person"},
                        "witness": {"column": "witness", "type": "person", "many": True},
                        "shop": "shop",
                    },
                    "attributes": {
                        "make": "category",
                        "age": "number",
                        "night": "boolean",
                        "story": "text",
                        "bought": "time",
                        "phone": {"type": "category", "personal": True},
                    },
                    "label": {
                        "field": "fraud",
                        "values": {"fraud": [1], "legit": [0]},
                        "known_at": "known",
                        **label,
                    },
                },
                "policy_change": {"event_id": "id", "event_time": "at", "entities": {"claimant": "person"}},
            },
        },
        where="tests",
    )


@pytest.fixture
def scenario() -> Scenario:
    return claims_scenario()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(T0)


@pytest.fixture
def ledger(tmp_path: Path, scenario: Scenario) -> Ledger:
    return Ledger.open(tmp_path / "ledger" / "claims", scenario)


@pytest.fixture
def door(ledger: Ledger) -> Door:
    return Door(ledger.scenario, ledger.identity)


def claim(event_id: str, time_ms: int = T0, **changes: Any) -> dict[str, Any]:
    """A claim in API form."""
    return {
        "event_id": event_id,
        "event_time": time_ms,
        "amount": 1200.5,
        "entities": {"claimant": "anna", "shop": 7, "witness": ["bert", "carl"]},
        "attributes": {"make": "VW", "age": 3.5, "night": True, "story": "rear-ended", "phone": "555"},
    } | changes


def decision_on(event_seq: int, event_id: str = "c") -> DecisionBody:
    return DecisionBody(
        event_seq=event_seq,
        event_id=event_id,
        event_type="claim",
        action="approve",
        score=0.01,
        raw_score=-4.6,
        members={"gbdt": 0.01},
        reasons=(),
        versions={"release": "r-1"},
        circumstances={"rung": "full"},
        propensity=1.0,
        feature_digest=bytes(16),
        row=None,
    )


def claims_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Claims as a source file holds them."""
    return pl.DataFrame(
        rows,
        schema={
            "id": pl.String,
            "at": pl.Int64,
            "amount": pl.Float64,
            "claimant": pl.String,
            "witness": pl.List(pl.String),
            "shop": pl.Int64,
            "make": pl.String,
            "age": pl.Float64,
            "night": pl.Boolean,
            "story": pl.String,
            "bought": pl.Int64,
            "phone": pl.String,
            "fraud": pl.Int64,
            "known": pl.Int64,
        },
    )


def row(event_id: str, time_ms: int = T0, **changes: Any) -> dict[str, Any]:
    """The claim of `claim` as a row of a source file."""
    return {
        "id": event_id,
        "at": time_ms,
        "amount": 1200.5,
        "claimant": "anna",
        "witness": ["bert", "carl"],
        "shop": 7,
        "make": "VW",
        "age": 3.5,
        "night": True,
        "story": "rear-ended",
        "bought": None,
        "phone": "555",
        "fraud": None,
        "known": None,
    } | changes


def whole(batches: Iterator[Batch]) -> dict[str, np.ndarray]:
    """All batches as one set of arrays; `link_start` as counts."""
    parts = list(batches)
    fields = [name for name in Batch.__struct_fields__ if name != "link_start"]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in fields} if parts else {}
    if parts:
        joined["n_links"] = np.concatenate([np.diff(part.link_start) for part in parts])
    return joined


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray], ignore: tuple[str, ...] = ()) -> None:
    assert set(one) == set(other)
    for name in set(one) - set(ignore):
        assert one[name].dtype == other[name].dtype, name
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


Importer = Callable[..., Any]
