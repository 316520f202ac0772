# SPDX-License-Identifier: Apache-2.0
"""Labels by outcome, from the definition: every decided event against every outcome, nothing kept in between.

event      t            t + horizon
outcome    no: at t     yes: at t + horizon     no: 1 ms later     yes: in between, whenever it is reported
legit      ...          ...                     from 1 ms later on, where none is known
"""

from __future__ import annotations

from typing import NamedTuple

LEGIT, FRAUD = 0, 1


class Seen(NamedTuple):
    """An event as it reaches the ledger."""

    event_id: str
    is_outcome: bool  # of the type that answers; the others are decided on
    time_ms: int
    named: frozenset[str]  # in the role that both share


class Given(NamedTuple):
    """A label record."""

    event_id: str
    value: int
    known_at_ms: int
    replaces: int  # -1: the first


class OutcomeTwin:
    """Told of the ledger's steps one after the other, says which labels each of them brings."""

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._events: list[Seen] = []
        self._known_ms: dict[str, int] = {}  # of outcomes
        self._answered: set[str] = set()
        self._standing: dict[str, int] = {}
        self.watermark_ms = 0

    def imports(self, new: list[Seen]) -> set[Given]:
        """All events of an import at once: each outcome is known at its time."""
        before = {event.event_id for event in self._events}
        self._events += new
        self._known_ms |= {event.event_id: event.time_ms for event in new if event.is_outcome}
        answers: dict[str, int] = {}
        for event in self._undecided():
            outcomes = [one for one in self._events if self._answers(one, event)]
            if outcomes:
                first = min((one.time_ms, self._known_ms[one.event_id]) for one in outcomes)
                answers[event.event_id] = first[1]
        at_end = max([self.watermark_ms, *(event.time_ms for event in new), *answers.values()])
        given: set[Given] = set()
        for event in self._undecided():
            known_ms, due_ms = answers.get(event.event_id), event.time_ms + self._horizon_ms + 1
            stands = self._standing.get(event.event_id, -1)
            matures = stands < 0 and due_ms <= at_end and bool(event.named)
            if matures and (known_ms is None or known_ms > due_ms):
                given.add(Given(event.event_id, LEGIT, due_ms, -1))
                stands = LEGIT
            if known_ms is not None:
                given.add(Given(event.event_id, FRAUD, known_ms, stands))
        assert before.isdisjoint(event.event_id for event in new)
        return self._settle(given, at_end)

    def live(self, event: Seen, now_ms: int) -> set[Given]:
        """One event, recorded at `now_ms`, and what matures after it."""
        self._events.append(event)
        self.watermark_ms = max(self.watermark_ms, event.time_ms)
        known_ms = max(now_ms, event.time_ms)
        if event.is_outcome:
            self._known_ms[event.event_id] = known_ms
        given = set()
        for one in self._undecided():
            if any(self._answers(outcome, one) for outcome in self._events):
                given.add(Given(one.event_id, FRAUD, known_ms, self._standing.get(one.event_id, -1)))
        self._settle(given, known_ms if given else self.watermark_ms)
        due = {
            Given(one.event_id, LEGIT, one.time_ms + self._horizon_ms + 1, -1)
            for one in self._undecided()
            if one.named and one.event_id not in self._standing
            if one.time_ms + self._horizon_ms + 1 <= self.watermark_ms
        }
        return given | self._settle(due, self.watermark_ms)

    def _undecided(self) -> list[Seen]:
        return [event for event in self._events if not event.is_outcome and event.event_id not in self._answered]

    def _answers(self, outcome: Seen, event: Seen) -> bool:
        return (
            outcome.is_outcome
            and bool(outcome.named & event.named)
            and event.time_ms < outcome.time_ms <= event.time_ms + self._horizon_ms
        )

    def _settle(self, given: set[Given], at_ms: int) -> set[Given]:
        for label in sorted(given, key=lambda label: label.value):  # what ages comes before the truth
            self._standing[label.event_id] = label.value
            if label.value == FRAUD:
                self._answered.add(label.event_id)
        self.watermark_ms = max(self.watermark_ms, at_ms)
        return given

    @property
    def standing(self) -> dict[str, int]:
        """The label that stands, by event."""
        return dict(self._standing)
