# SPDX-License-Identifier: Apache-2.0
"""The process before the service: what goes through it comes out the same, and nothing depends on it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.codec import encode_body
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, EventBody, Kind
from ringfence.serving import wire
from ringfence.serving.front.frame import (
    FROM_FRONT,
    TO_FRONT,
    AdmitBy,
    Answer,
    Close,
    Frames,
    Opened,
    Refused,
    Request,
    framed,
)
from ringfence.serving.keys import Scope, create_key
from ringfence.workspace import Workspace

from .conftest import NOW_MS, claim, copy_of

SENT = [
    Opened(),
    Request(1, 2, "POST", "/v1/decisions", b"/v1/decisions", b"", [(b"a", b"b")], b"{}", None),
    Request(2, 3, "GET", "/", b"/", b"x=1", [], b"", wire.Ahead("r-1", b"\x00")),
    Refused("too-slow"),
]
TOLD = [Answer(1, 200, [(b"a", b"b")], b"x" * 70_000), AdmitBy("claims", "r-1"), Close()]


@pytest.mark.parametrize(("messages", "decoder"), [(SENT, FROM_FRONT), (TOLD, TO_FRONT)])
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 1 << 20])
def test_messages_are_whole_however_the_stream_is_cut(messages: list[Any], decoder: Any, piece: int) -> None:
    stream, frames = b"".join(framed(message) for message in messages), Frames(decoder)
    found = [message for at in range(0, len(stream), piece) for message in frames.feed(stream[at : at + piece])]
    assert found == messages


def test_an_admission_comes_over_to_the_last_bit(start: Any) -> None:
    door = start().service.doorman.door
    rng = random.Random(5)
    for number in range(300):
        raw = claim(f"over-{number}")
        raw["amount"] = rng.choice([None, 1, 2.5, 0.1, 1e9])
        raw["attributes"] = rng.choice([raw["attributes"], {}, {"policy_age_days": 3}, {"policy_age_days": None}])
        raw["entities"]["witness"] = [rng.choice([7, "7", "é", "x" * 300]) for _ in range(rng.randrange(4))]
        admission = door.admit(raw, now_ms=NOW_MS)
        back = wire.admission_of(wire.ahead_of("r-1", admission))
        assert encode_body(EventBody(event=back.event, late=False)) == encode_body(
            EventBody(event=admission.event, late=False)
        )
        assert [value.hex() for value in back.values] == [value.hex() for value in admission.values]
        assert (back.entity_ids, back.personal, back.offset_ms, back.underived) == (
            admission.entity_ids,
            admission.personal,
            admission.offset_ms,
            admission.underived,
        )


class Open:
    """A connection of a client who writes what it likes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")

    def send(self, *requests: bytes) -> None:
        self.socket.sendall(b"".join(requests))

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self.file.readline().split()[1])
        headers = dict(line.decode().rstrip("\r\n").split(": ", 1) for line in iter(self.file.readline, b"\r\n"))
        if headers.get("transfer-encoding") != "chunked":
            return status, headers, self.file.read(int(headers["content-length"]))
        body = b""
        while size := int(self.file.readline(), 16):
            body += self.file.read(size)
            self.file.readline()
        self.file.readline()
        return status, headers, body

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Place:
    """A service that runs for real, and its keys."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        from benchmarks.subject import ServiceProcess, Subject, free_port

        self.workspace = workspace
        self.token = create_key(workspace.keys_path, "desk", set(Scope))
        subject = Subject(workspace.path, self.token, list)
        self.service = ServiceProcess(subject, free_port(), folder / "log", options=("--deadline", "60000"))
        self.service.wait_ready()
        self.front = front_of(self.service.process.pid)

    def request(
        self, method: str, path: str, body: bytes = b"", *, kind: str = "application/json", more: str = ""
    ) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\nContent-Type: {kind}\r\n"
        return f"{head}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def decision(self, event_id: str, **fields: Any) -> bytes:
        return self.request("POST", "/v1/decisions", json.dumps(claim(event_id, **fields)).encode())

    def open(self) -> Open:
        return Open(self.service.port)

    def counted(self, metric: str) -> float:
        connection = self.open()
        connection.send(self.request("GET", "/metrics"))
        page = connection.answer()[2].decode()
        connection.close()
        return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(metric))


def front_of(pid: int) -> int:
    """Return the process that listens in the service's place; wait until there is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{child}/comm").read_text() == "ringfence-front\n":
                        return int(child)
        time.sleep(0.05)
    raise AssertionError("no front process")


@pytest.fixture(scope="module")
def place(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("front")
    made = Place(copy_of(template, folder / "workspace"), folder)
    yield made
    made.service.kill_all()


def test_one_connection_asks_for_decisions_and_everything_else(place: Place) -> None:
    connection = place.open()
    connection.send(place.decision("mixed-1"))
    status, headers, first = connection.answer()
    assert (status, headers["content-type"]) == (200, "application/json")
    assert "decode;dur=" in headers["server-timing"]
    answer = json.loads(first)
    assert (answer["event_id"], answer["rung"], answer["durable"]) == ("c-mixed-1", "full", True)

    connection.send(place.decision("mixed-1"))
    status, headers, again = connection.answer()
    assert (status, headers["ringfence-repeated"], again) == (200, "true", first)

    connection.send(place.request("GET", f"/v1/decisions/{answer['decision_id']}"))  # handed over here
    status, _, stored = connection.answer()
    assert (status, json.loads(stored)["decision"]) == (200, answer)

    connection.send(place.decision("mixed-2"))  # by the service itself now
    assert connection.answer()[0] == 200
    lines = b"".join(json.dumps(claim(f"line-{number}")).encode() + b"\n" for number in range(40))
    connection.send(place.request("POST", "/v1/decisions/batch", lines, kind="application/x-ndjson"))
    status, _, found = connection.answer()
    assert status == 200
    assert [json.loads(line)["event_id"] for line in found.splitlines()] == [f"c-line-{number}" for number in range(40)]
    connection.close()


def test_requests_sent_in_one_go_are_answered_in_their_order(place: Place) -> None:
    connection = place.open()
    lines = json.dumps(claim("go-3")).encode()
    connection.send(
        place.decision("go-1"),
        place.request("GET", "/healthz"),
        place.decision("go-2"),
        place.request("POST", "/v1/decisions/batch", lines, kind="application/x-ndjson"),
        place.request("GET", "/v1/nothing"),
    )
    answers = [connection.answer() for _ in range(5)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 200, 404]
    assert [json.loads(answers[at][2])["event_id"] for at in (0, 2, 3)] == ["c-go-1", "c-go-2", "c-go-3"]
    connection.close()


@pytest.mark.parametrize("pieces", [1, 3, 40, 400])
def test_a_request_may_come_in_pieces(place: Place, pieces: int) -> None:
    sent = place.decision(f"pieces-{pieces}")
    size = max(len(sent) // pieces, 1)
    connection = place.open()
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(sent), size):
        connection.send(sent[at : at + size])
        time.sleep(0.001)
    status, _, body = connection.answer()
    assert (status, json.loads(body)["event_id"]) == (200, f"c-pieces-{pieces}")
    connection.close()


def test_what_is_refused_is_refused_in_the_same_words(place: Place) -> None:
    """First on a connection that the service has taken over, then by the process before it."""
    good = json.dumps(claim("words-1")).encode()
    asked = {
        "no key": place.request("POST", "/v1/decisions", good).replace(place.token.encode(), b"nobody"),
        "media type": place.request("POST", "/v1/decisions", good, kind="text/plain"),
        "no JSON": place.request("POST", "/v1/decisions", b'{"event_id": '),
        "no object": place.request("POST", "/v1/decisions", b"[1]"),
        "too deep": place.request("POST", "/v1/decisions", b'{"a":' * 40 + b"1" + b"}" * 40),
        "field": place.request("POST", "/v1/decisions", json.dumps({**claim("words-2"), "amount": -4}).encode()),
        "too large": place.request("POST", "/v1/decisions", b" " * ((1 << 20) + 1)),
        "deadline": place.request("POST", "/v1/decisions", good, more="Ringfence-Deadline-Ms: soon\r\n"),
        "scenario": place.request("POST", "/v1/decisions?scenario=other", good),
    }
    found: dict[str, list[tuple[int, bytes]]] = {name: [] for name in asked}
    for begin in (place.request("GET", "/healthz"), None):
        for name, request in asked.items():
            connection = place.open()
            if begin is not None:
                connection.send(begin)
                connection.answer()
            connection.send(request)
            status, _, body = connection.answer()
            found[name].append((status, body))
            connection.close()
    for name, (by_service, by_front) in found.items():
        assert by_service == by_front, name
        assert by_front[0] >= 400, name


def test_what_is_no_request_is_counted_by_the_service(place: Place) -> None:
    before = place.counted("ringfence_problems_total")
    connection = place.open()
    connection.send(place.request("POST", "/v1/decisions", b"{}", more="X: " + "x" * 40_000 + "\r\n"))
    assert connection.answer()[0] == 431
    connection.close()
    assert place.counted("ringfence_problems_total") == before + 1


def test_an_event_let_in_by_another_release_is_let_in_again(start: Any) -> None:
    doorman = start().service.doorman
    raw = claim("again-1")
    body = json.dumps(raw).encode()
    admission = doorman.door.admit(raw, now_ms=NOW_MS)
    stale = wire.ahead_of("r-of-another", doorman.door.admit(claim("somebody-else"), now_ms=NOW_MS))
    assert doorman.admit_body(body, stale).event == admission.event
    assert doorman.admit_body(b"never read", wire.ahead_of(doorman.release.id, admission)).event == admission.event


def test_without_the_process_before_it_the_service_answers_itself(template: Workspace, tmp_path: Path) -> None:
    place = Place(copy_of(template, tmp_path / "workspace"), tmp_path)
    try:
        idle = place.open()
        idle.send(place.decision("killed-1"))
        assert idle.answer()[0] == 200
        os.kill(place.front, signal.SIGKILL)
        assert idle.file.readline() == b""
        idle.close()
        deadline, status = time.monotonic() + 20, 0
        while status != 200 and time.monotonic() < deadline:
            with contextlib.suppress(OSError, IndexError), contextlib.closing(place.open()) as connection:
                connection.send(place.decision("killed-2"))
                status = connection.answer()[0]  # nothing, where the listener changes hands
        assert status == 200
        deadline = time.monotonic() + 60
        while place.counted("ringfence_front_up") != 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert place.counted("ringfence_front_up") == 1
        assert front_of(place.service.process.pid) != place.front
        connection = place.open()
        connection.send(place.decision("killed-1"))
        status, headers, _ = connection.answer()
        assert (status, headers["ringfence-repeated"]) == (200, "true")
        connection.close()
    finally:
        place.service.kill_all()


def test_it_ends_with_the_service_and_answers_what_is_under_way(template: Workspace, tmp_path: Path) -> None:
    place = Place(copy_of(template, tmp_path / "workspace"), tmp_path)
    statuses: list[int] = []

    def ask(number: int) -> None:
        with contextlib.suppress(OSError, IndexError), contextlib.closing(place.open()) as connection:
            for at in range(10_000):  # until the connection is closed, between two requests
                connection.send(place.decision(f"ends-{number}-{at}"))
                statuses.append(connection.answer()[0])

    try:
        askers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for asker in askers:
            asker.start()
        time.sleep(1.0)
        place.service.stop()
        for asker in askers:
            asker.join(30)
        assert place.service.process.returncode == 0
        assert not Path(f"/proc/{place.front}").exists()
        assert statuses.count(200) > 20
        assert set(statuses) <= {200, 503}
        scenario = place.workspace.scenario()
        assert audit_ledger(Ledger.open(place.workspace.ledger_dir(scenario), scenario)).holds
    finally:
        place.service.kill_all()


def test_it_ends_when_the_service_is_killed(template: Workspace, tmp_path: Path) -> None:
    place = Place(copy_of(template, tmp_path / "workspace"), tmp_path)
    place.service.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{place.front}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{place.front}").exists()


def test_when_the_service_is_killed_nobody_is_told_what_is_not_known(template: Workspace, tmp_path: Path) -> None:
    """Whoever waits is told so, with when to ask again; what was acknowledged before is there afterwards, once."""
    place = Place(copy_of(template, tmp_path / "workspace"), tmp_path)
    told: list[tuple[int, dict[str, str], bytes]] = []
    acknowledged: list[str] = []

    def ask(number: int) -> None:
        with contextlib.suppress(OSError, IndexError):
            for at in range(10_000):
                with contextlib.closing(place.open()) as connection:
                    connection.send(place.decision(f"lost-{number}-{at}"))
                    told.append(connection.answer())
                    if told[-1][0] == 200:
                        acknowledged.append(claim(f"lost-{number}-{at}")["event_id"])

    try:
        askers = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for asker in askers:
            asker.start()
        while len(acknowledged) < 40:
            time.sleep(0.01)
        os.kill(place.service.process.pid, signal.SIGSTOP)  # so that some have been handed over
        time.sleep(0.3)
        place.service.kill()
        for asker in askers:
            asker.join(30)
        lost = [(headers, json.loads(body)) for status, headers, body in told if status != 200]
        assert {problem["status"] for _, problem in lost} == {503}
        assert {headers["content-type"] for headers, _ in lost} == {"application/problem+json"}
        assert all(int(headers["retry-after"]) >= 1 for headers, _ in lost)
        kinds = {problem["type"].rpartition(":")[2] for _, problem in lost}
        assert "outcome-unknown" in kinds
        assert kinds <= {"outcome-unknown", "not-ready"}
        scenario = place.workspace.scenario()
        ledger = Ledger.open(place.workspace.ledger_dir(scenario), scenario)
        decided = [
            record.body.event_id
            for record in ledger.records(kinds=(Kind.DECISION,))
            if isinstance(record.body, DecisionBody)
        ]
        assert set(acknowledged) <= set(decided)
        assert len(decided) == len(set(decided))
    finally:
        place.service.kill_all()
