# SPDX-License-Identifier: Apache-2.0
"""What clients are told while the ledger cannot be written, and that nothing is lost or done twice by it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.ledger.records import DecisionBody, Kind
from ringfence.serving.service import State

from .conftest import RunningService, claim

Start = Callable[..., RunningService]


def locked(service: RunningService) -> sqlite3.Connection:
    """Hold the database's write lock, as a backup tool gone wrong would."""
    connection = sqlite3.connect(service.ledger.directory / "ledger.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_failed_commit_is_unknown_to_the_client_and_kept_and_retried(start: Start) -> None:
    service = start()
    blocker = locked(service)
    response = service.ask("POST", "/v1/decisions", claim("unknown"))
    assert response.status_code == 503
    assert response.json()["type"] == "urn:ringfence:problem:outcome-unknown"
    assert int(response.headers["retry-after"]) >= 1

    refused = service.ask("POST", "/v1/decisions", claim("refused"))
    assert refused.status_code == 503
    assert refused.json()["type"] == "urn:ringfence:problem:ledger-unavailable"
    assert service.ask("GET", "/readyz", key=None).status_code == 503
    assert service.ask("GET", "/healthz", key=None).status_code == 200

    blocker.execute("ROLLBACK")
    blocker.close()
    until(lambda: service.service.state is State.READY)
    again = service.ask("POST", "/v1/decisions", claim("unknown"))
    assert again.status_code == 200
    assert again.headers["ringfence-repeated"] == "true"
    assert service.ledger.find_event("claim", "c-refused") is None
    assert service.ask("POST", "/v1/decisions", claim("refused")).status_code == 200
    decided = Counter(
        record.body.event_id
        for record in service.ledger.records(kinds=(Kind.DECISION,))
        if isinstance(record.body, DecisionBody)
    )
    assert decided == {"c-unknown": 1, "c-refused": 1}


def test_a_second_service_on_the_same_ledger_does_not_start(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start()
    failed = threading.Event()
    from ringfence.serving.config import ServiceConfig
    from ringfence.serving.service import ScenarioService

    second = ScenarioService(
        first.ledger,
        first.release,
        Path(first.workspace.state_dir(first.scenario)),
        first.clock,
        ServiceConfig(),
        first.telemetry,
        on_failure=failed.set,
    )
    second.start(first.loop)
    assert failed.wait(20)
    assert second.state is State.FAILED
    assert "writing to the ledger" in str(second.failure)
    assert first.ask("POST", "/v1/decisions", claim("still")).status_code == 200


def test_requests_before_ready_are_told_to_come_back(start: Start) -> None:
    service = start()
    service.service.stop()
    response = service.ask("POST", "/v1/decisions", claim("late"))
    assert response.status_code == 503
    assert response.json()["type"] == "urn:ringfence:problem:not-ready"
    assert response.headers["retry-after"] == "2"
