# SPDX-License-Identifier: Apache-2.0
"""Tables without times or entities: no feature asks what such events cannot answer."""

from __future__ import annotations

import pytest

from ringfence.engine import Catalogue
from ringfence.scenario.load import scenario_from_mapping

CALENDAR = {"event.hour", "event.weekday", "event.weekend", "event.night", "event.month_day"}


def catalogue_with(**event: object) -> Catalogue:
    loan = {"event_id": "row", "attributes": {"rate": "number", "state": "category"}, **event}
    mapping = {"decide": "loan", "sources": {"loan": "loans.csv"}, "events": {"loan": loan}}
    return Catalogue.build(scenario_from_mapping("loans", mapping, where="test"))


def test_events_without_time_and_entities_have_what_they_are_given_and_no_more() -> None:
    catalogue = catalogue_with()
    assert catalogue.names == ("attribute.rate", "attribute.state")
    assert catalogue.families == ("event",)


def test_events_without_time_have_no_calendar() -> None:
    catalogue = catalogue_with(entities={"person": "person"})
    assert not CALENDAR & set(catalogue.names)
    assert {"one_hop", "neighbour_risk"} <= set(catalogue.families)


@pytest.mark.parametrize("event", [{}, {"entities": {"person": "person"}}])
def test_events_with_time_have_one(event: dict[str, object]) -> None:
    assert set(catalogue_with(event_time="at", **event).names) >= CALENDAR


def test_events_without_entities_are_linked_to_none() -> None:
    names = catalogue_with(event_time="at").names
    assert not [name for name in names if "linked" in name or "others" in name or "fraud" in name]
