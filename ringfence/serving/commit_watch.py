# SPDX-License-Identifier: Apache-2.0
"""Looks at the commit that runs: one that takes far too long must not take everybody's time with it.

A commit cannot be ended: a disk that does not come back, or a ledger that somebody else has locked, holds the engine's
thread. Who waits for it is told that the outcome is unknown, and who comes is refused at once, until it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ringfence.serving.queue import Ticket

LOOK_S: Final = 0.01
WARY_LOOKS: Final = 4  # in a row that find the same commit, while the disk is known to be slow
WARY_S: Final = 10.0  # after the last commit that was stuck
_LATE_S: Final = 1.5 * LOOK_S  # a look later than that says that the machine is busy or stood still, not the disk


class CommitWatch:
    """`began` and `ended` are for the engine's thread, all else for the event loop's.

    Parameters
    ----------
    on_stuck : called once a commit that is stuck, with those who wait for it.
    patience_s : that a commit may take. After one that took longer, the next ones get `WARY_LOOKS` looks for a while:
        a disk that stood still once is slow as a rule, and nobody has to wait for it that long again.
    """

    def __init__(self, on_stuck: Callable[[list[Ticket]], None], patience_s: float) -> None:
        self._on_stuck, self._patience_s = on_stuck, patience_s
        self._running: list[Ticket] | None = None  # who waits for the commit that runs; None while none does
        self._seen: list[Ticket] | None = None
        self._stuck: list[Ticket] | None = None
        self._looks = 0
        self._looked_s = self._seen_s = self._wary_until_s = 0.0

    def began(self, tickets: list[Ticket]) -> None:
        self._running = tickets

    def ended(self) -> None:
        self._running = None

    @property
    def is_stuck(self) -> bool:
        """Whether the commit that runs now has been found to be stuck."""
        return self._running is not None and self._running is self._stuck

    def look(self, now_s: float) -> None:
        """Look once; to be called every `LOOK_S`, with the time by a steady clock."""
        running, is_late = self._running, now_s - self._looked_s > _LATE_S
        self._looked_s = now_s
        if running is None or running is not self._seen:
            self._seen, self._stuck, self._looks, self._seen_s = running, None, int(running is not None), now_s
            return
        self._looks += not is_late
        if running is self._stuck:
            self._wary_until_s = now_s + WARY_S
            return
        is_wary = now_s < self._wary_until_s
        if now_s - self._seen_s >= self._patience_s or (is_wary and self._looks >= WARY_LOOKS):
            self._stuck = running
            self._on_stuck(running)

    def keep_looking(self, loop: asyncio.AbstractEventLoop, ended: Callable[[], bool]) -> None:
        """Look every `LOOK_S` until `ended`."""
        self.look(loop.time())
        if not ended():
            loop.call_later(LOOK_S, self.keep_looking, loop, ended)
