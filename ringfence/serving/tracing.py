# SPDX-License-Identifier: Apache-2.0
"""Traces by OpenTelemetry: which requests are traced, and how their spans reach a collector.

    event loop          Trace of a sampled request, filled as it is answered     no span is made on its way
      | a bounded queue; full: dropped, counted
    this module's thread  wakes five times a second, makes the spans of what is over
      | the SDK's bounded queue; no room for a whole trace: dropped, counted
    the SDK's thread    sends them in batches                   a collector that is away holds up nobody

Imported only where traces are asked for: `pip install 'ringfence[otel]'`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from ringfence.serving.spans import spans_of
from ringfence.serving.trace import Trace, parent_of

if TYPE_CHECKING:
    from ringfence.scenario.clock import Clock
    from ringfence.serving.telemetry import Telemetry

_log: Final = structlog.get_logger("ringfence.serving")
_MS: Final = 1_000_000
_LOOK_S: Final = 0.2
_REST: Final = 3.0  # times as long as it worked: the threads that decide need the interpreter
_MOST_WAITING: Final = 1_024  # requests that are over and have no spans yet
_MOST_SPANS: Final = 4_096  # that wait for the collector
_MOST_STATE: Final = 512  # bytes of a tracestate, as W3C has it
_ENDS_S: Final = 2.0  # for what is left when the service stops


class Traces:
    """Takes the traces of requests that are over, and sends their spans. `close` ends its threads.

    Parameters
    ----------
    exporter : where spans go; `collector` makes the one for a real service.
    clock : what the time of day is, by which spans are placed; their lengths are of a finer clock.
    sample : share of the requests without a `traceparent` that begin a trace, in [0, 1].
    """

    def __init__(self, exporter: SpanExporter, clock: Clock, telemetry: Telemetry, *, sample: float = 0.0) -> None:
        self._clock, self._telemetry = clock, telemetry
        self._ids = _GivenIds()
        self._sampler = TraceIdRatioBased(sample)
        self._begins = sample > 0.0
        self._sent = _Counted(exporter, telemetry)
        self._processor = BatchSpanProcessor(self._sent, max_queue_size=_MOST_SPANS)
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=_resource(), shutdown_on_exit=False, id_generator=self._ids
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("ringfence")
        self._n_made = 0  # spans
        self._offset_ns = 0  # from `perf_counter_ns` to nanoseconds since 1970
        self._waiting: deque[Trace] = deque()
        self._ended = threading.Event()
        # There before the first: a series that begins above zero has not risen.
        self._taken = telemetry.traces.labels("taken")
        self._dropped = telemetry.traces.labels("dropped")
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def begin(self, headers: Iterable[tuple[bytes, bytes]], received_ns: int | None = None) -> Trace | None:
        """Return the trace that a request belongs to; None where it belongs to none.

        A caller's decision holds, for or against; whoever sends no `traceparent` is drawn.

        Parameters
        ----------
        received_ns : `perf_counter_ns` when another process had the request's last byte; None: it is received here.
        """
        began_ns = received_ns or time.perf_counter_ns()
        if (parent := parent_of(headers)) is not None:
            return Trace(parent.trace_id, parent, began_ns, is_sampled=parent.is_sampled)
        if not self._begins:
            return None
        trace_id = self._ids.drawn()
        drawn = self._sampler.should_sample(None, trace_id, "").decision
        return Trace(trace_id, None, began_ns, is_sampled=True) if drawn is Decision.RECORD_AND_SAMPLE else None

    def end(self, trace: Trace, method: str, route: str, status: int) -> None:
        """Take a request that is over: one moment's work, whatever the collector does.

        Strangers leave no spans: whoever has no key could otherwise fill a collector.
        """
        if not (trace.is_sampled and trace.has_key):
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped.inc()
            return
        trace.method, trace.route, trace.status = method, route, status
        trace.ended_ns = time.perf_counter_ns()
        self._waiting.append(trace)

    def close(self) -> None:
        """Send what is left, as far as that takes no more than two seconds to make and two to send, and end."""
        self._ended.set()
        self._thread.join(_ENDS_S)
        ending = threading.Thread(target=self._processor.shutdown, name="last-traces", daemon=True)
        ending.start()
        ending.join(_ENDS_S)
        if ending.is_alive():  # it would go on trying for half a minute
            self._sent.shutdown()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self._make()
        self._make()

    def _make(self) -> None:
        while self._waiting:
            began = time.perf_counter()
            trace = self._waiting.popleft()
            try:
                self._make_spans(trace)
            except Exception as error:  # one trace less; whoever reads the log finds out why
                self._dropped.inc()
                _log.error("spans of a request could not be made", cause=type(error).__name__, exc_info=error)
            self._ended.wait(_REST * (time.perf_counter() - began))

    def _make_spans(self, trace: Trace) -> None:
        planned = spans_of(trace)
        # Of what was handed to the SDK no more can wait than what was not sent yet: its own queue never drops.
        if self._n_made - self._sent.n_taken + len(planned) > _MOST_SPANS:
            self._dropped.inc()
            return
        offset_ns = self._offset_from_clock_ns()
        self._ids.next_trace_id = trace.trace_id
        contexts: list[Context] = []
        made: list[api.Span] = []
        for span in planned:
            context = _context_of(trace) if span.parent is None else contexts[span.parent]
            kind = SpanKind.SERVER if span.parent is None else SpanKind.INTERNAL
            one = self._tracer.start_span(
                span.name, context, kind, span.attributes, start_time=span.began_ns + offset_ns
            )
            if span.is_failed:
                one.set_status(Status(StatusCode.ERROR))
            contexts.append(api.set_span_in_context(one))
            made.append(one)
        self._n_made += sum(one.is_recording() for one in made)
        for one, span in zip(reversed(made), reversed(planned), strict=True):  # a request's own comes last
            one.end(max(span.ended_ns, span.began_ns) + offset_ns)
        self._taken.inc()

    def _offset_from_clock_ns(self) -> int:
        """Say what to add to `perf_counter_ns`. The clock rounds down to milliseconds: the greatest is the nearest."""
        found_ns = self._clock.now_ms() * _MS - time.perf_counter_ns()
        if not 0 <= self._offset_ns - found_ns < _MS:  # nearer, or the clock was set
            self._offset_ns = found_ns
        return self._offset_ns


class _GivenIds(RandomIdGenerator):
    """Ids of traces as they were drawn for the log; one thread makes spans."""

    next_trace_id = 0

    def drawn(self) -> int:
        return super().generate_trace_id()

    def generate_trace_id(self) -> int:
        return self.next_trace_id


class _Counted(SpanExporter):
    """Counts what became of spans, and tells the log when a collector goes away and comes back."""

    def __init__(self, exporter: SpanExporter, telemetry: Telemetry) -> None:
        self._exporter = exporter
        self._delivered = telemetry.trace_spans.labels("delivered")
        self._lost = telemetry.trace_spans.labels("lost")
        self._is_away = False
        self.n_taken = 0  # spans that wait no more

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.n_taken += len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            _log.error("spans could not be sent", cause=type(error).__name__, exc_info=error)
            result = SpanExportResult.FAILURE
        is_away = result is not SpanExportResult.SUCCESS
        (self._lost if is_away else self._delivered).inc(len(spans))
        if is_away is not self._is_away:
            self._is_away = is_away
            if is_away:
                _log.warning("the collector takes no spans; they are lost until it does", n=len(spans))
            else:
                _log.info("the collector takes spans again")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def collector() -> SpanExporter:
    """Make the exporter to a collector by OTLP over HTTP; where it is, the variables OTEL_EXPORTER_OTLP_* say.

    It goes by no proxy and follows no redirect, and reads no netrc: its headers may hold a secret.
    """
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    session = requests.Session()
    session.trust_env = False
    session.max_redirects = 0  # the exporter follows none; should a later one do so, this fails
    exporter: SpanExporter = OTLPSpanExporter(session=session)
    return exporter


def _resource() -> Resource:
    """Say who sends: what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, else `ringfence`."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "ringfence"}))
    return found


def _context_of(trace: Trace) -> Context | None:
    """Return what the request's span belongs below; None: nothing."""
    parent = trace.parent
    if parent is None:
        return None
    state = TraceState.from_header([parent.state.decode("latin-1")]) if 0 < len(parent.state) <= _MOST_STATE else None
    context = SpanContext(parent.trace_id, parent.span_id, True, TraceFlags(TraceFlags.SAMPLED), state)
    return api.set_span_in_context(NonRecordingSpan(context))


def quieten_sdk() -> None:
    """Keep the SDK's own lines from stderr, which has JSON lines: what matters of them is counted and told here."""
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
