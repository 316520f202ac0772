# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""Ask the memory for what the next records need, while this one is worked on.

State is larger than any cache, and each record touches a few dozen lines of it at random. A replay knows what comes:
four records ahead the id table's line is fetched, two ahead the entities' rows, one ahead the ends of their logs. A
prefetch has no effect but time: it never faults, and no value depends on it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence._kernels_touch import touch
from ringfence.engine import layout
from ringfence.engine._kernels_log import ring_index
from ringfence.engine._kernels_table import find, home_of, mix64, pair_key
from ringfence.engine._kernels_text import band_of

MAX_WINDOWS, MARK_MASK, LAST = layout.MAX_WINDOWS, layout.MARKS - 1, layout.LAST
TEXT_BANDS, TEXT_NEWEST = layout.TEXT_BANDS, layout.TEXT_NEWEST
TABLE_AHEAD, ROWS_AHEAD, LOGS_AHEAD = 4, 2, 1
LINES = 6  # of a log's newest entries; the hardware goes on from there


@njit(cache=True, nogil=True, _nrt=False)
def _touch_log(ring, log, marks, n_windows, walks):
    size = ring["size"]
    if size == 0:
        return
    touch(log, ring_index(ring, 0))  # what `trim` looks at
    touch(log, ring_index(ring, size))  # where the next entry goes
    if walks:
        for w in range(n_windows):  # where each window probably begins
            touch(log, ring["start"] + marks[w])
        for line in range(LINES):
            if 2 * line < size:
                touch(log, ring_index(ring, size - 1 - 2 * line))


@njit(cache=True, nogil=True, _nrt=False)
def _touch_rows(plan, state, slot, decided):
    touch(state.keys, slot)
    touch(state.risk, slot)
    touch(state.event_rings, slot)
    touch(state.label_rings, slot)
    touch(state.event_marks, (slot & MARK_MASK) * MAX_WINDOWS)
    touch(state.label_marks, (slot & MARK_MASK) * MAX_WINDOWS)
    touch(state.partners, slot * state.partners.shape[1])
    if plan.has_links and decided:
        touch(state.nodes, slot)
        touch(state.last, slot * state.last.shape[1])
    if plan.has_charts and decided:
        touch(state.charts, slot)
    if plan.has_places and decided:
        touch(state.places, slot)
    if plan.tick_ms > 0 and decided:
        touch(state.node_rings, slot)


@njit(cache=True, nogil=True, _nrt=False)
def _touch_stored(state, slot):
    # The events that the node refers back to: in their links its neighbours will be found.
    n = np.int64(state.nodes[slot]["n_events"])
    mask = state.stored.shape[0] - 1
    for back in range(min(n, np.int64(LAST))):
        touch(state.stored, np.int64(state.last[slot, (n - 1 - back) & (state.last.shape[1] - 1)]) & mask)


@njit(cache=True, nogil=True, _nrt=False)
def _touch_texts(batch, ahead, plan, state, buckets_known):
    # The buckets of an event's texts, or, where these were asked for before, the newest entries in them.
    heads = state.text_heads
    mask = state.text_log.shape[0] - 1
    for a in range(plan.n_texts):
        for band in range(TEXT_BANDS):
            value = band_of(batch.simhash[ahead, a], band)
            if buckets_known:
                for back in range(TEXT_NEWEST):
                    touch(state.text_log, (heads[a, band, value, back] - 1) & mask)
            else:
                touch(heads, ((a * TEXT_BANDS + band) * heads.shape[2] + value) * TEXT_NEWEST)


@njit(cache=True, nogil=True, _nrt=False)
def _touch_logs(plan, state, slot, is_event):
    marks = slot & MARK_MASK
    n_windows = plan.windows_ms.shape[0]
    if is_event:
        _touch_log(state.event_rings[slot], state.event_log, state.event_marks[marks], n_windows, True)
    _touch_log(state.label_rings[slot], state.label_log, state.label_marks[marks], n_windows, is_event)


@njit(cache=True, nogil=True, _nrt=False)
def fetch_first(batch, plan, state, begin):
    """Prefetch for the first records of a call, in as many rounds as if others had gone before: a live event is one."""
    for i in range(begin - TABLE_AHEAD, begin):
        fetch_ahead(batch, plan, state, i, begin)


@njit(cache=True, nogil=True, _nrt=False)
def fetch_ahead(batch, plan, state, i, begin):
    """Prefetch for records i + 4, i + 2 and i + 1, as far as the batch has them from `begin` on."""
    n = batch.seq.shape[0]
    ahead = i + TABLE_AHEAD
    if begin <= ahead < n:
        kind = batch.event_type[ahead]
        first, last = batch.link_start[ahead], batch.link_start[ahead + 1]
        for j in range(first, last):
            stream = plan.stream_of[kind, batch.link_role[j]]
            if stream >= 0:
                key = mix64(batch.link_lo[j] ^ plan.salts[stream])
                touch(state.table.entries, home_of(state.table, key))
            stream = plan.any_of[kind, batch.link_role[j]]
            if stream >= 0:
                key = mix64(batch.link_lo[j] ^ plan.salts[stream])
                touch(state.table.entries, home_of(state.table, key))
        if plan.has_pairs and last - first == 2 and plan.pairings.shape[0] == 1:
            key = pair_key(batch.link_lo[first], batch.link_lo[first + 1], plan.pair_salts[0])
            touch(state.pair_table.entries, home_of(state.pair_table, key))
    ahead = i + ROWS_AHEAD
    if begin <= ahead < n:
        kind = batch.event_type[ahead]
        decided = kind == plan.decided
        if plan.n_texts > 0 and decided and batch.kind[ahead] == 0:
            _touch_texts(batch, ahead, plan, state, False)
        first, last = batch.link_start[ahead], batch.link_start[ahead + 1]
        for j in range(first, last):
            stream = plan.stream_of[kind, batch.link_role[j]]
            if stream >= 0:
                slot = find(state.table, mix64(batch.link_lo[j] ^ plan.salts[stream]))
                if slot >= 0:
                    _touch_rows(plan, state, slot, decided)
            stream = plan.any_of[kind, batch.link_role[j]]
            if stream >= 0:
                slot = find(state.table, mix64(batch.link_lo[j] ^ plan.salts[stream]))
                if slot >= 0:
                    _touch_rows(plan, state, slot, decided)
        if plan.has_pairs and last - first == 2 and plan.pairings.shape[0] == 1:
            slot = find(state.pair_table, pair_key(batch.link_lo[first], batch.link_lo[first + 1], plan.pair_salts[0]))
            if slot >= 0:
                touch(state.pairs, slot)
    ahead = i + LOGS_AHEAD
    if begin <= ahead < n:
        kind = batch.event_type[ahead]
        is_event = batch.kind[ahead] == 0
        walks = is_event and plan.has_links and kind == plan.decided
        if plan.n_texts > 0 and is_event and kind == plan.decided:
            _touch_texts(batch, ahead, plan, state, True)
        for j in range(batch.link_start[ahead], batch.link_start[ahead + 1]):
            stream = plan.stream_of[kind, batch.link_role[j]]
            if stream >= 0:
                slot = find(state.table, mix64(batch.link_lo[j] ^ plan.salts[stream]))
                if slot >= 0:
                    _touch_logs(plan, state, slot, is_event)
                    if walks and plan.any_of[kind, batch.link_role[j]] < 0:
                        _touch_stored(state, slot)
            stream = plan.any_of[kind, batch.link_role[j]]
            if stream >= 0:
                slot = find(state.table, mix64(batch.link_lo[j] ^ plan.salts[stream]))
                if slot >= 0:
                    _touch_logs(plan, state, slot, is_event)
                    if walks:
                        _touch_stored(state, slot)
