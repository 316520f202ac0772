# SPDX-License-Identifier: Apache-2.0
"""Rules in a scenario file: what they become, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest

from ringfence.scenario.errors import ScenarioFileError
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Rule, Scenario

GOOD = {"name": "young-policy", "when": "policy_age_days < 30", "points": 30}


def with_rules(rules: Any) -> Scenario:
    event = {"event_id": "id", "event_time": "at", "attributes": {"policy_age_days": "number"}}
    return scenario_from_mapping(
        "claims", {"decide": "claim", "events": {"claim": event}, "rules": rules}, where="r.yaml"
    )


def test_rules_become_names_conditions_and_points() -> None:
    said = {"name": "no-shop", "when": "shop.is_new is null", "points": -5, "says": "Repaired by nobody"}
    assert with_rules([GOOD, said]).rules == (
        Rule(name="young-policy", when="policy_age_days < 30", points=30),
        Rule(name="no-shop", when="shop.is_new is null", points=-5, says="Repaired by nobody"),
    )
    assert with_rules(None).rules == ()


@pytest.mark.parametrize(
    ("rules", "path", "part"),
    [
        ([], "claims.rules", "0 rules"),
        ({"a": 1}, "claims.rules", "write a list"),
        ([{**GOOD, "if": "x"}], "claims.rules[0].if", "unknown key 'if'"),
        ([GOOD, GOOD], "claims.rules[1].name", "'young-policy' again"),
        ([{**GOOD, "name": "Young"}], "claims.rules[0].name", "small letters"),
        ([{"name": "a", "points": 1}], "claims.rules[0].when", "write when it holds"),
        ([{"name": "a", "when": "x > 1"}], "claims.rules[0].points", "say how much it counts"),
        ([{**GOOD, "points": 0}], "claims.rules[0].points", "changes nothing"),
        ([{**GOOD, "points": 1.5}], "claims.rules[0].points", "a whole number from -1000 to 1000"),
        ([GOOD, {**GOOD, "name": "b", "when": "x <"}], "claims.rules[1].when", "found the end at character 4"),
    ],
)
def test_what_cannot_be_followed_is_told_with_its_path(rules: Any, path: str, part: str) -> None:
    with pytest.raises(ScenarioFileError) as caught:
        with_rules(rules)
    assert caught.value.path == path
    assert part in str(caught.value)
