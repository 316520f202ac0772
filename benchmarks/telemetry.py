# SPDX-License-Identifier: Apache-2.0
"""What counting and logging a decision costs: `python -m benchmarks.telemetry`.

Times, each the fastest of some rounds, for what the service does once a request, and for the same with the metrics of
`prometheus_client`. One thread, nothing else runs: under load a lock costs more.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from ringfence.serving import wire
from ringfence.serving.decision_log import DecisionLog
from ringfence.serving.queue import Ask, Ticket
from ringfence.serving.telemetry import Telemetry, line_processors

N_REQUESTS, N_ROUNDS = 5_000, 7
LABELS = ("motor-claims", "approve", "full", "r-0123456789ab")


def fastest_us(work: Callable[[int], None]) -> float:
    """Return microseconds a call of `work`, which is given 0, 1, … as sequence numbers."""
    found = []
    for _ in range(N_ROUNDS):
        began_ns = time.perf_counter_ns()
        for seq in range(N_REQUESTS):
            work(seq)
        found.append((time.perf_counter_ns() - began_ns) / N_REQUESTS / 1e3)
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


def main() -> None:
    print(
        f"counting a decision: {fastest_us(tallied()):.2f} us; "
        f"with prometheus_client: {fastest_us(by_library()):.2f} us"
    )
    print(f"the log, one line in 100 decisions: {fastest_us(logged(100)):.2f} us a decision; ", end="")
    print(f"a line for each: {fastest_us(logged(1)):.2f} us")


if __name__ == "__main__":
    main()
