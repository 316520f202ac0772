# SPDX-License-Identifier: Apache-2.0
"""The one source of the present moment. Built in `cli.py`, passed down, never looked up."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> None:
        """Move on by `ms` >= 0 milliseconds."""
        if ms < 0:
            raise ValueError(f"a clock cannot go back by {-ms} ms")
        self._now_ms += ms
