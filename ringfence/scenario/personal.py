# SPDX-License-Identifier: Apache-2.0
"""What is personal although it is no attribute."""

from __future__ import annotations

from ringfence.scenario.derived import Origin
from ringfence.scenario.spec import EventType, Scenario


def personal_roles(scenario: Scenario, event_type: EventType) -> frozenset[str]:
    """Name the roles whose entities are made of what is personal, at first or second hand."""
    personal = {attribute.name for attribute in event_type.attributes if attribute.personal}
    for one in event_type.derived:  # each is made of what stands before it
        made_of = {given.name for given in one.inputs if given.origin in (Origin.ATTRIBUTE, Origin.DERIVED)}
        if made_of & personal:
            personal.add(one.name)
    return frozenset(personal & {column.role for column in event_type.roles})
