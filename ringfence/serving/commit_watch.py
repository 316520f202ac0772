# SPDX-License-Identifier: Apache-2.0
"""Looks at the commit that runs: one that takes far too long must not take everybody's time with it.

A commit cannot be ended: a disk that does not come back, or a ledger that somebody else has locked, holds the engine's
thread. Who waits for it is told that the outcome is unknown, and who comes is refused at once, until it returns. Before
a commit has taken that long it may be out of the ordinary: then whoever's deadline is about to pass is told, he alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ringfence.serving.queue import NO_DEADLINE, Ticket

LOOK_S: Final = 0.005
WARY_LOOKS: Final = 8  # in a row that find the same commit, while the disk is known to be slow
SOON_S: Final = 3 * LOOK_S  # before a deadline, whoever waits is told
WARY_S: Final = 10.0  # after the last commit that was stuck
_LATE_S: Final = 1.5 * LOOK_S  # a look later than that says that the machine is busy or stood still, not the disk


class Pace:
    """How long commits take here. The slowest of the last seconds, so that a busy machine is not taken for a dead disk.

    One thread tells it, another one may ask.
    """

    TIMES: Final = 4.0  # a commit that takes so many times as long as the slowest before it is out of the ordinary
    LEAST_S: Final = 0.03
    FROM: Final = 100  # commits on, the pace is known
    SPAN_S: Final = 5.0  # the slowest of this span and of the one before it counts

    def __init__(self) -> None:
        self._slowest_s = self._slowest_before_s = self._until_s = 0.0
        self._n = self._n_before = 0

    def tell(self, took_s: float, now_s: float) -> None:
        """Note a commit that took so long, and ended now."""
        if now_s >= self._until_s:
            is_next = now_s < self._until_s + self.SPAN_S
            self._slowest_before_s, self._n_before = (self._slowest_s, self._n) if is_next else (0.0, 0)
            self._slowest_s, self._n, self._until_s = 0.0, 0, now_s + self.SPAN_S
        self._slowest_s = max(self._slowest_s, took_s)
        self._n += 1

    def ordinary_s(self, now_s: float) -> float | None:
        """What a commit may take before it is out of the ordinary; None where too few were seen of late."""
        if now_s >= self._until_s + self.SPAN_S or self._n + self._n_before < self.FROM:
            return None
        return max(self.LEAST_S, self.TIMES * max(self._slowest_s, self._slowest_before_s))


class CommitWatch:
    """`began` and `ended` are for the engine's thread, all else for the event loop's.

    Parameters
    ----------
    on_stuck : called once a commit that is stuck, with those who wait for it.
    on_pressing : called while a commit is out of the ordinary (`Pace`), with those whose deadline is about to pass,
        whether they wait for that commit or behind it; and whether they are the first of this commit.
    patience_s : that a commit may take. After one that took longer, the next ones get `WARY_LOOKS` looks for a while:
        a disk that stood still once is slow as a rule, and nobody has to wait for it that long again.
    clock : steady, in seconds; the same that `look` is told.
    now_ns : the clock of deadlines.
    """

    def __init__(
        self,
        on_stuck: Callable[[list[Ticket]], None],
        on_pressing: Callable[[list[Ticket], bool], None],
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._on_stuck, self._on_pressing, self._patience_s, self._clock = on_stuck, on_pressing, patience_s, clock
        self._pace, self._now_ns = Pace(), now_ns
        self._asked: deque[Ticket] = deque()  # with a deadline, oldest first; those in front have no answer yet
        self._told: list[Ticket] | None = None  # the last commit for which somebody was told before his deadline
        self._began_s = 0.0
        self._running: list[Ticket] | None = None  # who waits for the commit that runs; None while none does
        self._seen: list[Ticket] | None = None
        self._stuck: list[Ticket] | None = None
        self._looks = 0
        self._looked_s = self._seen_s = self._wary_until_s = 0.0

    def asked(self, ticket: Ticket) -> None:
        """Note who waits from now on, and until when; by the event loop's thread."""
        if ticket.deadline_ns < NO_DEADLINE:
            self._asked.append(ticket)

    def began(self, tickets: list[Ticket]) -> None:
        self._began_s = self._clock()
        self._running = tickets

    def ended(self) -> None:
        self._running = None
        ended_s = self._clock()
        self._pace.tell(ended_s - self._began_s, ended_s)

    @property
    def is_stuck(self) -> bool:
        """Whether the commit that runs now has been found to be stuck."""
        return self._running is not None and self._running is self._stuck

    def look(self, now_s: float) -> None:
        """Look once; to be called every `LOOK_S`, with the time by a steady clock."""
        running, is_late = self._running, now_s - self._looked_s > _LATE_S
        self._looked_s = now_s
        while self._asked and self._asked[0].future.done():
            self._asked.popleft()
        if running is None or running is not self._seen:
            self._seen, self._stuck, self._looks, self._seen_s = running, None, int(running is not None), now_s
            return
        self._looks += not is_late
        if running is self._stuck:
            self._wary_until_s = now_s + WARY_S
            return
        is_wary = now_s < self._wary_until_s and self._looks >= WARY_LOOKS
        if is_wary or now_s - self._seen_s >= self._patience_s:
            self._stuck = running
            self._on_stuck(running)
        elif pressing := self._pressing(now_s):
            is_first, self._told = self._told is not running, running
            self._on_pressing(pressing, is_first)

    def _pressing(self, now_s: float) -> list[Ticket]:
        """Return those whose deadline is about to pass while a commit is out of the ordinary.

        Looks that came late do not count: then it is the machine that is slow, and the disk may be well. Whose deadline
        passed meanwhile is left alone: it is too late to tell him in time, and his answer may be on its way.
        """
        ordinary_s = self._pace.ordinary_s(now_s)
        if ordinary_s is None or self._looks * LOOK_S < ordinary_s:
            return []
        now_ns = self._now_ns()
        soon_ns = now_ns + SOON_S * 1e9
        waiting = [ticket for ticket in self._asked if not ticket.future.done()]
        return [ticket for ticket in waiting if now_ns < ticket.deadline_ns <= soon_ns]

    def keep_looking(self, loop: asyncio.AbstractEventLoop, ended: Callable[[], bool]) -> None:
        """Look every `LOOK_S` until `ended`."""
        self.look(loop.time())
        if not ended():
            loop.call_later(LOOK_S, self.keep_looking, loop, ended)
