# SPDX-License-Identifier: Apache-2.0
"""Decisions without a task: what the front process sends is answered, counted and traced as over a connection."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.serving import wire
from ringfence.serving.config import ServiceConfig
from ringfence.serving.exchange import AHEAD, DECISIONS, RECEIVED_NS, Reply
from ringfence.serving.rates import Rate
from ringfence.workspace import Workspace

from .conftest import NOW_MS, PATIENT, FakeClock, RunningService, claim, copy_of
from .spans_here import Here, send_soon

Ask = Callable[[RunningService, dict[str, Any], bytes], Awaitable[Reply]]
LIMIT = 8_192


async def as_asgi(service: RunningService, scope: dict[str, Any], body: bytes) -> Reply:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await service.app({"type": "http", "method": "POST", "path": DECISIONS, **scope}, receive, send)
    start, end = sent
    return Reply(start["status"], start["headers"], end["body"])


async def as_whole(service: RunningService, scope: dict[str, Any], body: bytes) -> Reply:
    told: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    service.app.decide({"type": "http", "method": "POST", "path": DECISIONS, **scope}, body, told.set_result)
    return await told


@pytest.fixture(name="services")
def _services(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[tuple[RunningService, Here], ...]]:
    """Two that are alike."""
    send_soon(monkeypatch)
    config = ServiceConfig(
        **{**PATIENT, "body_limit_bytes": LIMIT, "rate": Rate(0.001, 40), "traces": True, "trace_sample": 1.0}
    )
    made = []
    for name in ("one", "other"):
        spans = Here()
        made.append((RunningService(copy_of(template, tmp_path / name), FakeClock(NOW_MS), config, spans), spans))
    yield tuple(made)
    for service, _ in made:
        service.stop()


def asked(service: RunningService) -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """Yield requests, each by what is to be seen of it."""

    def head(key: str = "decide", kind: str = "application/json", **more: Any) -> dict[str, Any]:
        headers = [
            (b"authorization", f"Bearer {service.tokens.get(key, key)}".encode()),
            (b"content-type", kind.encode()),
        ]
        return {"headers": headers + more.pop("headers", []), "query_string": b"", **more}

    good = json.dumps(claim("good")).encode()
    door, release = service.service.doorman.door, service.service.doorman.release.id
    ahead = wire.ahead_of(release, door.admit(claim("ahead"), now_ms=NOW_MS))
    yield "200", head(), good
    yield "200 repeated", head(), good
    yield "200 ahead", head(**{AHEAD: ahead, RECEIVED_NS: 1}), b"never read"
    yield (
        "200 of another release",
        head(**{AHEAD: wire.ahead_of("r-other", door.admit(claim("x"), now_ms=NOW_MS))}),
        good,
    )
    yield (
        "200 scenario",
        head(query_string=b"scenario=" + service.scenario.name.encode()),
        json.dumps(claim("q")).encode(),
    )
    yield "409", head(), json.dumps({**claim("good"), "amount": 17}).encode()
    yield "401", head("nobody"), good
    yield "401 none", {"headers": [], "query_string": b""}, good
    yield "403", head("read"), good
    yield "415", head(kind="text/plain"), good
    yield "413 stated", head(headers=[(b"content-length", b"8193")]), b""
    yield "413 there", head(), b" " * (LIMIT + 1)
    yield "400 JSON", head(), b'{"event_id":'
    yield "400 object", head(), b"[]"
    yield "422", head(), json.dumps({**claim("bad"), "amount": -1}).encode()
    yield "400 deadline", head(headers=[(b"ringfence-deadline-ms", b"soon")]), good
    yield "400 scenario", head(query_string=b"scenario=none"), good
    yield "500", head(**{AHEAD: wire.Ahead(release, b"\xc1")}), good
    for _ in range(40):  # until the bucket is empty
        yield "", head(), good


def seen(reply: Reply) -> Reply:
    """Leave out what is of the moment."""
    headers = [(name, re.sub(rb"\d+\.\d+", b"t", value)) for name, value in reply.headers]
    return reply._replace(headers=headers)


COUNTED = re.compile(r"(ringfence_(responses|problems|key_uses|decisions|underived)_total|.*_decision_seconds_count).*")


def test_both_ways_answer_count_and_trace_alike(services: tuple[tuple[RunningService, Here], ...]) -> None:
    told, counted, traced = [], [], []
    for (service, spans), ask in zip(services, (as_whole, as_asgi), strict=True):
        replies = []
        for name, scope, body in asked(service):
            replies.append((name, seen(service.run(ask(service, scope, body)))))
        told.append(replies)
        page = service.telemetry.page().decode()
        counted.append([line for line in page.splitlines() if COUNTED.fullmatch(line)])
        assert service.traces is not None
        service.traces.close()
        traced.append(sorted((span.name, str(span.status.status_code)) for span in spans.get_finished_spans()))
    assert told[0] == told[1]
    for name, reply in told[0]:
        assert not name or str(reply.status) == name[:3], name
    assert told[0][-1][1].status == 429
    assert counted[0] == counted[1]
    assert any('route="/v1/decisions",status="500"' in line and line.endswith(" 1.0") for line in counted[0])
    assert traced[0] == traced[1]
    assert len(traced[0]) > 20


def test_a_stopping_service_says_so_both_ways(services: tuple[tuple[RunningService, Here], ...]) -> None:
    replies = []
    for (service, _), ask in zip(services, (as_whole, as_asgi), strict=True):
        name, scope, body = next(asked(service))
        assert name == "200"
        service.service.stop()
        replies.append(service.run(ask(service, scope, body)))
    assert replies[0] == replies[1]
    assert replies[0].status == 503
