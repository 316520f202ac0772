# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""Who was seen with whom: a store of recent events, each entity's last references into it, and counters per entity.

    entity v -- its last 16 events --> event x -- its other links --> entity u -- what is known of u now
               (references)                      (in the store)                  (counters)

An entity is here its *node*: what it is in any role, where several roles share its type. From a node over its last
events to the others is at most 16 x 8 steps, however long history is. A label changes counters and the stored event,
never a reference, so what is read is what is known now.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence._kernels_touch import touch
from ringfence.engine import layout

LAST, STORED_LINKS, MOST_NODES = layout.LAST, layout.STORED_LINKS, layout.MOST_NODES
MISSING_AMOUNT, SIMILAR_MS, SIMILAR = layout.MISSING_AMOUNT, layout.SIMILAR_MS, layout.SIMILAR
RATE_STRENGTH, N_STORED = layout.RATE_STRENGTH, layout.N_STORED
ROLE_BITS = np.uint32(layout.ROLE_BITS)
ROLE_MASK = np.uint32((1 << layout.ROLE_BITS) - 1)
LOW_32 = np.int64(0xFFFFFFFF)
L_OTHERS, L_REPEAT, L_SHARED, L_SHARED_MOST = layout.L_OTHERS, layout.L_REPEAT, layout.L_SHARED, layout.L_SHARED_MOST
L_COMMON, L_SIMILAR, L_ONCE, L_IS_HUB = layout.L_COMMON, layout.L_SIMILAR, layout.L_ONCE, layout.L_IS_HUB
L_EVENTS_MEAN, L_EVENTS_MAX = layout.L_EVENTS_MEAN, layout.L_EVENTS_MAX
L_FRAUDS, L_FRAUD_SHARE, L_RATE_MEAN = layout.L_FRAUDS, layout.L_FRAUD_SHARE, layout.L_RATE_MEAN
L_RATE_MAX, L_SHARED_FRAUD, L_NEAR, L_FAR = layout.L_RATE_MAX, layout.L_SHARED_FRAUD, layout.L_NEAR, layout.L_FAR
L_WINDOWED = layout.L_WINDOWED
X_EVENTS, X_FRAUDS, X_RATE, X_FAR = layout.X_EVENTS, layout.X_FRAUDS, layout.X_RATE, layout.X_FAR
X_OTHERS, X_COMMON, X_MOST_SHARED = layout.X_OTHERS, layout.X_COMMON, layout.X_MOST_SHARED
X_OTHERS_FRAUDS, X_OTHERS_SHARE = layout.X_OTHERS_FRAUDS, layout.X_OTHERS_SHARE
X_OTHERS_RATE, X_OTHERS_RATE_MAX = layout.X_OTHERS_RATE, layout.X_OTHERS_RATE_MAX
LEAST_REACHED = layout.LEAST_REACHED
SAME = -2
FRAUD, NO_LABEL = 1, -1


@njit(cache=True, nogil=True, _nrt=False)
def nodes_of(batch, kind, first, n_links, plan, slots, nodes, node_at):
    # Distinct nodes of a record as (slot, role), slot -1 for one that is new; node_at: which of them each link is.
    # A record's nodes beyond MOST_NODES take no part. Returns how many.
    n = 0
    for j in range(n_links):
        role = batch.link_role[first + j]
        which = 1 if plan.any_of[kind, role] >= 0 else 0
        slot = slots[j, which]
        node_at[j] = -1
        for earlier in range(j):
            same = batch.link_lo[first + earlier] == batch.link_lo[first + j]
            if slot == SAME:
                same = same and plan.any_of[kind, batch.link_role[first + earlier]] == plan.any_of[kind, role]
            else:
                same = slot >= 0 and node_at[earlier] >= 0 and nodes[node_at[earlier], 0] == slot
            if same and node_at[j] < 0:
                node_at[j] = node_at[earlier]
        if node_at[j] < 0 and slot != SAME and n < MOST_NODES:
            nodes[n, 0] = slot
            nodes[n, 1] = role
            node_at[j] = n
            n += 1
    return n


@njit(cache=True, nogil=True, _nrt=False)
def stored_row(state, node, back):
    # Row of the node's event number `back` counted from its newest (0); -1 once the store has forgotten it.
    number = np.int64(state.last[node, (state.nodes[node]["n_events"] - 1 - back) & (state.last.shape[1] - 1)])
    n_stored = state.meta[N_STORED]
    age = (n_stored - number) & LOW_32
    if age > state.stored.shape[0] or age > n_stored:
        return np.int64(-1)
    return (n_stored - age) & (state.stored.shape[0] - 1)


@njit(cache=True, nogil=True, _nrt=False)
def is_gone(state, node, row):
    # Whether the slot was another entity's when the event in `row` of the store named it: that one is forgotten.
    behind = state.meta[N_STORED] - 1
    number = behind - ((behind - row) & (state.stored.shape[0] - 1))
    return number < node["born"]


@njit(cache=True, nogil=True, _nrt=False)
def n_last(state, node):
    # What features read: the same however far the node refers back for its sample.
    return min(np.int64(state.nodes[node]["n_events"]), np.int64(LAST))


@njit(cache=True, nogil=True, _nrt=False)
def n_referred(state, node):
    return min(np.int64(state.nodes[node]["n_events"]), np.int64(state.last.shape[1]))


@njit(cache=True, nogil=True, _nrt=False)
def is_hub(state, plan, link):
    return state.nodes[np.int64(link >> ROLE_BITS)]["n_events"] > plan.hub_caps[np.int64(link & ROLE_MASK)]


@njit(cache=True, nogil=True, _nrt=False)
def store_event(batch, i, plan, state, nodes, n_nodes):
    # After the event's keys exist. First come the frauds known of the nodes it joins, then the event itself.
    known = np.int64(0)
    for a in range(n_nodes):
        node = state.nodes[nodes[a, 0]]
        if node["n_events"] <= plan.hub_caps[nodes[a, 1]]:
            known += node["n_fraud"]
    number = state.meta[N_STORED]
    row = state.stored[number & (state.stored.shape[0] - 1)]
    row["time_ms"] = batch.time_ms[i]
    row["amount"] = batch.amount_minor[i]
    row["seq"] = batch.seq[i]
    row["label"] = NO_LABEL
    # One link of every role before the second of any: a crowd of witnesses must not push out the shop.
    n_kept = 0
    for turn in range(2):
        last_role = np.int64(-1)
        for a in range(n_nodes):
            role = nodes[a, 1]
            is_first = role != last_role
            last_role = role
            if is_first == (turn == 0) and n_kept < STORED_LINKS:
                row["links"][n_kept] = np.uint32(nodes[a, 0]) << ROLE_BITS | np.uint32(role)
                n_kept += 1
    row["n_links"] = n_kept
    row["n_left_out"] = n_nodes - n_kept
    row["event_type"] = plan.decided
    for a in range(n_nodes):
        slot = nodes[a, 0]
        node = state.nodes[slot]
        own = node["n_fraud"] if node["n_events"] <= plan.hub_caps[nodes[a, 1]] else 0
        node["n_near"] += known - own
        state.last[slot, node["n_events"] & (state.last.shape[1] - 1)] = np.uint32(number & LOW_32)
    for a in range(n_nodes):
        state.nodes[nodes[a, 0]]["n_events"] += 1
    state.meta[N_STORED] = number + 1


@njit(cache=True, nogil=True, _nrt=False)
def store_told(batch, i, n_links, plan, state, slots):
    # An event of another type, after its keys exist: for those alone whose events are sampled in order. It has no
    # links, so nobody meets anybody through it, and no label.
    first, kind = batch.link_start[i], batch.event_type[i]
    number = state.meta[N_STORED]
    n_named = 0
    is_told = False
    for j in range(n_links):
        slot = slots[j, 0]
        is_again = False
        for earlier in range(j):
            is_again = is_again or slots[earlier, 0] == slot
        if is_again:
            continue
        n_named += 1
        if plan.is_told[kind, batch.link_role[first + j]]:
            node = state.nodes[slot]
            state.last[slot, node["n_events"] & (state.last.shape[1] - 1)] = np.uint32(number & LOW_32)
            node["n_events"] += 1
            is_told = True
    if is_told:
        row = state.stored[number & (state.stored.shape[0] - 1)]
        row["time_ms"] = batch.time_ms[i]
        row["amount"] = batch.amount_minor[i]
        row["seq"] = batch.seq[i]
        row["label"] = NO_LABEL
        row["n_links"] = 0
        row["n_left_out"] = min(n_named, MOST_NODES)
        row["event_type"] = kind
        state.meta[N_STORED] = number + 1


@njit(cache=True, nogil=True, _nrt=False)
def _row_of_seq(state, seq):
    # Stored events ascend in seq: a binary search among those that are remembered; -1 where it is forgotten.
    n_stored = state.meta[N_STORED]
    mask = state.stored.shape[0] - 1
    low = max(np.int64(0), n_stored - state.stored.shape[0])
    high = n_stored
    while low < high:
        middle = (low + high) >> 1
        if state.stored[middle & mask]["seq"] < seq:
            low = middle + 1
        else:
            high = middle
    if low < n_stored and state.stored[low & mask]["seq"] == seq:
        return low & mask
    return np.int64(-1)


@njit(cache=True, nogil=True, _nrt=False)
def learn_label(event_seq, value, replaces, plan, state, nodes, n_nodes):
    # A confirmed fraud is carried one step further: to whoever the event's entities met in their other events.
    row = _row_of_seq(state, event_seq)
    if row >= 0:
        state.stored[row]["label"] = value
    change = value - max(replaces, 0)
    for a in range(n_nodes):
        slot = nodes[a, 0]
        if slot < 0:
            continue
        node = state.nodes[slot]
        if event_seq < state.risk[slot]["born_seq"]:
            continue
        if replaces == NO_LABEL:
            node["n_known"] += 1
        node["n_fraud"] += change
        if change == 0 or node["n_events"] > plan.hub_caps[nodes[a, 1]]:
            continue
        for back in range(n_last(state, slot)):
            other_row = stored_row(state, slot, back)
            if other_row < 0:
                break
            other = state.stored[other_row]
            if other["seq"] == event_seq:
                continue
            for k in range(other["n_links"]):
                met = np.int64(other["links"][k] >> ROLE_BITS)
                if met != slot and not is_gone(state, state.nodes[met], other_row):
                    near = state.nodes[met]["n_near"] + change
                    state.nodes[met]["n_near"] = max(near, 0)


@njit(cache=True, nogil=True, _nrt=False)
def _place(reached, mask, slot, stamp):
    # Where `slot` is, or belongs, in the table of this reading. Entries of earlier readings count as empty.
    at = (slot * np.int64(0x9E3779B1) >> 7) & mask
    while True:
        entry = reached[at]
        if entry["stamp"] != stamp:
            entry["stamp"] = stamp
            entry["slot"] = slot
            entry["own"] = 0
            entry["mask"] = 0
            return at
        if entry["slot"] == slot:
            return at
        at = (at + 1) & mask


@njit(cache=True, nogil=True, _nrt=False)
def _ask_ahead(state, nodes, n_nodes):
    # The events first, then what they name: both lie anywhere in memory, and waiting for one at a time would cost more
    # than all the work on them. Returns how many places a reading can need: the nodes, their events and whom they name.
    n_places = n_nodes
    for a in range(n_nodes):
        if nodes[a, 0] >= 0:
            for back in range(n_last(state, nodes[a, 0])):
                row = stored_row(state, nodes[a, 0], back)
                if row >= 0:
                    touch(state.stored, row)
    for a in range(n_nodes):
        if nodes[a, 0] >= 0:
            for back in range(n_last(state, nodes[a, 0])):
                row = stored_row(state, nodes[a, 0], back)
                if row >= 0:
                    event = state.stored[row]
                    n_places += 1 + np.int64(event["n_links"])
                    for k in range(event["n_links"]):
                        touch(state.nodes, np.int64(event["links"][k] >> ROLE_BITS))
    return n_places


@njit(cache=True, nogil=True, _nrt=False)
def read_links(nodes, n_nodes, time_ms, amount, floors, prior, plan, state, scratch):
    """Write the link statistics of each node of an event into scratch.link_stats, a row per node; all together last."""
    reached, at_list, stats = scratch.reached, scratch.reached_at, scratch.link_stats
    n_windows = floors.shape[0]
    scratch.stamp[0] += np.uint32(1)
    stamp = scratch.stamp[0]
    if stamp == 0:  # after four billion readings old stamps would look like new ones
        for r in range(reached.shape[0]):
            reached[r]["stamp"] = 0
        scratch.stamp[0] = np.uint32(1)
        stamp = scratch.stamp[0]
    n_places = _ask_ahead(state, nodes, n_nodes)
    mask = np.int64(LEAST_REACHED - 1)  # of the table no more than is needed, so that it stays in the nearest cache
    while mask < 2 * n_places:
        mask = 2 * mask + 1
    n_reached = 0
    n_linked = np.int64(0)
    n_linked_known = np.int64(0)
    n_linked_fraud = np.int64(0)
    most_shared = np.int64(0)
    for a in range(n_nodes):
        if nodes[a, 0] >= 0:
            reached[_place(reached, mask, nodes[a, 0], stamp)]["own"] = a + 1
    for a in range(n_nodes):
        out = stats[a]
        slot = nodes[a, 0]
        for s in range(L_WINDOWED + n_windows):
            out[s] = 0.0
        out[L_REPEAT] = np.nan
        out[L_EVENTS_MEAN] = np.nan
        out[L_EVENTS_MAX] = np.nan
        out[L_ONCE] = np.nan
        out[L_FRAUD_SHARE] = np.nan
        out[L_RATE_MEAN] = prior
        out[L_RATE_MAX] = prior
        if slot < 0:
            continue
        out[L_NEAR] = state.nodes[slot]["n_near"]
        if state.nodes[slot]["n_events"] > plan.hub_caps[nodes[a, 1]]:
            out[L_IS_HUB] = 1.0
        n_others = np.int64(0)
        n_mentions = np.int64(0)
        n_shared = np.int64(0)
        shared_most = np.int64(0)
        shared_fraud = np.int64(0)
        n_similar = np.int64(0)
        n_once = np.int64(0)
        n_events = np.int64(0)
        most_events = np.int64(0)
        n_frauds = np.int64(0)
        n_with_fraud = np.int64(0)
        n_far = np.int64(0)
        rates = 0.0
        rate_max = 0.0
        for back in range(n_last(state, slot)):
            row = stored_row(state, slot, back)
            if row < 0:
                break
            event = state.stored[row]
            event_ms = event["time_ms"]
            overlap = np.int64(0)
            # An event that two of the nodes shared counts once: its row stands in the table as a negative slot.
            again = reached[_place(reached, mask, -1 - row, stamp)]
            if again["own"] == 0:
                again["own"] = -1
                n_linked += 1
                if event["label"] != NO_LABEL:
                    n_linked_known += 1
                    n_linked_fraud += event["label"]
            for k in range(event["n_links"]):
                link = event["links"][k]
                met = np.int64(link >> ROLE_BITS)
                if met == slot or is_hub(state, plan, link) or is_gone(state, state.nodes[met], row):
                    continue
                n_mentions += 1
                if event["label"] == FRAUD:
                    n_frauds -= 1  # this fraud is v's own as well
                found = _place(reached, mask, met, stamp)
                entry = reached[found]
                if entry["own"] > 0:
                    overlap += 1
                bit = np.uint32(1) << np.uint32(a)
                if entry["mask"] & bit:
                    continue
                if entry["mask"] == 0:
                    at_list[n_reached] = found
                    n_reached += 1
                entry["mask"] |= bit
                n_others += 1
                if entry["own"] > 0:
                    n_shared += 1
                node = state.nodes[met]
                n_events += node["n_events"]
                most_events = max(most_events, np.int64(node["n_events"]))
                if node["n_events"] == 1:
                    n_once += 1
                n_frauds += node["n_fraud"]
                if node["n_fraud"] > 0:
                    n_with_fraud += 1
                n_far += node["n_near"]
                rate = (node["n_fraud"] + prior * RATE_STRENGTH) / (node["n_known"] + RATE_STRENGTH)
                rates += rate
                rate_max = max(rate_max, rate)
                for w in range(n_windows):
                    if floors[w] < event_ms <= time_ms:
                        out[L_WINDOWED + w] += 1.0
            shared_most = max(shared_most, overlap)
            if event["label"] == FRAUD:
                shared_fraud = max(shared_fraud, overlap)
            both_paid = amount != MISSING_AMOUNT and event["amount"] != MISSING_AMOUNT
            lately = 0 <= time_ms - event_ms < SIMILAR_MS
            if both_paid and lately and abs(event["amount"] - amount) <= SIMILAR * amount:
                n_similar += 1
        out[L_OTHERS] = n_others
        out[L_SHARED] = n_shared
        out[L_SHARED_MOST] = shared_most
        most_shared = max(most_shared, shared_most)
        out[L_SHARED_FRAUD] = shared_fraud
        out[L_SIMILAR] = n_similar
        out[L_FRAUDS] = max(n_frauds, np.int64(0))
        out[L_FAR] = n_far
        if n_others > 0:
            out[L_REPEAT] = n_mentions / n_others
            out[L_EVENTS_MEAN] = n_events / n_others
            out[L_EVENTS_MAX] = most_events
            out[L_ONCE] = n_once / n_others
            out[L_FRAUD_SHARE] = n_with_fraud / n_others
            out[L_RATE_MEAN] = rates / n_others
            out[L_RATE_MAX] = rate_max
    _read_together(n_nodes, n_reached, prior, state, scratch)
    together = stats[MOST_NODES]
    together[X_EVENTS] = n_linked
    together[X_FRAUDS] = n_linked_fraud
    together[X_RATE] = (n_linked_fraud + prior * RATE_STRENGTH) / (n_linked_known + RATE_STRENGTH)
    together[X_MOST_SHARED] = most_shared


@njit(cache=True, nogil=True, _nrt=False)
def _read_together(n_nodes, n_reached, prior, state, scratch):
    # Each entity met counts once, whichever nodes of the event met it; the event's own entities do not count.
    reached, at_list, stats = scratch.reached, scratch.reached_at, scratch.link_stats
    n_others = np.int64(0)
    n_common = np.int64(0)
    n_fraud = np.int64(0)
    n_known = np.int64(0)
    n_with_fraud = np.int64(0)
    n_far = np.int64(0)
    rate_max = prior
    for r in range(n_reached):
        entry = reached[at_list[r]]
        if entry["own"] > 0:
            continue
        node = state.nodes[entry["slot"]]
        n_others += 1
        n_fraud += node["n_fraud"]
        n_known += node["n_known"]
        n_far += node["n_near"]
        if node["n_fraud"] > 0:
            n_with_fraud += 1
            rate = (node["n_fraud"] + prior * RATE_STRENGTH) / (node["n_known"] + RATE_STRENGTH)
            rate_max = max(rate_max, rate)
        mask = entry["mask"]
        if mask & (mask - np.uint32(1)):
            n_common += 1
            for a in range(n_nodes):
                if mask & (np.uint32(1) << np.uint32(a)):
                    stats[a, L_COMMON] += 1.0
    together = stats[MOST_NODES]
    together[X_OTHERS] = n_others
    together[X_COMMON] = n_common
    together[X_OTHERS_FRAUDS] = n_fraud
    together[X_OTHERS_SHARE] = n_with_fraud / n_others if n_others > 0 else np.nan
    together[X_OTHERS_RATE] = (n_fraud + prior * RATE_STRENGTH) / (n_known + RATE_STRENGTH)
    together[X_OTHERS_RATE_MAX] = rate_max
    together[X_FAR] = n_far
