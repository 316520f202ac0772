# SPDX-License-Identifier: Apache-2.0
"""The bounded queue between the event loop and the engine thread, and the tickets that wait in it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from queue import Empty, SimpleQueue
from typing import Any, Final

from ringfence.errors import RingfenceError
from ringfence.ledger.records import Kind, Told
from ringfence.scenario.event import Admission, LabelNotice
from ringfence.serving.errors import QueueFullError
from ringfence.serving.trace import Call, Trace
from ringfence.serving.waiting import Waiting

NO_DEADLINE: Final = 1 << 62
_NEWEST: Final = 0.02  # weight of each of the newest tickets in what turns are expected to take
_LEAST_SHARE: Final = 0.1  # of what a turn takes on average per ticket, which one ticket more takes at the least
_SHORT_NS: Final = 25_000_000  # a wait that is no pile-up: who is too late for it is decided by the rules
_PAUSE_NS: Final = 150_000_000  # a longer wait may last so long before it counts: machines pause, and catch up
_CALM_NS: Final = 1_000_000_000  # without one, after which the next is taken for a pause again
_IN_A_HURRY: Final = 10  # times as long as a turn lingers: who has less until the deadline does not wait for others
_SHORTEST_NS: Final = 100_000  # a wait that would cost more than it spares


class Ask(IntEnum):
    DECIDE = 0
    LEARN = 1  # observe an event without deciding it
    TELL = 2  # a label
    READ = 3  # a question to the engine's state, answered between two batches
    RECORD = 4  # what was found after the answer, or an act that changes nothing here
    SWITCH = 5  # another release: what was put before is of the old one, what comes after of the new one
    DECIDE_WAITING = 6  # a few events that the policy left to the nightly run


class Ticket:
    """One request on its way through the engine thread. Times are `perf_counter_ns`."""

    __slots__ = (
        "admission",
        "ask",
        "calls",
        "commit_ns",
        "deadline_ns",
        "future",
        "notice",
        "observe_ns",
        "queue_ns",
        "queued_at_ns",
        "read",
        "records",
        "repeated",
        "result",
        "score_ns",
        "trace",
        "waiting",
    )  # fmt: skip

    def __init__(
        self,
        ask: Ask,
        future: asyncio.Future[Any],
        *,
        admission: Admission | None = None,
        notice: LabelNotice | None = None,
        read: Callable[[], object] | None = None,
        records: Sequence[tuple[Kind, Told]] = (),
        waiting: Sequence[Waiting] = (),
        deadline_ns: int = NO_DEADLINE,
        trace: Trace | None = None,
    ) -> None:
        self.ask = ask
        self.future = future
        self.admission = admission
        self.notice = notice
        self.read = read
        self.records = records
        self.waiting = waiting
        self.result: object | RingfenceError = None
        self.repeated = False
        self.trace = trace  # None: nobody traces it
        self.calls: list[Call] | None = None  # of the rungs, where it is traced
        self.deadline_ns = deadline_ns
        self.queued_at_ns = time.perf_counter_ns()
        self.queue_ns = self.observe_ns = self.score_ns = self.commit_ns = 0


def settle(tickets: Iterable[Ticket], error: RingfenceError | None = None) -> None:
    """Wake those who wait for their tickets, with the result or an error; in the event loop's thread."""
    for ticket in tickets:
        if not ticket.future.done():
            ticket.future.set_result(ticket.result if error is None else error)


class TurnTimes:
    """What turns took lately: so much for each, and so much more for each ticket; a line through the newest of them.

    Most of what a small turn takes it would take for one ticket, too. By time per ticket, a few requests that come at
    once would look like a long wait, wherever turns are small as a rule. Large turns count for more: there are few of
    them, and they are what a pile-up is worked off with.
    """

    def __init__(self) -> None:
        self._n = self._ns = self._n_n = self._n_ns = 0.0  # means, of tickets, durations, and their products

    def note(self, n_tickets: int, duration_ns: int) -> None:
        """Note one turn."""
        weight = 1.0 - (1.0 - _NEWEST) ** n_tickets if self._n else 1.0
        self._n += weight * (n_tickets - self._n)
        self._ns += weight * (duration_ns - self._ns)
        self._n_n += weight * (n_tickets * n_tickets - self._n_n)
        self._n_ns += weight * (n_tickets * duration_ns - self._n_ns)

    def expected_ns(self, n_tickets: int, most: int) -> float:
        """Return how long so many tickets take, in turns of at most `most`; 0 before the first turn."""
        if not self._n:
            return 0.0
        per_ticket = self._ns / self._n
        spread = self._n_n - self._n * self._n
        slope = (self._n_ns - self._n * self._ns) / spread if spread > 1e-9 * self._n_n else per_ticket
        slope = min(max(slope, _LEAST_SHARE * per_ticket), per_ticket)
        return -(-n_tickets // most) * (self._ns - slope * self._n) + n_tickets * slope


class WorkQueue:
    """First in, first out; many threads may put, one takes. Full means refused, never waited for.

    It is full with `bound` tickets, and under lasting overload, for a ticket with a deadline, already when those before
    it take until then: who cannot be answered in time had better know at once, while there is time to do something
    else. A machine that stood still for a moment is no overload: what came meanwhile is decided by the rules, quickly.

    Under a steady load turns begin `linger_ns` apart, so that requests share what a turn costs however few it takes.
    After a pause of that length the next request is taken at once. So is one that is in a hurry, whenever it comes.

    Parameters
    ----------
    now_ns : a steady clock, the one of deadlines.
    linger_ns : 0 or more.
    """

    def __init__(self, bound: int, now_ns: Callable[[], int] = time.perf_counter_ns, *, linger_ns: int = 0) -> None:
        self._queue: SimpleQueue[Ticket | None] = SimpleQueue()
        self._bound = bound
        self._now_ns = now_ns
        self._linger_ns = linger_ns
        self._taken_at_ns = -linger_ns
        self._hurry = threading.Event()
        self._turns = TurnTimes()
        self._most = bound  # that a turn takes
        self._long_since_ns = self._long_until_ns = 0  # the first and the last time that the wait was found long

    @property
    def depth(self) -> int:
        return self._queue.qsize()

    def took(self, n_tickets: int, duration_ns: int) -> None:
        """Note how long a turn took, from taking its tickets to handing them back; by the thread that takes."""
        self._turns.note(n_tickets, duration_ns)

    def require_room(self, deadline_ns: int) -> None:
        """Raise `QueueFullError` where a ticket of this deadline (`perf_counter_ns`) would come to nothing."""
        depth = self._queue.qsize()
        if depth >= self._bound:
            raise QueueFullError(depth)
        wait_ns = self._turns.expected_ns(depth, self._most)
        if wait_ns <= _SHORT_NS or deadline_ns >= NO_DEADLINE:
            return
        now_ns = self._now_ns()
        if now_ns - self._long_until_ns > _CALM_NS:
            self._long_since_ns = now_ns
        self._long_until_ns = now_ns
        if now_ns - self._long_since_ns >= _PAUSE_NS and now_ns + wait_ns > deadline_ns:
            raise QueueFullError(depth)

    def put(self, ticket: Ticket) -> None:
        """Append a ticket; raise `QueueFullError` where there is no room for it."""
        self.require_room(ticket.deadline_ns)
        self._queue.put(ticket)
        if ticket.deadline_ns - ticket.queued_at_ns < _IN_A_HURRY * self._linger_ns:
            self._hurry.set()

    def wake(self) -> None:
        """Make a waiting `take` return, empty if nothing else is there."""
        self._queue.put(None)
        self._hurry.set()

    def take(self, limit: int, timeout_s: float) -> list[Ticket]:
        """Wait until there is a ticket, at most `timeout_s`, and return all that wait by then, at most `limit`.

        With a timeout, it lingers first.
        """
        if timeout_s > 0:
            self._most = limit
            self._linger()
        try:
            first = self._queue.get(timeout=timeout_s) if timeout_s > 0 else self._queue.get_nowait()
        except Empty:
            return []
        tickets = [] if first is None else [first]
        while len(tickets) < limit:
            try:
                ticket = self._queue.get_nowait()
            except Empty:
                break
            if ticket is not None:
                tickets.append(ticket)
        self._taken_at_ns = self._now_ns()
        return tickets

    def _linger(self) -> None:
        wait_ns = self._taken_at_ns + self._linger_ns - self._now_ns()
        if wait_ns > _SHORTEST_NS:
            self._hurry.wait(wait_ns / 1e9)
        self._hurry.clear()  # whoever was in one is in the queue by now
