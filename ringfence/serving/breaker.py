# SPDX-License-Identifier: Apache-2.0
"""A circuit breaker: stops asking a rung that fails, and tries it again by and by.

    closed ---- too many of the last calls failed, or were slow ----> open
      ^                                                                | after a pause, twice as long each time
      |                                                                v
      +---- `probes` calls in a row are answered in time ---- half-open ----> open, if one is not

It has no clock: every moment is handed to it, in nanoseconds of one steady clock, and never goes back. So what it does
is a function of what it was told.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Annotated, Final

import msgspec

MS: Final = 1_000_000  # nanoseconds


class State(IntEnum):
    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class _Call(IntEnum):
    GOOD = 0
    SLOW = 1
    TIMED_OUT = 2
    FAILED = 3


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    window: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 32  # calls that are looked at, the newest
    least_calls: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 5  # before which it does not open
    failed_share: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.5  # errors and time-outs at which it opens
    slow_share: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.8  # slow calls and time-outs at which it opens
    slow_ms: Annotated[float, msgspec.Meta(gt=0.0)] = 25.0  # a call that takes longer is slow
    slow_ms_per_event: Annotated[float, msgspec.Meta(ge=0.0)] = 1.0  # and may take so much longer for each event of it
    open_ms: Annotated[float, msgspec.Meta(gt=0.0)] = 1_000.0  # the first pause; doubles as long as probes fail
    longest_open_ms: Annotated[float, msgspec.Meta(gt=0.0)] = 30_000.0
    probes: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3  # good calls in a row that close it


class Breaker:
    """Counts the calls of one rung. Calls come one after another; one thread uses it."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._calls: deque[_Call] = deque(maxlen=settings.window)
        self._counts = [0] * len(_Call)
        self._is_closed = True
        self._open_until_ns = 0
        self._pause_ns = self._first_pause_ns = int(settings.open_ms * MS)
        self._longest_pause_ns = int(max(settings.longest_open_ms, settings.open_ms) * MS)
        self._n_probed = 0

    def state_at(self, now_ns: int) -> State:
        if self._is_closed:
            return State.CLOSED
        return State.OPEN if now_ns < self._open_until_ns else State.HALF_OPEN

    def answered(self, n_events: int, took_ns: int, now_ns: int) -> None:
        """Count a call that was answered after `took_ns`."""
        self._count(_Call.SLOW if took_ns > self._slow_ns(n_events) else _Call.GOOD, now_ns)

    def gave_up(self, n_events: int, waited_ns: int, now_ns: int) -> None:
        """Count a call whose answer was not waited for any longer than `waited_ns`.

        Where that was less than what makes a call slow, the time was short and not the call long: it does not count.
        """
        if waited_ns >= self._slow_ns(n_events):
            self._count(_Call.TIMED_OUT, now_ns)

    def failed(self, now_ns: int) -> None:
        """Count a call that raised."""
        self._count(_Call.FAILED, now_ns)

    def _slow_ns(self, n_events: int) -> int:
        return int((self._settings.slow_ms + n_events * self._settings.slow_ms_per_event) * MS)

    def _count(self, call: _Call, now_ns: int) -> None:
        match self.state_at(now_ns):
            case State.OPEN:
                return  # of a call that began before
            case State.HALF_OPEN:
                self._probed(call, now_ns)
            case State.CLOSED:
                if len(self._calls) == self._settings.window:
                    self._counts[self._calls[0]] -= 1
                self._calls.append(call)
                self._counts[call] += 1
                if call is not _Call.GOOD and self._is_enough():
                    self._open(now_ns)

    def _is_enough(self) -> bool:
        n, settings = len(self._calls), self._settings
        if n < min(settings.least_calls, settings.window):
            return False
        late = self._counts[_Call.TIMED_OUT]
        has_failed = self._counts[_Call.FAILED] + late >= settings.failed_share * n
        return has_failed or self._counts[_Call.SLOW] + late >= settings.slow_share * n

    def _probed(self, call: _Call, now_ns: int) -> None:
        if call is not _Call.GOOD:
            self._pause_ns = min(2 * self._pause_ns, self._longest_pause_ns)
            self._open(now_ns)
            return
        self._n_probed += 1
        if self._n_probed >= self._settings.probes:
            self._is_closed = True
            self._pause_ns = self._first_pause_ns

    def _open(self, now_ns: int) -> None:
        self._is_closed = False
        self._open_until_ns = now_ns + self._pause_ns
        self._n_probed = 0
        self._calls.clear()
        self._counts = [0] * len(_Call)
