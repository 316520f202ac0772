# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Union-find over strong links, and what a group of events and entities adds up to."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, _nrt=False)
def find(parent, v):
    # Path halving (Tarjan, van Leeuwen 1984): every other node on the way points to its grandparent.
    while parent[v] != v:
        parent[v] = parent[parent[v]]
        v = parent[v]
    return v


@njit(cache=True, nogil=True, _nrt=False)
def unite(start, entity, role, strong, is_hub, parent, size):
    # parent: -1 for entities that no strong role names; size: 1 everywhere.
    for e in range(start.shape[0] - 1):
        root = np.int32(-1)
        for i in range(start[e], start[e + 1]):
            v = entity[i]
            if not strong[role[i]] or is_hub[v]:
                continue
            if parent[v] < 0:
                parent[v] = v
            other = find(parent, v)
            if root < 0:
                root = other
            elif root != other:
                if size[root] < size[other]:
                    root, other = other, root
                parent[other] = root
                size[root] += size[other]


@njit(cache=True, nogil=True, _nrt=False)
def number_groups(parent, group):
    # Groups in the order of their first entity, which no order of unions can change. group: -1 everywhere.
    n = np.int32(0)
    for v in range(parent.shape[0]):
        if parent[v] < 0:
            continue
        root = find(parent, v)
        if group[root] < 0:
            group[root] = n
            n += 1
        group[v] = group[root]
    return n


@njit(cache=True, nogil=True, _nrt=False)
def group_events(start, entity, role, strong, is_hub, group, event_group):
    # All strong entities of an event are in one group, so the first will do.
    for e in range(start.shape[0] - 1):
        event_group[e] = -1
        for i in range(start[e], start[e + 1]):
            if strong[role[i]] and not is_hub[entity[i]]:
                event_group[e] = group[entity[i]]
                break


@njit(cache=True, nogil=True, _nrt=False)
def add_events(event_group, time_ms, decided, label, amount, missing_amount, groups):
    for e in range(event_group.shape[0]):
        g = event_group[e]
        if g < 0:
            continue
        row = groups[g]
        if time_ms[e] < row["first_ms"]:
            row["first_ms"] = time_ms[e]
        if time_ms[e] > row["last_ms"]:
            row["last_ms"] = time_ms[e]
        if not decided[e]:
            row["n_context"] += 1
            continue
        row["n_events"] += 1
        if label[e] >= 0:
            row["n_known"] += 1
            row["n_fraud"] += label[e]
        if amount[e] != missing_amount:
            row["amount_minor"] += amount[e]
            if label[e] < 0:
                row["unlabelled_minor"] += amount[e]


@njit(cache=True, nogil=True, _nrt=False)
def add_entities(entity_group, first_ms, key, groups):
    # The founder is the entity seen first, of equals the one with the smallest key.
    for v in range(entity_group.shape[0]):
        g = entity_group[v]
        if g < 0:
            continue
        row = groups[g]
        row["n_entities"] += 1
        f = row["founder"]
        if f < 0 or first_ms[v] < first_ms[f] or (first_ms[v] == first_ms[f] and key[v] < key[f]):
            row["founder"] = v
