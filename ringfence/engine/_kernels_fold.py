# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""The fold: for each record resolve its entities, make sure there is room, read the row, then apply.

Room is checked before anything is written, per record and not per batch, so that state after a record depends on the
records alone and never on how they were cut into batches.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence.engine import layout
from ringfence.engine._kernels_charts import read_chart, update_chart
from ringfence.engine._kernels_forget import forget_key
from ringfence.engine._kernels_links import learn_label, nodes_of, read_links, store_event, store_told
from ringfence.engine._kernels_log import add_event, add_label, block_wanted, remove_label, ring_index
from ringfence.engine._kernels_pairs import (
    apply_pairs,
    count_new_partners,
    label_pairs,
    read_pairs,
    resolve_pairs,
)
from ringfence.engine._kernels_places import read_place, update_place
from ringfence.engine._kernels_prefetch import fetch_ahead, fetch_first
from ringfence.engine._kernels_read import (
    blank,
    finish_averages,
    floors_of,
    gather,
    read_entity,
    read_event,
    read_events,
    read_labels,
)
from ringfence.engine._kernels_rings import read_rings, tick_due
from ringfence.engine._kernels_sample import sample_event
from ringfence.engine._kernels_segments import event_prior, learn_segment, read_segment
from ringfence.engine._kernels_table import find, insert, mix64
from ringfence.engine._kernels_text import apply_texts, label_texts, read_texts

MISSING_AMOUNT, NEVER, PAIR_FAN = layout.MISSING_AMOUNT, layout.NEVER, layout.PAIR_FAN
N_KEYS, N_PAIRS, EVENT_TOP, LABEL_TOP, SEQ = (
    layout.N_KEYS,
    layout.N_PAIRS,
    layout.EVENT_TOP,
    layout.LABEL_TOP,
    layout.SEQ,
)
N_EVENTS, N_LABELS, ALL_KNOWN, ALL_FRAUD = layout.N_EVENTS, layout.N_LABELS, layout.ALL_KNOWN, layout.ALL_FRAUD
NEWEST_MS, N_LATE, ORPHAN_LABELS, PAIRS_CAPPED = (
    layout.NEWEST_MS,
    layout.N_LATE,
    layout.ORPHAN_LABELS,
    layout.PAIRS_CAPPED,
)
KEY_COLLISIONS, PAIR_COLLISIONS = layout.KEY_COLLISIONS, layout.PAIR_COLLISIONS
N_STORED = layout.N_STORED
DONE = layout.DONE
GROW_EVENTS, GROW_LABELS = layout.GROW_EVENTS, layout.GROW_LABELS
MARK_MASK, MARKED_ORDER = layout.MARKS - 1, layout.MARKED_ORDER
NEED_ANY_EVENTS = layout.NEED_WINDOWS | layout.NEED_RECENT
NEED_ANY_LABELS = layout.NEED_LABEL_WINDOWS | layout.NEED_LABEL_RUNS
PARTNERS, WINDOWED, N_WINDOWED, N_PAIR_STATS = (
    layout.PARTNERS,
    layout.WINDOWED,
    layout.N_WINDOWED,
    layout.N_PAIR_STATS,
)
NEED_CHARTS, NEED_PLACES = layout.NEED_CHARTS, layout.NEED_PLACES
ABSENT, SAME = -1, -2


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def _slot_of(lo, stream, plan, state):
    return find(state.table, mix64(lo ^ plan.salts[stream]))


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def _resolve(batch, plan, state, first, last, kind, slots, spans):
    # slots[j, 0]: role stream of link first + j; slots[j, 1]: any-role stream, SAME when an earlier link of this
    # record names the same entity. spans[role]: that role's links as first and last + 1.
    spans[:] = 0
    for j in range(last - first):
        role = batch.link_role[first + j]
        if spans[role, 1] == 0:
            spans[role, 0] = j
        spans[role, 1] = j + 1
        lo = batch.link_lo[first + j]
        slots[j, 0] = ABSENT
        slots[j, 1] = ABSENT
        stream = plan.stream_of[kind, role]
        if stream >= 0:
            slots[j, 0] = _slot_of(lo, stream, plan, state)
        any_stream = plan.any_of[kind, role]
        if any_stream >= 0:
            same = False
            for earlier in range(j):
                if (
                    batch.link_lo[first + earlier] == lo
                    and plan.any_of[kind, batch.link_role[first + earlier]] == any_stream
                ):
                    same = True
            slots[j, 1] = SAME if same else _slot_of(lo, any_stream, plan, state)


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def _room_for_event(state, n_links, slots):
    # Bounds from above: every absent key is new, every full ring takes a fresh block twice its size.
    wanted_entries = np.int64(0)
    for j in range(n_links):
        for which in range(2):
            slot = slots[j, which]
            if slot == ABSENT:
                wanted_entries += np.int64(1) << layout.FIRST_ORDER
            elif slot >= 0:
                wanted_entries += block_wanted(state.event_rings[slot])
    if state.meta[EVENT_TOP] + wanted_entries > state.event_log.shape[0]:
        return GROW_EVENTS
    return DONE


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def _room_for_label(state, n_links, slots):
    wanted_entries = np.int64(0)
    for j in range(n_links):
        for which in range(2):
            if slots[j, which] >= 0:
                wanted_entries += block_wanted(state.label_rings[slots[j, which]])
    if state.meta[LABEL_TOP] + wanted_entries > state.label_log.shape[0]:
        return GROW_LABELS
    return DONE


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def _read_row(batch, i, first, plan, state, slots, spans, pair_slots, scratch, keep, row):
    time_ms = batch.time_ms[i]
    amount = batch.amount_minor[i]
    blank(row)
    event_stats = scratch.event_stats
    read_event(time_ms, batch.offset_ms[i], amount, plan.minor_per_major, batch.values[i], event_stats)
    for g in range(plan.event_gathers.shape[0]):
        row[plan.event_gathers[g]["column"]] = event_stats[plan.event_gathers[g]["source"]]
    for r in range(plan.n_numbers.shape[0]):
        role = plan.n_numbers[r, 0]
        row[plan.n_numbers[r, 1]] = spans[role, 1] - spans[role, 0]
    floors = scratch.floors
    floors_of(time_ms, plan.windows_ms, plan.granules_ms, floors)
    prior = event_prior(batch, i, plan, state)
    read_segment(batch, i, plan, state, prior, row)
    stats = scratch.stats
    for r in range(plan.readers.shape[0]):
        reader = plan.readers[r]
        role = reader["role"]
        needs = reader["needs"]
        updated = reader["updated"]
        for j in range(spans[role, 0], spans[role, 1]):
            slot = np.int64(slots[j, updated]) if updated >= 0 else np.int64(ABSENT)
            if updated < 0 or slot == SAME:
                slot = _slot_of(batch.link_lo[first + j], reader["stream"], plan, state)
            read_entity(
                slot, time_ms, amount, floors, plan.minor_per_major, prior, needs, state.keys, state.risk, stats
            )
            for p in range(state.partners.shape[1]):
                stats[PARTNERS + p] = state.partners[slot, p] if slot >= 0 else 0.0
            if slot >= 0:
                if needs & NEED_ANY_EVENTS:
                    mean = state.keys[slot]["mean"]
                    ring = state.event_rings[slot]
                    read_events(
                        ring,
                        state.event_log,
                        state.event_marks[slot & MARK_MASK],
                        keep and ring["order"] >= MARKED_ORDER,
                        time_ms,
                        amount,
                        floors,
                        plan.minor_per_major,
                        mean,
                        needs,
                        stats,
                    )
                if needs & NEED_ANY_LABELS:
                    ring = state.label_rings[slot]
                    marks = state.label_marks[slot & MARK_MASK]
                    keep_marks = keep and ring["order"] >= MARKED_ORDER
                    read_labels(ring, state.label_log, marks, keep_marks, time_ms, floors, prior, needs, stats)
                if needs & NEED_CHARTS:
                    read_chart(
                        state.charts[slot], state.keys[slot], time_ms, amount, floors, plan.quiet_ms, needs, stats
                    )
                if needs & NEED_PLACES:
                    latitude = batch.values[i, plan.place_columns[0]]
                    longitude = batch.values[i, plan.place_columns[1]]
                    read_place(state.places[slot], latitude, longitude, time_ms, floors.shape[0], stats)
            gather(plan.gathers, reader["first"], reader["last"], stats, row, scratch.n_seen)
        finish_averages(plan.gathers, reader["first"], reader["last"], row, scratch.n_seen)
    if plan.link_readers.shape[0] + plan.together_gathers.shape[0] > 0:
        nodes, node_at = scratch.nodes, scratch.node_at
        n_links = batch.link_start[i + 1] - first
        n_nodes = nodes_of(batch, plan.decided, first, n_links, plan, slots, nodes, node_at)
        read_links(nodes, n_nodes, time_ms, amount, floors, prior, plan, state, scratch)
        if plan.tick_ms > 0:
            behind = layout.L_WINDOWED + floors.shape[0]
            read_rings(nodes, n_nodes, time_ms, state, behind, scratch.link_stats)
        together = scratch.link_stats[scratch.link_stats.shape[0] - 1]
        for g in range(plan.together_gathers.shape[0]):
            row[plan.together_gathers[g]["column"]] = together[plan.together_gathers[g]["source"]]
        for r in range(plan.link_readers.shape[0]):
            reader = plan.link_readers[r]
            role = reader["role"]
            for j in range(spans[role, 0], spans[role, 1]):
                if node_at[j] >= 0:
                    found = scratch.link_stats[node_at[j]]
                    gather(plan.gathers, reader["first"], reader["last"], found, row, scratch.n_seen)
            finish_averages(plan.gathers, reader["first"], reader["last"], row, scratch.n_seen)
    if plan.n_texts > 0:
        read_texts(batch, i, plan, state, floors, scratch.text_cursors, scratch.text_stats, row)
    if plan.has_pairs:
        read_pairs(batch, first, time_ms, plan, state, spans, pair_slots, scratch, row)


@njit(cache=True, nogil=True, _nrt=False)
def _new_key(plan, state, key, check, seq, in_use, now_ms):
    slot = find(state.table, key)  # two links of one record can share a key only by collision; look again
    if slot >= 0:
        return slot
    if state.meta[N_KEYS] < state.keys.shape[0]:
        slot = state.meta[N_KEYS]
        state.meta[N_KEYS] = slot + 1
    else:
        slot = forget_key(plan, state, in_use, now_ms)
    insert(state.table, key, slot)
    row = state.keys[slot]
    row["key"] = key
    row["check"] = check
    risk = state.risk[slot]
    risk["last_fraud_known_ms"] = NEVER
    risk["last_fraud_event_ms"] = NEVER
    risk["born_seq"] = seq
    if plan.has_links:
        state.nodes[slot]["born"] = state.meta[N_STORED]
    return slot


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def _apply_to_key(state, slot, check, time_ms, amount, n_new, retention_ms):
    row = state.keys[slot]
    if row["check"] != check:
        state.meta[KEY_COLLISIONS] += 1
    if row["n_events"] == 0:
        row["first_ms"] = time_ms
        row["newest_ms"] = time_ms
    row["n_events"] += 1
    row["first_ms"] = min(row["first_ms"], time_ms)
    row["newest_ms"] = max(row["newest_ms"], time_ms)
    if amount != MISSING_AMOUNT:
        row["n_amounts"] += 1
        row["last_amount"] = amount
        off = amount - row["mean"]
        row["mean"] += off / row["n_amounts"]
        row["deviation"] += off * (amount - row["mean"])
    state.meta[EVENT_TOP] = add_event(
        state.event_rings[slot],
        state.event_log,
        state.event_free,
        state.meta[EVENT_TOP],
        row["newest_ms"],
        retention_ms,
        time_ms,
        amount,
        n_new,
    )


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def _apply_event(batch, i, first, last, plan, state, slots, spans, pair_slots, pair_keys, n_new):
    kind = batch.event_type[i]
    time_ms = batch.time_ms[i]
    amount = batch.amount_minor[i]
    meta = state.meta
    meta[N_EVENTS] += 1
    if kind == plan.decided:
        if meta[NEWEST_MS] != NEVER and time_ms < meta[NEWEST_MS] - plan.max_lateness_ms:
            meta[N_LATE] += 1
        meta[NEWEST_MS] = max(meta[NEWEST_MS], time_ms)
    now_ms = max(meta[NEWEST_MS], time_ms)
    if kind == plan.decided and plan.has_pairs:
        count_new_partners(plan, last - first, spans, pair_slots, n_new)
    else:
        for j in range(last - first):
            n_new[j] = 0
    for j in range(last - first):
        role = batch.link_role[first + j]
        lo = batch.link_lo[first + j]
        check = batch.link_hi[first + j]
        for which in range(2):
            stream = plan.stream_of[kind, role] if which == 0 else plan.any_of[kind, role]
            if stream < 0 or slots[j, which] == SAME:
                continue
            if slots[j, which] == ABSENT:
                key = mix64(lo ^ plan.salts[stream])
                slots[j, which] = _new_key(plan, state, key, check, batch.seq[i], slots[: last - first], now_ms)
            if plan.has_charts and which == 0 and kind == plan.decided:
                slot = np.int64(slots[j, 0])
                update_chart(state.charts[slot], state.keys[slot], time_ms, amount, plan.quiet_ms)
            if plan.has_places and which == 0 and kind == plan.decided and plan.travels[role]:
                latitude = batch.values[i, plan.place_columns[0]]
                longitude = batch.values[i, plan.place_columns[1]]
                update_place(state.places[np.int64(slots[j, 0])], latitude, longitude, time_ms)
            _apply_to_key(state, np.int64(slots[j, which]), check, time_ms, amount, n_new[j], plan.retention_ms)
    if plan.n_texts > 0 and kind == plan.decided:
        apply_texts(batch, i, plan, state, meta[NEWEST_MS] - plan.retention_ms)
    if kind == plan.decided and plan.has_pairs:
        apply_pairs(batch, i, first, plan, state, slots, spans, pair_slots, pair_keys)


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def _label_key(state, slot, retention_ms, known_at_ms, event_seq, event_time_ms, value, replaces):
    risk = state.risk[slot]
    if event_seq < risk["born_seq"]:  # the entity was forgotten since, and with it its part in that event
        state.meta[ORPHAN_LABELS] += 1
        return
    ring = state.label_rings[slot]
    log = state.label_log
    if replaces >= 0:
        risk["n_known"] -= 1
        risk["n_fraud"] -= replaces
        remove_label(ring, log, event_seq)
        if replaces == 1:  # the newest fraud may be gone: look for the newest one that stands and is remembered
            last_known_ms = np.int64(NEVER)
            last_event_ms = np.int64(NEVER)
            for i in range(ring["size"]):
                entry = log[ring_index(ring, i)]
                if entry["value"] == 1:
                    last_known_ms = max(last_known_ms, entry["time_ms"])
                    last_event_ms = max(last_event_ms, entry["event_time_ms"])
            risk["last_fraud_known_ms"] = last_known_ms
            risk["last_fraud_event_ms"] = last_event_ms
    risk["n_known"] += 1
    risk["n_fraud"] += value
    if value == 1:
        risk["last_fraud_known_ms"] = max(risk["last_fraud_known_ms"], known_at_ms)
        risk["last_fraud_event_ms"] = max(risk["last_fraud_event_ms"], event_time_ms)
    state.meta[LABEL_TOP] = add_label(
        ring,
        log,
        state.label_free,
        state.meta[LABEL_TOP],
        retention_ms,
        known_at_ms,
        event_seq,
        event_time_ms,
        value,
    )


@njit(cache=True, nogil=True, _nrt=False, inline="always")
def _apply_label(batch, i, first, last, plan, state, slots, spans, pair_slots):
    value = np.int64(batch.label_value[i])
    replaces = np.int64(batch.label_replaces[i])
    meta = state.meta
    meta[N_LABELS] += 1
    if batch.event_type[i] == plan.decided:
        if replaces >= 0:
            meta[ALL_KNOWN] -= 1
            meta[ALL_FRAUD] -= replaces
        meta[ALL_KNOWN] += 1
        meta[ALL_FRAUD] += value
        learn_segment(batch, i, value, replaces, plan, state)
    for j in range(last - first):
        for which in range(2):
            slot = np.int64(slots[j, which])
            if slot >= 0:
                _label_key(
                    state,
                    slot,
                    plan.retention_ms,
                    batch.time_ms[i],
                    batch.label_event_seq[i],
                    batch.label_event_time_ms[i],
                    value,
                    replaces,
                )
            elif which == 0:
                meta[ORPHAN_LABELS] += 1
    if batch.event_type[i] == plan.decided and plan.has_pairs:
        label_pairs(batch.label_event_seq[i], value, replaces, plan, state, spans, pair_slots)


@njit(cache=True, nogil=True, _nrt=False)
def fold(batch, plan, state, scratch, begin, want, apply, rows, row_at, sampled, samples, sample_at):
    """Fold records from `begin` on. Returns (records, rows and samples done, what ran out: DONE or GROW_*).

    `sampled` masks the events whose neighbourhood is wanted; of length 0 where none is.
    """
    n = batch.seq.shape[0]
    slots = scratch.slots
    spans = scratch.spans
    pair_slots = scratch.pair_slots
    pair_keys = scratch.pair_keys
    fetch_first(batch, plan, state, begin)
    for i in range(begin, n):
        if apply and plan.tick_ms > 0:
            need = tick_due(plan, state.meta, batch.time_ms[i])
            if need != DONE:
                return i, row_at, sample_at, need
        first = batch.link_start[i]
        last = batch.link_start[i + 1]
        kind = np.int64(batch.event_type[i])
        fetch_ahead(batch, plan, state, i, begin)
        _resolve(batch, plan, state, first, last, kind, slots, spans)
        has_pairs = plan.has_pairs and kind == plan.decided
        has_links = plan.has_links and kind == plan.decided
        if batch.kind[i] == 0:
            if apply:
                need = _room_for_event(state, last - first, slots)
                if need != DONE:
                    return i, row_at, sample_at, need
            if has_pairs:
                resolve_pairs(batch, first, plan, state, spans, pair_slots, pair_keys)
            if kind == plan.decided and want[i]:
                _read_row(batch, i, first, plan, state, slots, spans, pair_slots, scratch, apply, rows[row_at])
                row_at += 1
            if sampled.shape[0] and sampled[i]:
                prior = event_prior(batch, i, plan, state)
                sample_event(batch, i, plan, state, scratch, prior, samples, sample_at)
                sample_at += 1
            if apply:
                _apply_event(batch, i, first, last, plan, state, slots, spans, pair_slots, pair_keys, scratch.n_new)
                if has_links:
                    n_nodes = nodes_of(batch, kind, first, last - first, plan, slots, scratch.nodes, scratch.node_at)
                    store_event(batch, i, plan, state, scratch.nodes, n_nodes)
                elif plan.timelines.shape[0] > 0 and kind != plan.decided:
                    store_told(batch, i, last - first, plan, state, slots)
        elif apply:
            need = _room_for_label(state, last - first, slots)
            if need != DONE:
                return i, row_at, sample_at, need
            if has_pairs:
                resolve_pairs(batch, first, plan, state, spans, pair_slots, pair_keys)
            _apply_label(batch, i, first, last, plan, state, slots, spans, pair_slots)
            if has_links:
                n_nodes = nodes_of(batch, kind, first, last - first, plan, slots, scratch.nodes, scratch.node_at)
                value, replaces = np.int64(batch.label_value[i]), np.int64(batch.label_replaces[i])
                learn_label(batch.label_event_seq[i], value, replaces, plan, state, scratch.nodes, n_nodes)
            if plan.n_texts > 0 and kind == plan.decided:
                label_texts(state.text_span, state.text_log, batch.label_event_seq[i], np.int64(batch.label_value[i]))
        if apply:
            state.meta[SEQ] = batch.seq[i]
    return n, row_at, sample_at, DONE
