# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""Pairs of entities that one event names: found in a table of their own, read, counted and labelled.

An event's pairs are numbered k = 0, 1, ... through all pairings; at most PAIR_FAN entities of a role take part.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence._kernels_touch import touch
from ringfence.engine import layout
from ringfence.engine._kernels_forget import longest_idle, touch_next
from ringfence.engine._kernels_read import finish_averages, gather, read_pair
from ringfence.engine._kernels_table import find, home_of, insert, mix64, pair_key, remove

PAIR_FAN, N_PAIRS, PAIR_COLLISIONS, PAIRS_CAPPED = (
    layout.PAIR_FAN,
    layout.N_PAIRS,
    layout.PAIR_COLLISIONS,
    layout.PAIRS_CAPPED,
)
NEWEST_MS, PAIR_HAND = layout.NEWEST_MS, layout.PAIR_HAND
PAIR_IDLE_MS, PAIRS_FORGOTTEN = layout.PAIR_IDLE_MS, layout.PAIRS_FORGOTTEN
LOW_32 = np.uint64(0xFFFFFFFF)
ABSENT = -1


@njit(cache=True, nogil=True, _nrt=False)
def fan(spans, role):
    return min(spans[role, 1] - spans[role, 0], PAIR_FAN)


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def resolve_pairs(batch, first, plan, state, spans, pair_slots, pair_keys):
    # Twice over the pairs: waiting for one place in memory at a time would cost more than the second turn.
    k = 0
    for p in range(plan.pairings.shape[0]):
        role_a = plan.pairings[p]["role_a"]
        role_b = plan.pairings[p]["role_b"]
        for a in range(spans[role_a, 0], spans[role_a, 0] + fan(spans, role_a)):
            lo_a = batch.link_lo[first + a]
            for b in range(spans[role_b, 0], spans[role_b, 0] + fan(spans, role_b)):
                key = pair_key(lo_a, batch.link_lo[first + b], plan.pair_salts[p])
                pair_keys[k] = key
                touch(state.pair_table.entries, home_of(state.pair_table, key))
                k += 1
    for pair in range(k):
        slot = find(state.pair_table, pair_keys[pair])
        pair_slots[pair] = slot
        if slot >= 0:
            touch(state.pairs, slot)


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def count_new_partners(plan, n_links, spans, pair_slots, n_new):
    # n_new[j]: pairs of link j that were never seen before.
    for j in range(n_links):
        n_new[j] = 0
    k = 0
    for p in range(plan.pairings.shape[0]):
        role_a = plan.pairings[p]["role_a"]
        role_b = plan.pairings[p]["role_b"]
        for a in range(spans[role_a, 0], spans[role_a, 0] + fan(spans, role_a)):
            for b in range(spans[role_b, 0], spans[role_b, 0] + fan(spans, role_b)):
                if pair_slots[k] < 0:
                    n_new[a] += 1
                    n_new[b] += 1
                k += 1


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def read_pairs(batch, first, time_ms, plan, state, spans, pair_slots, scratch, row):
    k = 0
    for p in range(plan.pairings.shape[0]):
        pairing = plan.pairings[p]
        n_cells = fan(spans, pairing["role_a"]) * fan(spans, pairing["role_b"])
        for c in range(n_cells):
            reverse_slot = np.int64(ABSENT)
            if pairing["reverse"]:
                n_b = fan(spans, pairing["role_b"])
                lo_a = batch.link_lo[first + spans[pairing["role_a"], 0] + c // n_b]
                lo_b = batch.link_lo[first + spans[pairing["role_b"], 0] + c % n_b]
                reverse_slot = find(state.pair_table, pair_key(lo_b, lo_a, plan.pair_salts[p]))
            read_pair(pair_slots[k], reverse_slot, time_ms, state.pairs, scratch.pair_stats)
            gather(plan.gathers, pairing["first"], pairing["last"], scratch.pair_stats, row, scratch.n_seen)
            k += 1
        finish_averages(plan.gathers, pairing["first"], pairing["last"], row, scratch.n_seen)


@njit(cache=True, nogil=True, _nrt=False)
def _new_pair(state, key, in_use):
    meta = state.meta
    if meta[N_PAIRS] < state.pairs.shape[0]:
        slot = meta[N_PAIRS]
        meta[N_PAIRS] = slot + 1
    else:
        slot, hand, idle_ms = longest_idle(state.pairs, meta[PAIR_HAND], meta[NEWEST_MS], meta[PAIR_IDLE_MS], in_use)
        meta[PAIR_HAND] = hand
        meta[PAIR_IDLE_MS] += (idle_ms - meta[PAIR_IDLE_MS]) >> 3
        meta[PAIRS_FORGOTTEN] += 1
        touch_next(state.pairs, state.pair_table, hand)
        remove(state.pair_table, state.pairs[slot]["key"])
        state.pairs[slot]["n_events"] = 0
        state.pairs[slot]["n_known"] = 0
        state.pairs[slot]["n_fraud"] = 0
    insert(state.pair_table, key, slot)
    state.pairs[slot]["key"] = key
    return slot


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def apply_pairs(batch, i, first, plan, state, slots, spans, pair_slots, pair_keys):
    time_ms = batch.time_ms[i]
    meta = state.meta
    n_cells = np.int64(0)
    for p in range(plan.pairings.shape[0]):
        n_cells += fan(spans, plan.pairings[p]["role_a"]) * fan(spans, plan.pairings[p]["role_b"])
    k = 0
    for p in range(plan.pairings.shape[0]):
        pairing = plan.pairings[p]
        role_a = pairing["role_a"]
        role_b = pairing["role_b"]
        n_a = spans[role_a, 1] - spans[role_a, 0]
        n_b = spans[role_b, 1] - spans[role_b, 0]
        if n_a > PAIR_FAN or n_b > PAIR_FAN:
            meta[PAIRS_CAPPED] += max(n_a - PAIR_FAN, 0) + max(n_b - PAIR_FAN, 0)
        for a in range(spans[role_a, 0], spans[role_a, 0] + fan(spans, role_a)):
            for b in range(spans[role_b, 0], spans[role_b, 0] + fan(spans, role_b)):
                check = np.uint32((mix64(batch.link_hi[first + a]) ^ batch.link_hi[first + b]) & LOW_32)
                slot = np.int64(pair_slots[k])
                if slot < 0:
                    slot = find(state.pair_table, pair_keys[k])
                if slot < 0:
                    slot = _new_pair(state, pair_keys[k], pair_slots[:n_cells])
                    pair_slots[k] = slot
                    fresh = state.pairs[slot]
                    fresh["check"] = check
                    fresh["born_seq"] = batch.seq[i]
                    fresh["first_ms"] = time_ms
                    fresh["newest_ms"] = time_ms
                    if pairing["partner_a"] >= 0:
                        state.partners[slots[a, 0], pairing["partner_a"]] += 1
                    if pairing["partner_b"] >= 0:
                        state.partners[slots[b, 0], pairing["partner_b"]] += 1
                row = state.pairs[slot]
                if row["check"] != check:
                    meta[PAIR_COLLISIONS] += 1
                row["n_events"] += 1
                row["first_ms"] = min(row["first_ms"], time_ms)
                row["newest_ms"] = max(row["newest_ms"], time_ms)
                k += 1


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def label_pairs(event_seq, value, replaces, plan, state, spans, pair_slots):
    k = 0
    for p in range(plan.pairings.shape[0]):
        pairing = plan.pairings[p]
        n_cells = fan(spans, pairing["role_a"]) * fan(spans, pairing["role_b"])
        for _ in range(n_cells):
            slot = np.int64(pair_slots[k])
            if slot >= 0 and event_seq >= state.pairs[slot]["born_seq"]:
                row = state.pairs[slot]
                if replaces >= 0:
                    row["n_known"] -= 1
                    row["n_fraud"] -= replaces
                row["n_known"] += 1
                row["n_fraud"] += value
            k += 1
