# SPDX-License-Identifier: Apache-2.0
"""How many reviews investigators have room for today: a circumstance that every decision records."""

from __future__ import annotations

import math
from collections.abc import Callable

from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind
from ringfence.scenario.calendar import local_offset_ms_at
from ringfence.scenario.clock import Clock

_DAY_MS = 86_400_000


class ReviewBudget:
    """Reviews per local day of the scenario. `left` is None where the policy sets no capacity."""

    def __init__(self, per_day: float | None, time_zone: str, clock: Clock) -> None:
        self._per_day = per_day
        self._day_of: Callable[[int], int] = lambda ms: (ms + local_offset_ms_at(time_zone, ms)) // _DAY_MS
        self._clock = clock
        self._day = self._day_of(clock.now_ms())
        self._spent = 0

    def left(self) -> int | None:
        if self._per_day is None:
            return None
        today = self._day_of(self._clock.now_ms())
        if today != self._day:
            self._day, self._spent = today, 0
        return max(0, math.floor(self._per_day) - self._spent)

    def spend(self) -> None:
        self._spent += 1

    def recover(self, ledger: Ledger) -> None:
        """Count today's reviews in the ledger: read back from its end until yesterday shows up."""
        if self._per_day is None:
            return
        until = ledger.last_seq
        self._spent, self._day, step = 0, self._day_of(self._clock.now_ms()), 4_096
        while until > 0:
            older = False
            for record in ledger.records(max(0, until - step), kinds=(Kind.DECISION,), until_seq=until):
                body = record.body
                if self._day_of(record.recorded_at_ms) < self._day:
                    older = True
                elif isinstance(body, DecisionBody) and body.action == "review":
                    self._spent += 1
            if older:
                return
            until -= step
