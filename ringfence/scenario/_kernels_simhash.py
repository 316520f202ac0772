# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Simhash of many texts at once: one pass over their bytes, no allocation."""

from __future__ import annotations

import numpy as np
from numba import njit

_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MULTIPLY_1, _MULTIPLY_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit(cache=True, nogil=True, _nrt=False)
def _gap_at(data, i, end):
    # Bytes of what separates words at i, 0 where a word goes on. In UTF-8: all of ASCII but letters and digits, U+0080
    # to U+00BF (no-break space, «»), U+2000 to U+207F (dashes, quotes, spaces), U+3000 to U+303F (CJK punctuation).
    byte = data[i]
    if byte < 0x80:
        return 0 if 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 else 1
    if byte == 0xC2:
        return 2
    if i + 1 < end and ((byte == 0xE2 and data[i + 1] in (0x80, 0x81)) or (byte == 0xE3 and data[i + 1] == 0x80)):
        return 3
    return 0


@njit(cache=True, nogil=True, _nrt=False)
def mixed(word):
    """Return the finaliser of splitmix64 (Steele, Lea, Flood 2014) of a uint64."""
    word = (word ^ (word >> _SHIFT_30)) * _MULTIPLY_1
    word = (word ^ (word >> _SHIFT_27)) * _MULTIPLY_2
    return word ^ (word >> _SHIFT_31)


@njit(cache=True, nogil=True, _nrt=False)
def _vote(shingle, votes):
    for bit in range(64):
        votes[bit] += np.int64((shingle >> np.uint64(bit)) & _ONE)


@njit(cache=True, nogil=True, _nrt=False)
def _vote_word(word, before, n_words, votes):
    # A word's hash is FNV-1a, mixed; a pair's is that of both. Returns the word's.
    word = mixed(word)
    _vote(word, votes)
    if n_words > 0:
        _vote(mixed(before * _PRIME + word), votes)
    return word


@njit(cache=True, nogil=True, _nrt=False)
def simhash_texts(data, starts, least_words, votes, out):
    """Write the simhash of text k, `data[starts[k]:starts[k + 1]]` in UTF-8, to out[k]; 0 below `least_words`."""
    for k in range(out.shape[0]):
        for bit in range(64):
            votes[bit] = 0
        n_words = 0
        in_word = False
        word, before = _OFFSET, _ZERO
        i, end = starts[k], starts[k + 1]
        while i < end:
            gap = _gap_at(data, i, end)
            if gap == 0:
                word = (word ^ np.uint64(data[i])) * _PRIME
                in_word = True
                i += 1
                continue
            if in_word:
                before = _vote_word(word, before, n_words, votes)
                n_words += 1
                in_word, word = False, _OFFSET
            i += gap
        if in_word:
            before = _vote_word(word, before, n_words, votes)
            n_words += 1
        found = _ZERO
        if n_words >= least_words:
            for bit in range(64):
                if 2 * votes[bit] > 2 * n_words - 1:
                    found |= _ONE << np.uint64(bit)
            if found == _ZERO:
                found = _ONE  # 0 says that there is none
        out[k] = found
