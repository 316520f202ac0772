# SPDX-License-Identifier: Apache-2.0
"""The three ways of asking a real service, a second or two of each; figures of so short a load mean nothing."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.answered import generator_told, latency_ms
from benchmarks.load import generator, run_load
from benchmarks.service import measure, parsed
from benchmarks.subject import ServiceProcess, Subject, free_port
from benchmarks.surroundings import cpu_by_process, with_fronts

from .conftest import PATIENT

pytestmark = pytest.mark.services


@pytest.mark.parametrize("way", [["--repeat", "2"], ["--closed", "4"], ["--batch", "16"]])
def test_every_request_is_decided_in_full_and_told(way: list[str], subject: Subject, tmp_path: Path) -> None:
    short = ["--rate", "40", "--seconds", "1.5", "--warm-up", "0.5", "--requests", "100", *PATIENT]
    found = measure(subject, parsed([*short, *way]), tmp_path)
    assert len(found["runs"]) == (2 if way[0] == "--repeat" else 1)
    for run in found["runs"]:
        assert run["errors"] == 0
        assert 0 < run["latency_ms"]["p50"] <= run["latency_ms"]["max"]
        assert run["cpu_ms_per_decision"] > 0
        if way[0] == "--repeat":
            assert run["answered"] == 60
            assert sum(rung["requests"] for rung in run["by_rung"].values()) == 60
            assert sum(window["requests"] for window in run["windows"]) == 60
            assert run["explained_share"] == 1.0
            assert 0 < run["service_cpu_cores"] <= run["all_processes_cpu_cores"]
            assert run["generator_cpu_cores"] > 0
            assert run["generator_in"] == generator().name
        else:
            assert run["decisions_per_s"] > 0
            assert run["requests"] == (100 if way[0] == "--closed" else 7)
            assert run.get("decisions", 100) == 100
    assert found["medians"]["latency_ms"]["p50"] > 0


def test_front_process_counts_as_the_service_and_its_follower_does_not(subject: Subject, tmp_path: Path) -> None:
    service = ServiceProcess(subject, free_port(), tmp_path / "service.log", options=PATIENT)
    try:
        service.wait_ready()
        pid = service.process.pid
        until = time.monotonic() + 30.0
        while len(found := with_fronts((pid,))) < 2 and time.monotonic() < until:
            time.sleep(0.05)  # a service is ready before its front process has its name
        assert len(found) == 2
        spent = cpu_by_process((pid,))
        assert set(found) < set(spent)
        assert all(spent[one] > 0 for one in found)
    finally:
        service.stop()


@dataclass(frozen=True)
class Anybody:
    token: str = "nobody asks"


def answer_slowly(listener: socket.socket, n: int, after_s: float) -> None:
    """Serve one connection and answer each request after a while; requests are told apart by their headers' end."""
    connection, _ = listener.accept()
    with connection:
        for _ in range(n):
            seen = b""
            while b"\r\n\r\n{}" not in seen:
                seen += connection.recv(65_536)
            time.sleep(after_s)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


def test_latency_counts_the_waiting_for_a_connection_and_the_generator_is_not_blamed_for_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer_slowly, args=(listener, 8, 0.1))
        server.start()
        asked = [("/", {}) for _ in range(8)]
        records, told = run_load(Anybody(), listener.getsockname()[1], asked, 100.0, tmp_path, n_connections=1)
        server.join()
    assert [one["status"] for one in records] == [200] * 8
    # Each waits for those before it: the last is due after 70 ms and done after 800.
    assert latency_ms(records[-1]) > 650.0
    assert records[-1]["sent_ns"] - records[-1]["intended_ns"] > 0.5e9
    lags = [one["taken_ns"] - one["intended_ns"] for one in records]
    assert generator_told(records, told["seconds"], 100.0)["lag_ms"]["max"] == round(max(lags) / 1e6, 3)
    assert max(lags) < 0.5e9
