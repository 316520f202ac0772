# SPDX-License-Identifier: Apache-2.0
"""What feature rows are of: equal hashes mean equal values from equal records, and only such rows may be mixed."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from ringfence.engine import layout as at
from ringfence.engine.memory import Room
from ringfence.engine.sample_features import sampling_spec
from ringfence.rings import TICK_VERSION
from ringfence.scenario.spec import Scenario


def spec_hash(
    scenario: Scenario, features: list[tuple[str, int]], room: Room, *, neighbourhoods: int | None, rings: bool
) -> str:
    """Hash what decides values: the row's columns, and the parts of the scenario that the fold reads. 32 hex digits.

    Parameters
    ----------
    features : names and versions, in the order of the row.
    neighbourhoods : events sampled per seat, None without sampling.
    rings : the family is on.
    """
    decides: dict[str, Any] = {
        "decide": scenario.decide,
        "event_types": [
            [
                event_type.name,
                event_type.index,
                [column.role for column in event_type.roles],
                [[attribute.name, attribute.type] for attribute in event_type.attributes if attribute.is_feature],
                None if event_type.amount is None else [event_type.amount.currency, event_type.amount.digits],
            ]
            for event_type in scenario.event_types
        ],
        "roles": [[role.name, role.entity_type, role.index, role.many, role.hub_cap] for role in scenario.roles],
        "windows_ms": list(scenario.windows_ms),
        "time_zone": scenario.time_zone,
        "max_lateness_ms": scenario.max_lateness_ms,
        "label_precedence": list(scenario.label_precedence),
        "features": [list(feature) for feature in features],
        "room": list(room),
        "constants": [at.RECENT, at.RECENT_MEAN, at.RECENT_LABELS, at.PAIR_FAN, at.LARGE, at.RATE_STRENGTH],
        "link constants": [at.LAST, at.STORED_LINKS, at.MOST_NODES, at.SIMILAR_MS, at.SIMILAR],
    }
    in_order = [role.name for role in scenario.roles if role.sequence]
    if in_order:  # events of other types are kept for them, sampled or not: what is forgotten is the same
        decides["sequences"] = in_order
    if scenario.segments:
        decides["segments"] = [*scenario.segments, at.SEGMENT_FRAUDS, at.MOST_SEGMENTS]
    if scenario.travel is not None:
        decides["travel"] = [*msgspec.structs.astuple(scenario.travel), at.LEAST_TRAVEL_MS]
    derived = [
        [event_type.name, one.name, one.definition, one.table_digest]
        for event_type in scenario.event_types
        for one in event_type.derived
    ]
    if derived:
        decides["derived"] = derived
    if neighbourhoods is not None:
        decides["neighbourhoods"] = sampling_spec(scenario, neighbourhoods)
    if rings:
        strong = [role.name for role in scenario.roles if role.strong]
        decides["rings"] = [strong, *msgspec.structs.astuple(scenario.rings), TICK_VERSION]
    label = scenario.decided.label
    if label is not None:
        decides["legit_after_ms"] = label.legit_after_ms
        if label.outcome is not None:
            decides["outcome"] = msgspec.structs.astuple(label.outcome)
    return hashlib.blake2b(msgspec.json.encode(decides), digest_size=16).hexdigest()
