# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""What a tick takes from the state when it begins, and what it lays out for features to read."""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence.engine import layout
from ringfence.rings import NEVER_MS

SLOT_BITS = 32 - layout.ROLE_BITS  # of a link's key; its life has the bits above
_SLOT_BITS, _SLOT_MASK = np.uint64(SLOT_BITS), np.uint64((1 << SLOT_BITS) - 1)
_ROLE_BITS, _ROLE_MASK = np.uint32(layout.ROLE_BITS), np.uint32((1 << layout.ROLE_BITS) - 1)


@njit(cache=True, nogil=True, _nrt=False)
def first_young(stored, n_stored, number, after_ms):
    """Return the number of the first stored event from `number` on that is later than `after_ms`, else `n_stored`."""
    mask = stored.shape[0] - 1
    number = max(number, n_stored - stored.shape[0])
    while number < n_stored and stored[number & mask]["time_ms"] <= after_ms:
        number += 1
    return number


@njit(cache=True, nogil=True, _nrt=False)
def copy_births(nodes, born, lives):
    """Copy `born` and `lives` of the first nodes; both in one pass, since reading the rows is what it costs."""
    for slot in range(born.shape[0]):
        born[slot] = nodes[slot]["born"]
        lives[slot] = nodes[slot]["lives"]


@njit(cache=True, nogil=True, _nrt=False)
def count_links(events, first, after_ms, born, lives):
    """Return the young ones among frozen events, and their links to entities that still have their slot."""
    n_events, n_links = 0, 0
    for i in range(events.shape[0]):
        event = events[i]
        if event["time_ms"] <= after_ms:
            continue
        n_events += 1
        for k in range(event["n_links"]):
            slot = np.int64(event["links"][k] >> _ROLE_BITS)
            if born.shape[0] == 0 or first + i >= born[slot]:
                n_links += 1
    return n_events, n_links


@njit(cache=True, nogil=True, _nrt=False)
def lay_out_links(
    events, first, after_ms, born, lives, event_key, event_time_ms, event_label, amount_minor, link_event, link_key,
    link_role,
):  # fmt: skip
    """Write what `count_links` counts to arrays of these lengths, as in Links; of `born` and `lives`, none or all."""
    n_events, n_links = 0, 0
    for i in range(events.shape[0]):
        event = events[i]
        if event["time_ms"] <= after_ms:
            continue
        event_key[n_events] = event["seq"]
        event_time_ms[n_events] = event["time_ms"]
        event_label[n_events] = event["label"]
        amount_minor[n_events] = event["amount"]
        for k in range(event["n_links"]):
            word = event["links"][k]
            slot = np.int64(word >> _ROLE_BITS)
            if born.shape[0] > 0 and first + i < born[slot]:
                continue
            life = np.uint64(lives[slot]) if born.shape[0] > 0 else np.uint64(0)
            link_event[n_links] = n_events
            link_key[n_links] = np.uint64(slot) | life << _SLOT_BITS
            link_role[n_links] = word & _ROLE_MASK
            n_links += 1
        n_events += 1


@njit(cache=True, nogil=True, _nrt=False)
def lay_out(entities, rings, node_rings, n_before):
    """Write what a tick says of each entity to its slot's row of `node_rings`; rows of others are outside rings.

    `entities`, `rings`: as in a Tick whose keys are slot and life. `n_before`: rows that may hold another tick's.
    """
    for slot in range(n_before):
        row = node_rings[slot]
        row["risk"] = 0.0
        row["ring_risk"] = 0.0
        row["founded_ms"] = 0
        row["ring"] = 0
        row["n_entities"] = 0
        row["n_events"] = 0
        row["grown_entities"] = 0
        row["grown_events"] = 0
        row["n_known"] = 0
        row["n_fraud"] = 0
        row["life"] = 0
    for i in range(entities.shape[0]):
        entity = entities[i]
        row = node_rings[np.int64(entity["key"] & _SLOT_MASK)]
        row["life"] = np.int64(entity["key"] >> _SLOT_BITS)
        row["risk"] = entity["risk"]
        row["founded_ms"] = NEVER_MS
        if entity["ring"] < 0:
            continue
        ring = rings[entity["ring"]]
        row["ring"] = entity["ring"] + 1
        row["ring_risk"] = ring["risk"]
        row["founded_ms"] = ring["founded_ms"]
        row["n_entities"] = ring["n_entities"]
        row["n_events"] = ring["n_events"]
        row["grown_entities"] = ring["grown_entities"]
        row["grown_events"] = ring["grown_events"]
        row["n_known"] = ring["n_known"]
        row["n_fraud"] = ring["n_fraud"]
