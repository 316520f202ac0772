# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Time-sorted logs per entity: rings of power-of-two size inside one arena, with prefix sums in the entries.

    abs. time ->   a    b    c    d        entry i holds the sum of everything before it in this ring, so
    sum_before     0    a   a+b a+b+c      a window [i, j) sums to before(j) - before(i), exactly, in integers.

A window is therefore two binary searches in a sorted ring and keeps no state of its own: reading writes nothing, a
late reader gets the same answer as a punctual one, and an entity with a million events costs twenty steps.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence.engine.layout import FIRST_ORDER, MISSING_AMOUNT


@njit(cache=True, nogil=True, _nrt=False)
def ring_index(ring, i):
    return ring["start"] + ((ring["head"] + i) & ((np.int64(1) << ring["order"]) - 1))


@njit(cache=True, nogil=True, _nrt=False)
def block_wanted(ring):
    # Entries of arena that one insertion into this ring may take, before trimming and free lists are considered.
    if ring["start"] == 0:
        return np.int64(1) << FIRST_ORDER
    if ring["size"] == np.int64(1) << ring["order"]:
        return np.int64(2) << ring["order"]
    return np.int64(0)


@njit(cache=True, nogil=True, _nrt=False)
def take_block(arena, free, order, top):
    # Returns (start, new top). Free blocks are chained through the time of their first entry; entry 0 of an arena is
    # never in a block, so that a start of 0 means none and untouched memory is a ring without one.
    start = free[order]
    if start >= 0:
        free[order] = arena[start]["time_ms"]
        return start, top
    return top, top + (np.int64(1) << order)


@njit(cache=True, nogil=True, _nrt=False)
def reserve(ring, arena, free, top):
    # Room for one more entry; returns the new top of the arena.
    order = ring["order"]
    if ring["start"] == 0:
        start, top = take_block(arena, free, FIRST_ORDER, top)
        ring["start"] = start
        ring["order"] = FIRST_ORDER
        ring["head"] = 0
        return top
    if ring["size"] < np.int64(1) << order:
        return top
    start, top = take_block(arena, free, order + 1, top)
    for i in range(ring["size"]):
        arena[start + i] = arena[ring_index(ring, i)]
    arena[ring["start"]]["time_ms"] = free[order]
    free[order] = ring["start"]
    ring["start"] = start
    ring["order"] = order + 1
    ring["head"] = 0
    return top


@njit(cache=True, nogil=True, _nrt=False)
def trim(ring, arena, cutoff_ms):
    # Forget entries at or before the cutoff.
    while ring["size"] > 0 and arena[ring_index(ring, 0)]["time_ms"] <= cutoff_ms:
        ring["head"] = (ring["head"] + 1) & ((np.int64(1) << ring["order"]) - 1)
        ring["size"] -= 1


@njit(cache=True, nogil=True, _nrt=False)
def mark_of(ring, i):
    return np.int32((ring["head"] + i) & ((np.int64(1) << ring["order"]) - 1))


@njit(cache=True, nogil=True, _nrt=False)
def first_after_mark(ring, arena, time_ms, end, mark):
    # The first i in [0, end] whose entry is later than time_ms, `end` if none below it is. The search begins where the
    # last one for this window ended: time goes on by little, so that two or three neighbouring entries are looked at
    # instead of a dozen all over the block. A mark may be anything (late events and growth move entries): it decides
    # the way, never the result.
    if end == 0:
        return np.int64(0)
    start = min((np.int64(mark) - ring["head"]) & ((np.int64(1) << ring["order"]) - 1), end)
    low, high, step = np.int64(0), end, np.int64(1)
    if start < end and arena[ring_index(ring, start)]["time_ms"] <= time_ms:
        low = start + 1
        while low < high:
            probe = min(low + step - 1, high - 1)
            if arena[ring_index(ring, probe)]["time_ms"] > time_ms:
                high = probe
                break
            low = probe + 1
            step *= 2
    else:
        high = start
        while low < high:
            probe = max(high - step, low)
            if arena[ring_index(ring, probe)]["time_ms"] <= time_ms:
                low = probe + 1
                break
            high = probe
            step *= 2
    while low < high:
        middle = (low + high) >> 1
        if arena[ring_index(ring, middle)]["time_ms"] > time_ms:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True, nogil=True, _nrt=False)
def first_after(ring, arena, time_ms, end):
    # Without a mark: from the end, since a late reader is mostly little late.
    return first_after_mark(ring, arena, time_ms, end, mark_of(ring, max(end - 1, np.int64(0))))


@njit(cache=True, nogil=True, _nrt=False)
def add_event(ring, arena, free, top, newest_ms, retention_ms, time_ms, amount, n_new):
    # newest_ms includes the new event. Ties go behind what is there: seq order. Returns the new top.
    # n_new: partners that the entity meets for the first time in this event.
    cutoff_ms = newest_ms - retention_ms
    trim(ring, arena, cutoff_ms)
    if time_ms <= cutoff_ms:
        return top
    top = reserve(ring, arena, free, top)
    size = np.int64(ring["size"])
    paid = np.int64(0)
    known = np.int64(0)
    if amount != MISSING_AMOUNT:
        paid = amount
        known = np.int64(1)
    i = size
    while i > 0:
        before = arena[ring_index(ring, i - 1)]
        if before["time_ms"] <= time_ms:
            break
        entry = arena[ring_index(ring, i)]
        entry["time_ms"] = before["time_ms"]
        entry["amount"] = before["amount"]
        entry["sum_before"] = before["sum_before"] + paid
        entry["n_before"] = before["n_before"] + known
        entry["new_before"] = before["new_before"] + n_new
        i -= 1
    sum_before, n_before = np.int64(0), np.int64(0)
    new_before = np.int64(ring["n_new"])
    if i < size:
        new_before = np.int64(arena[ring_index(ring, i + 1)]["new_before"]) - n_new
    ring["n_new"] += n_new
    if i > 0:
        before = arena[ring_index(ring, i - 1)]
        sum_before = before["sum_before"]
        n_before = before["n_before"]
        if before["amount"] != MISSING_AMOUNT:
            sum_before += before["amount"]
            n_before += 1
    elif size > 0:  # earlier than all: everything later has moved up by one and was raised; undo to find the base
        after = arena[ring_index(ring, 1)]
        sum_before = after["sum_before"] - paid
        n_before = after["n_before"] - known
    entry = arena[ring_index(ring, i)]
    entry["time_ms"] = time_ms
    entry["amount"] = amount
    entry["sum_before"] = sum_before
    entry["n_before"] = n_before
    entry["new_before"] = new_before
    ring["size"] = size + 1
    return top


@njit(cache=True, nogil=True, _nrt=False)
def add_label(ring, arena, free, top, retention_ms, known_at_ms, event_seq, event_time_ms, value):
    newest_ms = known_at_ms
    if ring["size"] > 0:
        newest_ms = max(newest_ms, arena[ring_index(ring, ring["size"] - 1)]["time_ms"])
    cutoff_ms = newest_ms - retention_ms
    trim(ring, arena, cutoff_ms)
    if known_at_ms <= cutoff_ms:
        return top
    top = reserve(ring, arena, free, top)
    size = np.int64(ring["size"])
    i = size
    while i > 0:
        before = arena[ring_index(ring, i - 1)]
        if before["time_ms"] <= known_at_ms:
            break
        entry = arena[ring_index(ring, i)]
        entry["time_ms"] = before["time_ms"]
        entry["event_seq"] = before["event_seq"]
        entry["event_time_ms"] = before["event_time_ms"]
        entry["fraud_before"] = before["fraud_before"] + value
        entry["value"] = before["value"]
        i -= 1
    fraud_before = np.int64(0)
    if i > 0:
        before = arena[ring_index(ring, i - 1)]
        fraud_before = np.int64(before["fraud_before"]) + before["value"]
    elif size > 0:
        fraud_before = np.int64(arena[ring_index(ring, 1)]["fraud_before"]) - value
    entry = arena[ring_index(ring, i)]
    entry["time_ms"] = known_at_ms
    entry["event_seq"] = event_seq
    entry["event_time_ms"] = event_time_ms
    entry["fraud_before"] = fraud_before
    entry["value"] = value
    ring["size"] = size + 1
    return top


@njit(cache=True, nogil=True, _nrt=False)
def remove_label(ring, arena, event_seq):
    # Take an event's standing label out of the ring, wherever it is; nothing happens when it was forgotten already.
    size = np.int64(ring["size"])
    i = size - 1
    while i >= 0 and arena[ring_index(ring, i)]["event_seq"] != event_seq:
        i -= 1
    if i < 0:
        return
    value = arena[ring_index(ring, i)]["value"]
    while i < size - 1:
        after = arena[ring_index(ring, i + 1)]
        entry = arena[ring_index(ring, i)]
        entry["time_ms"] = after["time_ms"]
        entry["event_seq"] = after["event_seq"]
        entry["event_time_ms"] = after["event_time_ms"]
        entry["fraud_before"] = after["fraud_before"] - value
        entry["value"] = after["value"]
        i += 1
    ring["size"] = size - 1
