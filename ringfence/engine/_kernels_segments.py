# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Labels known per segment, and the rate that smoothed rates shrink towards: entity -> segment -> all events.

An event's segment is the tuple of its values in `Plan.segment_columns`, missing ones included; a label carries those of
its event. A row of the table holds one segment with a label known.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ringfence.engine import layout
from ringfence.engine._kernels_table import mix64

ALL_KNOWN, ALL_FRAUD = layout.ALL_KNOWN, layout.ALL_FRAUD
SEGMENT_FRAUDS = layout.SEGMENT_FRAUDS
N_SEGMENTS, BEYOND_SEGMENTS = layout.N_SEGMENTS, layout.BEYOND_SEGMENTS
S_KNOWN, S_FRAUDS = layout.S_KNOWN, layout.S_FRAUDS
MISSING = np.uint64(1 << 63)  # codes of categories have 52 bits
FIRST = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True, _nrt=False)
def _key_of(batch, i, plan):
    # Mixed one after the other, so that the order of the columns counts.
    key = FIRST
    for c in range(plan.segment_columns.shape[0]):
        value = batch.values[i, plan.segment_columns[c]]
        word = MISSING if math.isnan(value) else np.uint64(np.int64(value))
        key = mix64(key ^ word)
    return key


@njit(cache=True, nogil=True, _nrt=False)
def _place_of(segments, key):
    # Where the segment is, or would be; at most half of the rows are taken, so the walk ends.
    mask = np.int64(segments.shape[0] - 1)
    place = np.int64(key & np.uint64(mask))
    while segments[place]["n_known"] > 0 and segments[place]["key"] != key:
        place = (place + 1) & mask
    return place


@njit(cache=True, nogil=True, _nrt=False)
def event_prior(batch, i, plan, state):
    # Fraud rate of all labels known so far, pulled to one half while there are next to none; with segments that of the
    # event's segment, pulled to the rate of all: the posterior mean of a beta-binomial. Its prior is worth so many
    # frauds, and not so many labels, since frauds are what is scarce: so it fits a rate of 0.5 % as it does 10 %.
    rate = (state.meta[ALL_FRAUD] + 0.5) / (state.meta[ALL_KNOWN] + 1.0)
    if plan.segment_columns.shape[0] > 0:
        segment = state.segments[_place_of(state.segments, _key_of(batch, i, plan))]
        if segment["n_known"] > 0:
            rate = (segment["n_fraud"] + SEGMENT_FRAUDS) / (segment["n_known"] + SEGMENT_FRAUDS / rate)
    return rate


@njit(cache=True, nogil=True, _nrt=False)
def read_segment(batch, i, plan, state, prior, row):
    # `prior` is the event's, so it is the rate of its segment.
    if plan.segment_gathers.shape[0] == 0:
        return
    segment = state.segments[_place_of(state.segments, _key_of(batch, i, plan))]
    for g in range(plan.segment_gathers.shape[0]):
        gather = plan.segment_gathers[g]
        if gather["source"] == S_KNOWN:
            row[gather["column"]] = segment["n_known"]
        elif gather["source"] == S_FRAUDS:
            row[gather["column"]] = segment["n_fraud"]
        else:
            row[gather["column"]] = prior


@njit(cache=True, nogil=True, _nrt=False)
def learn_segment(batch, i, value, replaces, plan, state):
    # A segment that finds no room is never counted, its corrections included: no segment ever leaves the table.
    if plan.segment_columns.shape[0] == 0:
        return
    key = _key_of(batch, i, plan)
    segment = state.segments[_place_of(state.segments, key)]
    if segment["n_known"] == 0:
        if state.segment_counts[N_SEGMENTS] >= state.segments.shape[0] >> 1:
            state.segment_counts[BEYOND_SEGMENTS] += 1
            return
        state.segment_counts[N_SEGMENTS] += 1
        segment["key"] = key
    if replaces >= 0:
        segment["n_known"] -= 1
        segment["n_fraud"] -= replaces
    segment["n_known"] += 1
    segment["n_fraud"] += value
