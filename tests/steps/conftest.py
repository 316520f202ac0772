# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import ringfence
from ringfence.steps.opened import OpenWorkspace

YAML = """
scenarios:
  payments:
    decide: payment
    windows: [7d]
    sources: {payment: payments.csv}
    events:
      payment:
        event_id: id
        event_time: at
        amount: {field: sum, currency: EUR}
        entities:
          card: pan
          shop: {column: shop_id, type: company}
          helper: {column: helpers, type: person, many: true, separator: ";"}
        attributes:
          channel: category
        label: {field: fraud, values: {fraud: [1], legit: [0]}, delay: 3d}
"""
POLICY = """
costs:
  currency: EUR
  missed_fraud: {amount_share: 1.0, fixed: 0}
  review: {cost: 5, detects: 0.9}
  false_decline: {fixed: 50, amount_share: 0}
capacity: {reviews_per_day: 2}
"""
N = 900


def payments(n: int = N, seed: int = 1, first: int = 0) -> pl.DataFrame:
    """Payments at distinct times a few minutes apart; fraud sits at a few shops and in large amounts."""
    rng = np.random.default_rng(seed)
    shop = rng.integers(0, 20, n)
    amount = rng.gamma(2.0, 30.0, n).round(2)
    odds = -3.0 + 2.5 * (shop < 3) + 0.02 * amount
    minutes = first * 60 + np.cumsum(rng.integers(1, 90, n))
    helpers = [";".join(f"h{h}" for h in sorted(set(rng.integers(0, 50, rng.integers(0, 3))))) for _ in range(n)]
    at = pl.datetime(2024, 1, 1, time_unit="ms") + pl.duration(minutes=pl.Series(minutes), time_unit="ms")
    return pl.DataFrame(
        {
            "id": [f"p{first + i}" for i in range(n)],
            "sum": amount,
            "pan": rng.integers(0, 80, n),
            "shop_id": [f"s{s}" for s in shop],
            "helpers": helpers,
            "channel": rng.choice(["web", "till"], n),
            "fraud": (rng.random(n) < 1.0 / (1.0 + np.exp(-odds))).astype(int),
        }
    ).with_columns(at=at.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def workspace_in(folder: Path) -> OpenWorkspace:
    (folder / "ringfence.yaml").write_text(YAML)
    (folder / "policies").mkdir()
    (folder / "policies" / "payments.yaml").write_text(POLICY)
    payments().write_csv(folder / "payments.csv")
    opened: OpenWorkspace = ringfence.open(folder)
    opened.import_()
    return opened


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenWorkspace:
    return workspace_in(tmp_path_factory.mktemp("opened"))
