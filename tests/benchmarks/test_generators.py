# SPDX-License-Identifier: Apache-2.0
"""The load generators in C and in Python against one real server that is slow, refuses, closes, and stands still."""

from __future__ import annotations

import asyncio
import hashlib
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.answered import latency_ms
from benchmarks.load import AT_ONCE, IN_PYTHON, Generator, generator, http_request, run_generator

pytestmark = pytest.mark.services

RATE = 200.0
SLOW_S, STALL_S = 0.04, 0.3
IN_ORDER = '{"degraded":false}'
Load = Callable[..., tuple[list[dict[str, Any]], dict[str, Any]]]


class Server:
    """Answers by the path of a request; what it answers tells the bytes of the body that it got."""

    def __init__(self) -> None:
        self.port, self.in_flight, self.most_in_flight = 0, 0, 0
        self._listens = threading.Event()
        self._serving: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._listens.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ends.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._ends = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 24)
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        await self._ends.wait()
        server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)
        await asyncio.sleep(0.01)  # transports close in a later round of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path, n_bytes = head.split()[1], int(head.rpartition("Content-Length: ")[2])
                if path == "/early":
                    writer.write(answer(413, b"too large"))
                    await writer.drain()
                    await asyncio.sleep(SLOW_S)
                body = await reader.readexactly(n_bytes)
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    goes_on = await self._answer(path, hashlib.sha256(body).hexdigest().encode(), writer)
                finally:
                    self.in_flight -= 1
                await writer.drain()
                if not goes_on:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the generator has gone, or the test ends
        writer.close()

    async def _answer(self, path: str, digest: bytes, writer: asyncio.StreamWriter) -> bool:
        if path == "/gone":
            return False
        if path == "/half":
            writer.write(answer(200, digest)[:-10])
            return False
        if path == "/never":
            await asyncio.sleep(60)
        if path == "/slow":
            await asyncio.sleep(SLOW_S)
        if path == "/stall":
            time.sleep(STALL_S)  # and not asyncio's: all connections stand still
        if path == "/chunks":
            parts = [digest, b"\n", b"x" * 70_000]
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts) + b"0\r\n\r\n"
            await in_pieces(writer, head + chunks, (20, 60, 61, len(head + chunks) - 3))
        elif path == "/pieces":
            whole = answer(200, digest)
            await in_pieces(writer, whole, (1, 30, whole.index(b"\r\n\r\n") + 2, len(whole) - 1))
        elif path != "/early":
            body = {"/large": digest + b"y" * 1_000_000, "/in-order": IN_ORDER.encode()}.get(path, digest)
            writer.write(answer(429 if path == "/refused" else 200, body))
        return path != "/last"


def answer(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} So\r\nserver-timing: score;dur=1.5\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def in_pieces(writer: asyncio.StreamWriter, whole: bytes, cuts: tuple[int, ...]) -> None:
    for begin, end in zip((0, *cuts), (*cuts, len(whole)), strict=True):
        writer.write(whole[begin:end])
        await writer.drain()
        await asyncio.sleep(0.002)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        yield one


@pytest.fixture(params=["c", "python"])
def load(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Load:
    chosen = IN_PYTHON if request.param == "python" else in_c()

    def ask(paths: list[str], rate: float = RATE, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return run_generator(chosen, server.port, requests(paths), rate, tmp_path, **options)

    return ask


def in_c() -> Generator:
    if generator() == IN_PYTHON:
        pytest.skip("no C compiler")
    return generator()


def requests(paths: list[str]) -> list[bytes]:
    return [http_request(path, body(path, i), "nobody asks", "localhost") for i, path in enumerate(paths)]


def body(path: str, i: int) -> bytes:
    padding = 9_000_000 if path in ("/early", "/wide") else 0  # more than a socket has room for
    return json.dumps({"i": i, "padding": "z" * padding}).encode()


def test_both_generators_tell_the_same_of_one_load(server: Server, tmp_path: Path) -> None:
    kinds = ["/fast", "/slow", "/chunks", "/refused", "/pieces", "/large", "/in-order"]
    rare = ["/wide", "/early", "/gone", "/half", "/last"]
    paths = [*kinds * 12, *rare * 2, *["/fast"] * 30, "/stall", *["/fast"] * 60]
    found = {}
    for chosen in (in_c(), IN_PYTHON):
        folder = tmp_path / chosen.name
        folder.mkdir()
        records, told = run_generator(chosen, server.port, requests(paths), RATE, folder, n_connections=30)
        assert (told["n"], told["generator"]) == (len(paths), chosen.name)
        assert told["cpu_seconds"] > 0
        assert told["seconds"] >= 0.999 * (len(paths) - 1) / RATE
        found[chosen.name] = records
    for path, i, one, other in zip(paths, range(len(paths)), found["c"], found["python"], strict=True):
        for name in ("status", "timing", "answer"):
            assert one[name] == other[name], (path, i)
        expected = {"/refused": 429, "/early": 413, "/gone": 0, "/half": 0}.get(path, 200)
        assert one["status"] == expected, (path, i)
        if expected:
            assert one["intended_ns"] <= one["taken_ns"] <= one["sent_ns"] < one["done_ns"]
        if path not in ("/early", "/gone", "/half", "/in-order"):
            assert one["answer"].startswith(hashlib.sha256(body(path, i)).hexdigest()), (path, i)
    for records in found.values():
        dues = [one["intended_ns"] - records[0]["intended_ns"] for one in records]
        assert dues == [pytest.approx(i * 1e9 / RATE, abs=2) for i in range(len(paths))]
    for kind in kinds:
        medians = [middle(records, paths, kind) for records in found.values()]
        assert medians[0] == pytest.approx(medians[1], abs=15.0), kind
        assert min(medians) >= (SLOW_S * 1e3 if kind == "/slow" else 0.0)
    stalled = [max(map(latency_ms, records[-60:])) for records in found.values()]
    assert min(stalled) > 0.8 * STALL_S * 1e3  # who came after waits as well, and that counts
    assert stalled[0] == pytest.approx(stalled[1], abs=100.0)
    waited = [sum(one["sent_ns"] - one["taken_ns"] > 1e7 for one in records[-60:]) for records in found.values()]
    assert min(waited) > 10  # for a free connection


def middle(records: list[dict[str, Any]], paths: list[str], kind: str) -> float:
    return statistics.median(latency_ms(one) for one, path in zip(records, paths, strict=True) if path == kind)


def test_at_once_each_connection_sends_again_when_it_is_answered(load: Load, server: Server) -> None:
    records, _ = load(["/slow"] * 40, AT_ONCE, n_connections=4)
    assert [one["status"] for one in records] == [200] * 40
    assert server.most_in_flight == 4
    span_s = (records[-1]["done_ns"] - records[0]["sent_ns"]) / 1e9
    assert span_s >= 10 * SLOW_S
    sent = [one["sent_ns"] for one in records]
    assert sent == sorted(sent)  # who waits longest goes first


def test_only_errors_and_what_is_not_in_order_are_kept_when_so_asked(load: Load) -> None:
    records, _ = load(["/in-order", "/refused", "/fast", "/gone", "/in-order"], keeps_all=False)
    assert [one["status"] for one in records] == [200, 429, 200, 0, 200]
    assert [bool(one["answer"]) for one in records] == [False, True, True, False, False]
    assert all(one["done_ns"] for one in records if one["status"])


def test_load_ends_when_no_connection_is_left(load: Load) -> None:
    began = time.monotonic()
    records, told = load(["/gone"] * 200, n_connections=2, patience_s=30.0)
    assert time.monotonic() - began < 15.0
    assert [one["status"] for one in records] == [0] * 200
    assert [bool(one["sent_ns"]) for one in records] == [True] * 2 + [False] * 198
    assert sum(bool(one["taken_ns"]) for one in records) < 200
    assert told["seconds"] < 200 / RATE


def test_patience_with_answers_that_never_come_is_bounded(load: Load) -> None:
    began = time.monotonic()
    records, _ = load(["/fast", "/never", "/fast"], n_connections=2, patience_s=0.5)
    assert 0.5 < time.monotonic() - began < 15.0
    assert [one["status"] for one in records] == [200, 0, 200]
    assert (records[1]["done_ns"], records[1]["answer"]) == (0, "")


def test_load_of_nothing_is_told_as_such(load: Load) -> None:
    records, told = load([], patience_s=0.1)
    assert (records, told["n"]) == ([], 0)
