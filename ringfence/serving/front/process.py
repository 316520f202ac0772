# SPDX-License-Identifier: Apache-2.0
"""The front process: HTTP, JSON and the door for decisions; what they mean is the service's to say.

It judges nothing. A request goes to the service as it came, and the event in it, where it passes the door, comes along
ready to be used; where it does not, the service looks for itself and says why. So nothing here can let in what the
service would not, and a service without this process answers the same, more slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
import time
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import structlog
import uvloop

from ringfence.errors import RingfenceError
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import SystemClock
from ringfence.scenario.door import Door
from ringfence.scoring.release import load_release
from ringfence.serving import wire
from ringfence.serving.config import ServiceConfig
from ringfence.serving.errors import BodyTooLargeError, NotReadyError, OutcomeUnknownError
from ringfence.serving.exchange import DECISIONS, ClientGoneError, Exchange, Receive, Reply, Send, parameter
from ringfence.serving.front.frame import TO_FRONT, AdmitBy, Answer, Frames, Opened, Refused, Request, framed
from ringfence.serving.front.lane import AHEAD_BYTES, Answered, HandOver, lane
from ringfence.serving.listening import Server, bounds_of, listening
from ringfence.serving.telemetry import configure_logging
from ringfence.workspace import Workspace

_log: Final = structlog.get_logger("ringfence.serving")
_RAW_DECISIONS: Final = DECISIONS.encode()
_GC_THRESHOLD: Final = 20_000
_HANDED_OVER_S: Final = 1.0


def run_front(
    listeners: Sequence[socket.socket],
    to_service: socket.socket,
    handed_over: socket.socket,
    workspace: str,
    config: ServiceConfig,
) -> None:
    """Take connections until the service says so, or is gone.

    Parameters
    ----------
    listeners : sockets that listen already.
    to_service : one end of a pair of stream sockets; see `frame`.
    handed_over : one end of another; see `lane`.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the service, which is told too, ends this process in its turn
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # told apart from the service and its follower by `ps` and `top`
        Path("/proc/self/comm").write_text("ringfence-front", encoding="ascii")
    configure_logging(sys.stderr)
    handed_over.settimeout(_HANDED_OVER_S)
    front = Front(Workspace(Path(workspace)), config)
    protocol = lane(bounds_of(config), front.tell_refused, HandOver(handed_over), front.ask)
    server = Server(listening(front, config, protocol))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        link = _Link(front, server)
        await loop.create_connection(lambda: link, sock=to_service)
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, 20, 100)
        await server.serve(sockets=list(listeners))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


class Front:
    """What asks the service: for `lane` directly, and as the ASGI application for whatever is not usual there."""

    def __init__(self, workspace: Workspace, config: ServiceConfig) -> None:
        self._workspace, self._config = workspace, config
        self._clock = SystemClock()
        self._doors: dict[str, tuple[str, Door]] = {}  # by scenario: of which release
        self._link: asyncio.Transport | None = None
        self._waiting: dict[int, Answered] = {}
        self._number = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        is_decision = exchange.path == DECISIONS
        limit = self._config.body_limit_bytes if is_decision else self._config.batch_body_limit_bytes
        try:
            body = await exchange.body(limit)
        except BodyTooLargeError:  # the service says so, by the length that it is told
            body = b""
            headers = [pair for pair in headers if pair[0] != b"content-length"]
            headers.append((b"content-length", str(limit + 1).encode()))
        except ClientGoneError:
            return
        answered: asyncio.Future[Answer | RingfenceError] = asyncio.get_running_loop().create_future()

        def tell(answer: Answer | RingfenceError) -> None:
            if not answered.done():
                answered.set_result(answer)

        query = scope.get("query_string", b"")
        self._send(exchange.method, exchange.path, exchange.raw_path, query, headers, body, tell)
        answer = await answered
        status, told, content = (
            (answer.status, answer.headers, answer.body) if isinstance(answer, Answer) else Reply.to(answer)[0]
        )
        if not isinstance(answer, Answer):
            told = [*told, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": content})

    def ask(
        self,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        answered: Answered,
    ) -> None:
        """As `lane.Ask` has it."""
        self._send("POST", DECISIONS, _RAW_DECISIONS, query, headers, body, answered)

    def tell_refused(self, problem: str) -> None:
        """Tell the service what was refused here, for its metrics."""
        if self._link is not None:
            self._link.write(framed(Refused(problem)))

    def begin(self, link: asyncio.Transport) -> None:
        self._link = link
        link.write(framed(Opened()))

    def end(self) -> None:
        """Let go of those who wait: nobody will answer them, and what became of their events nobody here can know."""
        self._link = None
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            answered(OutcomeUnknownError())

    def take(self, answer: Answer) -> None:
        answered = self._waiting.pop(answer.number, None)
        if answered is not None:
            answered(answer)

    async def admit_by(self, told: AdmitBy) -> None:
        """Build the door of a release. Without it events are let in by the service, as those of another release are."""
        try:
            door = await asyncio.to_thread(_door, self._workspace, told)
        except Exception as error:
            _log.error("no door in the front process", release=told.release, cause=f"{type(error).__name__}: {error}")
            return
        self._doors[told.scenario] = told.release, door

    def _send(
        self,
        method: str,
        path: str,
        raw_path: bytes,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        answered: Answered,
    ) -> None:
        received_ns = time.perf_counter_ns()
        link = self._link
        if link is None:
            answered(NotReadyError("gone"))  # and this process soon, too
            return
        self._number = number = self._number + 1
        self._waiting[number] = answered
        ahead = self._ahead(query, body) if path == DECISIONS else None
        link.write(framed(Request(number, received_ns, method, path, raw_path, query, headers, body, ahead)))

    def _ahead(self, query: bytes, body: bytes) -> wire.Ahead | None:
        if not self._doors or len(body) > AHEAD_BYTES:
            return None
        name = parameter(query, "scenario")
        found = self._doors.get(name) if name is not None else next(iter(self._doors.values()))
        if found is None or (name is None and len(self._doors) > 1):
            return None
        release, door = found
        try:
            admission = door.admit(wire.read_object(body), now_ms=self._clock.now_ms())
        except Exception:
            return None  # whatever it is, the service finds it too, and says so
        return wire.ahead_of(release, admission)


def _door(workspace: Workspace, told: AdmitBy) -> Door:
    release = load_release(workspace.releases_dir / told.release)
    ledger = Ledger.open(workspace.ledger_dir(told.scenario), release.scenario)
    return Door(release.scenario, ledger.identity, release.lookups())


class _Link(asyncio.Protocol):
    """The front's end of the stream to the service."""

    def __init__(self, front: Front, server: Server) -> None:
        self._front, self._server = front, server
        self._frames = Frames(TO_FRONT)
        self._building: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._front.begin(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            if isinstance(message, Answer):
                self._front.take(message)
            elif isinstance(message, AdmitBy):
                task = asyncio.get_running_loop().create_task(self._front.admit_by(message))
                self._building.add(task)
                task.add_done_callback(self._building.discard)
            else:
                self._server.should_exit = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.end()
        self._server.should_exit = True
