# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs, disable-error-code="no-untyped-call"
"""Hashed id table: 64-bit keys to slots, growing bucket by bucket, so that no event ever waits for a rehash.

    directory   00.. 01.. 10.. 11..     by the first bits of the key
                  |    |     \\  /
    buckets      [ ]  [ ]    [  ]       open addressing with linear probing, from the last 32 bits of the key

A bucket that is two thirds full gives half of its keys to a new one; where two places of the directory lead to it they
part, else the directory doubles (extendible hashing: Fagin et al. 1979). That moves some thousand keys at most, within
memory that a cache holds; a table that doubles as a whole moves all of them, in random order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence._kernels_touch import touch_to_write
from ringfence.engine import layout

SHIFT, N_BUCKETS = layout.TABLE_SHIFT, layout.TABLE_BUCKETS
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30 = np.uint64(30)
_SHIFT_27 = np.uint64(27)
_SHIFT_31 = np.uint64(31)
_ONE = np.uint64(1)
_KEY_BITS = np.uint64(64)
_FILL_AHEAD = 16  # rows; each lies somewhere else
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


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
def bucket_of(table, key):
    return np.int64(table.directory[np.int64(key >> table.counts[SHIFT])])


@njit(cache=True, nogil=True, _nrt=False)
def place_of(key, size):
    """Return where in a bucket of any size the search for a key begins (Lemire 2019: a product for a remainder)."""
    return np.int64(((key & _LOW) * np.uint64(size)) >> _HALF)


@njit(cache=True, nogil=True, _nrt=False)
def home_of(table, key):
    """Return where among all entries, bucket by bucket, the search for a key begins."""
    size = table.entries.shape[1]
    return bucket_of(table, key) * size + place_of(key, size)


@njit(cache=True, nogil=True, _nrt=False)
def find(table, key):
    # Entries hold slot + 1, so that zeroed memory is an empty table.
    bucket = table.entries[bucket_of(table, key)]
    size = bucket.shape[0]
    i = place_of(key, size)
    while True:
        entry = bucket[i]
        if entry["slot"] == 0:
            return np.int64(-1)
        if entry["key"] == key:
            return entry["slot"] - np.int64(1)
        i = i + 1 if i + 1 < size else 0


@njit(cache=True, nogil=True, _nrt=False)
def insert(table, key, slot):
    """Add a key that is not there yet."""
    b = bucket_of(table, key)
    most = 2 * table.entries.shape[1] // 3
    while table.buckets[b]["n"] >= most:
        _split(table, b, key)
        b = bucket_of(table, key)
    _put(table.entries[b], key, slot + 1)
    table.buckets[b]["n"] += 1


@njit(cache=True, nogil=True, _nrt=False)
def _put(bucket, key, word):
    size = bucket.shape[0]
    i = place_of(key, size)
    while bucket[i]["slot"] != 0:
        i = i + 1 if i + 1 < size else 0
    bucket[i]["key"] = key
    bucket[i]["slot"] = word


@njit(cache=True, nogil=True, _nrt=False)
def _split(table, b, key):
    # `key` is one that belongs to bucket b.
    directory, buckets, counts = table.directory, table.buckets, table.counts
    depth = np.uint64(buckets[b]["depth"])
    if depth == _KEY_BITS - counts[SHIFT]:
        n = np.int64(1) << np.int64(depth)
        if 2 * n > directory.shape[0]:
            raise OverflowError("the keys of an id table are not evenly spread: its directory is full")
        for i in range(n - 1, -1, -1):
            directory[2 * i] = directory[i]
            directory[2 * i + 1] = directory[i]
        counts[SHIFT] -= _ONE
    new = np.int64(counts[N_BUCKETS])
    if new == buckets.shape[0]:
        raise OverflowError("the keys of an id table are not evenly spread: it has no bucket left")
    counts[N_BUCKETS] += _ONE
    # All places of the directory that begin with the bits of b: the latter half of them is the new bucket's.
    span = np.int64(1) << np.int64(_KEY_BITS - counts[SHIFT] - depth)
    first = np.int64(key >> counts[SHIFT]) & ~(span - 1)
    for i in range(first + span // 2, first + span):
        directory[i] = new
    buckets[b]["depth"] += 1
    buckets[new]["depth"] = buckets[b]["depth"]
    bit = _KEY_BITS - _ONE - depth
    old, fresh = table.entries[b], table.entries[new]
    size = old.shape[0]
    start = 0
    while old[start]["slot"] != 0:
        start += 1
    # From an empty entry on, each key is taken out and put again: it falls into the first gap on its way.
    n_moved = 0
    for step in range(1, size):
        i = start + step if start + step < size else start + step - size
        word = old[i]["slot"]
        if word == 0:
            continue
        moved = old[i]["key"]
        old[i]["slot"] = 0
        if (moved >> bit) & _ONE:
            _put(fresh, moved, word)
            n_moved += 1
        else:
            _put(old, moved, word)
    buckets[new]["n"] = n_moved
    buckets[b]["n"] -= n_moved


@njit(cache=True, nogil=True, _nrt=False)
def remove(table, key):
    """Take out a key that is there: entries behind it move up, so that no search stops early."""
    b = bucket_of(table, key)
    bucket = table.entries[b]
    size = bucket.shape[0]
    gap = place_of(key, size)
    while bucket[gap]["key"] != key or bucket[gap]["slot"] == 0:
        gap = gap + 1 if gap + 1 < size else 0
    i = gap
    while True:
        i = i + 1 if i + 1 < size else 0
        entry = bucket[i]
        if entry["slot"] == 0:
            break
        from_home, from_gap = i - place_of(entry["key"], size), i - gap
        if from_home < 0:
            from_home += size
        if from_gap < 0:
            from_gap += size
        if from_home >= from_gap:
            bucket[gap]["key"] = entry["key"]
            bucket[gap]["slot"] = entry["slot"]
            gap = i
    bucket[gap]["slot"] = 0
    table.buckets[b]["n"] -= 1


@njit(cache=True, nogil=True, _nrt=False)
def fill(table, rows, n_rows):
    """Fill an empty table from rows that carry their own key."""
    for slot in range(n_rows):
        if slot + _FILL_AHEAD < n_rows:
            touch_to_write(table.entries, home_of(table, rows[slot + _FILL_AHEAD]["key"]))
        insert(table, rows[slot]["key"], np.int64(slot))
