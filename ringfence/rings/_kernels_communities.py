# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Label propagation among entities that meet in events."""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence.rings._kernels_graph import mix64


@njit(cache=True, nogil=True, _nrt=False)
def count_neighbours(start, entity, role, strong, is_hub, wanted, event_end, entity_start):
    # entity_start[v + 1] counts the events of entity v; event_end[e] - 1 is e's last link that counts, or start[e].
    for e in range(start.shape[0] - 1):
        event_end[e] = start[e]
        last = np.int32(-1)
        for i in range(start[e], start[e + 1]):
            v = entity[i]
            if v == last or not wanted[v] or is_hub[v] or not strong[role[i]]:
                continue
            last = v
            entity_start[v + 1] += 1
            event_end[e] = i + 1
    for v in range(entity_start.shape[0] - 1):
        entity_start[v + 1] += entity_start[v]


@njit(cache=True, nogil=True, _nrt=False)
def list_neighbours(start, entity, role, strong, is_hub, wanted, at, entity_event):
    # at: a copy of entity_start, moved on as the lists fill. Events come in ascending order.
    for e in range(start.shape[0] - 1):
        last = np.int32(-1)
        for i in range(start[e], start[e + 1]):
            v = entity[i]
            if v == last or not wanted[v] or is_hub[v] or not strong[role[i]]:
                continue
            last = v
            entity_event[at[v]] = e
            at[v] += 1


@njit(cache=True, nogil=True, _nrt=False)
def better(label, n, best, n_best, current, key):
    # More votes win; of equals the label that stands, then the one with the smallest mixed key: none is favoured for
    # being old.
    if n != n_best:
        return n > n_best
    if best == current:
        return False
    return label == current or mix64(key[label]) < mix64(key[best])


@njit(cache=True, nogil=True, _nrt=False)
def vote_events(start, event_end, entity, role, strong, is_hub, wanted, label, key, votes, event_label):
    # Once, at the end: an event belongs where most of its entities do.
    for e in range(start.shape[0] - 1):
        best, n_best = np.int32(-1), np.int32(0)
        last = np.int32(-1)
        for i in range(start[e], event_end[e]):
            v = entity[i]
            if v == last or not wanted[v] or is_hub[v] or not strong[role[i]]:
                continue
            last = v
            votes[label[v]] += 1
            if better(label[v], votes[label[v]], best, n_best, np.int32(-1), key):
                best, n_best = label[v], votes[label[v]]
        for i in range(start[e], event_end[e]):
            votes[label[entity[i]]] = 0
        event_label[e] = best


@njit(cache=True, nogil=True, _nrt=False)
def vote_entities(
    order,
    entity_start,
    entity_event,
    start,
    event_end,
    entity,
    role,
    strong,
    is_hub,
    wanted,
    key,
    votes,
    restless,
    label,
):
    # In place: an entity sees the labels that those before it have just taken. One vote per event and partner. Who has
    # met no new label since its last vote would vote the same again, and is passed over.
    changed = np.int64(0)
    for v in order:
        if not restless[v]:
            continue
        restless[v] = False
        current = label[v]
        best, n_best = np.int32(-1), np.int32(0)
        for j in range(entity_start[v], entity_start[v + 1]):
            e = entity_event[j]
            last = v
            for i in range(start[e], event_end[e]):
                w = entity[i]
                if w == v:
                    continue
                if w == last or not wanted[w] or is_hub[w] or not strong[role[i]]:
                    continue
                last = w
                votes[label[w]] += 1
                if better(label[w], votes[label[w]], best, n_best, current, key):
                    best, n_best = label[w], votes[label[w]]
        for j in range(entity_start[v], entity_start[v + 1]):
            e = entity_event[j]
            for i in range(start[e], event_end[e]):
                votes[label[entity[i]]] = 0
        if best >= 0 and best != current:
            label[v] = best
            changed += 1
            for j in range(entity_start[v], entity_start[v + 1]):
                e = entity_event[j]
                for i in range(start[e], event_end[e]):
                    if entity[i] != v:
                        restless[entity[i]] = True
    return changed
