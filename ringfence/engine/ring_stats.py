# SPDX-License-Identifier: Apache-2.0
"""What the tick in effect says: the ring an entity belongs to, and the risk that known fraud passes on to it."""

from __future__ import annotations

from typing import Final

from ringfence.engine import layout as at
from ringfence.engine.stats import BRIEF, COMPACT, NO_ENTITY, RINGS, Stat

_NO_RING: Final = f"{NO_ENTITY}, or it belonged to no ring at the last tick"
_NO_LABEL: Final = f"{NO_ENTITY}, or no event of its ring was known at the last tick"


def _stat(name: str, source: int, unit: str, sentence: str, detail: int, missing: str = NO_ENTITY) -> Stat:
    return Stat(name=name, source=source, family=RINGS, unit=unit, sentence=sentence, detail=detail, missing=missing)


RISK_STAT: Final = _stat(
    "risk",
    at.R_OWN_RISK,
    "score",
    "risk that known fraud passed on to {role} at the last tick (BiRank)",
    BRIEF,
)

# Only for roles that can belong to a ring: those marked `strong`.
RING_STATS: Final[tuple[Stat, ...]] = (
    _stat("ring_entities", at.R_ENTITIES, "entities", "entities in the ring of {role} at the last tick", COMPACT),
    _stat("ring_events", at.R_EVENTS, "events", "events in the ring of {role} at the last tick", BRIEF),
    _stat("ring_grew", at.R_GREW_EVENTS, "events", "events by which the ring of {role} had grown in a tick", COMPACT),
    _stat("ring_age_days", at.R_AGE, "days", "days since the first event of the ring of {role}", COMPACT, _NO_RING),
    _stat("ring_fraud_count", at.R_FRAUDS, "events", "frauds in the ring of {role} known at the last tick", BRIEF),
    _stat(
        "ring_fraud_share",
        at.R_FRAUD_SHARE,
        "share",
        "share of frauds among the known events of the ring of {role} at the last tick",
        COMPACT,
        _NO_LABEL,
    ),
    _stat("ring_risk", at.R_RISK, "score", "mean risk of the events of the ring of {role} at the last tick", COMPACT),
)

_NONE: Final = "no entity of the event belonged to a ring at the last tick"

EVENT_RING_STATS: Final[tuple[Stat, ...]] = (
    _stat("rings", at.R_RINGS, "rings", "different rings that the event's entities belong to", BRIEF, "never"),
    _stat("ring_entities", at.R_ENTITIES, "entities", "entities in the largest of these rings", BRIEF, "never"),
    _stat("ring_events", at.R_EVENTS, "events", "events in the largest of these rings", BRIEF, "never"),
    _stat(
        "ring_grew_entities", at.R_GREW_ENTITIES, "entities", "most entities a ring gained in a tick", BRIEF, "never"
    ),
    _stat(
        "ring_grew", at.R_GREW_EVENTS, "events", "most events that one of these rings gained in a tick", BRIEF, "never"
    ),
    _stat("ring_age_days", at.R_AGE, "days", "days since the first event of the oldest of these rings", BRIEF, _NONE),
    _stat("ring_fraud_count", at.R_FRAUDS, "events", "most frauds known in one of these rings", BRIEF, "never"),
    _stat(
        "ring_fraud_share",
        at.R_FRAUD_SHARE,
        "share",
        "largest share of frauds among the known events of one of these rings",
        BRIEF,
        f"{_NONE}, or no event of these rings was known",
    ),
    _stat("ring_risk", at.R_RISK, "score", "largest mean risk of these rings at the last tick", BRIEF, "never"),
    _stat("risk", at.R_OWN_RISK, "score", "largest risk passed on to an entity of the event (BiRank)", BRIEF, "never"),
)
