# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""One sweep of risk from events to entities and back."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


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
def sweep(start, entity, base, gather, spread, share, relax, weight, flow, score, before):
    # One Chebyshev step (see birank.py); returns how far, in sum, the scores it was given miss their equations.
    # flow[v] = (what the entity hands each event, what it has taken in since): both halves in one cache line, so that
    # a sweep over the links costs one miss a link, not two. Hubs have share 0: they take in and hand out nothing.
    missed = 0.0
    for e in range(start.shape[0] - 1):
        received = 0.0
        last = np.int32(-1)
        for i in range(start[e], start[e + 1]):
            if entity[i] != last:
                last = entity[i]
                received += flow[last, 0]
        old = score[e]
        miss = gather[e] * received + base[e] - old
        missed += math.fabs(miss)
        new = weight * (relax * miss + old - before[e]) + before[e]
        before[e] = old
        score[e] = new
        handed = spread[e] * new
        if handed == 0.0:
            continue
        last = np.int32(-1)
        for i in range(start[e], start[e + 1]):
            if entity[i] != last:
                last = entity[i]
                flow[last, 1] += handed
    for v in range(flow.shape[0]):
        flow[v, 0] = share[v] * flow[v, 1]
        flow[v, 1] = 0.0
    return missed
