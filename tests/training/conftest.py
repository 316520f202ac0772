# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.policy.load import policy_from_text
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW_MS = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000)

POLICY = """
costs:
  currency: EUR
  missed_fraud: {amount_share: 1.0, fixed: 0}
  review: {cost: 5, detects: 0.9}
  false_decline: {fixed: 50, amount_share: 0}
capacity: {reviews_per_day: 2}
"""


def at_ms(day: float) -> int:
    return int((START + timedelta(days=day)).timestamp() * 1000)


def scenario_of(**changes: object) -> Scenario:
    mapping: dict[str, object] = {
        "decide": "payment",
        "sources": {"payment": "payments.csv"},
        "events": {
            "payment": {
                "event_id": "id",
                "event_time": "at",
                "amount": {"field": "amount", "currency": "EUR"},
                "entities": {"card": "card", "shop": "shop"},
                "attributes": {"channel": "category"},
                "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "3d"},
            }
        },
        "windows": ["1d", "7d"],
    }
    return scenario_from_mapping("payments", {**mapping, **changes}, where="test")


def payments(n: int, *, seed: int = 0, days: float = 60.0, fraud: bool = True) -> pl.DataFrame:
    """Payments whose fraud sits at a few bad shops and in large amounts."""
    rng = np.random.default_rng(seed)
    shop = rng.integers(0, 40, n)
    amount = rng.gamma(2.0, 30.0, n).round(2)
    odds = -4.0 + 3.0 * (shop < 4) + 0.02 * amount
    truth = (rng.random(n) < 1.0 / (1.0 + np.exp(-odds))).astype(int) if fraud else np.zeros(n, dtype=int)
    seconds = np.sort(rng.uniform(0, days * 86_400, n))
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)],
            "at": [(START + timedelta(seconds=float(s))).isoformat() for s in seconds],
            "amount": amount,
            "card": rng.integers(0, 200, n),
            "shop": shop,
            "channel": rng.choice(["web", "app", "till"], n),
            "fraud": truth,
        }
    )


def ledger_of(folder: Path, frame: pl.DataFrame, scenario: Scenario) -> Ledger:
    folder.mkdir(parents=True, exist_ok=True)
    frame.write_csv(folder / "payments.csv")
    directory = folder / "ledger"
    import_files(directory, scenario, folder, FakeClock(NOW_MS))
    return Ledger.open(directory, scenario)


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    return scenario_of()


@pytest.fixture(scope="session")
def policy() -> Policy:
    return policy_from_text(POLICY, where="test")


@pytest.fixture(scope="session")
def clock() -> FakeClock:
    return FakeClock(NOW_MS)
