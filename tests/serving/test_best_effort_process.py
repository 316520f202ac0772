# SPDX-License-Identifier: Apache-2.0
"""`best_effort` in a real process: killed while records wait, on a disk that is full, and on one that is slow."""

from __future__ import annotations

import contextlib
import http.client
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ringfence.cli.application import app
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind
from ringfence.ledger.spool import n_spooled
from ringfence.serving.keys import Scope, create_key
from ringfence.workspace import Workspace

from .conftest import claim, copy_of
from .test_best_effort import template, without_durable
from .test_ledger_trouble import until

__all__ = ["template"]
pytestmark = pytest.mark.services

N = 20


class Served:
    """A workspace that a process serves, under the switches of a shim where one was built."""

    def __init__(self, workspace: Workspace, folder: Path, environment: dict[str, str] | None = None) -> None:
        from benchmarks.subject import Subject

        self.workspace, self._folder, self._environment = workspace, folder, environment
        self._token = create_key(workspace.keys_path, "test", {Scope.ADMIN})
        self._subject = Subject(workspace.path, self._token, list)
        scenario = workspace.scenario()
        self.ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
        self.process: Any = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        from benchmarks.subject import ServiceProcess, free_port

        options = ("--deadline", "2000")  # on a busy machine the ladder is not what this is about
        log = self._folder / "service.log"
        self.process = ServiceProcess(self._subject, free_port(), log, self._environment, options)
        try:
            self.process.wait_ready()
            yield
            self.process.stop()
        finally:
            self.process.kill_all()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.process.port, timeout=30)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            found = response.read()
            assert response.status in (200, 202), found
        return json.loads(found)

    def decide(self, tag: str) -> list[dict[str, Any]]:
        return [self.ask("POST", "/v1/decisions", claim(f"{tag}-{number}")) for number in range(N)]

    def promised(self, tag: str) -> list[dict[str, Any]]:
        """The same, asked again until all are durable: on a busy machine a commit may take longer than that."""
        until(lambda: all(answer["durable"] for answer in self.decide(tag)))
        return self.decide(tag)

    def drained(self) -> None:
        until(lambda: self.ask("GET", "/readyz")["degraded"] == {})

    def require_all(self, *groups: list[dict[str, Any]]) -> None:
        """Each decision that was answered is in the ledger once, as it was answered, in an intact chain."""
        stored: dict[str, tuple[str, str, float]] = {}
        for record in self.ledger.records(kinds=(Kind.DECISION,)):
            assert isinstance(record.body, DecisionBody)
            assert record.body.event_id not in stored
            stored[record.body.event_id] = (f"d-{record.seq}", record.body.action, record.body.score)
        for answer in (answer for group in groups for answer in group):
            assert stored[answer["event_id"]] == (answer["decision_id"], answer["action"], answer["score"])
        assert audit_ledger(self.ledger).holds


@pytest.fixture
def served(template: Workspace, tmp_path: Path) -> Served:
    return Served(copy_of(template, tmp_path / "workspace"), tmp_path)


def test_a_process_killed_while_the_ledger_is_locked_loses_nothing_that_was_answered(served: Served) -> None:
    blocker = sqlite3.connect(served.ledger.directory / "ledger.db", isolation_level=None)
    with served.running():
        before = served.promised("before")
        blocker.execute("BEGIN IMMEDIATE")
        late = served.decide("late")
        assert not any(answer["durable"] for answer in late)
        learned = served.ask("POST", "/v1/events", claim("learned"))
        served.process.kill_all()
    assert n_spooled(served.ledger.directory) == 2 * N + 1
    blocker.execute("ROLLBACK")
    blocker.close()
    told = " ".join(CliRunner().invoke(app, ["doctor", "-w", str(served.workspace.path)]).output.split())
    assert f"{2 * N + 1} records were answered and are not durable" in told
    with served.running():
        again = served.decide("late")
        assert [without_durable(answer) for answer in again] == [without_durable(answer) for answer in late]
        assert all(answer["durable"] for answer in again)
        assert served.ask("POST", "/v1/decisions", claim("learned"))["event_seq"] == learned["seq"]
    served.require_all(before, late)
    name = late[-1]["decision_id"]
    result = CliRunner().invoke(app, ["verify", "decision", name, "-w", str(served.workspace.path)])
    assert result.exit_code == 0, result.output


@pytest.fixture
def troubled(template: Workspace, tmp_path: Path) -> tuple[Served, Any]:
    """With a disk that the test makes full or slow."""
    from benchmarks.trouble.shim import Switches, build

    workspace = copy_of(template, tmp_path / "workspace")
    switches = Switches(tmp_path / "control")
    return Served(workspace, tmp_path, switches.environment(build(tmp_path), workspace.path)), switches


def test_a_full_disk_that_takes_no_spool_either_costs_no_answer(troubled: tuple[Served, Any]) -> None:
    served, switches = troubled
    with served.running():
        served.promised("before")
        switches.set("is_full", 1)
        late = [answer for part in range(3) for answer in served.decide(f"full-{part}")]
        assert not late[-1]["durable"]
        switches.set("is_full", 0)
        served.drained()
        served.promised("after")
    served.require_all(late)
    assert n_spooled(served.ledger.directory) == 0


def test_a_slow_disk_delays_no_answer_by_its_slowness(troubled: tuple[Served, Any]) -> None:
    served, switches = troubled
    with served.running():
        served.promised("before")
        switches.set("fsync_ms", 500)
        began = time.monotonic()
        late = served.decide("slow")
        took_s = time.monotonic() - began
        switches.set("fsync_ms", 0)
        assert took_s < N * 0.5, "each alone would have waited for a commit of half a second"
        assert not all(answer["durable"] for answer in late)
        served.drained()
    served.require_all(late)


@pytest.mark.parametrize("drop_unsynced", [False, True], ids=["kill -9", "and un-fsynced writes lost"])
def test_nothing_that_was_promised_is_lost_or_there_twice(
    template: Workspace, tmp_path: Path, drop_unsynced: bool
) -> None:
    from benchmarks.durability import torture
    from benchmarks.subject import Subject

    workspace = copy_of(template, tmp_path / "workspace")
    token = create_key(workspace.keys_path, "torture", {Scope.ADMIN})
    subject = Subject(workspace.path, token, lambda: (claim(number) for number in range(10_000)))
    found = torture(subject, tmp_path, rounds=2, rate=200, seconds=1.5, drop_unsynced=drop_unsynced, seed=5)
    assert found["faults"] == []
    assert found["still_unanswered"] == 0
    assert found["acknowledged"]["decisions"] > 0
