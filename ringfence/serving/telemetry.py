# SPDX-License-Identifier: Apache-2.0
"""Metrics and logs: counts, times and ids of ours, never an entity id or a personal value."""

from __future__ import annotations

import logging
from typing import Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 48, 64)
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Telemetry:
    """The metrics of one process. Each instance has its own registry, so that two services can share a test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decision_seconds = Histogram(
            "ringfence_decision_seconds",
            "Time from the last byte of the request to the answer",
            ("scenario", "action", "rung"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "ringfence_commit_seconds",
            "Time of one durable group commit",
            ("scenario",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "ringfence_batch_size",
            "Requests that the engine thread took at once",
            ("scenario",),
            buckets=_SIZES,
            registry=self.registry,
        )
        self.responses = Counter(
            "ringfence_responses_total", "Responses by route and status", ("route", "status"), registry=self.registry
        )
        self.problems = Counter(
            "ringfence_problems_total", "Refused requests and failures by type", ("type",), registry=self.registry
        )
        self.key_uses = Counter(
            "ringfence_key_uses_total",
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
        self.release_switch_seconds = Histogram(
            "ringfence_release_switch_seconds",
            "Time for which the engine's thread decided nothing because it changed the release",
            ("scenario",),
            buckets=_SECONDS,
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
        self.ready = Gauge("ringfence_ready", "1 when decisions are answered", ("scenario",), registry=self.registry)

    def page(self) -> bytes:
        """Render every metric in the Prometheus text format."""
        return generate_latest(self.registry)


def configure_logging(stream: TextIO, level: int = logging.INFO) -> None:
    """Write structlog events as JSON lines to `stream`."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
