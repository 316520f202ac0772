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
def unite(start, entity, role, strong, is_hub, time_ms, tie_ms, newest, parent):
    # Each event joins the one before it of each of its strong entities, where no more than tie_ms lies between them.
    # newest, parent: -1 everywhere. The smaller event becomes the root, so that a root is its group's first event.
    for e in range(start.shape[0] - 1):
        for i in range(start[e], start[e + 1]):
            v = entity[i]
            if not strong[role[i]] or is_hub[v]:
                continue
            if parent[e] < 0:
                parent[e] = e
            before = newest[v]
            newest[v] = e
            if before < 0 or before == e or abs(time_ms[e] - time_ms[before]) > tie_ms:
                continue
            one, two = find(parent, before), find(parent, np.int32(e))
            if one < two:
                parent[two] = one
            elif two < one:
                parent[one] = two


@njit(cache=True, nogil=True, _nrt=False)
def number_events(parent, event_group, size):
    # Groups in the order of their first event, which no order of unions can change. size: 0 everywhere.
    n = np.int32(0)
    for e in range(parent.shape[0]):
        event_group[e] = -1
        if parent[e] < 0:
            continue
        root = find(parent, np.int32(e))
        if root == e:
            event_group[e] = n
            n += 1
        else:
            event_group[e] = event_group[root]
        size[event_group[e]] += 1
    return n


@njit(cache=True, nogil=True, _nrt=False)
def join_largest(start, entity, role, strong, is_hub, event_group, size, entity_group):
    # Of the groups that an entity acted in, the one of most events; of equals the last. entity_group: -1 everywhere.
    for e in range(start.shape[0] - 1):
        for i in range(start[e], start[e + 1]):
            v = entity[i]
            if not strong[role[i]] or is_hub[v]:
                continue
            g, best = event_group[e], entity_group[v]
            if best < 0 or size[g] >= size[best]:
                entity_group[v] = g


@njit(cache=True, nogil=True, _nrt=False)
def drop_deserted(entity_group, event_group, place):
    # Groups without a member go, and the others move up. place: -1 for every group.
    for v in range(entity_group.shape[0]):
        if entity_group[v] >= 0:
            place[entity_group[v]] = 0
    n = np.int32(0)
    for g in range(place.shape[0]):
        if place[g] == 0:
            place[g] = n
            n += 1
    for v in range(entity_group.shape[0]):
        if entity_group[v] >= 0:
            entity_group[v] = place[entity_group[v]]
    for e in range(event_group.shape[0]):
        if event_group[e] >= 0:
            event_group[e] = place[event_group[e]]
    return n


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
