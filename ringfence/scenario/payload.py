# SPDX-License-Identifier: Apache-2.0
"""A 128-bit digest of what an event says, for telling a repeated event from a changed one.

The event is read as a set of items: its time where it gives one, its amount in minor units, each link, each attribute.
Every item is a triple of 64-bit words (tag, a, b), where the tag is the unkeyed blake2b-8 hash of the item's name:

    time            a = event_time_ms                       b = 0
    amount          a = amount_minor                        b = 0
    role NAME       a = high half of the entity's digest    b = low half
    attribute NAME  a = code of the canonical value         b = type number
    input NAME      a = keyed code of the text              b = 6

The code is the IEEE 754 bits of a number or time, 0 or 1 of a boolean, the blake2b-8 hash of a category or text; of
anything personal it is keyed, so that the digest outlives erasure without giving the value away. With `mix` the
finaliser of splitmix64, each half of the digest is `mix(sum of mix(mix(mix(seed + tag) + a) + b))` modulo 2^64.

Sums forget order: the key order of the JSON and the order of several entities in one role do not matter. A missing
item adds nothing, so an attribute added to the scenario later changes no digest of events without it. The algorithm
is part of the ledger's format: changing it would make every repeated import look like a conflict.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.scenario._kernels_payload import digest_items
from ringfence.scenario.event import AttributeValue
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.spec import Attribute, AttributeType
from ringfence.scenario.values import text_hash

SEEDS: Final = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
_SEED_WORDS: Final = np.array(SEEDS, np.uint64)
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_M1: Final = 0xBF58476D1CE4E5B9
_M2: Final = 0x94D049BB133111EB
TYPE_NUMBER: Final = {
    AttributeType.NUMBER: 1,
    AttributeType.BOOLEAN: 2,
    AttributeType.CATEGORY: 3,
    AttributeType.TEXT: 4,
    AttributeType.TIME: 5,
}

INPUT_TYPE: Final = 6  # of what only derived values are made of; they themselves are no part of the payload


@lru_cache(maxsize=4_096)
def tag_of(kind: str, name: str = "") -> int:
    """The 64-bit word that stands for an item's name."""
    return text_hash(f"{kind} {name}")


class PayloadDigest:
    """Of one event: add items, then read 16 bytes."""

    __slots__ = ("_words",)

    def __init__(self) -> None:
        self._words: list[int] = []

    def add(self, tag: int, a: int, b: int = 0) -> None:
        """Add an item; `a` modulo 2^64, which is how a negative amount gets in."""
        self._words += (tag, a & _MASK, b)

    def digest(self) -> bytes:
        packed = struct.pack(f"={len(self._words)}Q", *self._words)
        halves = np.empty(2, np.uint64)
        digest_items(np.frombuffer(packed, np.uint64).reshape(-1, 3), _SEED_WORDS, halves)
        return halves.astype(">u8").tobytes()


class PayloadDigests:
    """The same for n events at once."""

    __slots__ = ("_hi", "_lo")

    def __init__(self, n_events: int) -> None:
        self._hi = np.zeros(n_events, np.uint64)
        self._lo = np.zeros(n_events, np.uint64)

    def add(self, tag: int, a: NDArray[np.uint64], b: int, given: NDArray[np.bool_] | None = None) -> None:
        """Add one item per event, where `given`; `a` of shape (n,)."""
        for half, seed in ((self._hi, SEEDS[0]), (self._lo, SEEDS[1])):
            item = _mix_array(_mix_array(a + np.uint64(_mix(seed + tag))) + np.uint64(b))
            half += item if given is None else np.where(given, item, np.uint64(0))

    def add_links(
        self,
        start: NDArray[np.int64],
        tag: NDArray[np.uint64],
        hi: NDArray[np.uint64],
        lo: NDArray[np.uint64],
        given: NDArray[np.bool_],
    ) -> None:
        """Add the links `start[i]:start[i + 1]`, where `given`, to event i; all others of shape (m,)."""
        for half, seed in ((self._hi, SEEDS[0]), (self._lo, SEEDS[1])):
            item = _mix_array(_mix_array(_mix_array(tag + np.uint64(seed)) + hi) + lo)
            item *= given
            # Differences of running sums: exact, since both wrap at 2^64.
            total = np.concatenate((np.zeros(1, np.uint64), np.cumsum(item, dtype=np.uint64)))
            half += total[start[1:]] - total[start[:-1]]

    def halves(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """High and low halves; their big-endian bytes, one after the other, are the scalar digest."""
        return _mix_array(self._hi), _mix_array(self._lo)


def value_word(attribute: Attribute, value: AttributeValue, identity: IdentityKey) -> int:
    """The code of one canonical value that is given."""
    if attribute.personal:
        return personal_word(attribute, value, identity)
    if attribute.type in (AttributeType.CATEGORY, AttributeType.TEXT):
        return text_hash(str(value))
    if attribute.type is AttributeType.BOOLEAN:
        return int(bool(value))
    assert value is not None
    return float_word(float(value))


def personal_word(attribute: Attribute, value: AttributeValue, identity: IdentityKey) -> int:
    """The keyed code of a personal value."""
    assert value is not None
    text = value if isinstance(value, str) else float.hex(float(value))
    return int.from_bytes(identity.token(f"{attribute.name} {text}")[:8], "big")


def input_word(name: str, text: str, identity: IdentityKey) -> int:
    """The keyed code of a value that only derived values are made of."""
    return int.from_bytes(identity.token(f"{name} {text}")[:8], "big")


def float_word(number: float) -> int:
    """The IEEE 754 bits of a float64."""
    return int(struct.unpack("<Q", struct.pack("<d", number))[0])


def _mix(z: int) -> int:
    z &= _MASK
    z = ((z ^ (z >> 30)) * _M1) & _MASK
    z = ((z ^ (z >> 27)) * _M2) & _MASK
    return z ^ (z >> 31)


def _mix_array(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_M1)
    z ^= z >> np.uint64(27)
    z *= np.uint64(_M2)
    z ^= z >> np.uint64(31)
    return z
