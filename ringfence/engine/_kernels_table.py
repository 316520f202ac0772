# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Hashed id table: open addressing with linear probing, 64-bit keys to slots in order of first appearance."""

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
    # The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection, so equal keys in one stream mean equal ids.
    x = (x ^ (x >> _SHIFT_30)) * _MULTIPLY_1
    x = (x ^ (x >> _SHIFT_27)) * _MULTIPLY_2
    return x ^ (x >> _SHIFT_31)


@njit(cache=True, nogil=True, _nrt=False)
def pair_key(lo_a, lo_b, salt):
    return mix64(mix64(lo_a ^ salt) ^ lo_b)


@njit(cache=True, nogil=True, _nrt=False)
def find(table, key):
    # Entries hold slot + 1, so that zeroed memory is an empty table.
    mask = np.uint64(table.shape[0] - 1)
    i = key & mask
    while True:
        entry = table[np.int64(i)]
        if entry["slot"] == 0:
            return np.int64(-1)
        if entry["key"] == key:
            return entry["slot"] - np.int64(1)
        i = (i + _ONE) & mask


@njit(cache=True, nogil=True, _nrt=False)
def insert(table, key, slot):
    # The key must not be there yet, and the table must keep at least one empty entry.
    mask = np.uint64(table.shape[0] - 1)
    i = key & mask
    while table[np.int64(i)]["slot"] != 0:
        i = (i + _ONE) & mask
    entry = table[np.int64(i)]
    entry["key"] = key
    entry["slot"] = slot + 1


@njit(cache=True, nogil=True, _nrt=False)
def rebuild(table, rows, n_rows):
    # Fill an empty table from rows that carry their own key.
    for slot in range(n_rows):
        insert(table, rows[slot]["key"], np.int64(slot))
