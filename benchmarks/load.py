# SPDX-License-Identifier: Apache-2.0
"""An open-loop HTTP load generator: constant arrival rate, latency from the intended send time.

A closed loop waits for the answer before it sends again, so a stall hides the requests it held back (coordinated
omission). Here request i is due at start + i / rate whatever happened before; if every connection is busy it waits,
and the waiting counts. The generator reports when it turned to a request and when it sent it: what it turned to late is
its own lag, what it could not send is the service's, so that a slow generator is not taken for a slow service. At
`AT_ONCE` the loop is closed: each connection sends when it is free.

The loop is there twice: `load.c`, compiled when it is first needed, and `Load` here for where there is no C compiler,
at about three times the processor time. Own code, because vegeta, k6 and wrk2 cost more or lack one of these: another
body in each request, each answer kept with its Server-Timing, and the generator's own lag.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, cast

import uvloop

from benchmarks.load_files import Ran, Result, read_requests, read_results, write_requests, write_results

HOST: Final = "127.0.0.1"
PATIENCE_S: Final = 10.0  # for the last answers
AT_ONCE: Final = 1e9  # requests per second that no service answers: every connection sends when it is free
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"  # in a body of JSON lines nothing else has a carriage return
_UNREMARKABLE: Final = b'"degraded":false'

Body = dict[str, Any] | list[dict[str, Any]]  # a list goes out as NDJSON, one object a line


class Asked(Protocol):
    """Whom requests go to: a `Subject` or a rival."""

    @property
    def token(self) -> str: ...


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request in flight."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.index = -1
        self.body_at = -1
        self.length: int | None = 0  # None: in chunks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def send(self, index: int, request: bytes) -> None:
        self.index = index
        assert self.transport is not None
        self.load.sent_ns[index] = time.perf_counter_ns()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.index < 0:
            return  # nothing was asked
        self.buffer += data
        if self.body_at < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self.buffer.find(b"content-length: ", 0, end)
            self.length = None if at < 0 else int(self.buffer[at + 16 : self.buffer.find(b"\r\n", at)])
            self.body_at = end + 4
        if self.length is None:
            if not self.buffer.endswith(_LAST_CHUNK):
                return
        elif len(self.buffer) < self.body_at + self.length:
            return
        index = self.index
        self.load.done_ns[index] = time.perf_counter_ns()
        self.load.status[index] = int(self.buffer[9:12])
        if self.load.keeps_all or self.load.status[index] != 200 or _UNREMARKABLE not in self.buffer:
            self.load.answers[index] = bytes(self.buffer)
        self.buffer.clear()
        self.body_at, self.index = -1, -1
        self.load.freed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(self)


class Load:
    """Send `requests` at `rate` per second over `n_connections` connections; without `keeps_all` only errors and
    degraded answers are kept, which a long load has the memory for."""

    def __init__(
        self, host: str, port: int, requests: list[bytes], rate: float, n_connections: int, keeps_all: bool = True
    ) -> None:
        self.keeps_all = keeps_all
        self.host, self.port, self.requests, self.rate, self.n_connections = host, port, requests, rate, n_connections
        n = len(requests)
        self.intended_ns = [0] * n
        self.taken_ns = [0] * n  # when the generator turned to it; 0: never
        self.sent_ns = [0] * n
        self.done_ns = [0] * n
        self.status = [0] * n
        self.answers: list[bytes] = [b""] * n
        self.idle: deque[Connection] = deque()
        self.waiting: deque[int] = deque()
        self.connections: list[Connection] = []
        self.n_open = 0
        self.settled = 0
        self.finished = asyncio.Event()

    def freed(self, connection: Connection) -> None:
        self.settled += 1
        if self.waiting:
            index = self.waiting.popleft()
            connection.send(index, self.requests[index])
        else:
            self.idle.append(connection)
        if self.settled >= len(self.requests):
            self.finished.set()

    def lost(self, connection: Connection) -> None:
        self.n_open -= 1
        if connection.index >= 0:
            self.settled += 1
        if connection in self.idle:
            self.idle.remove(connection)
        if self.n_open == 0 or self.settled >= len(self.requests):
            self.finished.set()  # the service is gone, or all is answered

    async def run(self, patience_s: float) -> float:
        """Return the seconds between the first and the last send slot."""
        loop = asyncio.get_running_loop()
        for _ in range(self.n_connections):
            _, connection = await loop.create_connection(lambda: Connection(self), self.host, self.port)
            self.idle.append(connection)
            self.connections.append(connection)
            self.n_open += 1
        gc.collect()
        gc.freeze()
        gc.disable()
        n, period_ns = len(self.requests), 1e9 / self.rate
        start = time.perf_counter_ns() + 50_000_000
        index = 0
        while index < n and not self.finished.is_set():
            now = time.perf_counter_ns()
            while index < n and start + int(index * period_ns) <= now:
                self.intended_ns[index] = start + int(index * period_ns)
                self.taken_ns[index] = time.perf_counter_ns()
                if self.idle:
                    self.idle.popleft().send(index, self.requests[index])
                else:
                    self.waiting.append(index)
                index += 1
            if index < n:
                await asyncio.sleep(max(0.0, (start + index * period_ns - time.perf_counter_ns()) / 1e9))
        seconds = (time.perf_counter_ns() - start) / 1e9
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.finished.wait(), patience_s)
        gc.enable()
        gc.unfreeze()
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.close()
        await asyncio.sleep(0)  # lets them end before the loop does
        return seconds


def http_request(path: str, body: bytes, token: str, host: str, media_type: str = "application/json") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def wire(line: str, token: str, host: str) -> bytes:
    """The request that a line PATH<tab>JSON asks for; a list goes out as NDJSON."""
    path, body = line.rstrip("\n").split("\t", 1)
    if not body.startswith("["):
        return http_request(path, body.encode(), token, host)
    lines = "\n".join(json.dumps(one) for one in json.loads(body))
    return http_request(path, lines.encode(), token, host, "application/x-ndjson")


@dataclass(frozen=True)
class Generator:
    """A program that takes HOST PORT RATE CONNECTIONS PATIENCE all|errors REQUESTS RESULTS; see `load_files`."""

    name: str
    command: tuple[str, ...]


IN_PYTHON: Final = Generator("python", (sys.executable, "-m", "benchmarks.load"))


@cache
def generator() -> Generator:
    """Return the generator in C, built once a process, or the one in Python where that cannot be; stderr tells why."""
    folder = Path(tempfile.mkdtemp(prefix="ringfence-load-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        return Generator("c", (str(build(folder)),))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"load generator: the one in Python, since the one in C cannot be built: {error}", file=sys.stderr)
        return IN_PYTHON


def build(folder: Path) -> Path:
    """Compile `load.c` into `folder`.

    Raises
    ------
    OSError
        If there is no C compiler.
    subprocess.CalledProcessError
        If it cannot compile this, as where the system is not Linux; the compiler has said why.
    """
    program, source = folder / "load", Path(__file__).with_name("load.c")
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), "cc")
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)]
    subprocess.run(command, check=True)
    return program


def run_load(
    subject: Asked,
    port: int,
    events: Iterable[tuple[str, Body]],
    rate: float,
    folder: Path,
    n_connections: int = 64,
    keeps_all: bool = True,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Send (path, body) pairs from another process; return a record for each, and the generator's summary."""
    requests = (wire(f"{path}\t{json.dumps(body)}", subject.token, HOST) for path, body in events)
    return run_generator(generator(), port, requests, rate, folder, n_connections, keeps_all)


def run_generator(
    chosen: Generator,
    port: int,
    requests: Iterable[bytes],
    rate: float,
    folder: Path,
    n_connections: int = 64,
    keeps_all: bool = True,
    patience_s: float = PATIENCE_S,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Send requests as they are by one of the two generators; otherwise as `run_load`."""
    asked, output = folder / "requests.bin", folder / "results.bin"
    n = write_requests(asked, requests)
    bounds = (HOST, port, rate, n_connections, patience_s, "all" if keeps_all else "errors")
    subprocess.run([*chosen.command, *map(str, bounds), str(asked), str(output)], check=True)
    ran, results = read_results(output)
    told = {"seconds": ran.elapsed_ns / 1e9, "n": n, "generator": chosen.name, "cpu_seconds": ran.cpu_ns / 1e9}
    return [record(result) for result in results], told


def record(result: Result) -> dict[str, Any]:
    """What benchmarks make of a request: its times, status, Server-Timing and the body of its answer."""
    head, _, body = result.answer.partition(b"\r\n\r\n")
    timing = (line[15:].decode() for line in head.split(b"\r\n") if line.startswith(b"server-timing: "))
    return {
        "intended_ns": result.intended_ns,
        "taken_ns": result.taken_ns,
        "sent_ns": result.sent_ns,
        "done_ns": result.done_ns,
        "status": result.status,
        "timing": next(timing, ""),
        "answer": (unchunked(body) if b"transfer-encoding: chunked" in head else body).decode(),
    }


def unchunked(body: bytes) -> bytes:
    parts, at = [], 0
    while (size_ends := body.find(b"\r\n", at)) >= 0 and (size := int(body[at:size_ends], 16)):
        parts.append(body[size_ends + 2 : size_ends + 2 + size])
        at = size_ends + 2 + size + 2
    return b"".join(parts)


def percentile(ordered: list[float], share: float) -> float:
    """Nearest-rank percentile of an ascending list."""
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def main(arguments: list[str]) -> None:
    host, port, rate, connections, patience_s, kept, asked, output = arguments
    requests = list(read_requests(Path(asked)))

    async def run() -> tuple[Load, Ran]:
        load = Load(host, int(port), requests, float(rate), int(connections), kept == "all")
        before_ns = time.process_time_ns()
        seconds = await load.run(float(patience_s))
        return load, Ran(round(seconds * 1e9), time.process_time_ns() - before_ns)

    load, ran = uvloop.run(run())
    results = zip(load.intended_ns, load.taken_ns, load.sent_ns, load.done_ns, load.status, load.answers, strict=True)
    write_results(Path(output), ran, (Result(*result) for result in results))


if __name__ == "__main__":
    main(sys.argv[1:])
