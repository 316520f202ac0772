# SPDX-License-Identifier: Apache-2.0
"""Spans of real requests: their tree, their lengths, and who is traced."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from ringfence.scenario.clock import FakeClock
from ringfence.serving.errors import TracingMissingError
from ringfence.serving.telemetry import Telemetry, line_processors
from ringfence.serving.tracing import Traces

from .conftest import NOW_MS, RunningService, claim
from .faults import hinder_branch, raising
from .spans_here import SAMPLED, SPAN, TRACE, UNSAMPLED, Here, send_soon
from .test_ledger_trouble import until

Start = Callable[..., RunningService]
NDJSON = {"content-type": "application/x-ndjson"}
PERSONAL, PERSON, SHOP = "+49-171-planted", "person-planted-1", "shop-planted-2"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    send_soon(monkeypatch)


def named(spans: list[ReadableSpan], name: str) -> ReadableSpan:
    (found,) = (span for span in spans if span.name == name)
    return found


def parent_name(spans: list[ReadableSpan], span: ReadableSpan) -> str | None:
    assert span.parent is not None
    return next((one.name for one in spans if one.context.span_id == span.parent.span_id), None)


def length_ns(span: ReadableSpan) -> int:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.end_time - span.start_time


def assert_within(spans: list[ReadableSpan]) -> None:
    """Every span lies within its parent, and the parts of one do not take longer than it did."""
    by_id = {span.context.span_id: span for span in spans}
    parts: dict[int, int] = {}
    for span in spans:
        parent = by_id.get(span.parent.span_id) if span.parent is not None else None
        if parent is not None:
            assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time, span.name  # type: ignore[operator]
            parts[parent.context.span_id] = parts.get(parent.context.span_id, 0) + length_ns(span)
    for span_id, total_ns in parts.items():
        assert total_ns <= length_ns(by_id[span_id])


def test_a_decision_of_a_sampled_caller_is_a_tree_from_decode_to_answer(start: Start) -> None:
    here = Here()
    service = start(spans=here)
    event = claim(1, entities={"claimant": PERSON, "repair_shop": SHOP})
    event["attributes"]["phone"] = PERSONAL
    answer = service.ask("POST", "/v1/decisions", event, headers=SAMPLED).json()
    spans = here.wait()
    tree = {span.name: parent_name(spans, span) for span in spans}
    assert tree == {
        "POST /v1/decisions": None,
        "decode": "POST /v1/decisions",
        "queue": "POST /v1/decisions",
        "observe": "POST /v1/decisions",
        "score": "POST /v1/decisions",
        "rung full": "score",
        "encode": "rung full",
        "model gbdt": "rung full",
        "model anomaly": "rung full",
        "stack": "rung full",
        "policy": "rung full",
        "reasons": "rung full",
        "commit": "POST /v1/decisions",
        "answer": "POST /v1/decisions",
    }
    assert len(spans) == len(tree)
    root = named(spans, "POST /v1/decisions")
    assert root.parent is not None
    assert (root.parent.span_id, root.parent.is_remote) == (SPAN, True)
    assert {span.context.trace_id for span in spans} == {TRACE}
    assert {span.context.trace_state.to_header() for span in spans} == {"vendor=value"}
    assert all((span.kind is SpanKind.SERVER) is (span is root) for span in spans)
    assert dict(root.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/v1/decisions",
        "http.response.status_code": 200,
        "ringfence.scenario": "motor-claims",
        "ringfence.decision_id": answer["decision_id"],
        "ringfence.release": service.release.id,
        "ringfence.action": answer["action"],
        "ringfence.rung": "full",
        "ringfence.degraded": False,
        "ringfence.batch_size": 1,
    }
    assert_within(spans)
    assert 0 <= NOW_MS - root.start_time // 1_000_000 < 10_000  # type: ignore[operator]  # its clock stands still
    order = ["decode", "queue", "observe", "score", "commit", "answer"]
    starts = [named(spans, name).start_time for name in order]
    assert starts == sorted(starts)  # type: ignore[type-var]
    assert all(length_ns(named(spans, name)) > 0 for name in ("decode", "observe", "score", "model gbdt", "commit"))
    told = "".join(span.to_json() for span in spans)
    for secret in (PERSONAL, PERSON, SHOP, event["event_id"], service.tokens["admin"]):
        assert secret not in told


def test_only_callers_that_ask_are_traced_and_the_log_tells_whose_trace_it_was(start: Start) -> None:
    stream = io.StringIO()
    structlog.configure(processors=line_processors(), logger_factory=structlog.PrintLoggerFactory(stream))
    here = Here()
    try:
        service = start(spans=here, log_one_in=1)
        answers = [
            service.ask("POST", "/v1/decisions", claim(number), headers=headers).json()
            for number, headers in enumerate([{}, UNSAMPLED, {"traceparent": "00-nonsense"}, SAMPLED])
        ]
        spans = here.wait()
    finally:
        structlog.reset_defaults()
    (root,) = (span for span in spans if span.kind is SpanKind.SERVER)
    assert (root.attributes or {})["ringfence.decision_id"] == answers[3]["decision_id"]
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    traces = {line["decision"]: line.get("trace_id") for line in lines if line["event"] == "decided"}
    whose = f"{TRACE:032x}"
    assert [traces[answer["decision_id"]] for answer in answers] == [None, whose, None, whose]


def test_a_batch_is_one_request_with_the_turns_of_its_lines(start: Start) -> None:
    here = Here()
    service = start(spans=here)
    lines = b"\n".join([*(json.dumps(claim(number)).encode() for number in range(150)), b"{bad", b""])
    answer = service.ask("POST", "/v1/decisions/batch", lines, headers={**NDJSON, **SAMPLED})
    found = [json.loads(line) for line in answer.text.splitlines()]
    decided = {line["decision_id"] for line in found if "decision_id" in line}
    assert len(decided) == 150
    spans = here.wait()
    root = named(spans, "POST /v1/decisions/batch")
    turns = [span for span in spans if span.name == "turn"]
    assert (root.attributes or {})["ringfence.events"] == 150
    assert len(turns) > 1
    told = [(turn.attributes or {})["ringfence.decision_ids"] for turn in turns]
    assert sorted(one for ids in told for one in ids) == sorted(decided)  # type: ignore[union-attr]
    for turn in turns:
        assert parent_name(spans, turn) == root.name
        below = [span.name for span in spans if span.parent and span.parent.span_id == turn.context.span_id]
        assert sorted(below) == ["commit", "observe", "queue", "score"]
        assert (turn.attributes or {})["ringfence.rung"] == "full"
    models = [span for span in spans if span.name == "model gbdt"]
    assert len(models) == len(turns)
    starts = [turn.start_time for turn in turns]
    assert all(root.start_time <= begun for begun in starts)  # type: ignore[operator]
    assert max(turn.end_time for turn in turns) <= root.end_time  # type: ignore[operator, type-var]


def test_a_rung_that_failed_is_told_beside_the_one_that_answered(start: Start) -> None:
    here = Here()
    service = start(spans=here)
    hinder_branch(service, raising)
    service.ask("POST", "/v1/decisions", claim(1), headers=SAMPLED)
    spans = here.wait()
    full, gbdt = named(spans, "rung full"), named(spans, "rung gbdt")
    assert (full.attributes or {})["ringfence.skipped"] == "ZeroDivisionError"
    assert (full.status.status_code, gbdt.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    asked = {parent_name(spans, span) for span in spans if span.name == "model gbdt"}
    assert asked == {"rung full", "rung gbdt"}
    assert all(parent_name(spans, span) == "rung gbdt" for span in spans if span.name in ("model anomaly", "policy"))
    root = (named(spans, "POST /v1/decisions").attributes) or {}
    assert (root["ringfence.degraded"], root["ringfence.degraded_because"]) == (True, "ZeroDivisionError")


def test_refused_requests_labels_events_and_reads_are_told_and_strangers_and_health_are_not(start: Start) -> None:
    here = Here()
    service = start(spans=here)
    service.ask("GET", "/readyz", headers=SAMPLED)
    service.ask("GET", "/no/such", headers=SAMPLED)
    assert service.ask("POST", "/v1/decisions", {"event_id": PERSON}, headers=SAMPLED).status_code == 422
    assert service.ask("POST", "/v1/decisions", b"{", key=None, headers=SAMPLED).status_code == 401
    assert service.ask("POST", "/v1/decisions", b"{", key="read", headers=SAMPLED).status_code == 403
    assert service.ask("BREW", "/v1/decisions", key=None, headers=SAMPLED).status_code == 405
    service.ask("POST", "/v1/events", claim(7, event_type="claim"), headers=SAMPLED)
    label = {"event_id": "c-7", "label": "fraud", "source": "investigator"}
    service.ask("POST", "/v1/labels", label, headers=SAMPLED)
    assert service.ask("GET", f"/v1/entities/person/{PERSON}", headers=SAMPLED).status_code == 404
    spans = here.wait(4)
    roots = [span for span in spans if span.kind is SpanKind.SERVER]
    told = [((span.attributes or {}).get("ringfence.problem"), span.name) for span in roots]
    assert told == [
        ("invalid-event", "POST /v1/decisions"),
        (None, "POST /v1/events"),
        (None, "POST /v1/labels"),
        ("not-found", "GET /v1/entities/{type}/{id}"),
    ]
    assert all(span.status.status_code is StatusCode.UNSET for span in roots)  # a caller's fault is not the server's
    assert PERSON not in "".join(span.to_json() for span in spans)


def test_the_sdks_own_switch_turns_it_off(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    here = Here()
    service = start(spans=here)
    assert service.ask("POST", "/v1/decisions", claim(1), headers=SAMPLED).status_code == 200
    until(lambda: service.telemetry.traces.labels("taken")._value.get() == 1)
    service.traces.close()  # type: ignore[union-attr]
    assert here.get_finished_spans() == ()


def test_the_share_that_begins_a_trace_is_drawn_and_a_callers_no_holds() -> None:
    telemetry = Telemetry()
    clock = FakeClock(NOW_MS)
    for sample, least, most in ((0.0, 0, 0), (0.5, 380, 620), (1.0, 1000, 1000)):
        traces = Traces(Here(), clock, telemetry, sample=sample)
        begun = [traces.begin([]) for _ in range(1000)]
        found = [trace for trace in begun if trace is not None]
        assert least <= len(found) <= most
        assert all(trace.is_sampled and trace.parent is None for trace in found)
        assert len({trace.trace_id for trace in found}) == len(found)
        refused = traces.begin([(b"traceparent", UNSAMPLED["traceparent"].encode())])
        assert refused is not None
        assert not refused.is_sampled
        traces.close()


def test_a_trace_that_begins_here_has_the_id_that_the_log_told(start: Start) -> None:
    stream, here = io.StringIO(), Here()
    structlog.configure(processors=line_processors(), logger_factory=structlog.PrintLoggerFactory(stream))
    try:
        service = start(spans=here, log_one_in=1, trace_sample=1.0)
        service.ask("POST", "/v1/decisions", claim(1))
        spans = here.wait()
        until(lambda: "decided" in stream.getvalue())
    finally:
        structlog.reset_defaults()
    (line,) = (json.loads(line) for line in stream.getvalue().splitlines() if '"decided"' in line)
    assert {f"{span.context.trace_id:032x}" for span in spans} == {line["trace_id"]}
    assert named(spans, "POST /v1/decisions").parent is None


def test_a_clock_that_is_set_moves_later_spans_and_no_lengths() -> None:
    here, clock = Here(), FakeClock(NOW_MS)
    traces = Traces(here, clock, Telemetry(), sample=1.0)
    for n in (1, 2):
        trace = traces.begin([])
        assert trace is not None
        trace.has_key = True
        traces.end(trace, "GET", "/v1/releases", 200)
        here.wait(n)
        clock.advance(3_600_000)
    first, second = here.get_finished_spans()
    assert second.start_time - first.start_time > 3_599e9  # type: ignore[operator]
    assert length_ns(second) < 1e9
    traces.close()


def test_spans_that_cannot_be_made_cost_one_trace_and_not_the_service(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Here()
    service = start(spans=here)
    assert service.traces is not None
    broken = service.traces.begin([(b"traceparent", SAMPLED["traceparent"].encode())])
    assert broken is not None
    broken.turns = None  # type: ignore[assignment]
    broken.has_key = True
    service.traces.end(broken, "GET", "/v1/releases", 200)
    service.ask("POST", "/v1/decisions", claim(1), headers=SAMPLED)
    assert len([span for span in here.wait() if span.kind is SpanKind.SERVER]) == 1
    assert service.telemetry.traces.labels("dropped")._value.get() == 1


def run_python(source: str) -> str:
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_traces_no_library_of_tracing_is_loaded() -> None:
    source = (
        "import sys, ringfence.serving.server as server; from ringfence.serving.config import ServiceConfig\n"
        "assert server.open_traces(ServiceConfig(), None, None) is None\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'opentelemetry', 'requests'}))"
    )
    assert run_python(source) == "[]\n"


def test_traces_without_the_extra_say_what_to_install() -> None:
    source = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from ringfence.serving.config import ServiceConfig\n"
        "from ringfence.serving.errors import TracingMissingError\n"
        "from ringfence.serving.server import open_traces\n"
        "try:\n    open_traces(ServiceConfig(traces=True), None, None)\n"
        "except TracingMissingError as error:\n    print(error)"
    )
    assert "pip install 'ringfence[otel]'" in run_python(source)
    assert "opentelemetry" in str(TracingMissingError("opentelemetry"))
