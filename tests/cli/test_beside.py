# SPDX-License-Identifier: Apache-2.0
"""How the command line bears with a service that refuses for a while, or for good."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ringfence.cli.application import run
from ringfence.cli.beside import decide_beside
from ringfence.cli.exits import Exit
from ringfence.cli.running import ServiceRefusedError
from tests.rollout.tracking_server import listening


def part(decided: int, left: int, last_event_seq: int | None, need_replay: int = 0) -> dict[str, Any]:
    return {
        "decided": decided,
        "need_replay": need_replay,
        "left": left,
        "by_action": {"approve": decided} if decided else {},
        "release": "r-1",
        "last_event_seq": last_event_seq,
    }


BUSY: dict[str, Any] = {"detail": "the queue is full"}


def answering(answers: Sequence[tuple[int, dict[str, Any]]]) -> tuple[type[BaseHTTPRequestHandler], list[Any]]:
    """A service that gives these answers, the last one for good, and what it was asked."""
    asked: list[Any] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body = answers[min(len(asked), len(answers)) - 1]
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(encoded)))
            if status in (429, 503):
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *told: object) -> None:
            pass

    return Service, asked


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_TOKEN", "secret")


def test_a_refusal_for_a_while_is_waited_out_and_the_same_is_asked_again() -> None:
    service, asked = answering([(200, part(64, 6, 128)), (429, BUSY), (503, BUSY), (200, part(5, 1, 140, 1))])
    told: list[tuple[int, int]] = []
    with listening(service) as url:
        found = decide_beside(url, "claims", progress=lambda *moved: told.append(moved), say=lambda text: None)
    assert [one["after"] for one in asked] == [0, 128, 128, 128]
    assert (found.n_decided, found.n_need_replay, found.n_left, found.by_action) == (69, 1, 1, {"approve": 69})
    assert told == [(64, 70), (70, 70)]


def test_a_refusal_for_good_ends_the_run_and_what_was_decided_is_told() -> None:
    for status in (503, 403):
        service, asked = answering([(200, part(64, 6, 128)), (status, BUSY)])
        said: list[str] = []
        with listening(service) as url, pytest.raises(ServiceRefusedError, match="the queue is full") as raised:
            decide_beside(url, "claims", progress=lambda *moved: None, say=said.append, patience_s=0.5)
        assert raised.value.status == status
        assert said == ["64 were decided before this, which stands; run it again for the rest"]
        assert (len(asked) > 2) == (status == 503)


def test_what_comes_to_wait_meanwhile_is_for_the_next_run() -> None:
    service, asked = answering([(200, part(64, 30, 128)), (200, part(30, 50, 190)), (200, part(50, 0, 300))])
    with listening(service) as url:
        found = decide_beside(url, "claims", progress=lambda *moved: None, say=lambda text: None)
    assert len(asked) == 2
    assert (found.n_decided, found.n_left) == (94, 50)


def test_where_another_caller_decides_some_of_them_it_ends_when_none_waits() -> None:
    service, asked = answering([(200, part(64, 30, 128)), (200, part(10, 0, 190)), (200, part(0, 0, None))])
    with listening(service) as url:
        found = decide_beside(url, "claims", progress=lambda *moved: None, say=lambda text: None)
    assert [one["after"] for one in asked] == [0, 128, 190]
    assert (found.n_decided, found.n_left) == (74, 0)


def test_a_machine_without_a_workspace_asks_for_a_scenario_by_name_and_is_told_what_needs_a_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["decide", "--pending", "--scenario", "claims", "-w", str(tmp_path), "--service"]
    service, _ = answering([(200, part(5, 3, 140, 3)), (200, part(0, 3, None))])
    with listening(service) as url:
        assert run([*command, url]) == Exit.OK
    told = capsys.readouterr()
    assert told.out.startswith("5 decided by r-1 in ")
    assert told.out.endswith(": 5 approve\n")
    assert "3 go on waiting" in told.err
    service, _ = answering([(200, part(0, 3, 140, 3))])
    with listening(service) as url:
        assert run([*command, url]) == Exit.OK
    assert capsys.readouterr().out == "nothing was decided\n"
