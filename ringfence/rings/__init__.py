# SPDX-License-Identifier: Apache-2.0
"""Who acts together? Components over what few people share, risk that spreads from known fraud, rings with evidence.

Arrays in, arrays out: nothing here knows the ledger, the engine or a model. See docs/rings.md.
"""

from __future__ import annotations

from ringfence.rings.birank import Scores, birank, fraud_seeds, personalised_pagerank
from ringfence.rings.communities import communities, split_over_large
from ringfence.rings.components import Groups, components
from ringfence.rings.errors import (
    LinkShapeError,
    NoStrongRoleError,
    NotConvergedError,
    RingsError,
    RingSettingError,
    UnknownRingError,
)
from ringfence.rings.evidence import Evidence, spanning_evidence
from ringfence.rings.graph import NEVER_MS, Graph, Links, freeze
from ringfence.rings.reading import READING, readings
from ringfence.rings.ring import Member, Ring, RingEvent, RingOrder, describe, find_ring, outline, ring_name, top_rings
from ringfence.rings.settings import RingSettings
from ringfence.rings.survey import ENTITY, RING, TICK_VERSION, Survey, Tick, freeze_for, survey

__all__ = [
    "ENTITY",
    "NEVER_MS",
    "READING",
    "RING",
    "TICK_VERSION",
    "Evidence",
    "Graph",
    "Groups",
    "LinkShapeError",
    "Links",
    "Member",
    "NoStrongRoleError",
    "NotConvergedError",
    "Ring",
    "RingEvent",
    "RingOrder",
    "RingSettingError",
    "RingSettings",
    "RingsError",
    "Scores",
    "Survey",
    "Tick",
    "UnknownRingError",
    "birank",
    "communities",
    "components",
    "describe",
    "find_ring",
    "fraud_seeds",
    "freeze",
    "freeze_for",
    "outline",
    "personalised_pagerank",
    "readings",
    "ring_name",
    "spanning_evidence",
    "split_over_large",
    "survey",
    "top_rings",
]
