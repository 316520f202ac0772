# SPDX-License-Identifier: Apache-2.0
"""`branches: […]` as it is read, and what is said where it cannot be followed."""

from __future__ import annotations

from typing import Any

import pytest

from ringfence.scenario.errors import ScenarioFileError
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Brought, BroughtOutput
from tests.scenario.claims import claim_scenario

NET: dict[str, Any] = {"name": "my-net", "onnx": "my_net.onnx", "features": ["event.amount", "claimant.n_events"]}

CASES: list[tuple[str, Any, str, str]] = [
    ("no list", NET, "branches", "such as `branches: [{name: my-net"),
    ("an empty list", [], "branches", "name 1 to 4"),
    ("without a name", [{"onnx": "a", "features": ["b"]}], "branches[0].name", "give it a name"),
    ("a name that is taken", [NET | {"name": "anomaly"}], "branches[0].name", "that name is taken"),
    ("a column of scores", [NET | {"name": "score"}], "branches[0].name", "that name is taken"),
    ("a name with a space", [NET | {"name": "my net"}], "branches[0].name", "small letters"),
    ("a name twice", [NET, NET], "branches[1].name", "name each branch once"),
    ("without a file", [{"name": "a", "features": ["b"]}], "branches[0].onnx", "inside the workspace"),
    ("without features", [{"name": "a", "onnx": "b"}], "branches[0].features", "features --list"),
    ("no features", [NET | {"features": []}], "branches[0].features", "at least one"),
    ("a feature twice", [NET | {"features": ["a", "a"]}], "branches[0].features[1]", "name each feature once"),
    ("another output", [NET | {"output": "odds"}], "branches[0].output", "log_odds"),
    ("a missing text", [NET | {"missing": "none"}], "branches[0].missing", "or nan"),
    ("a date that is none", [NET | {"trained_until": "soon"}], "branches[0].trained_until", "2024-06-30"),
    ("an unknown key", [NET | {"feature": ["a"]}], "branches[0].feature", "unknown key"),
]


def test_branches_are_read_in_their_order() -> None:
    second = {**NET, "name": "b2", "output": "log_odds", "missing": -1, "trained_until": "2024-06-30"}
    scenario = scenario_from_mapping("motor-claims", claim_scenario() | {"branches": [NET, second]}, where="f")
    features = ("event.amount", "claimant.n_events")
    first, other = scenario.branches
    assert first == Brought(name="my-net", file="my_net.onnx", features=features)
    assert (other.output, other.missing) == (BroughtOutput.LOG_ODDS, -1.0)
    assert other.trained_until_ms is not None
    assert scenario_from_mapping("motor-claims", claim_scenario(), where="f").branches == ()


@pytest.mark.parametrize(("value", "path", "part"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_branches_that_cannot_be_followed_are_refused_where_they_stand(value: Any, path: str, part: str) -> None:
    with pytest.raises(ScenarioFileError) as refusal:
        scenario_from_mapping("motor-claims", claim_scenario() | {"branches": value}, where="ringfence.yaml")
    assert refusal.value.path == f"motor-claims.{path}"
    assert part in str(refusal.value)
