# SPDX-License-Identifier: Apache-2.0
"""`ticks:` of a scenario: decided events that no file holds, one for each entity at fixed times."""

from __future__ import annotations

from typing import Final

from ringfence.scenario.duration import DAY_MS, HOUR_MS
from ringfence.scenario.node import Node
from ringfence.scenario.spec import EntityTicks, EventType, Role

TICK_ID: Final = "tick_id"  # columns of the decided event type, as `ringfence ticks` writes them
TICK_TIME: Final = "tick_time"
USUAL_ACTIVE_MS: Final = 365 * DAY_MS
MOST_PERIODS: Final = 10_000  # ticks that one event can cause
_OF_FILES: Final = ("event_id", "event_time", "amount", "attributes", "derive")


def check_ticked(entry: Node) -> None:
    """Insist that the decided event type asks for nothing that only a file could give.

    Raises
    ------
    ScenarioFileError
        If it names a column, or its label lies in one.
    """
    for key in _OF_FILES:
        given = entry.get(key)
        if given is not None:
            raise given.error(f"`{key}` beside `ticks`", "ticks make these events, and nothing but a role; remove it")
    label = entry.get("label")
    if label is not None and isinstance(label.value, dict) and "field" in label.value:
        raise label.error("a label in a column beside `ticks`", "name the event that tells: {event: …, horizon: …}")


def read_ticks(
    node: Node | None, event_types: tuple[EventType, ...], roles: tuple[Role, ...], sources: list[str]
) -> EntityTicks | None:
    """Read whose ticks there are, and how often.

    Parameters
    ----------
    event_types : the decided one first.
    sources : event types that have files.

    Raises
    ------
    ScenarioFileError
        At the first thing that cannot be followed.
    """
    if node is None:
        return None
    node.keys(("role", "every", "active"))
    decided, *others = event_types
    named = node.required("role", "name the role of the decided event type, such as `role: customer`")
    own = [column.role for column in decided.roles]
    role = named.choice(own) if own else named.text()
    if own != [role]:
        found = f"{decided.name!r} with the roles {', '.join(own)}" if own else f"{decided.name!r} without a role"
        raise named.error(
            found, f"a tick names one entity: write `entities: {{{role}: {role}_id}}` under {decided.name}"
        )
    if next(one for one in roles if one.name == role).many:
        raise named.error(f"{role!r}, a role that holds several", "a tick names one entity; take another role")
    telling = [one for one in others if any(column.role == role for column in one.roles)]
    if not telling:
        raise named.error(
            f"{role!r}, which no other event type names", "give the role to an event type whose events make it active"
        )
    if decided.name in sources:
        raise node.error(f"files of {decided.name!r} under `sources`", "ticks make these events; remove one of both")
    every = node.required("every", "write how often, such as `every: 30d`")
    every_ms = every.duration()
    if every_ms < HOUR_MS:
        raise every.error(repr(every.value), "a tick for each entity comes once an hour at most")
    active = node.get("active")
    active_ms = max(USUAL_ACTIVE_MS, every_ms) if active is None else active.duration()
    if not every_ms <= active_ms <= MOST_PERIODS * every_ms:
        raise (active or every).error(
            f"{active_ms // every_ms:,} ticks while active", f"`active` is 1 to {MOST_PERIODS:,} times `every`"
        )
    return EntityTicks(role=role, every_ms=every_ms, active_ms=active_ms)
