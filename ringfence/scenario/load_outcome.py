# SPDX-License-Identifier: Apache-2.0
"""`label: {event, horizon, by}`: the truth about an event lies in whether another one follows."""

from __future__ import annotations

from typing import Final

from ringfence.scenario.duration import SECOND_MS
from ringfence.scenario.node import Node
from ringfence.scenario.spec import EventType, Label, Outcome

COLUMN_KEYS: Final = ("field", "values", "known_at", "delay", "absent", "source")
_OUTCOME_KEYS: Final = ("event", "horizon", "by")
_RESERVED: Final = "matured"


def is_by_outcome(label: Node) -> bool:
    """Whether a label is told by a later event and not by a column."""
    return isinstance(label.value, dict) and any(key in label.value for key in _OUTCOME_KEYS)


def read_outcome(node: Node, event_types: tuple[EventType, ...]) -> Label:
    """Read the label of the decided event type, which is the first of `event_types`.

    Raises
    ------
    ScenarioFileError
        At the first thing that cannot be followed.
    """
    node.keys((*_OUTCOME_KEYS, *COLUMN_KEYS))
    for key in COLUMN_KEYS:
        other = node.get(key)
        if other is not None:
            raise other.error(
                f"`{key}` beside `event`",
                "the truth lies in a column (field, values, …) or in a later event (event, horizon, by); keep one "
                "form, without what belongs to the other",
            )
    decided = event_types[0]
    event = node.required("event", "name the event type that tells, such as `event: default`")
    name = event.choice([event_type.name for event_type in event_types])
    if name == _RESERVED:
        raise event.error(repr(name), "labels carry its name as their source, and this word is reserved; rename it")
    outcome = next(event_type for event_type in event_types if event_type.name == name)
    for event_type in (decided, outcome):
        if event_type.event_time_column is None:
            raise event.error(
                f"{event_type.name!r} has no event_time", "a horizon is time between two events: name their columns"
            )
    horizon = node.required("horizon", "write how long after the event it still counts, such as 365d")
    horizon_ms = horizon.duration()
    if horizon_ms < SECOND_MS:
        raise horizon.error(repr(horizon.value), "a horizon is at least 1s long")
    return Label(
        outcome=Outcome(event_type=name, role=_role(node, decided, outcome), horizon_ms=horizon_ms),
        legit_after_ms=horizon_ms + 1,  # at the very end of the horizon an outcome still counts
        source=name,
    )


def _role(node: Node, decided: EventType, outcome: EventType) -> str:
    named = {column.role for column in outcome.roles}
    shared = [column.role for column in decided.roles if column.role in named]
    if not shared:
        raise node.error(
            f"no role that both {decided.name!r} and {outcome.name!r} name",
            "give both a role of the same name under `entities`: whom both are about",
        )
    by = node.get("by")
    if by is not None:
        if by.value not in shared:
            raise by.error(
                repr(by.value), f"name a role of both {decided.name!r} and {outcome.name!r}: {', '.join(shared)}"
            )
        return by.text()
    if len(shared) > 1:
        raise node.error(
            f"{len(shared)} roles that both {decided.name!r} and {outcome.name!r} name",
            f"say which one tells that an event follows the other, such as `by: {shared[0]}`; one of "
            + ", ".join(shared),
        )
    return shared[0]
