# SPDX-License-Identifier: Apache-2.0
"""What counting, logging and tracing a decision costs: `python -m benchmarks.telemetry`.

Times, each the fastest of some rounds, for what the service does once a request, and for the same with the metrics of
`prometheus_client`. One thread, nothing else runs: under load a lock costs more. For traces: what a request pays on its
way while they are off; while they are on and it is not traced, and where it is; and the making of its spans, which a
thread of its own does later.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from ringfence.serving import wire
from ringfence.serving.decision_log import DecisionLog
from ringfence.serving.queue import Ask, Ticket
from ringfence.serving.spans import spans_of
from ringfence.serving.telemetry import Telemetry, line_processors
from ringfence.serving.trace import Call, Trace

N_REQUESTS, N_ROUNDS = 5_000, 7
LABELS = ("motor-claims", "approve", "full", "r-0123456789ab")


def fastest_us(work: Callable[[int], object], n: int = N_REQUESTS) -> float:
    """Return microseconds a call of `work`, which is given 0, 1, … as sequence numbers."""
    found = []
    for _ in range(N_ROUNDS):
        began_ns = time.perf_counter_ns()
        for seq in range(n):
            work(seq)
        found.append((time.perf_counter_ns() - began_ns) / n / 1e3)
    return min(found)


def tallied() -> Callable[[int], None]:
    telemetry = Telemetry()
    latency, waited = telemetry.decision_seconds.labels(*LABELS), telemetry.queue_seconds.labels(LABELS[0])

    def count(seq: int) -> None:
        latency.observe(0.003)
        waited.observe(0.0004)
        telemetry.decisions.inc(LABELS)
        telemetry.responses.inc(("/v1/decisions", "200"))
        telemetry.key_uses.inc(("claims-desk",))

    return count


def by_library() -> Callable[[int], None]:
    registry = CollectorRegistry()
    bounds = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
    latency = Histogram("a", "A", ("s", "a", "r", "v"), buckets=bounds, registry=registry).labels(*LABELS)
    waited = Histogram("b", "B", ("s",), buckets=bounds, registry=registry).labels(LABELS[0])
    decisions = Counter("c", "C", ("s", "a", "r", "v"), registry=registry)
    responses = Counter("d", "D", ("route", "status"), registry=registry)
    uses = Counter("e", "E", ("key",), registry=registry)

    def count(seq: int) -> None:
        latency.observe(0.003)
        waited.observe(0.0004)
        decisions.labels(*LABELS).inc()
        responses.labels("/v1/decisions", 200).inc()
        uses.labels("claims-desk").inc()

    return count


def logged(one_in: int) -> Callable[[int], None]:
    structlog.configure(processors=line_processors(), logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    log = DecisionLog(LABELS[0], one_in, time.perf_counter_ns)
    loop = asyncio.new_event_loop()
    tickets = []
    for seq in range(N_REQUESTS):
        ticket = Ticket(Ask.DECIDE, loop.create_future())
        ticket.result = wire.DecisionAnswer(
            decision_id=f"d-{seq}", event_id="c-1", event_type="claim", event_seq=seq, seq=seq, action="approve",
            score=0.01, reasons=[], rung="full", degraded=False, durable=True, members={},
            versions={"release": LABELS[3]}, circumstances={}, propensity=1.0,
        )  # fmt: skip
        tickets.append([ticket])
    loop.close()
    return lambda seq: log.tell(tickets[seq])


HEADERS = [(b"host", b"127.0.0.1:8473"), (b"authorization", b"Bearer t"), (b"content-type", b"application/json")]
PARENT = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-")
STEPS = ("", "encode", "model gbdt", "model anomaly", "model linear", "stack", "policy", "reasons")


class _Asked:
    """What a request holds of its trace; the way of one, as `App` and `Cycle` have it, is `passed`."""

    __slots__ = ("trace",)


def passed(traces: Any, headers: list[tuple[bytes, bytes]], ticket: Ticket) -> Callable[[int], None]:
    """All that a request does because there may be traces."""
    asked, calls = _Asked(), [Call("full", 0, 0, "", tuple((name, 0) for name in STEPS))]

    def one(seq: int) -> None:
        trace: Trace | None = None
        asked.trace = trace
        if traces is not None:
            asked.trace = trace = traces.begin(headers)
        ticket.trace, ticket.calls = trace, None
        if ticket.trace is not None and ticket.trace.is_sampled:
            ticket.calls = calls
        if trace is not None:
            trace.has_key = True
            trace.answered("motor-claims", ticket, 0)
        if traces is not None and asked.trace is not None:
            traces.end(asked.trace, "POST", "/v1/decisions", 200)

    return one


def traced() -> str:
    """Time it with the SDK, where that is installed; spans go nowhere."""
    loop = asyncio.new_event_loop()
    ticket = Ticket(Ask.DECIDE, loop.create_future())
    loop.close()
    told = f"traces off: {fastest_us(passed(None, HEADERS, ticket)):.2f} us a decision"
    try:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
        from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

        from ringfence.scenario.clock import SystemClock
        from ringfence.serving import tracing
    except ModuleNotFoundError:
        return f"{told}; on: not measured, ringfence[otel] is not installed"

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            self.spans = spans
            return SpanExportResult.SUCCESS

    class Slow(tracing.Traces):
        """Makes spans when it is told to, so that the way of a request is timed by itself."""

        def _run(self) -> None:
            self._ended.wait()

        def make(self, seq: int) -> None:
            self._make_spans(trace)

    nowhere = Nowhere()
    traces = Slow(nowhere, SystemClock(), Telemetry())
    tracing._MOST_SPANS = 1_000_000  # none is dropped: that would be quick
    tracing._MOST_WAITING = N_REQUESTS * N_ROUNDS + 1
    plain = fastest_us(passed(traces, HEADERS, ticket))
    unsampled = fastest_us(passed(traces, [*HEADERS, (PARENT[0], PARENT[1] + b"00")], ticket))
    sampled = fastest_us(passed(traces, [*HEADERS, (PARENT[0], PARENT[1] + b"01")], ticket))
    trace = traces._waiting[-1]
    traces._waiting.clear()
    spans = fastest_us(traces.make, 100)
    traces.close()
    n = len(spans_of(trace))
    told_in = fastest_us(lambda seq: encode_spans(nowhere.spans[-n:]).SerializeToString(), 100)
    return (
        f"{told}; on, without a traceparent: {plain:.2f} us, with one not sampled: {unsampled:.2f} us, "
        f"sampled: {sampled:.2f} us, and {spans:.0f} + {told_in:.0f} us "
        f"to make and to encode its {n} spans, later"
    )


def main() -> None:
    print(
        f"counting a decision: {fastest_us(tallied()):.2f} us; "
        f"with prometheus_client: {fastest_us(by_library()):.2f} us"
    )
    print(f"the log, one line in 100 decisions: {fastest_us(logged(100)):.2f} us a decision; ", end="")
    print(f"a line for each: {fastest_us(logged(1)):.2f} us")
    print(traced())


if __name__ == "__main__":
    main()
