# SPDX-License-Identifier: Apache-2.0
"""The slow readable twins of what a tick takes from the state, and of what it lays out for features to read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine.state import State
from ringfence.rings import Tick, readings

SLOT_BITS = 27


def slow_node_rings(tick: Tick, n_slots: int) -> NDArray[np.void]:
    """Spread the readings of a tick over slots, one at a time."""
    rows = np.zeros(n_slots, at.NODE_RING)
    for entity, reading in zip(tick.entities, readings(tick), strict=True):
        row = rows[int(reading["key"]) % (1 << SLOT_BITS)]
        row["life"] = int(reading["key"]) >> SLOT_BITS
        row["ring"] = entity["ring"] + 1
        for name in set(at.NODE_RING.names or ()) - {"life", "ring"}:
            row[name] = reading[name]
    return rows


def slow_links(state: State, after_ms: int) -> list[tuple[int, int, int, int, list[tuple[int, int]]]]:
    """Look at every event that was ever stored: (seq, time, label, amount, its (key, role) of living entities)."""
    found = []
    n_stored, capacity = int(state.meta[at.N_STORED]), len(state.stored)
    for number in range(n_stored):
        event = state.stored[number % capacity]
        if number < n_stored - capacity or event["time_ms"] <= after_ms:
            continue
        links = []
        for word in event["links"][: event["n_links"]].tolist():
            slot, role = divmod(word, 1 << at.ROLE_BITS)
            node = state.nodes[slot]
            if number >= node["born"]:
                links.append((int(node["lives"]) * (1 << SLOT_BITS) + slot, role))
        found.append((*(int(event[name]) for name in ("seq", "time_ms", "label", "amount")), links))
    return found
