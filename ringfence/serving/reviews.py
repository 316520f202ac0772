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
        self._clock, self._time_zone = clock, time_zone
        self._counted_seq = 0
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

    def counts_like(self, other: ReviewBudget) -> bool:
        """Whether what `other` has counted is what this one needs: reviews of the same days, or none at all."""
        return self._per_day is None or (other._per_day is not None and other._time_zone == self._time_zone)

    def go_on_from(self, other: ReviewBudget, ledger: Ledger) -> None:
        """Take over what another has counted up to now; where that counted otherwise, what the ledger got since
        `recover`."""
        if self.counts_like(other):
            other.left()  # begins its day
            self._day, self._spent = other._day, other._spent
        else:
            self._count(ledger, self._counted_seq, ledger.last_seq)

    def recover(self, ledger: Ledger) -> None:
        """Count today's reviews in the ledger: read back from its end until yesterday shows up."""
        if self._per_day is None:
            return
        until = self._counted_seq = ledger.last_seq
        self._spent, self._day, step = 0, self._day_of(self._clock.now_ms()), 4_096
        while until > 0 and not self._count(ledger, max(0, until - step), until):
            until -= step

    def _count(self, ledger: Ledger, after_seq: int, until_seq: int) -> bool:
        """Count the reviews of a part of the ledger; True where decisions of another day came up."""
        older = False
        for record in ledger.records(after_seq, kinds=(Kind.DECISION,), until_seq=until_seq):
            body = record.body
            if self._day_of(record.recorded_at_ms) < self._day:
                older = True
            elif isinstance(body, DecisionBody) and body.action == "review":
                self._spent += 1
        return older
