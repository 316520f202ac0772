# SPDX-License-Identifier: Apache-2.0
"""Hashed n-grams by their definition: dictionaries of texts' n-grams, one Python loop each."""

from __future__ import annotations

import math
from collections import Counter

from tests.oracles.text_twin import MASK, mixed, words_of

OFFSET, PRIME, SPREAD = 0xCBF29CE484222325, 0x100000001B3, 0x9E3779B97F4A7C15


def bins_of(text: str, *, attribute: int, bits: int, least: int, most: int, words: int) -> Counter[int]:
    """Return how often each bin is hit by the n-grams of a text."""
    seed = OFFSET ^ (attribute * SPREAD & MASK)
    found = words_of(text[:4_000])
    read = f" {' '.join(found)} "
    grams = [
        (hashed(seed, read[first : first + n]) + n) & MASK
        for n in range(least, most + 1)
        for first in range(len(read) - n + 1)
        if found
    ]
    singles = [mixed(hashed(seed, word)) for word in found]
    grams += singles
    if words == 2:
        grams += [(a * PRIME + b) & MASK for a, b in zip([seed, *singles], singles, strict=False)]
    return Counter(mixed(gram) >> 64 - bits for gram in grams)


def hashed(seed: int, text: str) -> int:
    for character in text:
        seed = (seed ^ ord(character)) * PRIME & MASK
    return seed


def values_of(counts: Counter[int], rarity: dict[int, float]) -> dict[int, float]:
    values = {key: (1.0 + math.log(n)) * rarity[key] for key, n in counts.items()}
    length = math.sqrt(sum(value * value for value in values.values()))
    return {key: value / length for key, value in values.items()}
