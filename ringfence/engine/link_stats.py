# SPDX-License-Identifier: Apache-2.0
"""What an entity's last events and the entities it met there tell: one hop away, and the frauds known there.

The last 16 events are looked at, and entities with more events than their role's `hub_cap` are passed over: everybody
meets them, so they link nobody.
"""

from __future__ import annotations

from typing import Final

from ringfence.engine import layout as at
from ringfence.engine.stats import BRIEF, COMPACT, NEIGHBOUR_RISK, NO_ENTITY, ONE_HOP, Stat

_NOBODY: Final = f"{NO_ENTITY}, or it met nobody in its last events"
_LAST: Final = f"in its last {at.LAST} events"
_BAND: Final = f"{at.SIMILAR:.0%}"
_SPAN: Final = f"{at.SIMILAR_MS // at.DAY_MS} days"

LINK_STATS: Final[tuple[Stat, ...]] = (
    Stat(
        name="others",
        source=at.L_OTHERS,
        family=ONE_HOP,
        unit="entities",
        detail=COMPACT,
        sentence=f"different entities that {{role}} met {_LAST}",
    ),
    Stat(
        name="others_repeat",
        source=at.L_REPEAT,
        family=ONE_HOP,
        unit="events per entity",
        missing=_NOBODY,
        sentence=f"how often {{role}} met each of the entities {_LAST}",
    ),
    Stat(
        name="shared",
        source=at.L_SHARED,
        family=ONE_HOP,
        unit="entities",
        detail=BRIEF,
        sentence=f"other entities of this event that {{role}} met {_LAST}",
    ),
    Stat(
        name="shared_most",
        source=at.L_SHARED_MOST,
        family=ONE_HOP,
        unit="entities",
        detail=COMPACT,
        sentence="most other entities of this event that a single earlier event of {role} named as well",
    ),
    Stat(
        name="common",
        source=at.L_COMMON,
        family=ONE_HOP,
        unit="entities",
        detail=BRIEF,
        sentence=f"entities that {{role}} met {_LAST} and that another entity of this event met as well",
    ),
    Stat(
        name="similar",
        source=at.L_SIMILAR,
        family=ONE_HOP,
        unit="events",
        detail=COMPACT,
        amount=True,
        sentence=f"events of {{role}} in the last {_SPAN} within {_BAND} of this amount, among its last {at.LAST}",
    ),
    Stat(
        name="others_events_mean",
        source=at.L_EVENTS_MEAN,
        family=ONE_HOP,
        unit="events",
        detail=COMPACT,
        missing=_NOBODY,
        sentence=f"mean number of events of the entities that {{role}} met {_LAST}",
    ),
    Stat(
        name="others_events_max",
        source=at.L_EVENTS_MAX,
        family=ONE_HOP,
        unit="events",
        missing=_NOBODY,
        sentence=f"largest number of events of an entity that {{role}} met {_LAST}",
    ),
    Stat(
        name="others_once",
        source=at.L_ONCE,
        family=ONE_HOP,
        unit="share",
        missing=_NOBODY,
        sentence=f"share of the entities that {{role}} met {_LAST} which have no other event",
    ),
    Stat(
        name="is_hub",
        source=at.L_IS_HUB,
        family=ONE_HOP,
        unit="0/1",
        detail=BRIEF,
        sentence="{role} has more events than its hub cap: it is left out where others are linked",
    ),
    Stat(
        name="others",
        source=at.L_WINDOWED,
        family=ONE_HOP,
        unit="entities",
        windowed=True,
        sentence=f"different entities that {{role}} met in the last {{span}}, {_LAST}",
    ),
    Stat(
        name="others_fraud_count",
        source=at.L_FRAUDS,
        family=NEIGHBOUR_RISK,
        unit="events",
        detail=BRIEF,
        sentence=f"frauds confirmed so far of the entities that {{role}} met {_LAST}, apart from those they shared",
    ),
    Stat(
        name="others_fraud_share",
        source=at.L_FRAUD_SHARE,
        family=NEIGHBOUR_RISK,
        unit="share",
        detail=COMPACT,
        missing=_NOBODY,
        sentence=f"share of the entities that {{role}} met {_LAST} which have a confirmed fraud",
    ),
    Stat(
        name="others_fraud_rate",
        source=at.L_RATE_MEAN,
        family=NEIGHBOUR_RISK,
        unit="probability",
        smoothed=True,
        detail=COMPACT,
        sentence=f"mean share of confirmed frauds of the entities that {{role}} met {_LAST}, each shrunk towards that "
        "of all entities",
    ),
    Stat(
        name="others_fraud_rate_max",
        source=at.L_RATE_MAX,
        family=NEIGHBOUR_RISK,
        unit="probability",
        smoothed=True,
        detail=BRIEF,
        sentence=f"largest share of confirmed frauds of an entity that {{role}} met {_LAST}, shrunk towards that of "
        "all entities",
    ),
    Stat(
        name="shared_fraud",
        source=at.L_SHARED_FRAUD,
        family=NEIGHBOUR_RISK,
        unit="entities",
        detail=COMPACT,
        sentence=f"most other entities of this event that a single confirmed fraud of {{role}} {_LAST} named as well",
    ),
    Stat(
        name="near_fraud_count",
        source=at.L_NEAR,
        family=NEIGHBOUR_RISK,
        unit="events",
        detail=COMPACT,
        sentence="confirmed frauds of the entities that {role} met, once for each way to them",
    ),
    Stat(
        name="far_fraud_count",
        source=at.L_FAR,
        family=NEIGHBOUR_RISK,
        unit="events",
        detail=BRIEF,
        sentence=f"confirmed frauds two steps away: of those met by the entities that {{role}} met {_LAST}",
    ),
)

TOGETHER_STATS: Final[tuple[Stat, ...]] = (
    Stat(
        name="linked_events",
        source=at.X_EVENTS,
        family=ONE_HOP,
        unit="events",
        missing="never",
        sentence=f"earlier events that share an entity with this one, among the last {at.LAST} of each entity",
    ),
    Stat(
        name="shared_most",
        source=at.X_MOST_SHARED,
        family=ONE_HOP,
        unit="entities",
        missing="never",
        sentence="most further entities that an earlier event shares with this one, beside the one they are linked by",
    ),
    Stat(
        name="others",
        source=at.X_OTHERS,
        family=ONE_HOP,
        unit="entities",
        missing="never",
        sentence=f"different entities that this event's entities met {_LAST}",
    ),
    Stat(
        name="common",
        source=at.X_COMMON,
        family=ONE_HOP,
        unit="entities",
        missing="never",
        sentence=f"entities that several of this event's entities met {_LAST}, apart from each other",
    ),
    Stat(
        name="linked_fraud_count",
        source=at.X_FRAUDS,
        family=NEIGHBOUR_RISK,
        unit="events",
        missing="never",
        sentence="confirmed frauds among the earlier events that share an entity with this one",
    ),
    Stat(
        name="linked_fraud_rate",
        source=at.X_RATE,
        family=NEIGHBOUR_RISK,
        unit="probability",
        smoothed=True,
        missing="never",
        sentence="share of confirmed frauds among the known events that share an entity with this one, shrunk towards "
        "that of all events",
    ),
    Stat(
        name="others_fraud_count",
        source=at.X_OTHERS_FRAUDS,
        family=NEIGHBOUR_RISK,
        unit="events",
        missing="never",
        sentence=f"frauds confirmed so far of the entities that this event's entities met {_LAST}",
    ),
    Stat(
        name="others_fraud_share",
        source=at.X_OTHERS_SHARE,
        family=NEIGHBOUR_RISK,
        unit="share",
        missing="no entity of the event met anybody",
        sentence=f"share of the entities met {_LAST} by this event's entities which have a confirmed fraud",
    ),
    Stat(
        name="others_fraud_rate",
        source=at.X_OTHERS_RATE,
        family=NEIGHBOUR_RISK,
        unit="probability",
        smoothed=True,
        missing="never",
        sentence=f"share of confirmed frauds among the known events of the entities met {_LAST} by this event's "
        "entities, shrunk towards that of all events",
    ),
    Stat(
        name="others_fraud_rate_max",
        source=at.X_OTHERS_RATE_MAX,
        family=NEIGHBOUR_RISK,
        unit="probability",
        smoothed=True,
        missing="never",
        sentence="largest share of confirmed frauds of an entity that this event's entities met, shrunk towards that "
        "of all events",
    ),
    Stat(
        name="far_fraud_count",
        source=at.X_FAR,
        family=NEIGHBOUR_RISK,
        unit="events",
        missing="never",
        sentence=f"confirmed frauds of those met by the entities that this event's entities met {_LAST}",
    ),
)
