# SPDX-License-Identifier: Apache-2.0
"""How often was this key seen before that moment? The one question that rules and simple counts ask of the past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

DAY_MS: Final = 86_400_000
EVER: Final = 1 << 40  # ms; 34 years, longer than any history


@dataclass(frozen=True)
class Links:
    """Who is named in which claim in one role: link i says that claim row[i] names entity code[i]."""

    role: str
    row: Ints  # (m,) ascending
    code: Ints  # (m,) >= 0; persons share their codes over all roles

    def dense(self, n: int) -> Ints:
        """Return the first entity of each claim, shape (n,), or -1 where the role is empty."""
        code = np.full(n, -1, dtype=np.int64)
        code[self.row[::-1]] = self.code[::-1]
        return code


class Sightings:
    """Keys with the moments they were seen at, sorted once.

    Parameters
    ----------
    key, time_ms : shape (m,), any order; keys below 0 name nobody and are left out.
    """

    def __init__(self, key: Ints, time_ms: Ints) -> None:
        somebody = key >= 0
        key, time_ms = key[somebody], time_ms[somebody]
        self._start = int(time_ms.min()) if len(time_ms) else 0
        self._stride = (int(time_ms.max()) - self._start if len(time_ms) else 0) + 2
        self._known, place = np.unique(key, return_inverse=True)
        self._packed = np.sort(place * self._stride + (time_ms - self._start))

    def before(self, key: Ints, time_ms: Ints, span_ms: int = EVER) -> Ints:
        """Count the sightings of each key in [time - span, time), shape (n,); 0 for a key below 0 or never seen."""
        if not len(self._known):
            return np.zeros(len(key), dtype=np.int64)
        place = np.minimum(np.searchsorted(self._known, key), len(self._known) - 1)
        seen = self._known[place] == key
        until = np.clip(time_ms - self._start, 0, self._stride - 1)
        since = np.clip(time_ms - self._start - span_ms, 0, self._stride - 1)
        low = np.searchsorted(self._packed, place * self._stride + since, side="left")
        high = np.searchsorted(self._packed, place * self._stride + until, side="left")
        return np.where(seen, high - low, 0).astype(np.int64)


def links_before(asked: Links, seen: Links, time_ms: Ints, span_ms: int = EVER) -> Ints:
    """Count, for each link of `asked`, the links of `seen` to the same entity in the span before its claim."""
    return Sightings(seen.code, time_ms[seen.row]).before(asked.code, time_ms[asked.row], span_ms)


def pair(a: Ints, b: Ints) -> Ints:
    """Number pairs of entities, shape (n,); -1 where either is nobody."""
    return np.where((a >= 0) & (b >= 0), a * (int(b.max(initial=0)) + 1) + b, -1)


def most(n: int, links: Links, count: Ints) -> Ints:
    """Return the largest count over the entities that each of n claims names in a role; 0 where it names none."""
    largest = np.zeros(n, dtype=np.int64)
    np.maximum.at(largest, links.row, count)
    return largest
