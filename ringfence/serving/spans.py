# SPDX-License-Identifier: Apache-2.0
"""The tree of spans of a request, worked out from the moments that it left behind.

    POST /v1/decisions          as long as the request
      decode                    from its last byte until it was queued
      queue                     until the engine's thread took it
      observe                   the engine learns the events of the turn, and reads their features
      score
        rung full               once for each rung that was asked
          encode, model gbdt, model anomaly, ..., stack, policy, reasons
      commit                    until the turn was durable
      answer                    until the answer was handed to the connection

A batch has `turn` spans in between, with `queue` to `commit` below them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ringfence.serving import wire
from ringfence.serving.trace import Call, Trace, Turn

Value = str | bool | int | float | list[str]
_ROOT: Final = 0
_SERVER_FAULT: Final = 500


class Span(NamedTuple):
    """A span to be made."""

    name: str
    began_ns: int
    ended_ns: int
    parent: int | None  # place of its parent before it in the list; None: the caller's, if there is one
    attributes: dict[str, Value]
    is_failed: bool = False


def spans_of(trace: Trace) -> list[Span]:
    """Return the spans of a request that is over, parents before their children; the first is the request's."""
    is_fault = trace.status >= _SERVER_FAULT
    spans = [Span(f"{trace.method} {trace.route}", trace.began_ns, trace.ended_ns, None, _of_request(trace), is_fault)]
    if trace.decode_began_ns:
        spans.append(Span("decode", trace.decode_began_ns, trace.decode_ended_ns, _ROOT, {}))
        for turn in trace.turns.values():
            _add_turn(spans, turn, _ROOT)
            spans.append(Span("answer", turn.ended_ns, max(trace.ended_ns, turn.ended_ns), _ROOT, {}))
        return spans
    for turn in trace.turns.values():
        spans.append(Span("turn", turn.queued_at_ns, turn.ended_ns, _ROOT, _of_results(turn)))
        _add_turn(spans, turn, len(spans) - 1)
    return spans


def _of_request(trace: Trace) -> dict[str, Value]:
    found: dict[str, Value] = {
        "http.request.method": trace.method,
        "http.route": trace.route,
        "http.response.status_code": trace.status,
    }
    if trace.scenario:
        found["ringfence.scenario"] = trace.scenario
    if trace.problem:
        found["ringfence.problem"] = trace.problem
    if trace.status >= _SERVER_FAULT:
        found["error.type"] = str(trace.status)
    if trace.decode_began_ns:
        for turn in trace.turns.values():
            found |= _of_one(turn)
    elif trace.turns:
        found["ringfence.events"] = sum(turn.n_tickets for turn in trace.turns.values()) + trace.n_left_out
        if trace.n_left_out:
            found["ringfence.events_left_out"] = trace.n_left_out
    return found


def _of_one(turn: Turn) -> dict[str, Value]:
    """Tell of the decision of a request that asked for one; ids of ours only."""
    answer = turn.results[0]
    if not isinstance(answer, wire.DecisionAnswer):
        return {}
    found: dict[str, Value] = {
        "ringfence.decision_id": answer.decision_id,
        "ringfence.release": answer.versions["release"],
        "ringfence.action": answer.action,
        "ringfence.rung": answer.rung,
        "ringfence.degraded": answer.degraded,
    }
    if answer.degraded:
        found["ringfence.degraded_because"] = str(answer.circumstances.get("degraded", ""))
    if turn.calls:  # decided in this turn, and not before
        found["ringfence.batch_size"] = int(answer.circumstances.get("batch_size", 1))
    return found


def _of_results(turn: Turn) -> dict[str, Value]:
    """Tell of the decisions of a batch's turn."""
    answers = [answer for answer in turn.results if isinstance(answer, wire.DecisionAnswer)]
    found: dict[str, Value] = {"ringfence.events": turn.n_tickets}
    if answers:
        found["ringfence.decision_ids"] = [answer.decision_id for answer in answers]
        found["ringfence.degraded"] = any(answer.degraded for answer in answers)
        for what, told in (
            ("release", {answer.versions["release"] for answer in answers}),
            ("rung", {answer.rung for answer in answers}),
            ("action", {answer.action for answer in answers}),
        ):
            found[f"ringfence.{what}"] = ", ".join(sorted(told))
    return found


def _add_turn(spans: list[Span], turn: Turn, parent: int) -> None:
    observed_ns = turn.began_ns + turn.observe_ns
    scored_ns = observed_ns + turn.score_ns
    spans.append(Span("queue", turn.queued_at_ns, turn.began_ns, parent, {}))
    spans.append(Span("observe", turn.began_ns, observed_ns, parent, {}))
    spans.append(Span("score", observed_ns, scored_ns, parent, {}))
    score = len(spans) - 1
    for call in turn.calls:
        _add_call(spans, call, score)
    spans.append(Span("commit", scored_ns, turn.ended_ns, parent, {}))


def _add_call(spans: list[Span], call: Call, score: int) -> None:
    attributes: dict[str, Value] = {"ringfence.rung": call.rung}
    if call.skipped:
        attributes["ringfence.skipped"] = call.skipped
    spans.append(Span(f"rung {call.rung}", call.began_ns, call.ended_ns, score, attributes, bool(call.skipped)))
    rung = len(spans) - 1
    for (_, began_ns), (name, ended_ns) in zip(call.steps, call.steps[1:], strict=False):
        spans.append(Span(name, began_ns, ended_ns, rung, {}))
