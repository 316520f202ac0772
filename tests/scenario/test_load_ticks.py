# SPDX-License-Identifier: Apache-2.0
"""`ticks:` as it is read, and what is said where it cannot be followed."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from ringfence.scenario.errors import ScenarioFileError
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import EntityTicks, Outcome, Scenario

DAY_MS = 86_400_000
CHURN: dict[str, Any] = {
    "decide": "look",
    "ticks": {"role": "customer", "every": "30d", "active": "90d"},
    "sources": {"purchase": "purchases.csv", "cancellation": "cancellations.csv"},
    "events": {
        "look": {"entities": {"customer": "customer_id"}, "label": {"event": "cancellation", "horizon": "60d"}},
        "purchase": {"event_id": "id", "event_time": "at", "entities": {"customer": "who", "shop": "shop"}},
        "cancellation": {"event_id": "id", "event_time": "at", "entities": {"customer": "who"}},
    },
}
CASES: list[tuple[str, str, Any, str, str]] = [
    ("of nobody", "ticks", {"every": "30d"}, "ticks.role", "found nothing"),
    ("of an unknown role", "ticks.role", "shop", "ticks.role", "customer"),
    ("never", "ticks", {"role": "customer"}, "ticks.every", "found nothing"),
    ("every second", "ticks.every", "1s", "ticks.every", "once an hour"),
    ("of nobody active", "ticks.active", "29d", "ticks.active", "1 to 10,000 times"),
    ("of an unknown key", "ticks.evry", "30d", "ticks.evry", "did you mean 'every'"),
    ("beside a column", "events.look.event_time", "at", "events.look.event_time", "beside `ticks`"),
    ("beside an attribute", "events.look.attributes", {"a": "number"}, "events.look.attributes", "beside `ticks`"),
    ("beside a label column", "events.look.label", {"field": "x", "delay": "0d"}, "events.look.label", "in a column"),
    ("beside files", "sources.look", "looks.csv", "ticks", "remove one of both"),
    ("of two roles", "events.look.entities.shop", "shop", "ticks.role", "the roles customer, shop"),
    ("of many", "events.look.entities.customer", {"column": "c", "many": True}, "ticks.role", "holds several"),
]


def changed(path: str, value: Any) -> dict[str, Any]:
    described = deepcopy(CHURN)
    *above, last = path.split(".")
    at = described
    for name in above:
        at = at[name]
    at[last] = value
    return described


def scenario_of(described: dict[str, Any]) -> Scenario:
    return scenario_from_mapping("churn", described, where="ringfence.yaml")


def test_ticks_make_the_decided_event_type() -> None:
    scenario = scenario_of(CHURN)
    assert scenario.ticks == EntityTicks(role="customer", every_ms=30 * DAY_MS, active_ms=90 * DAY_MS)
    assert scenario.ticks.n_active == 3
    look = scenario.decided
    assert (look.event_id_column, look.event_time_column) == ("tick_id", "tick_time")
    assert look.label is not None
    assert look.label.outcome == Outcome(event_type="cancellation", role="customer", horizon_ms=60 * DAY_MS)


def test_an_entity_is_active_for_a_year_or_a_period_unless_said() -> None:
    assert scenario_of(changed("ticks", {"role": "customer", "every": "7d"})).ticks == EntityTicks(
        role="customer", every_ms=7 * DAY_MS, active_ms=365 * DAY_MS
    )
    longer = scenario_of(changed("ticks", {"role": "customer", "every": "400d"})).ticks
    assert longer is not None
    assert longer.active_ms == 400 * DAY_MS


def test_a_role_that_only_ticks_name_is_refused() -> None:
    described = changed("ticks.role", "firm")
    described["events"]["look"] = {"entities": {"firm": "firm_id"}}
    with pytest.raises(ScenarioFileError, match="no other event type names"):
        scenario_of(described)


@pytest.mark.parametrize(("at", "value", "path", "part"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_ticks_that_cannot_be_followed_are_refused_where_they_stand(at: str, value: Any, path: str, part: str) -> None:
    with pytest.raises(ScenarioFileError) as refusal:
        scenario_of(changed(at, value))
    assert refusal.value.path == f"churn.{path}"
    assert part in str(refusal.value)
