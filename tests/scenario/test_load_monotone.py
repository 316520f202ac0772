# SPDX-License-Identifier: Apache-2.0
"""`monotone: {…}` as it is read, and what is said where it cannot be followed."""

from __future__ import annotations

from typing import Any

import pytest

from ringfence.scenario.errors import ScenarioFileError
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Direction
from tests.scenario.claims import claim_scenario

CASES: list[tuple[str, Any, str, str]] = [
    ("a list", ["amount"], "monotone", "such as `event.amount: increasing`"),
    ("nothing in it", {}, "monotone", "such as `event.amount: increasing`"),
    ("a number as direction", {"amount": 1}, "monotone.amount", "known: decreasing, increasing"),
    ("a misspelt direction", {"amount": "increasng"}, "monotone.amount", "did you mean 'increasing'"),
    ("a number as name", {3: "increasing"}, "monotone", "names are texts"),
]


def test_directions_are_read_in_the_order_given() -> None:
    described = claim_scenario() | {"monotone": {"amount": "increasing", "claimant.n_events": "decreasing"}}
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    assert scenario.monotone == {"amount": Direction.INCREASING, "claimant.n_events": Direction.DECREASING}
    assert scenario_from_mapping("motor-claims", claim_scenario(), where="ringfence.yaml").monotone == {}


@pytest.mark.parametrize(("value", "path", "part"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_directions_that_cannot_be_followed_are_refused_where_they_stand(value: Any, path: str, part: str) -> None:
    with pytest.raises(ScenarioFileError) as refusal:
        scenario_from_mapping("motor-claims", claim_scenario() | {"monotone": value}, where="ringfence.yaml")
    assert refusal.value.path == f"motor-claims.{path}"
    assert part in str(refusal.value)
