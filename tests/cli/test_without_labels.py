# SPDX-License-Identifier: Apache-2.0
"""The first day at the command line: no label, rules, a release, scores; and mistakes in rules told in place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit

SCENARIO = """\
scenarios:
  orders:
    decide: order
    sources: {order: orders.csv}
    windows: [1d, 7d]
    events:
      order:
        event_id: id
        event_time: at
        amount: {field: amount, currency: EUR}
        entities: {customer: customer}
        attributes: {channel: category, note: text}
    rules:
      - {name: dear, when: amount > 400 and channel = 'web', points: 40}
"""
POLICY = """\
costs:
  currency: EUR
  missed_fraud: {amount_share: 1.0}
  review: {cost: 5, detects: 0.9}
  challenge: {friction: 1, stops: 0.5}
  false_decline: {fixed: 50}
capacity: {reviews_per_day: 3}
"""


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "id": [f"o{n}" for n in range(300)],
            "at": [f"2024-03-{1 + n // 12:02d}T{n % 12:02d}:30:00Z" for n in range(300)],
            "amount": rng.gamma(2.0, 100.0, 300).round(2),
            "customer": rng.integers(0, 60, 300),
            "channel": rng.choice(["web", "app"], 300),
            "note": rng.choice(["as usual", "to another address"], 300),
        }
    )
    frame.write_csv(tmp_path / "orders.csv")
    (tmp_path / "ringfence.yaml").write_text(SCENARIO)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "orders.yaml").write_text(POLICY)
    return tmp_path


def test_a_workspace_without_labels_gets_a_release_that_says_so(
    orders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", "-w", str(orders)]) == Exit.OK
    assert run(["train", "-w", str(orders)]) != Exit.OK
    assert "--assumed-rate" in capsys.readouterr().err
    assert run(["train", "-w", str(orders), "--assumed-rate", "0.02"]) == Exit.OK
    told = capsys.readouterr().out
    assert "300 events without labels" in told
    assert "a rate of 0.02 is assumed" in told
    scores = orders / "scores.parquet"
    assert run(["score", "-w", str(orders), "--from", "2024-03-01", "-o", str(scores), "--json"]) == Exit.OK
    assert set(json.loads(capsys.readouterr().out)["actions"]) <= {"approve", "review"}
    frame = pl.read_parquet(scores)
    assert {"anomaly", "rules"} <= set(frame.columns)
    assert frame["score"].mean() == pytest.approx(0.02, rel=0.01)
    assert run(["evaluate", "-w", str(orders)]) == Exit.OK
    assert run(["release", "list", "-w", str(orders)]) == Exit.OK


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["--assumed-rate", "0"], "no rate of fraud"),
        (["--assumed-rate", "0.1", "--trials", "3"], "leave out --trials"),
        (["--assumed-rate", "0.1", "--without", "anomaly"], "leave out --trials and --without"),
    ],
)
def test_a_rate_that_is_none_and_options_that_need_labels_are_refused(
    orders: Path, capsys: pytest.CaptureFixture[str], given: list[str], part: str
) -> None:
    assert run(["train", "-w", str(orders), *given]) == Exit.USAGE
    assert part in capsys.readouterr().err


def test_check_tells_rules_and_refuses_those_that_name_nothing(
    orders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "-w", str(orders)]) == Exit.OK
    assert "1: dear +40" in capsys.readouterr().out
    (orders / "ringfence.yaml").write_text(SCENARIO.replace("amount > 400", "amonut > 400"))
    assert run(["check", "-w", str(orders)]) != Exit.OK
    told = " ".join(capsys.readouterr().err.split())
    assert "orders.rules[0].when" in told
    assert "did you mean 'amount'?" in told
