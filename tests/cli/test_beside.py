# SPDX-License-Identifier: Apache-2.0
"""How the command line bears with a service that refuses for a while, or for good."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ringfence.cli.application import run
from ringfence.cli.beside import decide_beside
from ringfence.cli.exits import Exit
from ringfence.cli.running import ServiceRefusedError
from ringfence.cli.terminal import Progress, patience
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


def answering(
    answers: Sequence[tuple[int, dict[str, Any]]], waits: Mapping[int, float] = {}
) -> tuple[type[BaseHTTPRequestHandler], list[Any]]:
    """A service that gives these answers, the last one for good, and what it was asked.

    Parameters
    ----------
    answers : status and body; 0: the connection ends without any.
    waits : seconds before the answer to the request of that number, from 1.
    """
    asked: list[Any] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            n = len(asked)
            status, body = answers[min(n, len(answers)) - 1]
            time.sleep(waits.get(n, 0.0))
            if not status:
                self.close_connection = True
                return
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(encoded)))
            if status in (429, 503):
                self.send_header("Retry-After", "0")
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever asked may be gone
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


def test_an_answer_that_does_not_come_in_time_is_asked_for_again() -> None:
    service, asked = answering([(200, part(64, 6, 128)), (200, part(0, 6, 128)), (200, part(6, 0, 140))], {2: 1.0})
    with listening(service) as url:
        found = decide_beside(url, "claims", progress=lambda *moved: None, say=lambda text: None, silence_s=0.3)
    assert found.n_decided == 70
    assert [one["after"] for one in asked] == [0, 128, 128]


def test_a_service_that_goes_away_is_waited_for_and_one_that_never_was_there_is_not() -> None:
    service, _ = answering([(200, part(64, 6, 128)), (0, {}), (200, part(6, 0, 140))])
    with listening(service) as url:
        found = decide_beside(url, "claims", progress=lambda *moved: None, say=lambda text: None)
    assert found.n_decided == 70
    began = time.monotonic()
    with pytest.raises(ServiceRefusedError, match="name where it answers with --service"):
        decide_beside(url, "claims", progress=lambda *moved: None, say=lambda text: None)
    assert time.monotonic() - began < 5


def test_what_is_said_while_nothing_comes_is_about_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def impatient(task: str, *, unit: str = "", word: str) -> AbstractContextManager[Progress]:
        return patience(quiet_s=0.05, word=word)

    monkeypatch.setattr("ringfence.cli.decide.progress", impatient)
    service, _ = answering([(200, part(0, 0, None))], {1: 0.4})
    with listening(service) as url:
        assert run(["decide", "--pending", "--scenario", "claims", "-w", str(tmp_path), "--service", url]) == Exit.OK
    assert f"still waiting for the service at {url}" in capsys.readouterr().err
