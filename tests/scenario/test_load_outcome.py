# SPDX-License-Identifier: Apache-2.0
"""`label: {event, horizon, by}`: what it says, and every way to say it wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ringfence.scenario.errors import ScenarioFileError
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Outcome, Scenario

DAY_MS = 86_400_000
LABEL = {"event": "default", "horizon": "365d"}


def loans(label: Any, **default: Any) -> Scenario:
    """Loans of a customer at a branch; `default` changes the event type that tells."""
    return scenario_from_mapping(
        "loans",
        {
            "decide": "loan",
            "events": {
                "default": {"event_id": "id", "event_time": "at", "entities": {"customer": "c", "agency": "a"}}
                | default,
                "loan": {
                    "event_id": "id",
                    "event_time": "at",
                    "entities": {"customer": "c", "branch": "b"},
                    "label": label,
                },
                "matured": {"event_id": "id", "event_time": "at", "entities": {"customer": "c"}},
            },
        },
        where="loans.yaml",
    )


def test_the_one_role_that_both_event_types_name_needs_no_word() -> None:
    label = loans(LABEL).decided.label
    assert label is not None
    assert label == loans(LABEL | {"by": "customer"}).decided.label
    assert label.outcome == Outcome(event_type="default", role="customer", horizon_ms=365 * DAY_MS)
    assert (label.column, label.known_at_column, label.delay_ms) == (None, None, None)
    assert label.source == "default"
    assert label.legit_after_ms == label.settled_after_ms == 365 * DAY_MS + 1


BOTH = {"customer": "c", "branch": "b"}
MISTAKES: list[tuple[str, Any, dict[str, Any], str, str]] = [
    ("a column beside it", LABEL | {"field": "bad"}, {}, "label.field", "keep one form"),
    ("an absence beside it", LABEL | {"absent": "unlabelled"}, {}, "label.absent", "keep one form"),
    ("an unknown key", LABEL | {"within": "1d"}, {}, "label.within", "unknown key"),
    ("no event", {"horizon": "1d"}, {}, "label.event", "found nothing"),
    ("no horizon", {"event": "default"}, {}, "label.horizon", "found nothing"),
    ("an unknown event type", LABEL | {"event": "defaults"}, {}, "label.event", "default"),
    ("a horizon without length", LABEL | {"horizon": "0s"}, {}, "label.horizon", "at least 1s"),
    ("a horizon without unit", LABEL | {"horizon": 30}, {}, "label.horizon", "90d"),
    ("a reserved word as source", LABEL | {"event": "matured"}, {}, "label.event", "reserved"),
    ("an event type without times", LABEL, {"event_time": None}, "label.event", "'default' has no event_time"),
    ("nobody in common", LABEL, {"entities": {"agency": "a"}}, "loan.label", "no role that both 'loan' and 'default'"),
    ("several in common", LABEL, {"entities": BOTH}, "loan.label", "by: customer`; one of customer, branch"),
    ("a role of one only", LABEL | {"by": "branch"}, {}, "label.by", "of both 'loan' and 'default': customer"),
]


@pytest.mark.parametrize(
    ("label", "default", "path", "part"), [pytest.param(*rest, id=what) for what, *rest in MISTAKES]
)
def test_mistake_is_named_with_its_path_and_what_to_do(
    label: Any, default: dict[str, Any], path: str, part: str
) -> None:
    with pytest.raises(ScenarioFileError) as caught:
        loans(label, **default)
    assert path in str(caught.value)
    assert part in str(caught.value)
