# SPDX-License-Identifier: Apache-2.0
"""Switches of the real thing: asked for by the command line, and killed in the middle."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.cli.application import run
from ringfence.cli.proofs import decision_proofs, state_proof
from ringfence.engine.snapshot import restore_newest
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.ledger import Ledger
from ringfence.rollout.registry import Registry
from ringfence.scoring.release import load_release
from ringfence.serving.keys import Scope, create_key
from ringfence.workspace import Workspace

from .conftest import claim, copy_of
from .releases import OTHER_WINDOWS, make_release

pytestmark = pytest.mark.services


class Place:
    """A workspace with a second release of other features, and whoever serves it at the moment."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        from benchmarks.subject import ServiceProcess, Subject, free_port

        self.workspace, self.folder = workspace, folder
        self.scenario = workspace.scenario()
        self.ledger = Ledger.open(workspace.ledger_dir(self.scenario), self.scenario)
        self.first = Registry.read(self.ledger).champion()
        self.other = make_release(workspace, OTHER_WINDOWS).id
        self.token = create_key(workspace.keys_path, "desk", {Scope.ADMIN})
        subject = Subject(workspace.path, self.token, list)
        often = ("--snapshot-every", "1")
        self._make = lambda: ServiceProcess(subject, free_port(), folder / "log", options=often)
        self.service = self.serve()

    def serve(self) -> Any:
        service = self._make()
        service.wait_ready()
        return service

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=30)
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
        response = connection.getresponse()
        found = response.status, json.loads(response.read())
        connection.close()
        return found


@pytest.fixture
def place(template: Workspace, tmp_path: Path) -> Iterator[Place]:
    made = Place(copy_of(template, tmp_path / "workspace"), tmp_path)
    yield made
    made.service.kill_all()


def test_the_command_asks_a_running_service_or_says_how(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{place.service.port}"
    where = ["-w", str(place.workspace.path), "--url", url]
    monkeypatch.delenv("RINGFENCE_TOKEN", raising=False)
    assert run(["release", "promote", "latest", *where]) == 4
    told = capsys.readouterr().err
    assert "RINGFENCE_TOKEN" in told
    assert f"{url}/v1/releases/promote" in told

    monkeypatch.setenv("RINGFENCE_TOKEN", place.token)
    assert run(["release", "promote", "latest", "--note", "wider windows", *where, "--json"]) == 0
    changed = json.loads(capsys.readouterr().out)
    assert (changed["champion"], changed["replaces"]) == (place.other, place.first)
    entry = next(entry for entry in Registry.read(place.ledger).entries() if entry.is_champion)
    assert (entry.release, entry.note, entry.by) == (place.other, "wider windows", "key desk")
    assert place.ask("POST", "/v1/decisions", claim("now"))[1]["versions"]["release"] == place.other

    assert run(["release", "promote", place.other, *where]) == 3
    assert "champion already" in capsys.readouterr().err
    assert run(["release", "rollback", *where]) == 0
    assert f"{place.first} is the champion again (was {place.other}) from seq" in capsys.readouterr().out
    assert run(["release", "rollback", "-w", str(place.workspace.path), "--url", "http://127.0.0.1:1"]) == 3
    assert "name where it answers with --url" in capsys.readouterr().err


@pytest.mark.parametrize("wait_s", [0.0, 0.2, 0.6, 1.5])
def test_a_kill_at_any_moment_of_a_switch_leaves_what_the_ledger_says(place: Place, wait_s: float) -> None:
    before = [place.ask("POST", "/v1/decisions", claim(f"before-{number}"))[1] for number in range(5)]
    assert place.ask("POST", "/v1/releases/promote", {"release": place.other})[0] == 202
    time.sleep(wait_s)
    place.service.kill_all()
    place.service = place.serve()
    champion = Registry.read(place.ledger).champion()
    assert champion in (place.first, place.other)
    assert place.ask("GET", "/v1/releases")[1]["champion"] == champion
    after = [place.ask("POST", "/v1/decisions", claim(f"after-{number}"))[1] for number in range(5)]
    assert {answer["versions"]["release"] for answer in after} == {champion}
    place.service.stop()
    ids = [answer["decision_id"] for answer in before + after]
    proofs = decision_proofs(place.workspace, place.scenario, ids, newest=0, progress=lambda at, of: None)
    assert all(proof.holds for proof in proofs)
    assert state_proof(place.workspace, place.scenario).holds
    assert audit_ledger(place.ledger).holds


def test_the_follower_takes_snapshots_of_the_features_that_are_live(place: Place) -> None:
    seq = switched(place)["seq"]
    catalogue = load_release(place.workspace.releases_dir / place.other).catalogue
    deadline, number = time.monotonic() + 60, 0
    while True:
        number += 1
        assert place.ask("POST", "/v1/decisions", claim(f"after-{number}"))[0] == 200
        newest = restore_newest(catalogue, place.workspace.state_dir(place.scenario))
        if newest is not None and newest.seq > seq:
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    place.service.stop()
    assert state_proof(place.workspace, place.scenario).holds


def switched(place: Place) -> dict[str, Any]:
    assert place.ask("POST", "/v1/releases/promote", {"release": place.other})[0] == 202
    deadline = time.monotonic() + 60
    while (status := place.ask("GET", "/v1/releases")[1]["switch"])["step"] != "done":
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    found: dict[str, Any] = status
    return found
