# SPDX-License-Identifier: Apache-2.0
"""A connection of the front process: decisions stay, and whatever else a client wants, the service talks to it itself.

The connection's file descriptor goes over to the service with what has been read of it, at the border between two
requests; the client notices nothing. So streams, slow readers and all routes there will ever be need no word here.

A request for a decision that is as nearly all are goes to the service and is answered from here, without task, scope or
messages of ASGI. What is unusual about any other is uvicorn's to know: it gets the head as it was parsed.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from ringfence.errors import RingfenceError
from ringfence.serving.connection import Bounds, Connection
from ringfence.serving.exchange import DECISIONS, Reply
from ringfence.serving.front.frame import Answer

_log: Final = structlog.get_logger("ringfence.serving")
AHEAD_BYTES: Final = 16_384  # a larger body is read by the service alone, once it knows whose it is
_URL: Final = DECISIONS.encode()
_URL_WITH_QUERY: Final = _URL + b"?"
_STAYS: Final = (b"POST " + _URL + b" ", b"POST " + _URL_WITH_QUERY)
_UNUSUAL: Final = frozenset({b"expect", b"transfer-encoding"})
_LENGTH: Final = struct.Struct("<I")


Answered = Callable[["Answer | RingfenceError"], None]


class Ask(Protocol):
    """Sends a request for a decision to the service; `answered` is told once, the reason where no answer will come."""

    def __call__(
        self,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        answered: Answered,
    ) -> None: ...


def lane(bounds: Bounds, on_refusal: Callable[[str], None], hand_over: HandOver, ask: Ask) -> type[Connection]:
    """Return the protocol for `uvicorn.Config(http=…)`."""

    class Made(Lane):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(bounds, on_refusal, hand_over, ask, *arguments, **named)

    return Made


class Direct(RequestResponseCycle):
    """Stands where uvicorn looks for the request under way; one for all of a connection, as they come one by one."""

    def __init__(self) -> None:
        self.message_event = asyncio.Event()  # nobody waits for it
        self.disconnected = self.response_started = False
        self.response_complete = self.keep_alive = True
        self.more_body = False
        self.query = self.received = b""

    def begin(self, query: bytes) -> None:
        self.response_complete, self.more_body = False, True
        self.query, self.received = query, b""


class Lane(Connection):
    """Made for each connection."""

    def __init__(
        self, bounds: Bounds, on_refusal: Callable[[str], None], hand_over: HandOver, ask: Ask, *args: Any, **named: Any
    ) -> None:
        super().__init__(bounds, on_refusal, *args, **named)
        self._hand_over, self._ask = hand_over, ask
        self._direct = Direct()
        self._rest: asyncio.TimerHandle | None = None  # looks whether the client rests since our latest answer
        self._answered_at = 0.0  # by the loop's clock: that answer

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if (
            self.is_between_requests
            and not data.startswith(_STAYS)
            and not self.transport.is_closing()
            and not self.transport.get_write_buffer_size()  # else two processes would write to the client at once
        ):
            self.transport.pause_reading()
            file = self.transport.get_extra_info("socket")
            self._hand_over(file.fileno(), data)
            self.transport.close()  # ours alone: the service has one of its own by now
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_head, self._in_message, self._head_received = True, True, 0
        self.url, self.headers = b"", []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._is_usual():
            query = b"" if self.url == _URL else httptools.parse_url(self.url).query or b""
            self._in_head = False
            self._direct.begin(query)
            self.cycle = self._direct
            return
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not self._direct:
            super().on_body(body)
            return
        self._body_received = True
        self._direct.received += body

    def on_message_complete(self) -> None:
        if self.cycle is not self._direct or self._refused:
            super().on_message_complete()
            return
        self._in_message = self._direct.more_body = False
        self._ask(self._direct.query, self.headers, self._direct.received, self._answered)

    def _is_usual(self) -> bool:
        """Whether it is a request for a decision with a small body of known length, and nothing is still to be sent."""
        if self._head_in_parts or self._refused or self.flow.write_paused:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False  # the client did not wait for the answer to its last one
        if self.url != _URL and not self.url.startswith(_URL_WITH_QUERY):
            return False
        n_bytes = -1
        for name, value in self.headers:
            if name == b"content-length":
                n_bytes = int(value) if value.isdigit() else -1
            elif name in _UNUSUAL:
                return False
        parser = self.parser
        return (
            0 <= n_bytes <= AHEAD_BYTES
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )

    def _answered(self, answer: Answer | RingfenceError) -> None:
        """Write the answer, in the bytes that uvicorn would write; after an error the connection ends."""
        cycle, transport = self._direct, self.transport
        cycle.response_complete = True
        if cycle.disconnected or transport.is_closing():
            return
        reply: Answer | Reply
        if isinstance(answer, Answer):
            reply = answer
        else:
            reply, cycle.keep_alive = Reply.to(answer)[0], False
        parts = [STATUS_LINE[reply.status]]
        for name, value in reply.headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", reply.body)
        transport.write(b"".join(parts))
        if not cycle.keep_alive:
            transport.close()
        elif self.pipeline or self.flow.read_paused:
            self.on_response_complete()
        else:
            self._answered_at = self.loop.time()
            if self._rest is None:
                self._rest = self.loop.call_later(self.timeout_keep_alive, self._rested)

    def _rested(self) -> None:
        """Close the connection of a client that has asked nothing since our latest answer, or look again in time.

        One timer for many requests: to begin and to cancel one for each costs more than to look too early once.
        """
        self._rest = None
        if self.cycle is not self._direct or not self._direct.response_complete or self._deadline is not None:
            return  # somebody else watches, or the next answer begins it again
        left_s = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._rest = self.loop.call_later(left_s, self._rested)
        else:
            self.timeout_keep_alive_handler()


class HandOver:
    """Sends connections to the service; called for each with its file descriptor and what was read of it."""

    def __init__(self, to_service: socket.socket) -> None:
        self._to_service = to_service

    def __call__(self, file: int, data: bytes) -> None:
        try:
            socket.send_fds(self._to_service, [_LENGTH.pack(len(data))], [file])
            self._to_service.sendall(data)
        except OSError as error:  # the service is gone, or does not listen: the client's connection ends
            _log.error("a connection could not be handed over", cause=str(error))


def receive(from_front: socket.socket) -> tuple[socket.socket | None, bytes] | None:
    """Wait for a connection and what was read of it; None at the end. Without the connection: no file was left for it.

    Raises
    ------
    OSError
        If the other side is gone in the middle.
    """
    head, files, _, _ = socket.recv_fds(from_front, _LENGTH.size, 1)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head)
    data = bytearray()
    while len(data) < length:
        part = from_front.recv(length - len(data))
        if not part:
            raise ConnectionResetError("the front process ended in the middle of a connection")
        data += part
    return (socket.socket(fileno=files[0]) if files else None), bytes(data)
