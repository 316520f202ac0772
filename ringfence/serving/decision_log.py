# SPDX-License-Identifier: Apache-2.0
"""Lines of the log about decisions: a few of all, and the degraded ones at least once a second. Ids of ours only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from ringfence.serving import wire
from ringfence.serving.queue import Ticket

_log: Final = structlog.get_logger("ringfence.serving")
_PAUSE_NS: Final = 1_000_000_000  # between lines about degraded turns: an outage must not fill the disk


class DecisionLog:
    """Writes a line for each decision whose `seq` is a multiple of `one_in`, and one a second about degraded ones.

    The engine's thread uses it, after the answers are on their way. Which decisions are told hangs on nothing but their
    numbers, so that two services on one ledger would tell the same.
    """

    def __init__(self, scenario: str, one_in: int, now_ns: Callable[[], int]) -> None:
        self._scenario, self._one_in, self._now_ns = scenario, one_in, now_ns
        self._quiet_until_ns = 0

    def tell(self, tickets: Sequence[Ticket]) -> None:
        """Write what is to be told of a turn that was answered."""
        now_ns = 0
        for ticket in tickets:
            answer = ticket.result
            if not isinstance(answer, wire.DecisionAnswer) or ticket.repeated:
                continue
            if answer.seq % self._one_in and not answer.degraded:
                continue
            now_ns = now_ns or self._now_ns()
            if answer.seq % self._one_in:
                if now_ns < self._quiet_until_ns:
                    continue
                self._quiet_until_ns = now_ns + _PAUSE_NS
            _log.info("decided", **self._line(answer, ticket, now_ns))

    def _line(self, answer: wire.DecisionAnswer, ticket: Ticket, now_ns: int) -> dict[str, Any]:
        traced = {} if ticket.trace is None else {"trace_id": ticket.trace.trace_id_hex}
        return {
            "scenario": self._scenario,
            "release": answer.versions["release"],
            "decision": answer.decision_id,
            "action": answer.action,
            "rung": answer.rung,
            "degraded": answer.circumstances.get("degraded"),
            "ms": round((now_ns - ticket.queued_at_ns) / 1e6, 3),
            "queue_ms": round(ticket.queue_ns / 1e6, 3),
            "commit_ms": round(ticket.commit_ns / 1e6, 3),
            **traced,
        }
