# SPDX-License-Identifier: Apache-2.0
"""Metrics and logs: counts, times and ids of ours, never an entity id or a personal value."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from ringfence.errors import RingfenceError
from ringfence.serving.tally import TallyCounter, TallyHistogram

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 48, 64)
_DEPTHS: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
# Every whole number that is likely: quantiles are exact up to there.
_NEIGHBOURS: Final = tuple(range(257))
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Telemetry:
    """The metrics of one process. Each instance has its own registry, so that two services can share a test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decision_seconds = TallyHistogram(
            "ringfence_decision_seconds",
            "Time from the last byte of the request to the answer",
            ("scenario", "action", "rung", "release"),
            _SECONDS,
            registry=self.registry,
        )
        self.commit_seconds = TallyHistogram(
            "ringfence_commit_seconds",
            "Time of one durable group commit",
            ("scenario",),
            _SECONDS,
            registry=self.registry,
        )
        self.batch_size = TallyHistogram(
            "ringfence_batch_size",
            "Requests that the engine thread took at once",
            ("scenario",),
            _SIZES,
            registry=self.registry,
        )
        self.queue_seconds = TallyHistogram(
            "ringfence_queue_seconds",
            "Time that a request waited for the engine thread",
            ("scenario",),
            _SECONDS,
            registry=self.registry,
        )
        self.queue_left = TallyHistogram(
            "ringfence_queue_left",
            "Requests that still waited when the engine thread had taken what it can work on at once",
            ("scenario",),
            _DEPTHS,
            registry=self.registry,
        )
        self.neighbours = TallyHistogram(
            "ringfence_neighbourhood_size",
            "Events sampled around a decided one, over all its seats",
            ("scenario",),
            _NEIGHBOURS,
            registry=self.registry,
        )
        self.neighbours_p95 = Gauge(
            "ringfence_neighbourhood_size_p95",
            "Size that 95 of 100 neighbourhoods since the start do not exceed",
            ("scenario",),
            registry=self.registry,
        )
        self.decisions = TallyCounter(
            "ringfence_decisions",
            "Decisions made, those of batches too and before their commit",
            ("scenario", "action", "rung", "release"),
            registry=self.registry,
        )
        self.busy_seconds = TallyCounter(
            "ringfence_busy_seconds", "Time in which the engine thread had work", ("scenario",), registry=self.registry
        )
        self.cost = Gauge(
            "ringfence_cost_per_1000_decisions",
            "Machine price x busy time / decisions x 1,000, in the price's currency; only where a price is set",
            ("scenario",),
            registry=self.registry,
        )
        self.forgotten = TallyCounter(
            "ringfence_evictions",
            "Entities, pairs and texts that were forgotten to stay within the memory bound, replay included",
            ("scenario", "what"),
            registry=self.registry,
        )
        self.commit_lag = Gauge(
            "ringfence_commit_lag_seconds",
            "How long the records that wait for their commit have waited; 0 while none does",
            ("scenario",),
            registry=self.registry,
        )
        self.records_waiting = Gauge(
            "ringfence_records_waiting",
            "Answered records that are not durable yet, under `durability: best_effort`; 0 under `required`",
            ("scenario",),
            registry=self.registry,
        )
        self.ledger_lag = Gauge(
            "ringfence_ledger_lag_records",
            "Records by which a reader in the background (snapshots, explanations, shadow) is behind the ledger",
            ("scenario", "reader"),
            registry=self.registry,
        )
        self.responses = TallyCounter(
            "ringfence_responses", "Responses by route and status", ("route", "status"), registry=self.registry
        )
        self.problems = Counter(
            "ringfence_problems_total", "Refused requests and failures by type", ("type",), registry=self.registry
        )
        self.key_uses = TallyCounter(
            "ringfence_key_uses",
            "Requests that a key was accepted for, by its name",
            ("key",),
            registry=self.registry,
        )
        self.commit_failures = Counter(
            "ringfence_commit_failures_total", "Commits that did not confirm", ("scenario",), registry=self.registry
        )
        self.degraded = Counter(
            "ringfence_degraded_total",
            "Decisions of a lower rung by reason",
            ("scenario", "why"),
            registry=self.registry,
        )
        self.rungs_skipped = Counter(
            "ringfence_rungs_skipped_total",
            "Decisions that a rung did not answer, by reason",
            ("scenario", "rung", "why"),
            registry=self.registry,
        )
        self.late_answers = Counter(
            "ringfence_late_answers_total", "Decisions answered after their deadline", ("scenario",),
            registry=self.registry,
        )  # fmt: skip
        self.second_looks = Counter(
            "ringfence_second_looks_total",
            "Decisions of a lower rung scored in full afterwards: same or different action, or impossible",
            ("scenario", "result"),
            registry=self.registry,
        )
        self.second_looks_put_off = Gauge(
            "ringfence_second_looks_put_off",
            "Decisions of a lower rung that could not be scored in full yet",
            ("scenario",),
            registry=self.registry,
        )
        self.shadow_decisions = Gauge(
            "ringfence_shadow_decisions",
            "Decisions held against the present shadow: same or different action, or impossible to score",
            ("scenario", "result"),
            registry=self.registry,
        )
        self.breaker_state = Gauge(
            "ringfence_breaker_state",
            "Breaker of a rung: 0 closed, 1 half-open, 2 open",
            ("scenario", "rung"),
            registry=self.registry,
        )
        self.release_switches = Counter(
            "ringfence_release_switches_total",
            "Promotions and rollbacks asked of the running service: done, or failed",
            ("scenario", "result"),
            registry=self.registry,
        )
        self.release_switch_seconds = TallyHistogram(
            "ringfence_release_switch_seconds",
            "Time for which the engine's thread decided nothing because it changed the release",
            ("scenario",),
            _SECONDS,
            registry=self.registry,
        )
        self.release_step = Gauge(
            "ringfence_release_step",
            "1 at the step that a change of release is at, or that the last one ended with",
            ("scenario", "step"),
            registry=self.registry,
        )
        self.wrong_ticks = Counter(
            "ringfence_tick_mismatches_total",
            "Ticks on record that recovery computed otherwise",
            ("scenario",),
            registry=self.registry,
        )
        self.traces = Counter(
            "ringfence_traces_total",
            "Traced requests: taken, or dropped because too many waited to be sent",
            ("result",),
            registry=self.registry,
        )
        self.trace_spans = Counter(
            "ringfence_trace_spans_total",
            "Spans of traced requests: delivered to the collector, or lost because it did not take them",
            ("result",),
            registry=self.registry,
        )
        self.underived = Counter(
            "ringfence_underived_total",
            "Events that give what a derived value is made of, and it yields none",
            ("scenario", "value"),
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "ringfence_queue_depth", "Requests waiting for the engine thread", ("scenario",), registry=self.registry
        )
        self.ledger_seq = Gauge(
            "ringfence_ledger_seq", "Last committed sequence number", ("scenario",), registry=self.registry
        )
        self.engine_counts = Gauge(
            "ringfence_engine_count",
            "What the engine counts in its state",
            ("scenario", "what"),
            registry=self.registry,
        )
        self.front_up = Gauge(
            "ringfence_front_up",
            "1 when the process before the service reads its requests; absent where there is none",
            (),
            registry=self.registry,
        )
        self.ready = Gauge("ringfence_ready", "1 when decisions are answered", ("scenario",), registry=self.registry)

    def page(self) -> bytes:
        """Render every metric in the Prometheus text format."""
        return generate_latest(self.registry)


def frames_only(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Tell of an exception its kind and where it came from: its message, and lines of code, may hold an event's values.

    Errors of ours are told with their message by who logs them, where that is known to hold none.
    """
    given = event.pop("exc_info", None)
    if not given:
        return event
    error = given if isinstance(given, BaseException) else sys.exc_info()[1]
    told = []
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        told.append({
            "type": type(error).__name__,
            "frames": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
        })  # fmt: skip
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    event["exception"] = told
    return event


def cause_of(error: BaseException) -> str:
    """Say why, for the log: our errors in their words; of others the kind, since a library may quote an event."""
    return str(error) if isinstance(error, RingfenceError) and str(error) else type(error).__name__


def line_processors() -> list[structlog.typing.Processor]:
    """Return what makes a JSON line of an event."""
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        frames_only,
        structlog.processors.JSONRenderer(),
    ]


def configure_logging(stream: TextIO, level: int = logging.INFO) -> None:
    """Write structlog events as JSON lines to `stream`."""
    structlog.configure(
        processors=line_processors(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
