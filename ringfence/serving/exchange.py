# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange over raw ASGI: headers, a bounded body, and an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from ringfence.errors import RingfenceError
from ringfence.serving.errors import BadHeaderError, BodyTooLargeError, MediaTypeError, Problem, problem_of
from ringfence.serving.trace import Trace
from ringfence.serving.wire import Ahead, encode

DECISIONS: Final = "/v1/decisions"  # the path that most requests have
DEADLINE: Final = "Ringfence-Deadline-Ms"
_DEADLINE: Final = DEADLINE.lower().encode()

# In the scope of a request that came by the front process: the event that it let in, and when it had the last byte.
AHEAD: Final = "ringfence.ahead"
RECEIVED_NS: Final = "ringfence.received_ns"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON: Final = b"application/json"
NDJSON: Final = b"application/x-ndjson"
PROBLEM_JSON: Final = b"application/problem+json"
JSON_TYPES: Final = frozenset({JSON})
NDJSON_TYPES: Final = frozenset({NDJSON, b"application/ndjson", b"application/jsonl", b"application/jsonlines"})


class ClientGoneError(RingfenceError):
    """The client hung up before its request was complete, or reads no answer; there is nobody to tell."""


def parameter(query: bytes, name: str, *, blank: bool = False) -> str | None:
    """Return the last value of a parameter; None where it is not there, or is empty and `blank` is false."""
    if not query:
        return None
    values = parse_qs(query.decode("latin-1"), keep_blank_values=blank).get(name)
    return values[-1] if values else None


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def of(
        cls, status: int, body: bytes, media_type: bytes = JSON, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> Reply:
        length = str(len(body)).encode()
        return cls(status, [(b"content-type", media_type), (b"content-length", length), *headers], body)

    @classmethod
    def to(cls, error: RingfenceError) -> tuple[Reply, Problem]:
        """Make the answer with the problem that describes `error`."""
        problem = problem_of(error)
        headers: list[tuple[bytes, bytes]] = []
        retry_after_s = getattr(error, "retry_after_s", None)
        if retry_after_s is not None:
            headers.append((b"retry-after", str(retry_after_s).encode()))
        if problem.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        allowed = getattr(error, "allowed", None)
        if allowed is not None:
            headers.append((b"allow", str(allowed).encode()))
        return cls.of(problem.status, encode(problem), PROBLEM_JSON, headers), problem


class Asked:
    """What a request asks for, without its body. `status` is what was answered, 0 before."""

    __slots__ = ("_scope", "ahead", "authorization", "content_length", "content_type", "deadline", "headers",
                 "received_ns", "status", "trace")  # fmt: skip

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        self._scope = scope
        self.authorization: bytes | None = None
        self.content_type: bytes | None = None
        self.content_length: int | None = None
        self.deadline: bytes | None = None
        self.status = 0
        self.ahead: Ahead | None = scope.get(AHEAD)
        self.received_ns: int | None = scope.get(RECEIVED_NS)
        self.trace: Trace | None = None  # None: nobody traces it
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        for name, value in self.headers:
            if name == b"authorization":
                self.authorization = value
            elif name == b"content-type":
                self.content_type = value
            elif name == b"content-length":
                self.content_length = int(value) if value.isdigit() else None
            elif name == _DEADLINE:
                self.deadline = value

    @property
    def method(self) -> str:
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        return str(self._scope["path"])

    @property
    def raw_path(self) -> bytes:
        raw = self._scope.get("raw_path")
        return raw if isinstance(raw, bytes) else self.path.encode()

    def query(self, name: str, *, blank: bool = False) -> str | None:
        """Return the last value of a parameter; None where it is not there, or is empty and `blank` is false."""
        return parameter(self._scope.get("query_string", b""), name, blank=blank)

    def require_media_type(self, accepted: frozenset[bytes]) -> None:
        """Raise `MediaTypeError` unless the content type is one of `accepted` or absent."""
        if self.content_type is None:
            return
        essence = self.content_type.partition(b";")[0].strip().lower()
        if essence not in accepted:
            expected = b" or ".join(sorted(accepted)).decode()
            raise MediaTypeError(essence.decode("latin-1"), expected)

    def deadline_ms(self, longest_ms: int) -> int | None:
        """Read how long the client waits for a decision, in whole milliseconds; None where it does not say.

        Raises
        ------
        BadHeaderError
            If that is no whole number from 1 to `longest_ms`.
        """
        if self.deadline is None:
            return None
        text = self.deadline.strip()
        deadline_ms = int(text) if text.isdigit() and len(text) < 10 else 0
        if not 1 <= deadline_ms <= longest_ms:
            found = repr(text[:100].decode("latin-1"))
            raise BadHeaderError(DEADLINE, found, f"write whole milliseconds from 1 to {longest_ms}, or leave it out")
        return deadline_ms

    def require_length(self, limit_bytes: int, n_bytes: int = 0) -> None:
        """Raise `BodyTooLargeError` where the stated length, or the `n_bytes` that are there, exceed the limit."""
        if n_bytes > limit_bytes or (self.content_length is not None and self.content_length > limit_bytes):
            raise BodyTooLargeError(limit_bytes)


class Exchange(Asked):
    """A request and the way back to its client."""

    __slots__ = ("_receive", "_send")

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        super().__init__(scope)
        self._receive, self._send = receive, send

    async def body(self, limit_bytes: int) -> bytes:
        """Read the whole body, never holding more than `limit_bytes` and one chunk of it.

        Raises
        ------
        BodyTooLargeError
            As soon as the stated or the received length exceeds the limit; the server drops the rest as it comes.
        ClientGoneError
            If the client hung up.
        """
        self.require_length(limit_bytes)
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        first: bytes = message.get("body", b"")
        if not message.get("more_body", False) and len(first) <= limit_bytes:
            return first
        body = bytearray(first)
        while message.get("more_body", False) and len(body) <= limit_bytes:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise BodyTooLargeError(limit_bytes)
        return bytes(body)

    async def answer(
        self, status: int, body: bytes, media_type: bytes = JSON, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        await self.send(Reply.of(status, body, media_type, headers))

    async def send(self, reply: Reply) -> None:
        self.status = reply.status
        await self._send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await self._send({"type": "http.response.body", "body": reply.body})

    async def start_stream(self, media_type: bytes) -> None:
        self.status = 200
        await self._send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media_type)]})

    async def send_part(self, part: bytes, *, patience_s: float = 60.0) -> None:
        """Send a part of a streamed answer.

        Raises
        ------
        ClientGoneError
            If the client has read nothing for `patience_s`, so that what waits for it has reached its bound.
        """
        try:
            async with asyncio.timeout(patience_s):
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
        except TimeoutError:
            raise ClientGoneError from None

    async def end_stream(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})
