# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""Near duplicates of a text among the texts of all remembered events, by simhash; integers only.

Two 64-bit simhashes that differ in at most 3 bits agree in at least one of four bands of 16 bits (Manku, Jain, Das
Sarma 2007). Each text is chained to the one before it in each of its four buckets:

    heads[attribute, band, value] -> newest entry -> the one before it in this bucket -> ... -> forgotten

A bucket knows its four newest entries, and an entry the fourth before it as well: so that the memory can be asked for
what a walk along the chain will need four steps later.

Entries lie in a ring in seq order; entry number `id` lies at `id & (capacity - 1)`, and ids below span[0] are
forgotten: those that are too old for every window, and the oldest where the ring is full. A reader follows its four
chains together, newest entry first, and looks at no more than TEXT_CANDIDATES distinct entries, each compared in full:
that many and no more is what a boilerplate text costs.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence._kernels_touch import touch
from ringfence.engine import layout

NEVER, HOUR_MS = layout.NEVER, layout.HOUR_MS
BANDS, BAND_BITS, NEAR = layout.TEXT_BANDS, layout.TEXT_BAND_BITS, layout.TEXT_NEAR
CANDIDATES, LINKS, NEWEST = layout.TEXT_CANDIDATES, layout.TEXT_LINKS, layout.TEXT_NEWEST
TEXTS_FORGOTTEN = layout.TEXTS_FORGOTTEN
T_COUNT, T_MONTH, T_HOURS = layout.T_COUNT, layout.T_MONTH, layout.T_HOURS
T_LINKED, T_UNLINKED, T_FRAUDS, N_TEXT_STATS = layout.T_LINKED, layout.T_UNLINKED, layout.T_FRAUDS, layout.N_TEXT_STATS
_MASK = np.uint64((1 << BAND_BITS) - 1)
_5555, _3333 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_0F0F, _0101 = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_1, _2, _4, _56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)


@njit(cache=True, nogil=True, _nrt=False)
def n_bits(word):
    # Population count (Warren, Hacker's Delight, 2nd ed., section 5-1).
    word -= (word >> _1) & _5555
    word = (word & _3333) + ((word >> _2) & _3333)
    word = (word + (word >> _4)) & _0F0F
    return np.int64((word * _0101) >> _56)


@njit(cache=True, nogil=True, _nrt=False)
def band_of(simhash, band):
    return np.int64((simhash >> np.uint64(BAND_BITS * band)) & _MASK)


@njit(cache=True, nogil=True, _nrt=False)
def _before(entry_id, distance):
    return entry_id - np.int64(distance) if distance > 0 else np.int64(-1)


@njit(cache=True, nogil=True, _nrt=False)
def _distance(entry_id, head, oldest):
    # From an entry to that of a head, 0 to none; what is forgotten is as good as none.
    return entry_id - (head - 1) if head > oldest else np.int64(0)


@njit(cache=True, nogil=True, _nrt=False)
def _shares(own, n_own, link_lo, first, last):
    for j in range(first, min(last, first + LINKS)):
        for k in range(n_own):
            if own[k] == np.uint32(link_lo[j]):
                return True
    return False


@njit(cache=True, nogil=True, _nrt=False)
def read_text(
    simhash,
    attribute,
    time_ms,
    link_lo,
    first,
    last,
    floor_ms,
    month_ms,
    span,
    log,
    links,
    heads,
    cursors,
    out,
):
    """Write the statistics of one text; `month_ms` is the floor of the 30-day window, NEVER where there is none."""
    at = attribute * N_TEXT_STATS
    for s in range(N_TEXT_STATS):
        out[at + s] = np.nan
    if simhash == 0:
        return
    oldest = span[0]
    mask = log.shape[0] - 1
    for band in range(BANDS):
        newest = heads[attribute, band, band_of(simhash, band)]
        cursors[band] = newest[0] - 1
        for back in range(NEWEST):
            touch(log, (newest[back] - 1) & mask)
    n_near, n_month, n_linked, n_frauds = 0, 0, 0, 0
    newest_ms = np.int64(NEVER)
    for _ in range(CANDIDATES):
        entry_id = np.int64(-1)
        for band in range(BANDS):
            entry_id = max(entry_id, cursors[band])
        if entry_id < oldest:
            break
        place = entry_id & mask
        entry = log[place]
        for band in range(BANDS):
            if cursors[band] == entry_id:
                cursors[band] = _before(entry_id, entry["back"][band])
                touch(log, (entry_id - np.int64(entry["far_back"][band])) & mask)
        entry_ms = entry["time_ms"]
        if entry_ms > time_ms or entry_ms <= floor_ms or n_bits(simhash ^ entry["simhash"]) > NEAR:
            continue
        n_near += 1
        if entry_ms > month_ms:
            n_month += 1
        if entry["value"] == 1:
            n_frauds += 1
        if _shares(links[place], entry["n_links"], link_lo, first, last):
            n_linked += 1
        newest_ms = max(newest_ms, entry_ms)
    out[at + T_COUNT] = n_near
    out[at + T_MONTH] = n_month
    out[at + T_LINKED] = n_linked
    out[at + T_UNLINKED] = n_near - n_linked
    out[at + T_FRAUDS] = n_frauds
    if n_near > 0:
        out[at + T_HOURS] = (time_ms - newest_ms) / HOUR_MS


@njit(cache=True, nogil=True, _nrt=False)
def trim_texts(span, log, cutoff_ms):
    # In seq order: a young text keeps the older ones behind it, until it is old itself.
    mask = log.shape[0] - 1
    while span[0] < span[1] and log[span[0] & mask]["time_ms"] <= cutoff_ms:
        span[0] += 1


@njit(cache=True, nogil=True, _nrt=False)
def add_text(simhash, attribute, time_ms, event_seq, link_lo, first, last, span, log, links, heads, meta):
    entry_id = span[1]
    if entry_id - span[0] == log.shape[0]:
        span[0] += 1
        meta[TEXTS_FORGOTTEN] += 1
    place = entry_id & (log.shape[0] - 1)
    entry = log[place]
    entry["simhash"] = simhash
    entry["time_ms"] = time_ms
    entry["event_seq"] = event_seq
    entry["value"] = -1
    n_links = min(last - first, LINKS)
    entry["n_links"] = n_links
    for k in range(LINKS):
        links[place, k] = np.uint32(link_lo[first + k]) if k < n_links else np.uint32(0)
    for band in range(BANDS):
        newest = heads[attribute, band, band_of(simhash, band)]
        entry["back"][band] = _distance(entry_id, newest[0], span[0])
        entry["far_back"][band] = _distance(entry_id, newest[NEWEST - 1], span[0])
        for back in range(NEWEST - 1, 0, -1):
            newest[back] = newest[back - 1]
        newest[0] = entry_id + 1
    span[1] = entry_id + 1


@njit(cache=True, nogil=True, _nrt=False)
def label_texts(span, log, event_seq, value):
    """Tell an event's texts its label; nothing happens when they are forgotten."""
    mask = log.shape[0] - 1
    low, high = span[0], span[1]
    end = high
    while low < high:
        middle = (low + high) >> 1
        if log[middle & mask]["event_seq"] < event_seq:
            low = middle + 1
        else:
            high = middle
    while low < end and log[low & mask]["event_seq"] == event_seq:
        log[low & mask]["value"] = value
        low += 1


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def read_texts(batch, i, plan, state, floors, cursors, stats, row):
    """Read every text of record i into the row."""
    longest_ms = floors[floors.shape[0] - 1]
    month_ms = floors[plan.month_window] if plan.month_window >= 0 else np.int64(NEVER)
    for a in range(plan.n_texts):
        read_text(
            batch.simhash[i, a],
            a,
            batch.time_ms[i],
            batch.link_lo,
            batch.link_start[i],
            batch.link_start[i + 1],
            longest_ms,
            month_ms,
            state.text_span,
            state.text_log,
            state.text_links,
            state.text_heads,
            cursors,
            stats,
        )
    for g in range(plan.text_gathers.shape[0]):
        row[plan.text_gathers[g]["column"]] = stats[plan.text_gathers[g]["source"]]


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def apply_texts(batch, i, plan, state, cutoff_ms):
    """Forget the texts at or before the cutoff, and remember those of record i."""
    trim_texts(state.text_span, state.text_log, cutoff_ms)
    for a in range(plan.n_texts):
        if batch.simhash[i, a] != 0:
            add_text(
                batch.simhash[i, a],
                a,
                batch.time_ms[i],
                batch.seq[i],
                batch.link_lo,
                batch.link_start[i],
                batch.link_start[i + 1],
                state.text_span,
                state.text_log,
                state.text_links,
                state.text_heads,
                state.meta,
            )
