# SPDX-License-Identifier: Apache-2.0
"""Hashed n-grams of words and characters, counted per text in a small table that the caller lends."""

# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
from __future__ import annotations

import math

import numpy as np
from numba import njit

_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MULTIPLY_1, _MULTIPLY_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_SPACE = np.uint32(32)


@njit(cache=True, nogil=True, _nrt=False)
def _mixed(word):
    # The finaliser of splitmix64 (Steele, Lea, Flood 2014).
    word = (word ^ (word >> _SHIFT_30)) * _MULTIPLY_1
    word = (word ^ (word >> _SHIFT_27)) * _MULTIPLY_2
    return word ^ (word >> _SHIFT_31)


@njit(cache=True, nogil=True, _nrt=False)
def _count(gram, shift, keys, counts, room):
    # Returns 1 where the bin was not there before. The table never fills: it has twice the places of all n-grams.
    key = np.int32(_mixed(gram) >> shift)
    place = key & (room - 1)
    while keys[place] != key:
        if keys[place] < 0:
            keys[place] = key
            counts[place] = 1
            return 1
        place = (place + 1) & (room - 1)
    counts[place] += 1
    return 0


@njit(cache=True, nogil=True, _nrt=False)
def _room_for(n_symbols, per_symbol):
    room = 16
    while room < 2 * per_symbol * n_symbols:
        room *= 2
    return room


@njit(cache=True, nogil=True, _nrt=False)
def tally(symbols, start, end, salt, shift, least, most, words, keys, counts):
    """Count the n-grams of one text in bins; returns (places of the table in use, bins found).

    Parameters
    ----------
    symbols : (m,) uint32, code points: words between single spaces, one at either end.
    start, end : where the text stands.
    salt : uint64, of the attribute, so that a word in one is not the same in another.
    shift : uint64, 64 - bits of a bin's number.
    least, most : characters of an n-gram of characters; spaces count, since they tell where a word begins or ends.
    words : 1: n-grams of single words, 2: of pairs of neighbours too.
    keys, counts : int32 scratch, a power of two of places; `keys[place]` is -1 where a place is free.
    """
    n = end - start
    room = _room_for(n, most - least + 1 + words)
    for place in range(room):
        keys[place] = -1
    found = 0
    seed = _OFFSET ^ salt
    for first in range(start, end):
        gram = seed
        for at in range(first, min(first + most, end)):
            gram = (gram ^ np.uint64(symbols[at])) * _PRIME
            length = at - first + 1
            if length >= least:
                found += _count(gram + np.uint64(length), shift, keys, counts, room)
    word, before, length = seed, seed, 0
    for at in range(start, end):
        if symbols[at] != _SPACE:
            word = (word ^ np.uint64(symbols[at])) * _PRIME
            length += 1
            continue
        if length > 0:
            word = _mixed(word)
            found += _count(word, shift, keys, counts, room)
            if words > 1:  # before the first word stands the beginning
                found += _count(before * _PRIME + word, shift, keys, counts, room)
            before, word, length = word, seed, 0
    return room, found


@njit(cache=True, nogil=True, _nrt=False)
def raw_texts(symbols, starts, salt, shift, least, most, words, rarity, weights, keys, counts, out):
    """Add the weighted n-grams of text k, `symbols[starts[k]:starts[k + 1]]`, to out[k]; nothing where it is empty.

    An n-gram that occurs c times weighs (1 + ln c) times its bin's rarity; a text's weights have length 1.
    """
    for k in range(out.shape[0]):
        if starts[k] == starts[k + 1]:
            continue
        room, _ = tally(symbols, starts[k], starts[k + 1], salt, shift, least, most, words, keys, counts)
        total, square = 0.0, 0.0
        for place in range(room):
            key = keys[place]
            if key < 0:
                continue
            value = float(rarity[key])
            if counts[place] > 1:
                value *= 1.0 + math.log(float(counts[place]))
            total += value * weights[key]
            square += value * value
        if square > 0.0:
            out[k] += total / math.sqrt(square)


@njit(cache=True, nogil=True, _nrt=False)
def count_bins(symbols, starts, salt, shift, least, most, words, keys, counts, sizes, n_texts):
    """Write how many bins each text falls into to `sizes` (n,), and add 1 to `n_texts` (bins,) for each of them."""
    for k in range(sizes.shape[0]):
        room, sizes[k] = tally(symbols, starts[k], starts[k + 1], salt, shift, least, most, words, keys, counts)
        for place in range(room):
            if keys[place] >= 0:
                n_texts[keys[place]] += 1


@njit(cache=True, nogil=True, _nrt=False)
def fill_bins(symbols, starts, salt, shift, least, most, words, rarity, keys, counts, begins, bins, values):
    """Write each text's bins and weights of length 1 to `bins` and `values`, from `begins[k]` on."""
    for k in range(begins.shape[0]):
        room, _ = tally(symbols, starts[k], starts[k + 1], salt, shift, least, most, words, keys, counts)
        at, square = begins[k], 0.0
        for place in range(room):
            key = keys[place]
            if key < 0:
                continue
            value = float(rarity[key])
            if counts[place] > 1:
                value *= 1.0 + math.log(float(counts[place]))
            bins[at] = key
            values[at] = value
            square += value * value
            at += 1
        for place in range(begins[k], at):
            values[place] /= math.sqrt(square)
