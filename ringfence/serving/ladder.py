# SPDX-License-Identifier: Apache-2.0
"""Which rung may answer: by the time left, what the rung took lately, and its breaker.

    now                                                                                   deadline
     |<---- waited for `full` ---->|<- margin, gbdt ->|<- rules ->|<- commit ->|<- margin ->|
                                    what the rest needs, as estimated

A rung is waited for only so long that the next one, the commit and the way back still fit. The last rung is not on
trial: it answers whatever time it is.

A rung's latency estimate is an upper quantile of its last calls, by size of the batch. A decayed mean with its
deviation was the other way: there one pause of the machine raises the estimate for dozens of calls, and keeps a healthy
rung from answering; here one call in ten may be any length, and what is slow or lost more often is the breaker's to
judge. An estimate that keeps its rung from being asked would never be put right: so it halves for each second without
a new measure.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Container, Sequence
from enum import StrEnum
from typing import Final

from ringfence.scoring.scorer import RULES
from ringfence.serving.breaker import MS, Breaker, BreakerSettings, State

REMEMBERED: Final = 32  # calls of each size
QUANTILE: Final = 0.9  # of these
HALVES_AFTER_NS: Final = 1_000 * MS
_MOST_HALVINGS: Final = 63


class Why(StrEnum):
    """Why the ladder passes a rung over; told on the decision."""

    NO_TIME = "time is short"
    OPEN = "its breaker is open"
    TIMED_OUT = "it did not answer in time"
    BUSY = "an earlier call of it still runs"


class Estimate:
    """What a call of n events is expected to take at most, nine times in ten."""

    def __init__(self) -> None:
        self._by_size: dict[int, _Sized] = {}  # sizes 1, 2, 3-4, 5-8, ... of the batch

    def add(self, n_events: int, took_ns: int, now_ns: int) -> None:
        """Note how long a call took; of one that was given up, how long it was waited for."""
        size = _size(n_events)
        if size not in self._by_size:
            self._by_size[size] = _Sized()
        self._by_size[size].add(took_ns, now_ns)

    def at(self, n_events: int, now_ns: int) -> int:
        """Return the estimate in nanoseconds; 0 where nothing is known yet.

        A size that was never measured is taken for the next smaller one that was, else for the next larger one.
        """
        size = _size(n_events)
        sized = self._by_size.get(size)
        if sized is None:
            if not self._by_size:
                return 0
            near = max((known for known in self._by_size if known < size), default=min(self._by_size))
            sized = self._by_size[near]
        return sized.at(now_ns)


class _Sized:
    """The last calls of one size, in order of time and in order of length."""

    __slots__ = ("_by_length", "_measured_at_ns", "_recent", "_upper_ns")

    def __init__(self) -> None:
        self._recent: deque[int] = deque()
        self._by_length: list[int] = []
        self._measured_at_ns = self._upper_ns = 0

    def add(self, took_ns: int, now_ns: int) -> None:
        if len(self._recent) == REMEMBERED:
            del self._by_length[bisect_left(self._by_length, self._recent.popleft())]
        self._recent.append(took_ns)
        insort(self._by_length, took_ns)
        self._upper_ns = self._by_length[math.ceil(QUANTILE * len(self._by_length)) - 1]
        self._measured_at_ns = now_ns

    def at(self, now_ns: int) -> int:
        halvings = max(now_ns - self._measured_at_ns, 0) // HALVES_AFTER_NS
        return self._upper_ns >> halvings if halvings < _MOST_HALVINGS else 0


def _size(n_events: int) -> int:
    return max(n_events - 1, 0).bit_length()


class Ladder:
    """The rungs of a release with what is known of them. One thread uses it; every moment is handed to it.

    Parameters
    ----------
    rungs : those that ask a model, highest first; `rules` comes after them and is not among them.
    margin_ms : kept for the way back to the client, and as much for going from one model on to the next.
    longest_ms : no model is waited for any longer, however far the deadline.
    """

    def __init__(self, rungs: Sequence[str], settings: BreakerSettings, *, margin_ms: float, longest_ms: float) -> None:
        self.rungs = tuple(rungs)
        self.breakers = {rung: Breaker(settings) for rung in self.rungs}
        self.estimates = {rung: Estimate() for rung in (*self.rungs, RULES)}
        self.commit = Estimate()
        self._margin_ns = int(margin_ms * MS)
        self._longest_ns = int(longest_ms * MS)

    def why_not(self, rung: str, n_events: int, left_ns: int, now_ns: int) -> Why | None:
        """Say why a rung is not to be asked now; None: it is.

        Parameters
        ----------
        left_ns : until the deadline; below zero where it has passed.
        """
        if self.breakers[rung].state_at(now_ns) is State.OPEN:
            return Why.OPEN
        room_ns = self.wait_ns(rung, n_events, left_ns, now_ns)
        if room_ns <= 0 or room_ns < self.estimates[rung].at(n_events, now_ns):
            return Why.NO_TIME
        return None

    def wait_ns(self, rung: str, n_events: int, left_ns: int, now_ns: int) -> int:
        """Return how long a rung may be waited for, that the rest still fits; above 0 where `why_not` is None."""
        return min(left_ns - self.rest_ns(rung, n_events, now_ns), self._longest_ns)

    def needed_ns(self, n_events: int, now_ns: int, busy: Container[str] = ()) -> int:
        """Return what the highest rung that would be asked needs to the end; 0 where no model would be asked.

        Parameters
        ----------
        busy : rungs that cannot be asked whatever the time.
        """
        for rung in self.rungs:
            if rung not in busy and self.breakers[rung].state_at(now_ns) is not State.OPEN:
                return self.estimates[rung].at(n_events, now_ns) + self.rest_ns(rung, n_events, now_ns)
        return 0

    def rest_ns(self, rung: str, n_events: int, now_ns: int) -> int:
        """Return what has to fit between a rung's end and the deadline: next rung, rules, commit, margins."""
        rest_ns = self.estimates[RULES].at(n_events, now_ns) + self.commit.at(1, now_ns) + self._margin_ns
        for below in self.rungs[self.rungs.index(rung) + 1 :]:
            if self.breakers[below].state_at(now_ns) is not State.OPEN:
                return rest_ns + self.estimates[below].at(n_events, now_ns) + self._margin_ns
        return rest_ns
