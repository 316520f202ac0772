# SPDX-License-Identifier: Apache-2.0
"""Spans on their way to a collector: by OTLP, to nobody else, and what happens where it is away or slow."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ringfence.cli.exits import UsageError
from ringfence.cli.service import _require_private_collector
from ringfence.scenario.clock import FakeClock, SystemClock
from ringfence.serving import tracing
from ringfence.serving.config import ServiceConfig
from ringfence.serving.keys import Scope, create_key
from ringfence.serving.server import open_traces
from ringfence.serving.telemetry import Telemetry, line_processors
from ringfence.serving.tracing import Traces, collector, quieten_sdk
from ringfence.workspace import Workspace

from .conftest import NOW_MS, RunningService, claim
from .spans_here import SAMPLED, SPAN, TRACE, Here, send_soon
from .test_ledger_trouble import until

Start = Callable[..., RunningService]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    send_soon(monkeypatch)


@contextmanager
def listening(answer: Callable[[BaseHTTPRequestHandler, bytes], int]) -> Iterator[str]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = answer(self, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            if status == 307:
                self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_collector_gets_the_spans_by_otlp_and_nobody_else_does(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[tuple[str, str | None, ExportTraceServiceRequest]] = []
    strayed: list[str] = []

    def take(request: BaseHTTPRequestHandler, body: bytes) -> int:
        got.append((request.path, request.headers["x-key"], ExportTraceServiceRequest.FromString(body)))
        return 200

    def stray(request: BaseHTTPRequestHandler, body: bytes) -> int:
        strayed.append(request.path)
        return 200

    with listening(take) as address, listening(stray) as proxy:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=s3cret")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "claims-desk")
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        service = start(spans=collector())
        decided = service.ask("POST", "/v1/decisions", claim(1), headers=SAMPLED).json()
        until(lambda: any(b"POST /v1/decisions" in request.SerializeToString() for _, _, request in got))
        page = service.ask("GET", "/metrics", key="read").text
    assert strayed == []
    assert {(path, key) for path, key, _ in got} == {("/v1/traces", "s3cret")}
    of_resources = [one for _, _, request in got for one in request.resource_spans]
    attributes = [{one.key: one.value.string_value for one in found.resource.attributes} for found in of_resources]
    assert {found["service.name"] for found in attributes} == {"claims-desk"}
    spans = {span.name: span for found in of_resources for scope in found.scope_spans for span in scope.spans}
    root = spans["POST /v1/decisions"]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (f"{TRACE:032x}", f"{SPAN:016x}")
    assert {one.key: one.value.string_value for one in root.attributes}["ringfence.decision_id"] == (
        decided["decision_id"]
    )
    assert spans["model gbdt"].parent_span_id == spans["rung full"].span_id
    assert spans["rung full"].parent_span_id == spans["score"].span_id
    parts = [span for span in spans.values() if span.parent_span_id == root.span_id]
    assert sum(span.end_time_unix_nano - span.start_time_unix_nano for span in parts) <= (
        root.end_time_unix_nano - root.start_time_unix_nano
    )
    assert f'ringfence_trace_spans_total{{result="delivered"}} {float(len(spans))}' in page
    assert 'ringfence_traces_total{result="taken"} 1.0' in page


def test_a_redirect_is_not_followed_with_what_the_collector_knows_us_by(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[str] = []

    def redirect(request: BaseHTTPRequestHandler, body: bytes) -> int:
        paths.append(request.path)
        return 307

    with listening(redirect) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=s3cret")
        service = start(spans=collector())
        service.ask("POST", "/v1/decisions", claim(1), headers=SAMPLED)
        lost = service.telemetry.trace_spans.labels("lost")
        until(lambda: lost._value.get() > 0)
    assert set(paths) == {"/v1/traces"}


def test_a_collector_that_is_away_costs_no_request_anything(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    quieten_sdk()
    stream = io.StringIO()
    structlog.configure(processors=line_processors(), logger_factory=structlog.PrintLoggerFactory(stream))
    try:
        with listening(lambda request, body: 200) as address:
            pass  # nobody listens there any more
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        service = start(spans=collector())
        for number in range(40):
            answer = service.ask("POST", "/v1/decisions", claim(number), headers=SAMPLED)
            assert (answer.status_code, answer.json()["rung"]) == (200, "full")
        lost = service.telemetry.trace_spans.labels("lost")
        until(lambda: lost._value.get() > 0)
        assert service.traces is not None
        began = time.monotonic()
        service.traces.close()
        assert time.monotonic() - began < 10
    finally:
        structlog.reset_defaults()
    assert "the collector takes no spans" in stream.getvalue()
    assert "Traceback" not in stream.getvalue()


class Stuck(Here):
    """A collector that takes its time, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def export(self, spans: Any) -> Any:
        self.go_on.wait(60)
        return super().export(spans)


def test_what_waits_for_a_stuck_collector_is_bounded_and_what_is_dropped_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "_MOST_SPANS", 600)
    stuck, telemetry, clock = Stuck(), Telemetry(), FakeClock(NOW_MS)
    traces = Traces(stuck, clock, telemetry, sample=1.0)
    for _ in range(900):
        trace = traces.begin([])
        assert trace is not None
        trace.has_key = True
        traces.end(trace, "GET", "/v1/releases", 200)
    taken, dropped = telemetry.traces.labels("taken"), telemetry.traces.labels("dropped")
    until(lambda: taken._value.get() + dropped._value.get() == 900)
    assert 600 <= taken._value.get() <= 600 + 512  # one batch of 512 may have been handed over already
    stuck.go_on.set()
    until(lambda: len(stuck.get_finished_spans()) == taken._value.get())
    for _ in range(tracing._MOST_WAITING + 500):  # more at once than may wait for their spans
        trace = traces.begin([])
        assert trace is not None
        trace.has_key = True
        traces.end(trace, "GET", "/v1/releases", 200)
    assert dropped._value.get() > 0
    traces.close()
    assert telemetry.trace_spans.labels("delivered")._value.get() == taken._value.get()


def test_a_service_told_to_trace_sends_to_the_collector_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[bytes] = []
    with listening(lambda request, body: 200 if got.append(body) is None else 500) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{address}/here")
        traces = open_traces(ServiceConfig(traces=True, trace_sample=1.0), SystemClock(), Telemetry())
        assert traces is not None
        trace = traces.begin([])
        assert trace is not None
        trace.has_key = True
        traces.end(trace, "GET", "/v1/releases", 200)
        traces.close()
    (body,) = got
    (of_resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert {one.key: one.value.string_value for one in of_resource.resource.attributes}["service.name"] == "ringfence"
    (span,) = of_resource.scope_spans[0].spans
    assert abs(span.start_time_unix_nano - time.time_ns()) < 60e9


@pytest.mark.parametrize(
    ("environment", "is_refused"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://192.0.2.7:4318"}, False),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "x-key=s3cret"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=s3cret"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://192.0.2.7", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=s3cret"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://192.0.2.7", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=s3cret"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://ann:s3cret@192.0.2.7"}, True),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "https://192.0.2.7",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://192.0.2.7/v1/traces",
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-key=s3cret",
            },
            True,
        ),
    ],
)
def test_a_secret_for_the_collector_does_not_travel_in_the_clear(environment: dict[str, str], is_refused: bool) -> None:
    if not is_refused:
        _require_private_collector(environment)
        return
    with pytest.raises(UsageError, match="in the clear") as refused:
        _require_private_collector(environment)
    assert "s3cret" not in str(refused.value)


@pytest.mark.services
def test_a_process_told_to_trace_sends_what_it_has_left_when_it_ends(workspace: Workspace, tmp_path: Path) -> None:
    from benchmarks.subject import ServiceProcess, Subject, free_port

    got: list[bytes] = []
    token = create_key(workspace.keys_path, "test", {Scope.ADMIN})
    with listening(lambda request, body: 200 if got.append(body) is None else 500) as address:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        service = ServiceProcess(
            Subject(workspace.path, token, list), free_port(), tmp_path / "log", environment, ("--traces",)
        )
        try:
            service.wait_ready()
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
                headers = {"authorization": f"Bearer {token}", "content-type": "application/json", **SAMPLED}
                connection.request("POST", "/v1/decisions", json.dumps(claim("traced")), headers)
                assert connection.getresponse().status == 200
            service.stop()
            assert service.process.returncode == 0
        finally:
            service.kill_all()
    spans = [
        span
        for body in got
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in of_resource.scope_spans
        for span in scope.spans
    ]
    assert {span.trace_id.hex() for span in spans} == {f"{TRACE:032x}"}
    assert {"POST /v1/decisions", "decode", "observe", "policy", "commit"} <= {span.name for span in spans}
    for line in (tmp_path / "log").read_text().splitlines():
        assert line.startswith(("{", "ready: ")), line
