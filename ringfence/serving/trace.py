# SPDX-License-Identifier: Apache-2.0
"""What a request leaves behind for its spans: whose trace it is, and moments of its way. No span is made here.

Moments are `perf_counter_ns`. Nothing here needs a library of tracing, so that the way of a request hangs on none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from ringfence.models.ensemble import Done, untold

if TYPE_CHECKING:
    from ringfence.serving.queue import Ticket

_SAMPLED: Final = 0x01
_MOST_BYTES: Final = 256  # of a traceparent: one of today has 55, later versions may append to it
_MOST_TURNS: Final = 64  # of a batch, told one by one
_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


class Parent(NamedTuple):
    """The caller's span."""

    trace_id: int  # 128 bits, not 0
    span_id: int  # 64 bits, not 0
    is_sampled: bool
    state: bytes = b""  # `tracestate`, as it came


class Call(NamedTuple):
    """A rung that was asked, in one turn."""

    rung: str
    began_ns: int
    ended_ns: int  # when nobody waited for it any more
    skipped: str  # why it did not answer; empty where it did
    steps: tuple[tuple[str, int], ...]  # name of a step and its end, in order; the first is unnamed and only begins


class Steps:
    """Notes of a call as it is made: by the engine's thread and, while it waits, the one of the model."""

    __slots__ = ("_began_ns", "_ended", "_now_ns")

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns, self._began_ns = now_ns, now_ns()
        self._ended: list[tuple[str, int]] = []

    def done(self, step: str) -> None:
        self._ended.append((step, self._now_ns()))

    def call(self, rung: str, skipped: str) -> Call:
        """Return what there is by now; a model that is late goes on with notes that nobody reads."""
        return Call(rung, self._began_ns, self._now_ns(), skipped, tuple(self._ended))


def done_of(steps: Steps | None) -> Done:
    """Begin to note the steps of a call, in the thread that makes it."""
    if steps is None:
        return untold
    steps.done("")
    return steps.done


class Turn:
    """What happened to requests that the engine's thread worked together."""

    __slots__ = ("began_ns", "calls", "commit_ns", "n_tickets", "observe_ns", "queued_at_ns", "results", "score_ns")

    def __init__(self, ticket: Ticket) -> None:
        self.queued_at_ns = ticket.queued_at_ns  # the first of this request's that was queued
        self.began_ns = ticket.queued_at_ns + ticket.queue_ns
        self.observe_ns, self.score_ns, self.commit_ns = ticket.observe_ns, ticket.score_ns, ticket.commit_ns
        self.calls: list[Call] = []  # empty where nothing was decided for this request
        self.results: list[object] = []
        self.n_tickets = 0  # of this request

    def add(self, ticket: Ticket) -> None:
        self.n_tickets += 1
        self.results.append(ticket.result)
        if ticket.calls:
            self.calls = ticket.calls

    @property
    def ended_ns(self) -> int:
        """When its records were durable."""
        return self.began_ns + self.observe_ns + self.score_ns + self.commit_ns


class Trace:
    """One request of a trace. The event loop's thread writes it until it is over; the engine's asks `is_sampled`.

    Parameters
    ----------
    parent : None: the trace begins here.
    is_sampled : False: only its id is told, in the log.
    """

    __slots__ = ("began_ns", "decode_began_ns", "decode_ended_ns", "ended_ns", "has_key", "is_sampled", "method",
                 "n_left_out", "parent", "problem", "route", "scenario", "status", "trace_id", "turns")  # fmt: skip

    def __init__(self, trace_id: int, parent: Parent | None, began_ns: int, *, is_sampled: bool) -> None:
        self.trace_id, self.parent, self.is_sampled = trace_id, parent, is_sampled
        self.began_ns = self.ended_ns = began_ns
        self.has_key = False  # until the caller's was accepted
        self.decode_began_ns = self.decode_ended_ns = 0  # 0: nothing was decoded by itself
        self.method = self.route = self.scenario = self.problem = ""
        self.status = 0
        self.turns: dict[int, Turn] = {}  # by the moment when they began
        self.n_left_out = 0  # tickets of a long batch that are not among its turns

    @property
    def trace_id_hex(self) -> str:
        return f"{self.trace_id:032x}"

    def add(self, ticket: Ticket) -> None:
        """Note how a ticket fared that was handed back with a result."""
        if not self.is_sampled:
            return
        began_ns = ticket.queued_at_ns + ticket.queue_ns
        turn = self.turns.get(began_ns)
        if turn is None:
            if len(self.turns) == _MOST_TURNS:
                self.n_left_out += 1
                return
            turn = self.turns[began_ns] = Turn(ticket)
        turn.add(ticket)

    def answered(self, scenario: str, ticket: Ticket, decode_began_ns: int) -> None:
        """Note the one ticket of a request, and when its body began to be decoded."""
        self.scenario = scenario
        self.decode_began_ns, self.decode_ended_ns = decode_began_ns, ticket.queued_at_ns
        self.add(ticket)


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """Read the caller's span from a request's headers, names in lower case.

    None where there is none, or one that means nothing: W3C Trace Context (section 4.3) has a malformed header, or two
    of them, ignored, and the trace begin anew. Of later versions what this one has is read.
    """
    text, state = None, []
    for name, value in headers:
        if name == b"traceparent":
            if text is not None:
                return None
            text = value
        elif name == b"tracestate":
            state.append(value)
    if text is None or len(text) > _MOST_BYTES:
        return None
    found = _TRACEPARENT.fullmatch(text.strip(b" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED), b",".join(state))
    return parent if parent.trace_id and parent.span_id else None
