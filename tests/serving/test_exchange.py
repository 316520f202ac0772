# SPDX-License-Identifier: Apache-2.0
"""Reading bodies within a bound, and the problems that clients get."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ringfence.ledger.errors import PayloadConflictError
from ringfence.serving.errors import (
    BodyTooLargeError,
    MalformedBodyError,
    MediaTypeError,
    QueueFullError,
    RingfenceError,
    problem_of,
)
from ringfence.serving.exchange import JSON_TYPES, ClientGoneError, Exchange, Reply
from ringfence.serving.wire import DEPTH_LIMIT, read_object

LIMIT = 1 << 20


class Client:
    """Feeds an exchange with chunks and keeps what comes back."""

    def __init__(self, chunks: Iterator[bytes], headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.chunks = chunks
        self.n_taken = 0
        self.sent: list[Any] = []
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers or []}
        self.exchange = Exchange(scope, self.receive, self.send)

    async def receive(self) -> dict[str, Any]:
        chunk = next(self.chunks, None)
        if chunk is None:
            return {"type": "http.disconnect"}
        self.n_taken += 1
        return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def body(self) -> bytes:
        return asyncio.run(self.exchange.body(LIMIT))


def test_chunks_are_joined_up_to_the_limit() -> None:
    assert Client(iter([b"a" * 1000, b"b" * 1000, b""])).body() == b"a" * 1000 + b"b" * 1000
    assert len(Client(iter([b"x" * LIMIT, b""])).body()) == LIMIT


def test_a_stated_length_over_the_limit_is_refused_before_anything_is_read() -> None:
    client = Client(iter([b"x", b""]), [(b"content-length", b"104857600")])
    with pytest.raises(BodyTooLargeError):
        client.body()
    assert client.n_taken == 0


def test_an_endless_body_is_refused_at_the_limit_and_not_held() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65_536

    client = Client(endless())
    with pytest.raises(BodyTooLargeError):
        client.body()
    assert client.n_taken == LIMIT // 65_536 + 1


def test_a_single_chunk_over_the_limit_is_refused() -> None:
    client = Client(iter([b"x" * (LIMIT + 1), b""]))
    with pytest.raises(BodyTooLargeError):
        client.body()


def test_a_client_that_hangs_up_is_not_answered() -> None:
    with pytest.raises(ClientGoneError):
        Client(iter([b"x"])).body()


def test_a_client_that_reads_no_answer_is_not_waited_for_for_ever() -> None:
    class Deaf(Client):
        async def send(self, message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.sleep(60)
            await super().send(message)

    async def work() -> None:
        deaf = Deaf(iter([]))
        await deaf.exchange.start_stream(b"application/x-ndjson")
        with pytest.raises(ClientGoneError):
            await deaf.exchange.send_part(b"{}", patience_s=0.05)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", "truncated"),
        (b"\xff\xfe\x00", "malformed"),
        (b'{"a":"\xff"}', "invalid UTF-8"),
        (b'{"a":NaN}', "invalid character"),
        (b'{"a":Infinity}', "invalid character"),
        (b'{"a":1e999}', "out of range"),
        (b"[" * 100_000, "nesting too deep"),
        (b"[1,2]", "a JSON array"),
        (b'"text"', "a JSON string"),
        (b"true", "a JSON boolean"),
        (b"null", "a JSON null"),
        (b"7", "a JSON number"),
        (b'{"a":1}x', "trailing"),
        (b'{"a":"\\ud800"}', "truncated"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_what_was_found(body: bytes, found: str) -> None:
    with pytest.raises(MalformedBodyError, match=found):
        read_object(body)


@pytest.mark.parametrize("inner", [b"[%s]", b'{"a":%s}', b'["[[[[", {"b":2}, %s]'])
def test_bodies_are_read_down_to_sixteen_levels_and_no_further(inner: bytes) -> None:
    def body(depth: int) -> bytes:
        value = b"1"
        for _ in range(depth - 1):
            value = inner % value
        return b'{"a":%s}' % value

    assert read_object(body(DEPTH_LIMIT - 1))
    for depth in (DEPTH_LIMIT + 1, 100, 900):
        with pytest.raises(MalformedBodyError, match="nesting too deep"):
            read_object(body(depth))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    value = read_object(b'{"a":[' + b",".join([b"[]"] * 10_000) + b'],"text":"' + b"[" * 10_000 + b'"}')
    assert len(value["a"]) == 10_000


def test_media_types_are_compared_without_parameters_and_case() -> None:
    for value in (b"application/json", b"Application/JSON; charset=utf-8"):
        Client(iter([]), [(b"content-type", value)]).exchange.require_media_type(JSON_TYPES)
    Client(iter([])).exchange.require_media_type(JSON_TYPES)
    with pytest.raises(MediaTypeError, match="text/xml"):
        Client(iter([]), [(b"content-type", b"text/xml")]).exchange.require_media_type(JSON_TYPES)


def test_a_refusal_is_a_problem_with_path_and_retry_after() -> None:
    client = Client(iter([]))
    asyncio.run(client.exchange.send(Reply.to(QueueFullError(1024))[0]))
    start, body = client.sent
    headers = dict(start["headers"])
    assert start["status"] == 429
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"retry-after"] == b"1"
    assert msgspec.json.decode(body["body"])["type"] == "urn:ringfence:problem:queue-full"


def test_causes_of_other_rooms_have_a_status_and_a_path() -> None:
    problem = problem_of(PayloadConflictError("claim", "c-1", 7), line=3)
    assert (problem.status, problem.path, problem.line) == (409, "$.event_id", 3)


def test_an_unexpected_cause_tells_the_client_nothing_about_our_inside() -> None:
    problem = problem_of(RingfenceError("secret path /var/lib"))
    assert problem.status == 500
    assert "secret" not in problem.detail
