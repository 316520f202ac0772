# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Links in canonical order: sorted within each event, each once, entities numbered as they first appear."""

from __future__ import annotations

import numpy as np
from numba import njit

_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30 = np.uint64(30)
_SHIFT_27 = np.uint64(27)
_SHIFT_31 = np.uint64(31)
_ONE = np.uint64(1)


@njit(cache=True, nogil=True, _nrt=False)
def mix64(x):
    # The finaliser of splitmix64 (Steele, Lea, Flood 2014). Keys may be dense slots: without it they would cluster.
    x = (x ^ (x >> _SHIFT_30)) * _MULTIPLY_1
    x = (x ^ (x >> _SHIFT_27)) * _MULTIPLY_2
    return x ^ (x >> _SHIFT_31)


@njit(cache=True, nogil=True, _nrt=False)
def mix_all(keys, out):
    for i in range(keys.shape[0]):
        out[i] = mix64(keys[i])


@njit(cache=True, nogil=True, _nrt=False)
def order_links(start, key, check, role):
    # Shell sort by (key, role, check) within each event: insertion for the usual handful, n**1.5 at worst.
    for e in range(start.shape[0] - 1):
        low = start[e]
        n = start[e + 1] - low
        gap = 1
        while gap < n // 9:
            gap = 3 * gap + 1
        while gap > 0:
            for i in range(low + gap, low + n):
                k, c, r = key[i], check[i], role[i]
                j = i
                while j >= low + gap:
                    a = j - gap
                    if key[a] < k or (key[a] == k and (role[a] < r or (role[a] == r and check[a] <= c))):
                        break
                    key[j], check[j], role[j] = key[a], check[a], role[a]
                    j = a
                key[j], check[j], role[j] = k, c, r
            gap //= 3


@njit(cache=True, nogil=True, _nrt=False)
def drop_repeats(start, key, check, role):
    # In place; returns the number of links kept. `start[e + 1]` is read before the next round overwrites it.
    kept = np.int64(0)
    low = start[0]
    for e in range(start.shape[0] - 1):
        high = start[e + 1]
        start[e] = kept
        for i in range(low, high):
            if i > low and key[i] == key[i - 1] and role[i] == role[i - 1]:
                continue
            key[kept], check[kept], role[kept] = key[i], check[i], role[i]
            kept += 1
        low = high
    start[start.shape[0] - 1] = kept
    return kept


@njit(cache=True, nogil=True, _nrt=False)
def number_entities(key, check, table, entity, entity_key, entity_check, tally):
    # Open addressing; entries hold ordinal + 1, so that zeroed memory is an empty table. False: the table is half full.
    mask = np.uint64(table.shape[0] - 1)
    n = np.int64(0)
    collisions = np.int64(0)
    for i in range(key.shape[0]):
        at = mix64(key[i]) & mask
        while True:
            found = table[np.int64(at)]
            if found == 0:
                if n == entity_key.shape[0]:
                    return False
                entity_key[n], entity_check[n] = key[i], check[i]
                table[np.int64(at)] = n + 1
                entity[i] = n
                n += 1
                break
            if entity_key[found - 1] == key[i]:
                collisions += np.int64(entity_check[found - 1] != check[i])
                entity[i] = found - 1
                break
            at = (at + _ONE) & mask
    tally[0] = n
    tally[1] = collisions
    return True


@njit(cache=True, nogil=True, _nrt=False)
def measure_entities(start, entity, role, event_time_ms, strong, hub_cap, in_role, degree, is_hub, first_ms):
    # degree: distinct events. is_hub: more events in some role than its cap. first_ms: oldest event by a strong role.
    for e in range(start.shape[0] - 1):
        for i in range(start[e], start[e + 1]):
            v = entity[i]
            if i == start[e] or entity[i - 1] != v:
                degree[v] += 1
            if strong[role[i]] and event_time_ms[e] < first_ms[v]:
                first_ms[v] = event_time_ms[e]
    for r in range(hub_cap.shape[0]):
        for v in range(in_role.shape[0]):
            in_role[v] = 0
        for i in range(entity.shape[0]):
            if role[i] == r:
                in_role[entity[i]] += 1
        for v in range(in_role.shape[0]):
            if in_role[v] > hub_cap[r]:
                is_hub[v] = True
