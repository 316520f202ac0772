# SPDX-License-Identifier: Apache-2.0
"""`decide --pending --service URL` beside the real thing, and either of the two killed in the middle."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.serving.keys import Scope, create_key
from ringfence.workspace import Workspace

from .conftest import NOW_MS, claim, copy_of
from .routed_release import promote_routed_release
from .test_pending import LARGE, SMALL, all_hold, bodies

pytestmark = pytest.mark.services


class Place:
    """A workspace whose champion leaves small claims to the night, and the process that serves it."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        from benchmarks.subject import ServiceProcess, Subject, free_port

        promote_routed_release(workspace, FakeClock(NOW_MS - 3_600_000))
        self.workspace = workspace
        scenario = workspace.scenario()
        self.ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
        self.token = create_key(workspace.keys_path, "night", {Scope.DECIDE})
        self.reader = create_key(workspace.keys_path, "reader", {Scope.READ})
        subject = Subject(workspace.path, self.token, list)
        self._make = lambda: ServiceProcess(subject, free_port(), folder / "log", options=("--deadline", "10000"))
        self.service = self.serve()

    def serve(self) -> Any:
        service = self._make()
        service.wait_ready()
        return service

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    def fill(self, n: int) -> None:
        """Have n events wait."""
        lines = b"\n".join(json.dumps(claim(f"k-{number}", amount=SMALL)).encode() for number in range(n))
        deadline = time.monotonic() + 60
        while self.ask("/v1/decisions/batch", lines, "application/x-ndjson").count(b'"pending"') < n:
            assert time.monotonic() < deadline  # a commit that takes long on a busy machine has lines refused
        assert self.ledger.n_pending == n

    def ask(self, path: str, body: bytes, media_type: str = "application/json") -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)
        connection.request("POST", path, body, {"authorization": f"Bearer {self.token}", "content-type": media_type})
        response = connection.getresponse()
        found = response.read()
        connection.close()
        assert response.status == 200, found
        return found


@pytest.fixture
def place(template: Workspace, tmp_path: Path) -> Iterator[Place]:
    made = Place(copy_of(template, tmp_path / "workspace"), tmp_path)
    yield made
    made.service.kill_all()


def test_the_command_has_a_running_service_decide_and_says_so_where_it_finds_one(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    n = 150
    place.fill(n)
    where = ["-w", str(place.workspace.path)]
    beside = ["decide", "--pending", "--service", place.url, *where]
    assert run(["decide", "--pending", *where]) == Exit.BUSY
    assert "--service URL" in capsys.readouterr().err

    monkeypatch.delenv("RINGFENCE_TOKEN", raising=False)
    assert run(beside) == Exit.USAGE
    assert "RINGFENCE_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("RINGFENCE_TOKEN", place.reader)
    assert run(beside) == Exit.BAD_INPUT
    assert "lacks the scope 'decide'" in capsys.readouterr().err
    assert place.ledger.n_pending == n

    monkeypatch.setenv("RINGFENCE_TOKEN", place.token)
    assert run([*beside, "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    found = bodies(place.ledger)
    assert (told["n_left"], told["n_need_replay"]) == (0, 0)
    # A part whose commit takes long on a busy machine is decided, and not among what the service confirmed.
    assert 0 < told["n_decided"] == sum(told["by_action"].values()) <= n
    assert Counter(told["by_action"]) <= Counter(body.action for body in found)
    assert {body.versions["release"] for body in found} == {told["release"]}
    assert set(Counter(body.event_seq for body in found).values()) == {1}

    assert run(beside) == Exit.OK
    assert capsys.readouterr().out == "nothing waits for the nightly run\n"
    place.ask("/v1/decisions", json.dumps(claim("by day", amount=LARGE)).encode())


def test_command_and_service_killed_in_the_middle_decide_none_twice_and_lose_none(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    n = 1_000
    place.fill(n)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RINGFENCE_TOKEN": place.token}
    n_before = [0]
    for kills_service in (False, True, False):
        goal, deadline = n_before[-1] + 100, time.monotonic() + 120
        command = [sys.executable, "-m", "ringfence.cli", "decide", "--pending", "--service", place.url]
        with (tmp_path / "run.log").open("wb") as out:
            process = subprocess.Popen([*command, "-w", str(place.workspace.path)], env=environment, stderr=out)
        while n - place.ledger.n_pending < goal:
            assert process.poll() is None, (tmp_path / "run.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        if kills_service:
            place.service.kill_all()
            assert process.wait(60) == Exit.BAD_INPUT
            assert "decided before this, which stands" in (tmp_path / "run.log").read_text()
            place.service = place.serve()
        else:
            process.send_signal(signal.SIGKILL)
            process.wait()
        n_before.append(n - place.ledger.n_pending)
    assert n_before[-1] < n
    monkeypatch.setenv("RINGFENCE_TOKEN", place.token)
    assert run(["decide", "--pending", "--service", place.url, "-w", str(place.workspace.path)]) == Exit.OK
    counts = Counter(body.event_id for body in bodies(place.ledger))
    assert place.ledger.n_pending == 0
    assert counts == dict.fromkeys((f"c-k-{number}" for number in range(n)), 1)
    place.service.stop()
    all_hold(place.workspace)
