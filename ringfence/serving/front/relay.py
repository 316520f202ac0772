# SPDX-License-Identifier: Apache-2.0
"""The service's end: keeps the front process running, and answers the requests and connections that come from it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, cast

import structlog

from ringfence.serving.app import App
from ringfence.serving.config import ServiceConfig
from ringfence.serving.exchange import AHEAD, DECISIONS, RECEIVED_NS
from ringfence.serving.front.frame import FROM_FRONT, AdmitBy, Answer, Close, Frames, Opened, Refused, Request, framed
from ringfence.serving.front.lane import receive
from ringfence.serving.front.process import run_front
from ringfence.serving.listening import Server
from ringfence.serving.service import ScenarioService
from ringfence.serving.telemetry import Telemetry

_log: Final = structlog.get_logger("ringfence.serving")
_LOOK_S: Final = 0.02
_FIRST_PAUSE_S: Final = 0.5  # before a front process that ended is started again; doubles up to
_LONGEST_PAUSE_S: Final = 30.0
_ENDS_S: Final = 10.0


class Relay:
    """Runs in the event loop's thread.

    Until the front process takes connections, and while there is none, `server` does: it costs time, and no request.
    """

    def __init__(
        self,
        app: App,
        server: Server,
        services: Mapping[str, ScenarioService],
        workspace: str,
        config: ServiceConfig,
        telemetry: Telemetry,
    ) -> None:
        self._app, self._server, self._services = app, server, services
        self._workspace, self._config, self._telemetry = workspace, config, telemetry
        self._listeners: list[socket.socket] = []  # ours, so that they outlive whoever listens
        self._link: asyncio.Transport | None = None
        self._answers: list[bytes] = []  # not written yet
        self._told: dict[str, str] = {}  # by scenario: the release whose door the front process was told of
        self._ended = asyncio.Event()  # of the link
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.is_settled = False  # the front process has taken connections, or failed to

    async def keep(self) -> None:
        """Start the front process, and again whenever it ends, until `stop`."""
        while not self._server.started:
            await asyncio.sleep(_LOOK_S)
        self._listeners = [
            socket.socket(fileno=os.dup(listener.fileno())) for one in self._server.servers for listener in one.sockets
        ]
        pause_s = _FIRST_PAUSE_S
        while not self._is_stopping():
            began = asyncio.get_running_loop().time()
            await self._run_once()
            if self._is_stopping():
                return
            _log.error("the front process ended; connections are taken without it")
            await self._listen()
            if asyncio.get_running_loop().time() - began > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def stop(self) -> None:
        """Have it answer what is under way, and end. To be awaited while the services still answer."""
        self._stopping = True
        if self._link is None:
            return
        self._link.write(framed(Close()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _ENDS_S)

    def _is_stopping(self) -> bool:
        return self._stopping

    async def _run_once(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        adopts, hands_over = socket.socketpair()
        # A fresh interpreter: a fork would share the engine's threads and locks.
        process = multiprocessing.get_context("spawn").Process(
            target=run_front,
            args=(self._listeners, theirs, hands_over, self._workspace, self._config),
            name="front",
            daemon=True,
        )
        self._ended.clear()
        self._told.clear()
        adopter = threading.Thread(target=self._adopt_all, args=(adopts, loop), name="handed-over", daemon=True)
        try:
            await asyncio.to_thread(process.start)
            theirs.close()
            hands_over.close()
            adopter.start()
            await loop.create_connection(lambda: _Link(self), sock=ours)
            await self._ended.wait()
        finally:
            self.is_settled, self._link = True, None
            self._telemetry.front_up.set(0)
            adopts.close()
            await asyncio.to_thread(process.join, _ENDS_S)
            if process.is_alive():
                process.kill()

    async def _listen(self) -> None:
        loop, config, server = asyncio.get_running_loop(), self._server.config, self._server
        for listener in self._listeners:
            copy = listener.dup()
            server.servers.append(await loop.create_server(self._protocol, sock=copy, backlog=config.backlog))

    def _protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self._server.config.http_protocol_class
        config, state = self._server.config, self._server.server_state
        return make(config=config, server_state=state, app_state={}, _loop=asyncio.get_running_loop())

    def _adopt_all(self, adopts: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Hand connections of the front process to the loop as they come; in a thread of its own."""
        with contextlib.suppress(OSError, RuntimeError):  # the pair is closed, or the loop
            while (found := receive(adopts)) is not None:
                connection, data = found
                if connection is None:
                    _log.error("no file left for a connection that was handed over")
                    continue
                connection.setblocking(False)
                loop.call_soon_threadsafe(self._adopt, connection, data)

    def _adopt(self, connection: socket.socket, data: bytes) -> None:
        def adopted() -> asyncio.Protocol:
            protocol = self._protocol()
            connected = protocol.connection_made

            def connection_made(transport: asyncio.BaseTransport) -> None:
                connected(transport)
                protocol.data_received(data)

            protocol.connection_made = connection_made  # type: ignore[method-assign]
            return protocol

        self._begin(self._connect(adopted, connection))

    async def _connect(self, factory: Callable[[], asyncio.Protocol], connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client is gone
            await asyncio.get_running_loop().connect_accepted_socket(factory, connection)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self, message: Request | Opened | Refused) -> None:
        if isinstance(message, Request):
            self._tell_doors()
            if message.method == "POST" and message.path == DECISIONS:
                self._decide(message)
            else:
                self._begin(self._answer(message))
        elif isinstance(message, Opened):
            self._tell_doors()
            self.is_settled = True
            self._telemetry.front_up.set(1)
            for server in self._server.servers:
                server.close()
            self._server.servers.clear()
        else:
            self._telemetry.problems.labels(message.problem).inc()

    def _tell_doors(self) -> None:
        for name, service in self._services.items():
            release = service.doorman.release.id
            if self._told.get(name) != release and self._link is not None:
                self._told[name] = release
                self._link.write(framed(AdmitBy(name, release)))

    def _decide(self, request: Request) -> None:
        number = request.number
        self._app.decide(_scope_of(request), request.body, lambda reply: self._tell(Answer(number, *reply)))

    async def _answer(self, request: Request) -> None:
        """Have the application answer, as if the request had come by a connection of ours."""
        status, headers, parts = 0, [], []

        async def take() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            else:
                parts.append(message.get("body", b""))

        await self._app(_scope_of(request), take, send)
        self._tell(Answer(request.number, status, headers, b"".join(parts)))

    def _tell(self, answer: Answer) -> None:
        """Send an answer, with those that are ready in the same turn of the loop: the engine leaves many at once."""
        if not self._answers:
            asyncio.get_running_loop().call_soon(self._send_answers)
        self._answers.append(framed(answer))

    def _send_answers(self) -> None:
        answers, self._answers = self._answers, []
        if self._link is not None:
            self._link.write(b"".join(answers))


def _scope_of(request: Request) -> dict[str, Any]:
    return {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.query,
        "headers": request.headers,
        AHEAD: request.ahead,
        RECEIVED_NS: request.received_ns,
    }


class _Link(asyncio.Protocol):
    """The service's end of the stream to the front process."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._frames = Frames(FROM_FRONT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._relay._link = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            self._relay._take(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay._link = None
        self._relay._ended.set()
