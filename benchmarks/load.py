# SPDX-License-Identifier: Apache-2.0
"""An open-loop HTTP load generator: constant arrival rate, latency from the intended send time.

A closed loop waits for the answer before it sends again, so a stall hides the requests it held back (coordinated
omission). Here request i is due at start + i / rate whatever happened before; if every connection is busy it waits,
and the waiting counts. The generator reports its own send rate and lag, so that a slow generator is not taken for a
slow service. Raw asyncio sockets on uvloop: an HTTP client library would cost more than the service.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Any, cast

import uvloop


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request in flight."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.index = -1
        self.body_at = -1
        self.length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def send(self, index: int, request: bytes) -> None:
        self.index = index
        assert self.transport is not None
        self.load.sent_ns[index] = time.perf_counter_ns()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.body_at < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self.buffer.find(b"content-length: ")
            self.length = int(self.buffer[at + 16 : self.buffer.find(b"\r\n", at)])
            self.body_at = end + 4
        if len(self.buffer) < self.body_at + self.length:
            return
        index = self.index
        self.load.done_ns[index] = time.perf_counter_ns()
        self.load.status[index] = int(self.buffer[9:12])
        self.load.answers[index] = bytes(self.buffer[: self.body_at + self.length])
        self.buffer.clear()
        self.body_at, self.index = -1, -1
        self.load.freed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(self)


class Load:
    """Send `requests` at `rate` per second over `n_connections` connections."""

    def __init__(self, host: str, port: int, requests: list[bytes], rate: float, n_connections: int) -> None:
        self.host, self.port, self.requests, self.rate, self.n_connections = host, port, requests, rate, n_connections
        n = len(requests)
        self.intended_ns = [0] * n
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


def http_request(path: str, body: bytes, token: str, host: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def percentile(ordered: list[float], share: float) -> float:
    """Nearest-rank percentile of an ascending list."""
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=Path, required=True, help="lines of PATH<tab>JSON body")
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds to wait for the last answers")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, one per request")
    options = parser.parse_args()
    token = os.environ["RINGFENCE_TOKEN"]
    lines = options.requests.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t", 1) for line in lines]
    requests = [http_request(path, body.encode(), token, options.host) for path, body in pairs]

    async def run() -> tuple[Load, float]:
        load = Load(options.host, options.port, requests, options.rate, options.connections)
        return load, await load.run(options.patience)

    load, seconds = uvloop.run(run())
    with options.output.open("w", encoding="utf-8") as file:
        for i in range(len(requests)):
            head, _, body = load.answers[i].partition(b"\r\n\r\n")
            record: dict[str, Any] = {
                "intended_ns": load.intended_ns[i],
                "sent_ns": load.sent_ns[i],
                "done_ns": load.done_ns[i],
                "status": load.status[i],
                "timing": next(
                    (line[15:].decode() for line in head.split(b"\r\n") if line.startswith(b"server-timing: ")), ""
                ),
                "answer": body.decode(),
            }
            file.write(json.dumps(record) + "\n")
        file.write(json.dumps({"seconds": seconds, "n": len(requests)}) + "\n")


if __name__ == "__main__":
    main()
