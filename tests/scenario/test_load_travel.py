# SPDX-License-Identifier: Apache-2.0
"""`travel:` as it is read, and what is said where it cannot be followed."""

from __future__ import annotations

from typing import Any

import pytest

from ringfence.scenario.errors import ScenarioFileError
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario, Travel
from tests.scenario.claims import claim_scenario

PLACE = ["lat", "lon"]
CASES: list[tuple[str, Any, str, str]] = [
    ("in a word", "claimant", "travel", "write names and values"),
    ("of nowhere", {"of": ["claimant"]}, "travel.place", "found nothing"),
    ("of nobody", {"place": PLACE}, "travel.of", "found nothing"),
    ("from half a place", {"place": ["lat"], "of": ["claimant"]}, "travel.place", "1 parts"),
    ("from one degree", {"place": ["lat", "lat"], "of": ["claimant"]}, "travel.place", "'lat' twice"),
    ("from degrees", {"place": [52.5, 13.4], "of": ["claimant"]}, "travel.place[0]", "write a text"),
    ("from a mistyped place", {"place": ["lat", "lonn"], "of": ["x"]}, "travel.place[1]", "did you mean 'lon'"),
    ("from a category", {"place": ["lat", "vehicle_make"], "of": ["x"]}, "travel.place[1]", "a category"),
    ("from a personal place", {"place": ["lat", "phone"], "of": ["x"]}, "travel.place[1]", "a personal attribute"),
    ("from a place for audits", {"place": ["lat", "sex"], "of": ["x"]}, "travel.place[1]", "for audits only"),
    ("of an unknown role", {"place": PLACE, "of": ["claimants"]}, "travel.of[0]", "did you mean 'claimant'"),
    ("of no role", {"place": PLACE, "of": []}, "travel.of", "at least one role"),
    ("of a role twice", {"place": PLACE, "of": ["claimant"] * 2}, "travel.of[1]", "each role once"),
    ("of one word", {"place": PLACE, "of": "claimant"}, "travel.of", "write a list"),
    ("with an unknown key", {"plce": PLACE}, "travel.plce", "did you mean 'place'"),
]


def scenario_with(travel: Any, **changes: Any) -> Scenario:
    described = claim_scenario(**changes)
    described["events"]["claim"]["attributes"] |= {"lat": "number", "lon": "number"}
    described["travel"] = travel
    return scenario_from_mapping("motor-claims", described, where="ringfence.yaml")


def test_travel_names_a_place_and_whose_journeys_count() -> None:
    scenario = scenario_with({"place": PLACE, "of": ["witness", "claimant"]})
    assert scenario.travel == Travel(latitude="lat", longitude="lon", roles=("witness", "claimant"))
    names = [attribute.name for attribute in scenario.value_attributes]
    assert [names[column] for column in scenario.place_columns] == PLACE
    assert [role.name for role in scenario.roles if scenario.travels(role)] == ["claimant", "witness"]


def test_a_place_may_be_looked_up() -> None:
    degrees = {
        name: {"lookup": {"file": "places.csv", "key": "code", "value": name}, "field": "postcode", "type": "number"}
        for name in ("north", "east")
    }
    scenario = scenario_with({"place": ["north", "east"], "of": ["claimant"]}, derive=degrees)
    names = [attribute.name for attribute in scenario.value_attributes]
    assert [names[column] for column in scenario.place_columns] == ["north", "east"]


def test_without_travel_nobody_travels() -> None:
    scenario = scenario_with(None)
    assert scenario.travel is None
    assert scenario.place_columns == ()
    assert not any(map(scenario.travels, scenario.roles))


@pytest.mark.parametrize(("travel", "path", "part"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_travel_that_cannot_be_followed_is_refused_where_it_stands(travel: Any, path: str, part: str) -> None:
    with pytest.raises(ScenarioFileError) as refusal:
        scenario_with(travel)
    assert refusal.value.path == f"motor-claims.{path}"
    assert part in str(refusal.value)


def test_a_derived_speed_is_told_where_it_is_written() -> None:
    with pytest.raises(ScenarioFileError, match="travel_kmh") as refusal:
        scenario_with(None, derive={"v": {"speed": {"of": "claimant"}}})
    assert refusal.value.path == "motor-claims.events.claim.derive.v"
