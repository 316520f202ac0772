# SPDX-License-Identifier: Apache-2.0
"""Bytes that two readers could take for two requests, or that are none: refused, and the connection closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ringfence.serving.connection import Bounds

from .test_connection import client

POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
HOST = b"Host: x\r\n\r\n"
NO_HTTP: dict[str, bytes] = {
    # where the body ends
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "a length, then chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks, then a length": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "an encoding nobody knows": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no encoding at all": POST + b"Transfer-Encoding: identity\r\n\r\nhello",
    "chunks that are not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two encodings": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab before the encoding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a length below nothing": POST + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\nhello",
    "a hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "a length without a number": POST + b"Content-Length: \r\n\r\n",
    "a length of two numbers": POST + b"Content-Length: 5 5\r\n\r\nhello",
    "a length of 2^64": POST + b"Content-Length: 18446744073709551616\r\n\r\n",
    "a length in Arabic digits": POST + "Content-Length: \u0665\r\n\r\nhello".encode(),
    "a chunk of no size": CHUNKED + b"\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a chunk below nothing": CHUNKED + b"\r\n-1\r\nhello\r\n0\r\n\r\n",
    "a chunk of 2^64": CHUNKED + b"\r\n10000000000000000\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"\r\n3\r\nhello\r\n0\r\n\r\n",
    "chunks with bare line feeds": CHUNKED + b"\r\n5\nhello\n0\n\n",
    # headers
    "a folded header": POST + b"X: a\r\n b\r\n\r\n",
    "NUL in a header": POST + b"X: a\x00b\r\n\r\n",
    "a header without a colon": POST + b"hello\r\n\r\n",
    "a space in a name": POST + b"X Y: a\r\n\r\n",
    "a header without a name": POST + b": a\r\n\r\n",
    "a bare carriage return": POST + b"X: a\rY: b\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    # the first line
    "HTTP/2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\n" + HOST,
    "a method in small letters": b"get / HTTP/1.1\r\n" + HOST,
    "a method of another protocol": b"BREW / HTTP/1.1\r\n" + HOST,
    "a space in the path": b"GET /a b HTTP/1.1\r\n" + HOST,
    "NUL in the path": b"GET /\x00 HTTP/1.1\r\n" + HOST,
    "bytes beyond ASCII in the path": "GET /é HTTP/1.1\r\n".encode() + HOST,
    "a path without a slash": b"GET healthz HTTP/1.1\r\n" + HOST,
    "a tunnel": b"CONNECT x:1 HTTP/1.1\r\n" + HOST,
    "an address without a host": b"GET http:// HTTP/1.1\r\n" + HOST,
    "a port beyond all ports": b"GET http://x:99999999/ HTTP/1.1\r\n" + HOST,
}


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP)
def test_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(sent: bytes) -> None:
    async def work() -> None:
        async with client() as here:
            await here.send(sent + b"GET /healthz HTTP/1.1\r\n" + HOST)
            assert await asyncio.wait_for(here.refusal(), 10) == (400, "malformed-request")
            assert here.refusals == ["malformed-request"]

    asyncio.run(work())


@pytest.mark.parametrize("noise", [b"X: y\r\n" * 200, b"x" * 1_200], ids=["many", "one without end"])
@pytest.mark.parametrize("begun", [b"5\r\nhello\r\n0\r\nX: ", b"5; x="], ids=["trailers", "a chunk's extension"])
def test_what_stands_beside_a_body_is_not_held_without_end(begun: bytes, noise: bytes) -> None:
    async def work() -> None:
        async with client(Bounds(head_bytes=4_096, head_s=30, body_s=30, connections=2)) as here:
            await here.send(CHUNKED + b"\r\n" + begun)
            for _ in range(20):
                await here.send(noise)
                await asyncio.sleep(0.02)
                if here.refusals:
                    break
            assert here.refusals in (["head-too-large"], ["malformed-request"])  # no extension has lines

    asyncio.run(work())


def test_a_body_of_many_small_chunks_passes_and_so_do_a_few_trailers() -> None:
    async def work() -> None:
        async with client(Bounds(head_bytes=64, head_s=30, body_s=30, connections=2)) as here:
            await here.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(100):
                for part in (b"1\r", b"\n", b"x", b"\r\n"):
                    await here.send(part)
                    await asyncio.sleep(0)
            await here.send(b"0\r\nX: y\r\n\r\n")
            assert (await here.answer())[2] == b"100"

    asyncio.run(work())


def test_a_trailer_is_no_header() -> None:
    seen: list[bytes] = []

    async def names(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(name for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def work() -> None:
        async with client(app=names) as here:
            await here.send(CHUNKED + b"\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
            assert (await here.answer())[0] == 200

    asyncio.run(work())
    assert seen == [b"host", b"transfer-encoding"]
