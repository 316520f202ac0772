# SPDX-License-Identifier: Apache-2.0
"""Randomness that does not depend on who asks, or in which order.

Two sources. A trait is a pure function of (seed, stream, index): the home region of person 7 needs no table of persons,
so a world of ten million claims keeps no population in memory. A block generator belongs to (seed, stream, block): rows
come in blocks of a fixed size, and how many blocks are written at a time changes nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ID_BITS: Final = 36  # 68 thousand million ids per kind, printed in eleven digits
_MASK: Final = np.uint64((1 << ID_BITS) - 1)


def key_of(seed: int, stream: str) -> np.uint64:
    """Derive a stream's 64-bit key from the seed of the world."""
    words = np.random.SeedSequence([seed, *stream.encode()]).generate_state(1, np.uint64)
    return np.uint64(words[0])


def generator_of(seed: int, stream: str, block: int = 0) -> np.random.Generator:
    """Return the generator of one block of one stream; independent of every other block."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, block, *stream.encode()])))


def uniform_of(key: np.uint64, index: Ints) -> Floats:
    """Give each index its own number in [0, 1).

    Notes
    -----
    The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
    """
    z = (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def scrambled(key: np.uint64, index: Ints) -> Ints:
    """Map indices in [0, 2**ID_BITS) to printed numbers, one to one, so that an id says nothing about its order."""
    low = (key & _MASK) | np.uint64(1)
    x = index.astype(np.uint64)
    for multiplier in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        x = (x * np.uint64(multiplier) + low) & _MASK
        x ^= x >> np.uint64(ID_BITS // 2)
    return x.astype(np.int64)
