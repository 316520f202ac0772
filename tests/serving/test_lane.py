# SPDX-License-Identifier: Apache-2.0
"""The short way of usual decisions: clients and the service see the bytes of the long way, whatever is sent and how."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
import pytest
import uvicorn
import uvloop

from ringfence.serving.config import ServiceConfig
from ringfence.serving.connection import Bounds, Connection, bounded
from ringfence.serving.exchange import DECISIONS
from ringfence.serving.front.frame import FROM_FRONT, TO_FRONT, Answer, Frames, Opened, Refused, Request, framed
from ringfence.serving.front.lane import AHEAD_BYTES, HandOver, Lane, lane
from ringfence.serving.front.process import Front
from ringfence.workspace import Workspace

BOUNDS = Bounds(head_bytes=20_000, head_s=0.6, body_s=0.6, connections=2)
CONFIG = ServiceConfig(body_limit_bytes=AHEAD_BYTES + 8_192)
PAUSE = b""  # of the client, long enough for an answer
STILL = b"still"  # of the client, longer than a head or a body may take
LATE = b"late"  # a body that makes the service wait
LARGE = b"large"  # a body that makes it answer with `MUCH`
MUCH = 16 << 20  # bytes, more than the sockets between hold

Sent = list[bytes]


def decision(body: bytes = b"{}", *, query: str = "", more: str = "", version: str = "1.1") -> bytes:
    head = f"POST {DECISIONS}{query} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer t\r\nX-Odd: \t a b \r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    head = decision().partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailer + b"\r\n"


def in_pieces(data: bytes, size: int) -> Sent:
    return [data[at : at + size] for at in range(0, len(data), size)]


SCRIPTS: dict[str, Sent] = {
    "one": [decision()],
    "one after the other": [decision(b"1"), PAUSE, decision(b"22"), PAUSE, decision(b"")],
    "longer than a head may take between two": [decision(b"1"), PAUSE, STILL, decision(b"22")],
    "three at once": [decision(b"1") + decision(b"22") + decision(b"333")],
    "three at once and two more": [decision(b"1") + decision(b"2") + decision(b"3"), PAUSE, decision(b"4") * 2],
    "a second before the answer": [decision(LATE), decision(b"22"), PAUSE, decision(b"333")],
    "a second in parts before the answer": [decision(LATE) + decision(b"22")[:50], decision(b"22")[50:], PAUSE],
    "another route behind": [decision(b"1") + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + decision(b"2")],
    "GET of the same path behind": [decision(b"1") + f"GET {DECISIONS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()],
    "head and body apart": [decision(b"x" * 100)[:-100], b"x" * 100],
    "body in parts": [decision(b"y" * 100)[:-100], b"y" * 60, b"y" * 40, PAUSE, decision(b"z")],
    "byte by byte": [decision()[:30], *in_pieces(decision(b"1")[30:], 1)],
    "the largest usual body": [decision(b"x" * AHEAD_BYTES)],
    "a larger body": [decision(b"x" * (AHEAD_BYTES + 1))],
    "too large a body": [decision(b"x" * (AHEAD_BYTES + 10_000)), PAUSE],
    "too large a body in chunks": [chunked(b"x" * 20_000, b"x" * 20_000), PAUSE, decision(b"1")],
    "chunks": [chunked(b"one", b"two"), PAUSE, decision(b"1"), PAUSE, chunked(b"three")],
    "chunks with a trailer": [chunked(b"one", trailer=b"Content-Length: 7\r\nX: y\r\n"), PAUSE, decision(b"1")],
    "expect": [decision(b"1234", more="Expect: 100-continue\r\n")[:-4], PAUSE, b"1234", PAUSE, decision(b"1")],
    "another expectation": [decision(more="Expect: wonders\r\n"), PAUSE, decision()],
    "close": [decision(more="Connection: close\r\n"), PAUSE, decision()],
    "keep-alive": [decision(more="Connection: Keep-Alive\r\n"), PAUSE, decision()],
    "upgrade": [decision(more="Connection: Upgrade\r\nUpgrade: h2c\r\n"), PAUSE, decision()],
    "HTTP/1.0": [decision(version="1.0"), PAUSE, decision()],
    "HTTP/1.0 keep-alive": [decision(version="1.0", more="Connection: keep-alive\r\n"), PAUSE, decision()],
    "query": [decision(query="?scenario=a&scenario=b%20c"), PAUSE, decision(query="?")],
    "fragment": [decision(query="?scenario=a#b")],
    "odd query": [decision(query="?\xff\x01")],
    "no length": [decision().partition(b"Content-Length")[0] + b"\r\n", PAUSE, decision()],
    "two lengths": [decision(more="Content-Length: 2\r\n")],
    "an odd length": [decision(more="Content-Length: +2\r\n").replace(b"Content-Length: 2\r\n", b"")],
    "length and chunks": [decision(more="Transfer-Encoding: chunked\r\n")],
    "headers many times": [decision(more="TracePARENT: a\r\ntraceparent: b\r\nContent-Type: x\r\n")],
    "too large a head": [decision(more="X: " + "x" * 21_000 + "\r\n")],
    "too large a head in parts": in_pieces(decision(more="X: " + "x" * 21_000 + "\r\n"), 4_000),
    "too large a second head": [decision(b"1"), PAUSE, *in_pieces(decision(more="X: " + "x" * 21_000 + "\r\n"), 4_000)],
    "a head that does not end": [decision()[:60], STILL],
    "a second head that does not end": [decision(), PAUSE, decision()[:60], STILL],
    "a body that does not end": [decision(b"1234")[:-1], STILL],
    "no request behind": [decision(b"1") + b"\x00\x01\r\n\r\n"],
    "no request while one is answered": [decision(LATE), b"POST nonsense\r\n\r\n", PAUSE],
    "a status of 4xx": [decision(b"refuse"), PAUSE, decision()],
    "a service that is gone": [decision(b"1"), PAUSE, decision(b"gone") + decision(b"2"), PAUSE],
}


class Service(asyncio.Protocol):
    """Answers with what it was asked; after a moment where the body is `LATE`."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.asked: list[Request] = []
        self.frames = Frames(FROM_FRONT)
        self.refused: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.link = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for message in self.frames.feed(data):
            if isinstance(message, Refused):
                self.refused.append(message.problem)
            elif isinstance(message, Request):
                assert message.received_ns > 0
                self.asked.append(msgspec.structs.replace(message, number=0, received_ns=0))
                if message.body == b"gone":
                    self.front.end()
                wait_s = 0.08 if message.body == LATE else 0.0
                asyncio.get_running_loop().call_later(wait_s, self.answer, message)
            else:
                assert isinstance(message, Opened)

    def answer(self, request: Request) -> None:
        body = b"x" * MUCH if request.body == LARGE else request.body[:50]
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), (b"x-n", b"1")]
        self.link.write(framed(Answer(request.number, 429 if body == b"refuse" else 200, headers, body)))


class _Link(asyncio.Protocol):
    """The front's end."""

    def __init__(self, front: Front) -> None:
        self.front, self.frames = front, Frames(TO_FRONT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.front.begin(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        for message in self.frames.feed(data):
            self.front.take(message)


class Here:
    """A front in this process, with protocols that it made."""

    def __init__(self, address: tuple[str, int], service: Service, made: list[Connection], usual: list[bytes]) -> None:
        self.address, self.service, self.made = address, service, made
        self.usual = usual  # bodies that went the short way

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return reader, writer


@asynccontextmanager
async def running(folder: Path, *, direct: bool, keep_alive_s: int = 60) -> AsyncIterator[Here]:
    """Run a front whose usual decisions go the short way, or all the long one."""
    loop = asyncio.get_running_loop()
    (folder / "ringfence.yaml").touch()
    front = Front(Workspace(folder), CONFIG)
    service = Service(front)
    ours, theirs = socket.socketpair()
    hands_over, adopts = socket.socketpair()
    made: list[Connection] = []
    usual: list[bytes] = []

    def ask(query: bytes, headers: list[tuple[bytes, bytes]], body: bytes, answered: Any) -> None:
        usual.append(body)
        front.ask(query, headers, body, answered)

    if direct:
        protocol = lane(BOUNDS, front.tell_refused, HandOver(hands_over), ask)
    else:
        protocol = bounded(BOUNDS, front.tell_refused)
    config = uvicorn.Config(
        front, http=protocol, ws="none", lifespan="off", log_config=None, date_header=False, server_header=False,
        timeout_keep_alive=keep_alive_s,
    )  # fmt: skip
    config.load()
    state = uvicorn.Server(config).server_state

    def make() -> Connection:
        made.append(protocol(config=config, server_state=state, app_state={}))
        return made[-1]

    served, _ = await loop.create_connection(lambda: service, sock=ours)
    linked, _ = await loop.create_connection(lambda: _Link(front), sock=theirs)
    listening = await loop.create_server(make, "127.0.0.1", 0)
    try:
        yield Here(listening.sockets[0].getsockname(), service, made, usual)
        await asyncio.sleep(0.02)
        assert not front._waiting  # nobody is forgotten, and nobody waits for ever
    finally:
        listening.close()
        for transport in (served, linked):
            transport.close()
        hands_over.close()
        adopts.close()


class Told(NamedTuple):
    read: bytes  # by the client
    is_closed: bool  # the connection, on the client
    asked: list[Request]  # of the service
    refused: list[str]  # as the service was told
    n_usual: int  # requests that went the short way


async def told(folder: Path, sent: Sent, *, direct: bool) -> Told:
    async with running(folder, direct=direct) as here:
        reader, writer = await here.connect()
        with contextlib.suppress(ConnectionError):
            for piece in sent:
                if piece not in (PAUSE, STILL):
                    writer.write(piece)
                    await writer.drain()
                await asyncio.sleep({PAUSE: 0.15, STILL: 0.9}.get(piece, 0.003))
        await asyncio.sleep(0.15)
        found, is_closed = b"", False
        while not is_closed:
            try:
                part = await asyncio.wait_for(reader.read(65_536), 0.1)
            except TimeoutError:
                break
            except ConnectionError:
                part = b""
            found, is_closed = found + part, part == b""
        writer.close()
        return Told(found, is_closed, here.service.asked, here.service.refused, len(here.usual))


T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@pytest.mark.parametrize("name", SCRIPTS)
def test_both_ways_say_the_same_to_the_client_and_to_the_service(name: str, tmp_path: Path) -> None:
    short, long = (run(told(tmp_path, SCRIPTS[name], direct=direct)) for direct in (True, False))
    assert short[:-1] == long[:-1]
    assert short.read or short.is_closed


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("one", 1),
        ("one after the other", 3),
        ("three at once", 1),
        ("three at once and two more", 2),
        ("byte by byte", 0),
        ("body in parts", 2),
        ("the largest usual body", 1),
        ("a larger body", 0),
        ("chunks", 1),
        ("expect", 1),
        ("close", 0),
        ("keep-alive", 2),
        ("HTTP/1.0 keep-alive", 0),
        ("query", 2),
        ("a service that is gone", 2),
    ],
)
def test_usual_decisions_go_the_short_way_and_others_do_not(name: str, n: int, tmp_path: Path) -> None:
    assert run(told(tmp_path, SCRIPTS[name], direct=True)).n_usual == n


@pytest.mark.parametrize("direct", [True, False])
def test_a_client_that_goes_away_before_its_answer_disturbs_nobody(direct: bool, tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, direct=direct) as here:
            for _ in range(5):
                _, gone = await here.connect()
                gone.write(decision(LATE))
                await asyncio.sleep(0.01)
                gone.transport.abort()
                await asyncio.sleep(0.01)
            reader, writer = await here.connect()
            writer.write(decision(b"stays"))
            assert (await asyncio.wait_for(reader.readuntil(b"stays"), 5)).startswith(b"HTTP/1.1 200 OK\r\n")
            writer.close()
            await asyncio.sleep(0.15)
            assert len(here.service.asked) == 6

    run(work())


@pytest.mark.parametrize("direct", [True, False])
def test_a_stop_in_the_middle_lets_the_answer_out_and_closes(direct: bool, tmp_path: Path) -> None:
    async def work() -> bytes:
        async with running(tmp_path, direct=direct) as here:
            (busy, writer), (idle, rests) = await here.connect(), await here.connect()
            writer.write(decision(LATE))
            await asyncio.sleep(0.03)
            for protocol in here.made:
                protocol.shutdown()
            assert await asyncio.wait_for(idle.read(), 5) == b""
            answer = await asyncio.wait_for(busy.read(), 5)
            writer.close()
            rests.close()
            return answer

    answer = run(work())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"x-n: 1\r\nconnection: close\r\n\r\nlate")


@pytest.mark.parametrize("direct", [True, False])
def test_connections_beyond_the_bound_are_refused(direct: bool, tmp_path: Path) -> None:
    async def work() -> list[bytes]:
        async with running(tmp_path, direct=direct) as here:
            streams = [await here.connect() for _ in range(3)]
            refused = await asyncio.wait_for(streams[2][0].read(), 5)
            answers = []
            for reader, writer in streams[:2]:
                writer.write(decision(b"here"))
                answers.append(await asyncio.wait_for(reader.readuntil(b"here"), 5))
            for _, writer in streams:
                writer.close()
            assert here.service.refused == ["too-many-connections"]
            return [refused, *answers]

    refused, *answers = run(work())
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


@pytest.mark.parametrize("direct", [True, False])
def test_a_connection_rests_so_long_after_its_last_answer_and_no_longer(direct: bool, tmp_path: Path) -> None:
    async def work() -> float:
        async with running(tmp_path, direct=direct, keep_alive_s=1) as here:
            reader, writer = await here.connect()
            for _ in range(3):
                writer.write(decision(b"here"))
                await asyncio.wait_for(reader.readuntil(b"here"), 5)
                answered_at = asyncio.get_running_loop().time()
                await asyncio.sleep(0.6)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
            return asyncio.get_running_loop().time() - answered_at

    assert 0.9 < run(work()) < 3.0


def test_a_client_that_reads_nothing_is_not_answered_for_ever(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, direct=True) as here:
            reader, writer = await here.connect()
            writer.write(decision(b"first"))
            await asyncio.wait_for(reader.readuntil(b"first"), 5)
            (protocol,) = here.made
            assert isinstance(protocol, Lane)
            protocol.pause_writing()  # as the transport does that holds too much for the client
            writer.write(decision(b"second"))
            await asyncio.sleep(0.1)
            assert here.usual == [b"first"]
            assert len(here.service.asked) == 2
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readuntil(b"second"), 0.1)
            protocol.resume_writing()
            await asyncio.wait_for(reader.readuntil(b"second"), 5)
            writer.close()

    run(work())


def test_a_connection_is_handed_over_only_when_its_client_has_the_answers_from_before(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, direct=True) as here:
            reader, writer = await here.connect()
            writer.write(decision(LARGE))
            while not (here.made and here.made[0].transport.get_write_buffer_size()):
                await asyncio.sleep(0.01)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.1)
            assert not here.made[0].transport.is_closing()
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert await asyncio.wait_for(reader.readexactly(MUCH), 20) == b"x" * MUCH
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200 OK\r\n")
            assert [(one.method, one.path) for one in here.service.asked] == [("POST", DECISIONS), ("GET", "/healthz")]
            writer.close()

    run(work())
