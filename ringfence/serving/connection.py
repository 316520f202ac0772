# SPDX-License-Identifier: Apache-2.0
"""One connection, bounded: how large the head of a request may be, and how long a request may take to arrive.

uvicorn's parser has neither bound: a client without a key could send header bytes for ever and have all of them held,
or open connections and say nothing, until there is no file left to open. All three are answered (RFC 9457) and the
connection closed. A request that arrives in one piece, as nearly all do, passes with two comparisons and no timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ringfence.errors import RingfenceError
from ringfence.serving.errors import (
    HeadTooLargeError,
    MalformedRequestError,
    RequestTooSlowError,
    TooManyConnectionsError,
    problem_of,
)
from ringfence.serving.wire import encode


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    head_bytes: int  # request line and headers
    head_s: float  # from the connection, or the first byte, to the end of the head
    body_s: float  # from there to the end of the body
    connections: int  # at once; those beyond are told to come back


class _Stage(Enum):
    """What a connection waits for."""

    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"  # ours to give: no bound here


def bounded(bounds: Bounds, on_refusal: Callable[[str], None]) -> type[Connection]:
    """Return the protocol for `uvicorn.Config(http=…)`; `on_refusal` is told the last word of each problem's type."""

    class Bounded(Connection):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(bounds, on_refusal, *arguments, **named)

    return Bounded


class Connection(HttpToolsProtocol):
    """Made by uvicorn for each connection; what is not said here is as there."""

    def __init__(self, bounds: Bounds, on_refusal: Callable[[str], None], *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._bounds = bounds
        self._on_refusal = on_refusal
        self._in_head = False
        self._in_message = False  # part of a request has arrived, and not its last byte
        self._head_in_parts = False  # part of this head came before, or with more than a head may have
        self._head_received = 0  # bytes of an unfinished head, without the part that it began in
        self._body_received = False  # by the latest piece of data
        self._beside_body = 0  # bytes since the last of the body: trailers and extensions of chunks, which are held too
        self._refused = False
        self._stage = _Stage.ANSWER
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))  # as uvicorn has it, which knows what it serves
        if len(self.connections) > self._bounds.connections:
            self._refuse(TooManyConnectionsError(self._bounds.connections))
        else:
            self._enter(_Stage.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter(_Stage.ANSWER)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        was_in_head = self._in_head
        self._head_in_parts = was_in_head or len(data) > self._bounds.head_bytes
        self._body_received = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_in_head and self._in_head:
            self._head_received += len(data)
            if self._head_received > self._bounds.head_bytes:
                self._refuse(HeadTooLargeError(self._bounds.head_bytes))
                return
        stage = self._awaited()
        # The stage before this piece: a piece that begins with the head has been counted as such.
        self._beside_body = (
            self._beside_body + len(data)
            if stage is _Stage.BODY and self._stage is _Stage.BODY and not self._body_received
            else 0
        )
        if self._beside_body > self._bounds.head_bytes:
            self._refuse(HeadTooLargeError(self._bounds.head_bytes))
            return
        if stage is not self._stage:
            self._enter(stage)

    def on_message_begin(self) -> None:
        self._in_head, self._in_message, self._head_received = True, True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and no trailer: uvicorn would add it to the headers (RFC 9110, 6.5.1, has them apart)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_in_parts:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > self._bounds.head_bytes:
                self._refuse(HeadTooLargeError(self._bounds.head_bytes))
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_received = True
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn calls this."""
        if not self._refused:
            self._refuse(MalformedRequestError())

    @property
    def is_between_requests(self) -> bool:
        """Whether all that has arrived is answered, and whole: a request may be refused before its body is there."""
        return not self._in_message and self._awaited() is _Stage.HEAD

    def _awaited(self) -> _Stage:
        if self._in_head or self.cycle is None or self.cycle.response_complete:
            return _Stage.HEAD
        return _Stage.BODY if self.cycle.more_body else _Stage.ANSWER

    def _enter(self, stage: _Stage) -> None:
        self._stage = stage
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if stage is not _Stage.ANSWER:
            wait_s = self._bounds.head_s if stage is _Stage.HEAD else self._bounds.body_s
            self._deadline = self.loop.call_later(wait_s, self._late, wait_s)

    def _late(self, wait_s: float) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self._in_head or self._stage is _Stage.BODY:
            self._refuse(RequestTooSlowError(self._stage.value, wait_s))
        else:
            self.transport.close()  # nothing was asked

    def _refuse(self, error: RingfenceError) -> None:
        """Answer and close. The application hears that the client is gone, where it waits for a body."""
        self._refused = True
        self._enter(_Stage.ANSWER)
        problem = problem_of(error)
        retry_after_s = getattr(error, "retry_after_s", None)
        self._on_refusal(problem.type.rpartition(":")[2])
        answering = self.cycle is not None and not self.cycle.response_complete and self.cycle.response_started
        if not answering:  # an answer in the middle of another would be read as part of it
            self.transport.write(_answer(problem.status, retry_after_s, encode(problem)))
        self.transport.close()


def _answer(status: int, retry_after_s: int | None, body: bytes) -> bytes:
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "connection: close",
        *([] if retry_after_s is None else [f"retry-after: {retry_after_s}"]),
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
