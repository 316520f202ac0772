# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""One sweep of risk from events to entities and back."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ringfence._kernels_touch import touch_to_write

AHEAD = 64  # links; a sweep waits for memory and little else, and with this half as long


@njit(cache=True, nogil=True, _nrt=False)
def count_partners(start, entity, is_hub, n_partners):
    # Distinct entities of each event that are no hubs.
    for e in range(start.shape[0] - 1):
        n = np.int64(0)
        for i in range(start[e], start[e + 1]):
            if not is_hub[entity[i]] and (i == start[e] or entity[i - 1] != entity[i]):
                n += 1
        n_partners[e] = n


@njit(cache=True, nogil=True, _nrt=False)
def keep_shared(start, entity, degree, gather, spread, share, shared_start, shared_entity, own):
    # The links that carry risk from one event to another: to entities of two events or more, each once. An entity that
    # one event alone names hands back what that event gave it: own[e] is the sum over them, and needs no sweep.
    kept = np.int64(0)
    for e in range(start.shape[0] - 1):
        shared_start[e] = kept
        kept_alone = 0.0
        last = np.int32(-1)
        for i in range(start[e], start[e + 1]):
            v = entity[i]
            if v == last or share[v] == 0.0:
                continue
            last = v
            if degree[v] == 1:
                kept_alone += share[v]
            else:
                shared_entity[kept] = v
                kept += 1
        own[e] = gather[e] * spread[e] * kept_alone
    shared_start[start.shape[0] - 1] = kept
    return kept


@njit(cache=True, nogil=True, _nrt=False)
def sweep(start, entity, base, own, gather, spread, share, relax, weight, flow, score, before):
    # One Chebyshev step (see birank.py); returns how far, in sum, the scores it was given miss their equations.
    # flow[v] = (what the entity hands each event, what it has taken in since): both halves in one cache line, so that
    # a sweep over the links costs one miss a link, not two.
    missed = 0.0
    foreseen = start[start.shape[0] - 1] - AHEAD
    for e in range(start.shape[0] - 1):
        received = 0.0
        for i in range(start[e], start[e + 1]):
            if i < foreseen:
                touch_to_write(flow, 2 * np.int64(entity[i + AHEAD]))
            received += flow[entity[i], 0]
        old = score[e]
        miss = gather[e] * received + own[e] * old + base[e] - old
        missed += math.fabs(miss)
        new = weight * (relax * miss + old - before[e]) + before[e]
        before[e] = old
        score[e] = new
        handed = spread[e] * new
        if handed == 0.0:
            continue
        for i in range(start[e], start[e + 1]):
            flow[entity[i], 1] += handed
    for v in range(flow.shape[0]):
        flow[v, 0] = share[v] * flow[v, 1]
        flow[v, 1] = 0.0
    return missed


@njit(cache=True, nogil=True, _nrt=False)
def hand_back(start, entity, degree, spread, share, score, flow):
    # What the entities that one event alone names would hand it: left out of the sweeps.
    for e in range(start.shape[0] - 1):
        handed = spread[e] * score[e]
        for i in range(start[e], start[e + 1]):
            if degree[entity[i]] == 1:
                flow[entity[i], 0] = share[entity[i]] * handed
