# SPDX-License-Identifier: Apache-2.0
"""The real thing: `ringfence serve` in a process, over a socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ringfence.serving.keys import Scope, create_key
from ringfence.workspace import Workspace

from .conftest import claim, copy_of

if TYPE_CHECKING:
    from benchmarks.subject import ServiceProcess

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def service(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    from benchmarks.subject import ServiceProcess, Subject, free_port

    folder = tmp_path_factory.mktemp("process")
    workspace = copy_of(template, folder / "workspace")
    token = create_key(workspace.keys_path, "test", {Scope.ADMIN})
    service = ServiceProcess(Subject(workspace.path, token, list), free_port(), folder / "service.log")
    try:
        service.wait_ready()
        _wait_for(folder / "service.log", f"ready: decisions at http://127.0.0.1:{service.port}/v1/decisions")
        yield service
        service.stop()
        assert service.process.returncode == 0
        assert '"event": "stopped"' in (folder / "service.log").read_text()
    finally:
        service.kill_all()


@pytest.fixture(scope="module")
def port_and_token(service: ServiceProcess) -> tuple[int, str]:
    return service.port, service.subject.token


def _wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(port: int, token: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection.request("POST", "/v1/decisions", body, headers)
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


def test_it_decides_over_a_socket(port_and_token: tuple[int, str]) -> None:
    status, body = ask(*port_and_token, json.dumps(claim("socket")).encode())
    assert status == 200, body
    assert json.loads(body)["durable"]


def test_the_process_beside_the_service_explains_what_it_decided(port_and_token: tuple[int, str]) -> None:
    port, token = port_and_token
    sent = [claim(f"explained-{number}", amount=9_000.0) for number in range(12)]
    answers = [json.loads(ask(port, token, json.dumps(event).encode())[1]) for event in sent]
    flagged = [answer for answer in answers if answer["action"] != "approve"]
    assert flagged
    deadline = time.monotonic() + 60
    for answer in flagged:
        while (found := explanation(port, token, answer["decision_id"]))["explanation_status"] == "pending":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert found["explanation_status"] == "computed"
        assert found["explanation"]["score"] == pytest.approx(answer["score"], abs=1e-9)
        assert found["explanation"]["links"]


def explanation(port: int, token: str, decision_id: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", f"/v1/decisions/{decision_id}?explain=full", headers={"authorization": f"Bearer {token}"})
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def test_a_hundred_megabytes_get_a_413_and_the_process_does_not_grow_by_them(port_and_token: tuple[int, str]) -> None:
    port, token = port_and_token
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        head = f"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        client.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
        piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        for _ in range(100 * 16):
            client.sendall(piece)
        client.sendall(b"0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413")
    assert ask(port, token, json.dumps(claim("after-413")).encode())[0] == 200


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x00" * 100])
def test_noise_on_the_socket_harms_nobody(port_and_token: tuple[int, str], noise: bytes) -> None:
    port, token = port_and_token
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(noise)
    assert ask(port, token, json.dumps(claim("noise")).encode())[0] == 200


def test_another_follower_takes_the_place_of_one_that_was_killed(service: ServiceProcess) -> None:
    port, token = service.port, service.subject.token
    (killed,) = _followers_of(service.process.pid)
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while _followers_of(service.process.pid) in ([], [killed]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    sent = [claim(f"after-a-kill-{number}", amount=9_000.0) for number in range(12)]
    answers = [json.loads(ask(port, token, json.dumps(event).encode())[1]) for event in sent]
    flagged = [answer for answer in answers if answer["action"] != "approve"]
    assert flagged
    while explanation(port, token, flagged[-1]["decision_id"])["explanation_status"] == "pending":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _followers_of(pid: int) -> list[int]:
    """Return the processes that a service has spawned, but for the one that calls itself the front."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [Path("/proc") / child for path in children for child in path.read_text().split()]
    return [
        int(child.name)
        for child in found
        if b"spawn_main" in (child / "cmdline").read_bytes() and "front" not in (child / "comm").read_text()
    ]
