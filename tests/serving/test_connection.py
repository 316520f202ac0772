# SPDX-License-Identifier: Apache-2.0
"""Connections over real sockets: how large a head may be, how long a request may take, and what else is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from ringfence.serving.connection import Bounds, bounded

Send = Callable[[Any], Awaitable[None]]
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
BOUNDS = Bounds(head_bytes=4_096, head_s=0.3, body_s=0.5, connections=2)


async def echo_length(scope: Any, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    """Answers with the number of bytes in the body; nothing where the client is gone."""
    n = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        n += len(message["body"])
        if not message["more_body"]:
            break
    body = str(n).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refusals: list[str]) -> None:
        self.reader, self.writer, self.refusals = reader, writer, refusals

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def refusal(self) -> tuple[int, str]:
        """Return status and type of a problem, and see that the connection ends with it."""
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert await self.reader.read() == b""
        problem = json.loads(body)
        assert problem["status"] == status
        return status, problem["type"].rpartition(":")[2]


@asynccontextmanager
async def clients(n: int, bounds: Bounds = BOUNDS, app: Any = echo_length) -> AsyncIterator[list[Client]]:
    """Connect `n` clients to one server."""
    refusals: list[str] = []
    config = uvicorn.Config(app, http=bounded(bounds, refusals.append), ws="none", lifespan="off", log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    state = uvicorn.Server(config).server_state
    listening = await loop.create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        streams = [await asyncio.open_connection(*listening.sockets[0].getsockname()) for _ in range(n)]
        yield [Client(reader, writer, refusals) for reader, writer in streams]
        for _, writer in streams:
            writer.close()
    finally:
        listening.close()


@asynccontextmanager
async def client(bounds: Bounds = BOUNDS, app: Any = echo_length) -> AsyncIterator[Client]:
    async with clients(1, bounds, app) as (only,):
        yield only


def test_requests_in_one_piece_and_in_many_are_answered_on_one_connection() -> None:
    async def work() -> None:
        async with client() as here:
            for _ in range(3):
                await here.send(GET + b"\r\n")
                assert (await here.answer())[0] == 200
            for byte in GET + b"Content-Length: 5\r\n\r\nhello":
                await here.send(bytes([byte]))
            assert (await here.answer())[2] == b"5"
            await here.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b" " * 200_000)
            assert (await here.answer())[2] == b"200000"
            assert here.refusals == []

    asyncio.run(work())


@pytest.mark.parametrize("parts", [1, 2, 10])
def test_a_head_up_to_the_limit_passes_and_a_larger_one_is_refused(parts: int) -> None:
    async def work(size: int) -> Any:
        async with client() as here:
            head = GET + b"Padding: " + b"x" * size + b"\r\n\r\n"
            step = len(head) // parts + 1
            for at in range(0, len(head), step):
                await here.send(head[at : at + step])
                await asyncio.sleep(0)
            if size > 4_096:
                return await here.refusal(), here.refusals
            return (await here.answer())[0]

    assert asyncio.run(work(4_000)) == 200
    assert asyncio.run(work(4_200)) == ((431, "head-too-large"), ["head-too-large"])


def test_a_head_without_end_is_not_held() -> None:
    async def work() -> None:
        async with client(Bounds(head_bytes=4_096, head_s=30, body_s=30, connections=2)) as here:
            await here.send(GET)
            sent = [0]

            async def send_on() -> None:
                while sent[0] < 100 << 20:
                    await here.send(b"X-Padding: " + b"x" * 60_000 + b"\r\n")
                    sent[0] += 60_000

            with pytest.raises(ConnectionError):
                await send_on()
            assert sent[0] < 20 << 20  # what the sockets hold
            assert here.refusals == ["head-too-large"]

    asyncio.run(work())


def test_one_header_line_without_end_is_not_held() -> None:
    async def work() -> None:
        async with client(Bounds(head_bytes=4_096, head_s=30, body_s=30, connections=2)) as here:
            await here.send(GET + b"X-Padding: ")
            for _ in range(10):
                await here.send(b"x" * 1_000)
                await asyncio.sleep(0.02)
                if here.refusals:
                    break
            assert await here.refusal() == (431, "head-too-large")

    asyncio.run(work())


def test_a_head_that_does_not_end_is_refused_after_a_while() -> None:
    async def work() -> None:
        async with client() as here:
            began = asyncio.get_running_loop().time()
            await here.send(GET)
            assert await here.refusal() == (408, "request-too-slow")
            assert asyncio.get_running_loop().time() - began >= 0.25

    asyncio.run(work())


def test_a_body_that_does_not_end_is_refused_after_a_while() -> None:
    async def work() -> None:
        async with client() as here:
            await here.send(GET + b"Content-Length: 1000\r\n\r\nsome")
            assert await here.refusal() == (408, "request-too-slow")
            assert here.refusals == ["request-too-slow"]

    asyncio.run(work())


def test_a_connection_that_asks_nothing_is_closed_without_a_word() -> None:
    async def work(data: bytes) -> None:
        async with client() as here:
            await here.send(data)
            assert await asyncio.wait_for(here.reader.read(), 5) == b""
            assert here.refusals == []

    for data in (b"", b"\r\n\r\n"):
        asyncio.run(work(data))


def test_a_connection_may_rest_between_requests_for_longer_than_a_head_may_take() -> None:
    async def work() -> None:
        async with client() as here:
            for _ in range(2):
                await here.send(GET + b"\r\n")
                assert (await here.answer())[0] == 200
                await asyncio.sleep(0.5)

    asyncio.run(work())


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\x00" * 100])
def test_what_is_no_http_is_told_so(noise: bytes) -> None:
    async def work() -> None:
        async with client() as here:
            await here.send(noise)
            assert await here.refusal() == (400, "malformed-request")

    asyncio.run(work())


def test_connections_beyond_the_bound_are_told_to_come_back_and_the_others_stay() -> None:
    async def work() -> None:
        async with clients(3) as (first, second, third):
            status, headers, _ = await third.answer()
            assert (status, headers["retry-after"]) == (503, "1")
            assert await third.reader.read() == b""
            assert third.refusals == ["too-many-connections"]
            for stays in (first, second):
                await stays.send(GET + b"\r\n")
                assert (await stays.answer())[0] == 200

    asyncio.run(work())
