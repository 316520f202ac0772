# SPDX-License-Identifier: Apache-2.0
"""A workspace of payments without any data yet."""

from __future__ import annotations

from pathlib import Path

import pytest

SCENARIO = """
scenarios:
  payments:
    decide: payment
    sources: {payment: payments.csv}
    events:
      payment:
        event_id: id
        event_time: at
        amount: {field: amount, currency: EUR}
        entities: {card: card}
        label: {field: fraud, delay: 7d}
"""
HEADER = "id,at,amount,card,fraud\n"


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    (tmp_path / "ringfence.yaml").write_text(SCENARIO)
    return tmp_path
