# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""The neighbourhood of an event as arrays of fixed shape: what a network is trained on and served with.

    event at hand -- seat --> entity v -- its last K events --> event x -- its other links --> entities u, aggregated

Of a role whose events are read in order, events of other types stand among them, by seq, and link nobody.

Work is bounded however long history is: seats x K stored events, and at most nine links of each, so seats x K x 9
entities are looked at (eight others and v itself; nine others where a crowd pushed v out of the event's own list), each
compared with the at most 16 entities of the event at hand. With four seats and K = 16 that is 576 entities and 9,216
comparisons.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ringfence._kernels_touch import touch
from ringfence.engine import layout
from ringfence.engine._kernels_links import is_gone, is_hub, n_referred, nodes_of, stored_row
from ringfence.engine._kernels_table import find, mix64

MISSING_AMOUNT, DAY_MS = layout.MISSING_AMOUNT, layout.DAY_MS
RATE_STRENGTH, ROLE_BITS = layout.RATE_STRENGTH, layout.ROLE_BITS
AMOUNT, HAS_AMOUNT, AMOUNT_RATIO = layout.SAMPLE_AMOUNT, layout.SAMPLE_HAS_AMOUNT, layout.SAMPLE_AMOUNT_RATIO
GAP, GAP_LOG, KNOWN, IS_FRAUD = layout.SAMPLE_GAP, layout.SAMPLE_GAP_LOG, layout.SAMPLE_KNOWN, layout.SAMPLE_FRAUD
SHARED, LINKS, OTHERS = layout.SAMPLE_SHARED, layout.SAMPLE_LINKS, layout.SAMPLE_OTHERS
EVENTS_MEAN, EVENTS_MAX = layout.SAMPLE_EVENTS_MEAN, layout.SAMPLE_EVENTS_MAX
RATE_MEAN, RATE_MAX, FRAUDS, NEAR = (
    layout.SAMPLE_RATE_MEAN,
    layout.SAMPLE_RATE_MAX,
    layout.SAMPLE_FRAUDS,
    layout.SAMPLE_NEAR,
)
TYPE = layout.SAMPLE_TYPE
SEAT_PRESENT, SEAT_EVENTS, SEAT_KNOWN = layout.SEAT_PRESENT, layout.SEAT_EVENTS, layout.SEAT_KNOWN
SEAT_FRAUDS, SEAT_NEAR, SEAT_IS_HUB = layout.SEAT_FRAUDS, layout.SEAT_NEAR, layout.SEAT_IS_HUB
FRAUD = 1


@njit(cache=True, nogil=True, _nrt=False)
def _log(x):
    # Odd, so that a late event's negative gap and a credit's negative amount keep their sign.
    return math.copysign(math.log1p(abs(x)), x)


@njit(cache=True, nogil=True, _nrt=False)
def _in_seat(s, plan, spans, node_at):
    # Which of the event's nodes sits there; -1 where nobody does, or one beyond those that take part.
    role = plan.seats[s, 0]
    j = spans[role, 0] + plan.seats[s, 1]
    return node_at[j] if j < spans[role, 1] else -1


@njit(cache=True, nogil=True, _nrt=False)
def _ask_ahead(plan, state, spans, nodes, node_at):
    # Three times over the seats: who sits there, their events, whom these name. Each is asked for before it is needed.
    n_seats = plan.seats.shape[0]
    for s in range(n_seats):
        a = _in_seat(s, plan, spans, node_at)
        if a >= 0 and nodes[a, 0] >= 0:
            touch(state.nodes, nodes[a, 0])
            touch(state.last, nodes[a, 0] * state.last.shape[1])
    for s in range(n_seats):
        a = _in_seat(s, plan, spans, node_at)
        if a >= 0 and nodes[a, 0] >= 0:
            for back in range(min(n_referred(state, nodes[a, 0]), plan.n_sampled)):
                row = stored_row(state, nodes[a, 0], back)
                if row >= 0:
                    touch(state.stored, row)
    for s in range(n_seats):
        a = _in_seat(s, plan, spans, node_at)
        if a >= 0 and nodes[a, 0] >= 0:
            for back in range(min(n_referred(state, nodes[a, 0]), plan.n_sampled)):
                row = stored_row(state, nodes[a, 0], back)
                if row >= 0:
                    event = state.stored[row]
                    for k in range(event["n_links"]):
                        touch(state.nodes, int(event["links"][k] >> ROLE_BITS))


@njit(cache=True, nogil=True, _nrt=False)
def _write_others(row, slot, nodes, n_nodes, prior, plan, state, out):
    # The second hop, hubs passed over. Returns how many entities were looked at.
    event = state.stored[row]
    is_fraud = 1 if event["label"] == FRAUD else 0
    n_others = 0
    n_shared = 0
    n_frauds = 0
    n_near = 0
    logs = 0.0
    log_max = 0.0
    rates = 0.0
    rate_max = 0.0
    for k in range(event["n_links"]):
        link = event["links"][k]
        met = int(link >> ROLE_BITS)
        node = state.nodes[met]
        if met == slot or is_hub(state, plan, link) or is_gone(state, node, row):
            continue
        n_others += 1
        for a in range(n_nodes):
            if nodes[a, 0] == met:
                n_shared += 1
        n_frauds += int(node["n_fraud"]) - is_fraud  # the event's own fraud is told by its label
        n_near += int(node["n_near"])
        size = math.log1p(node["n_events"])
        logs += size
        log_max = max(log_max, size)
        rate = (node["n_fraud"] + prior * RATE_STRENGTH) / (node["n_known"] + RATE_STRENGTH)
        rates += rate
        rate_max = max(rate_max, rate)
    out[SHARED] = n_shared
    out[OTHERS] = n_others
    out[FRAUDS] = math.log1p(max(n_frauds, 0))
    out[NEAR] = math.log1p(n_near)
    out[RATE_MEAN] = prior
    out[RATE_MAX] = prior
    if n_others > 0:
        out[EVENTS_MEAN] = logs / n_others
        out[EVENTS_MAX] = log_max
        out[RATE_MEAN] = rates / n_others
        out[RATE_MAX] = rate_max
    return int(event["n_links"])


@njit(cache=True, nogil=True, _nrt=False)
def _open_timelines(lo, s, plan, state, timelines):
    for t in range(plan.timelines.shape[0]):
        if plan.timelines[t, 0] == s:
            timelines[t, 0] = find(state.table, mix64(lo ^ plan.salts[plan.timelines[t, 1]]))
            timelines[t, 1] = 0


@njit(cache=True, nogil=True, _nrt=False)
def _next_told(s, plan, state, timelines):
    # The seat's timeline whose next event is the newest, and the row where that is stored; -1, -1 where none has one.
    found, found_row, newest = np.int64(-1), np.int64(-1), np.int64(-1)
    for t in range(plan.timelines.shape[0]):
        slot, taken = timelines[t, 0], timelines[t, 1]
        if plan.timelines[t, 0] == s and slot >= 0 and taken < n_referred(state, slot):
            row = stored_row(state, slot, taken)
            if row >= 0 and state.stored[row]["seq"] > newest:
                found, found_row, newest = np.int64(t), np.int64(row), np.int64(state.stored[row]["seq"])
    return found, found_row


@njit(cache=True, nogil=True, _nrt=False)
def sample_event(batch, i, plan, state, scratch, prior, samples, at):
    """Write the neighbourhood of record `i`, an event of the decided type that is not applied yet, to samples[at].

    `samples` is zeroed; scratch.slots and scratch.spans are those of this record.
    """
    first = batch.link_start[i]
    time_ms = batch.time_ms[i]
    amount = batch.amount_minor[i]
    nodes, node_at, spans, timelines = scratch.nodes, scratch.node_at, scratch.spans, scratch.timelines
    n_links = batch.link_start[i + 1] - first
    n_nodes = nodes_of(batch, plan.decided, first, n_links, plan, scratch.slots, nodes, node_at)
    _ask_ahead(plan, state, spans, nodes, node_at)
    n_visited = 0
    for s in range(plan.seats.shape[0]):
        a = _in_seat(s, plan, spans, node_at)
        if a < 0:
            continue
        seat = samples.nodes[at, s]
        seat[SEAT_PRESENT] = 1.0
        slot = nodes[a, 0]
        n_own = np.int64(0)
        if slot >= 0:
            node = state.nodes[slot]
            n_own = n_referred(state, slot)
            seat[SEAT_EVENTS] = math.log1p(node["n_events"])
            seat[SEAT_KNOWN] = math.log1p(node["n_known"])
            seat[SEAT_FRAUDS] = math.log1p(node["n_fraud"])
            seat[SEAT_NEAR] = math.log1p(node["n_near"])
            if node["n_events"] > plan.hub_caps[nodes[a, 1]]:
                seat[SEAT_IS_HUB] = 1.0
        _open_timelines(batch.link_lo[first + spans[plan.seats[s, 0], 0] + plan.seats[s, 1]], s, plan, state, timelines)
        own = np.int64(0)
        for back in range(plan.n_sampled):
            row = stored_row(state, slot, own) if own < n_own else np.int64(-1)
            told, told_row = _next_told(s, plan, state, timelines)
            if told_row >= 0 and (row < 0 or state.stored[told_row]["seq"] > state.stored[row]["seq"]):
                timelines[told, 1] += 1
                row = told_row
            elif row >= 0:
                own += 1
            else:
                break
            event = state.stored[row]
            out = samples.events[at, s, back]
            samples.mask[at, s, back] = True
            samples.event_seq[at, s, back] = event["seq"]
            samples.event_time_ms[at, s, back] = event["time_ms"]
            days = (time_ms - event["time_ms"]) / DAY_MS
            out[GAP] = days
            out[GAP_LOG] = _log(days)
            if event["amount"] != MISSING_AMOUNT:
                size = _log(event["amount"] / plan.minor_per_major)
                out[AMOUNT] = size
                out[HAS_AMOUNT] = 1.0
                if amount != MISSING_AMOUNT:
                    out[AMOUNT_RATIO] = size - _log(amount / plan.minor_per_major)
            if event["label"] >= 0:
                out[KNOWN] = 1.0
                out[IS_FRAUD] = event["label"]
            out[TYPE] = event["event_type"]
            out[LINKS] = int(event["n_links"]) + int(event["n_left_out"])
            n_visited += _write_others(row, slot, nodes, n_nodes, prior, plan, state, out)
    samples.n_visited[at] = n_visited
