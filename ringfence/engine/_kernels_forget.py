# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""Forget the entity or pair that has been idle long, to make room for a new one. Bounded work, and no pauses.

    rows   |.... .... .... ....|.... .... .... ....|...
            ^ hand              a hand goes round; of each group of eight rows the longest idle one is a candidate

A candidate that has been idle half as long as those before it is taken at once; otherwise the search goes on for up to
sixteen groups, and takes the longest idle of all. So who is seen often stays, wherever in memory it lies, although no
list is kept in order (compare the sampled eviction of Redis). Everything follows from the records: time is event time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence._kernels_touch import touch
from ringfence.engine import layout
from ringfence.engine._kernels_charts import clear_chart
from ringfence.engine._kernels_places import clear_place
from ringfence.engine._kernels_table import home_of, remove

IDLE_GROUP, IDLE_GROUPS = layout.IDLE_GROUP, layout.IDLE_GROUPS
KEY_HAND, KEY_IDLE_MS, KEYS_FORGOTTEN = layout.KEY_HAND, layout.KEY_IDLE_MS, layout.KEYS_FORGOTTEN


@njit(cache=True, nogil=True, _nrt=False)
def longest_idle(rows, hand, now_ms, usual_ms, in_use):
    """Return (row to forget, where the hand stands then, how long the row was idle).

    `in_use` holds rows that must stay, in any shape; there must be others among `rows`. `usual_ms`: how long those
    forgotten before had been idle.
    """
    n = rows.shape[0]
    best = np.int64(-1)
    best_ms = np.int64(0)
    n_groups = 0
    while best < 0 or n_groups < IDLE_GROUPS:
        for _ in range(IDLE_GROUP):
            hand += 1
            if hand >= n:
                hand = 0
            newest_ms = rows[hand]["newest_ms"]
            if best >= 0 and newest_ms >= best_ms:
                continue
            free = True
            for used in in_use.flat:
                if used == hand:
                    free = False
            if free:
                best = np.int64(hand)
                best_ms = newest_ms
        n_groups += 1
        if best >= 0 and now_ms - best_ms >= usual_ms >> 1:
            break
    return best, np.int64(hand), max(now_ms - best_ms, np.int64(0))


@njit(cache=True, nogil=True, _nrt=False)
def touch_next(rows, table, hand):
    """Ask the memory for the table entry of whoever is likely to be forgotten next; return the row, -1 for none."""
    first = hand + 1
    if first + IDLE_GROUP > rows.shape[0]:
        return np.int64(-1)
    best = first
    for row in range(first + 1, first + IDLE_GROUP):
        if rows[row]["newest_ms"] < rows[best]["newest_ms"]:
            best = row
    touch(table.entries, home_of(table, rows[best]["key"]))
    return np.int64(best)


@njit(cache=True, nogil=True, _nrt=False)
def free_block(ring, arena, free):
    """Give a ring's block back; the ring is then as new."""
    if ring["start"] > 0:
        arena[ring["start"]]["time_ms"] = free[ring["order"]]
        free[ring["order"]] = ring["start"]
    ring["start"] = 0
    ring["head"] = 0
    ring["size"] = 0
    ring["order"] = 0
    ring["n_new"] = 0


@njit(cache=True, nogil=True, _nrt=False)
def _touch_key(plan, state, slot):
    if slot < 0:
        return
    touch(state.risk, slot)
    touch(state.event_rings, slot)
    touch(state.label_rings, slot)
    touch(state.partners, slot * state.partners.shape[1])
    if plan.has_links:
        touch(state.nodes, slot)
    if plan.has_charts:
        touch(state.charts, slot)
    if plan.has_places:
        touch(state.places, slot)


@njit(cache=True, nogil=True, _nrt=False)
def forget_key(plan, state, in_use, now_ms):
    """Make a slot as new and return it. Stored events that link to it are told apart by its next entity's `born`."""
    meta = state.meta
    slot, hand, idle_ms = longest_idle(state.keys, meta[KEY_HAND], now_ms, meta[KEY_IDLE_MS], in_use)
    meta[KEY_HAND] = hand
    meta[KEY_IDLE_MS] += (idle_ms - meta[KEY_IDLE_MS]) >> 3
    meta[KEYS_FORGOTTEN] += 1
    _touch_key(plan, state, touch_next(state.keys, state.table, hand))
    row = state.keys[slot]
    remove(state.table, row["key"])
    row["n_events"] = 0
    row["n_amounts"] = 0
    row["last_amount"] = 0
    row["mean"] = 0.0
    row["deviation"] = 0.0
    risk = state.risk[slot]
    risk["n_known"] = 0
    risk["n_fraud"] = 0
    for p in range(state.partners.shape[1]):
        state.partners[slot, p] = 0
    free_block(state.event_rings[slot], state.event_log, state.event_free)
    free_block(state.label_rings[slot], state.label_log, state.label_free)
    if plan.has_links:
        node = state.nodes[slot]
        node["n_events"] = 0
        node["n_known"] = 0
        node["n_fraud"] = 0
        node["n_near"] = 0
        node["lives"] += 1
    if plan.has_charts:
        clear_chart(state.charts[slot])
    if plan.has_places:
        clear_place(state.places[slot])
    return slot
