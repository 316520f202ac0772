# SPDX-License-Identifier: Apache-2.0
"""What the state knows of one entity, for whoever asks `/v1/entities`."""

from __future__ import annotations

import math
from typing import Final

from ringfence.engine.engine import Engine
from ringfence.ledger.ledger import Ledger
from ringfence.serving import wire

_RECENT_EVENTS: Final = 20


def entity_at(
    engine: Engine, ledger: Ledger, entity_type: str, entity_id: str, as_of_ms: int
) -> wire.EntityAnswer | None:
    """Describe an entity as of a moment, by the state as it is; None where no event ever named it.

    The scenario is that of the state: the door may let in by another one already, while a release is being switched.
    """
    scenario = engine.catalogue.scenario
    hi, lo = ledger.identity.entity(entity_type, entity_id)
    decided = scenario.decided
    digits = decided.amount.digits if decided.amount is not None else 0
    roles: dict[str, wire.EntityRole] = {}
    for column in decided.roles:
        role = scenario.role(column.role)
        if role.entity_type != entity_type:
            continue
        recent = engine.recent_at(role.name, lo, as_of_ms, _RECENT_EVENTS)
        roles[role.name] = wire.EntityRole(
            features={
                name: None if math.isnan(value) else value
                for name, value in engine.entity_at(role.name, lo, hi, as_of_ms).items()
            },
            recent_events=[
                wire.RecentEvent(
                    event_time=wire.iso(event.event_time_ms),
                    amount=None if event.amount_minor is None else event.amount_minor / 10**digits,
                )
                for event in recent
            ],
        )
    digest = hi.to_bytes(8, "big") + lo.to_bytes(8, "big")
    known = bool(ledger.entity_names([digest])) or any(role.recent_events for role in roles.values())
    if not known:
        return None
    return wire.EntityAnswer(
        entity_type=entity_type, entity_id=entity_id, as_of=wire.iso(as_of_ms), as_of_seq=engine.seq, roles=roles
    )
