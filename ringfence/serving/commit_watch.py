# SPDX-License-Identifier: Apache-2.0
"""Looks at the commit that runs: one that takes far too long must not take everybody's time with it.

A commit cannot be ended: a disk that does not come back, or a ledger that somebody else has locked, holds the engine's
thread. Who waits for it is told so within the deadline that was asked for, the outcome being unknown, and who comes is
refused at once, until it returns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ringfence.serving.queue import NO_DEADLINE, Ticket

LOOK_S: Final = 0.01
LOOKS: Final = 4  # that must find the same commit before it is stuck: less may be a pause of the machine
WARY_S: Final = 10.0  # after the last commit that was stuck
_LOOK_NS: Final = round(LOOK_S * 1e9)
_LATE_NS: Final = round(
    1.5 * _LOOK_NS
)  # a look later than that says that the machine is busy or stood still, not the disk


class CommitWatch:
    """`began` and `ended` are for the engine's thread, all else for the event loop's.

    Parameters
    ----------
    on_stuck : called once a commit that is stuck, with those who wait for it.
    patience_s : that a commit may take at most. After `LOOKS` looks it is stuck already where the deadline of somebody
        who waits for it would pass before the next one; and for a while after another that was stuck, since a disk that
        stood still once is slow as a rule.
    margin_s : of a deadline, kept for the way back.
    """

    def __init__(self, on_stuck: Callable[[list[Ticket]], None], patience_s: float, *, margin_s: float = 0.0) -> None:
        self._on_stuck, self._patience_ns = on_stuck, round(patience_s * 1e9)
        self._ahead_ns = _LOOK_NS + round(margin_s * 1e9)
        self._running: list[Ticket] | None = None  # who waits for the commit that runs; None while none does
        self._seen: list[Ticket] | None = None
        self._stuck: list[Ticket] | None = None
        self._looks = 0
        self._looked_ns = self._seen_ns = self._wary_until_ns = 0
        self._deadline_ns = NO_DEADLINE  # the first of those who wait for the commit that was seen last

    def began(self, tickets: list[Ticket]) -> None:
        self._running = tickets

    def ended(self) -> None:
        self._running = None

    @property
    def is_stuck(self) -> bool:
        """Whether the commit that runs now has been found to be stuck."""
        return self._running is not None and self._running is self._stuck

    def look(self, now_ns: int) -> None:
        """Look once; to be called every `LOOK_S`, with the time by the clock of deadlines."""
        running, is_late = self._running, now_ns - self._looked_ns > _LATE_NS
        self._looked_ns = now_ns
        if running is None or running is not self._seen:
            self._seen, self._stuck, self._looks, self._seen_ns = running, None, int(running is not None), now_ns
            self._deadline_ns = min((ticket.deadline_ns for ticket in running or ()), default=NO_DEADLINE)
            return
        self._looks += not is_late
        if running is self._stuck:
            self._wary_until_ns = now_ns + round(WARY_S * 1e9)
            return
        is_short = now_ns < self._wary_until_ns or self._deadline_ns <= now_ns + self._ahead_ns
        if now_ns - self._seen_ns >= self._patience_ns or (is_short and self._looks >= LOOKS):
            self._stuck = running
            self._on_stuck(running)

    def keep_looking(self, loop: asyncio.AbstractEventLoop, ended: Callable[[], bool]) -> None:
        """Look every `LOOK_S` until `ended`."""
        self.look(time.perf_counter_ns())
        if not ended():
            loop.call_later(LOOK_S, self.keep_looking, loop, ended)
