# SPDX-License-Identifier: Apache-2.0
"""How often a key may be used: a token bucket for each, which knows no clock but the moments it is handed.

A bucket holds at most `burst` permits and gains `per_s` of them a second. A request takes one, where one is there. A
batch takes one a line, and may leave the bucket in debt: what comes next waits until that is paid. So a batch counts
for what it is worth without being cut in two.
"""

from __future__ import annotations

from math import ceil, inf
from typing import Final, NamedTuple

import msgspec

from ringfence.serving.errors import RateLimitedError

_WHOLE: Final = 1 - 1e-9  # a permit: sums of parts that make one may miss it by rounding


class Rate(msgspec.Struct, frozen=True):
    """At most `burst` requests at once, and `per_s` a second in the long run."""

    per_s: float  # > 0, finite
    burst: int  # >= 1

    @classmethod
    def of(cls, per_s: float, burst: int | None = None) -> Rate:
        """Make one; without `burst`, what comes in a second may come at once.

        Raises
        ------
        ValueError
            If a bound is broken.
        """
        burst = max(1, ceil(per_s)) if burst is None and 0 < per_s < inf else burst
        if burst is None or burst < 1 or not 0 < per_s < inf:
            raise ValueError("a rate is a number above 0, a burst a whole number above 0")
        return cls(per_s, burst)


class Level(NamedTuple):
    """What a bucket held at a moment."""

    permits: float  # below zero: in debt
    at_ms: int


def level_at(level: Level | None, rate: Rate, now_ms: int) -> Level:
    """Fill a bucket up to a moment; a new one is full. A clock that was set back gives nothing and takes nothing."""
    if level is None:
        return Level(rate.burst, now_ms)
    gained = max(0, now_ms - level.at_ms) * rate.per_s / 1000
    return Level(min(float(rate.burst), level.permits + gained), now_ms)


def wait_s(level: Level, rate: Rate) -> int:
    """Whole seconds until a permit is there, rounded up; 0 where one is."""
    return max(0, ceil((_WHOLE - level.permits) / rate.per_s))


class RateLimits:
    """The buckets of all keys, by name: a rotated key shares its bucket with the one that it replaces."""

    def __init__(self, default: Rate | None = None) -> None:
        self._default = default
        self._levels: dict[str, Level] = {}

    def take(self, name: str, rate: Rate | None, *, now_ms: int) -> None:
        """Take one permit of a key's bucket; `rate` None stands for the default, and no limit where there is none.

        Raises
        ------
        RateLimitedError
            If none is there (429, with the seconds until one is). Nothing is taken then.
        """
        rate = rate or self._default
        if rate is None:
            return
        level = level_at(self._levels.get(name), rate, now_ms)
        if level.permits < _WHOLE:
            self._levels[name] = level
            raise RateLimitedError(name, rate.per_s, max(1, wait_s(level, rate)))
        self._levels[name] = Level(level.permits - 1, now_ms)

    def charge(self, name: str, rate: Rate | None, n: int, *, now_ms: int) -> None:
        """Take `n` >= 0 permits whether they are there or not."""
        rate = rate or self._default
        if rate is not None:
            level = level_at(self._levels.get(name), rate, now_ms)
            self._levels[name] = Level(level.permits - n, now_ms)

    def keep(self, names: frozenset[str]) -> None:
        """Forget the buckets of keys that are there no longer."""
        self._levels = {name: level for name, level in self._levels.items() if name in names}
