# SPDX-License-Identifier: Apache-2.0
"""The HTTP face: raw ASGI, because a framework's 350 µs a request is a third of the work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import structlog

from ringfence.errors import RingfenceError
from ringfence.scenario.clock import Clock
from ringfence.scenario.spec import Scenario
from ringfence.serving import pending_routes, release_routes, wire
from ringfence.serving.breaker import MS
from ringfence.serving.config import ServiceConfig
from ringfence.serving.errors import (
    AmbiguousScenarioError,
    BadQueryError,
    MalformedBodyError,
    MethodNotAllowedError,
    NotFoundError,
    ServiceFaultError,
    UnknownProtocolError,
)
from ringfence.serving.exchange import DECISIONS, JSON_TYPES, Asked, ClientGoneError, Exchange, Receive, Reply, Send
from ringfence.serving.key_ring import ApiKey, KeyRing, Scope
from ringfence.serving.ndjson import decide_lines
from ringfence.serving.openapi import openapi
from ringfence.serving.pace import Pace
from ringfence.serving.queue import Ask, Ticket
from ringfence.serving.rates import RateLimits
from ringfence.serving.service import ScenarioService, State
from ringfence.serving.telemetry import CONTENT_TYPE, Telemetry

if TYPE_CHECKING:
    from ringfence.serving.tracing import Traces

_log: Final = structlog.get_logger("ringfence.serving")
FULL: Final = "full"  # the one value of `explain`
_NO_WEBSOCKETS: Final = 1003  # RFC 6455: a kind of data that cannot be accepted; before the handshake it becomes 403
Handler = Callable[[Exchange], Awaitable[None]]


class App:
    """One ASGI application for the scenarios of a workspace.

    Parameters
    ----------
    services : by scenario name, at least one. With several, requests name theirs as `?scenario=`.
    clock : tells until when keys are valid, and how often they were used.
    traces : takes those of requests to `/v1/`; None: there are none.
    """

    def __init__(
        self,
        services: Mapping[str, ScenarioService],
        keys: KeyRing,
        telemetry: Telemetry,
        config: ServiceConfig,
        clock: Clock,
        traces: Traces | None = None,
    ) -> None:
        self._services = dict(services)
        self._keys = keys
        self._clock = clock
        self._limits = RateLimits(config.rate)
        self._telemetry = telemetry
        self._config = config
        self._traces = traces
        self._open_batches = asyncio.Semaphore(config.open_batches)
        self._paces = {name: Pace() for name in self._services}
        self._openapi: tuple[dict[str, Scenario], bytes] | None = None  # of the scenarios it was made for
        self._routes: dict[str, dict[str, Handler]] = {
            DECISIONS: {"POST": self._decide, "GET": self._find_decision},
            "/v1/decisions/batch": {"POST": self._decide_batch},
            "/v1/events": {"POST": self._learn},
            "/v1/labels": {"POST": self._label},
            "/v1/pending/decide": {"POST": self._decide_pending},
            "/v1/releases": {"GET": self._releases},
            "/v1/releases/promote": {"POST": self._promote},
            "/v1/releases/rollback": {"POST": self._roll_back},
            "/v1/releases/shadow": {"POST": self._begin_shadow},
            "/v1/releases/unshadow": {"POST": self._end_shadow},
            "/healthz": {"GET": self._healthz},
            "/readyz": {"GET": self._readyz},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._describe},
        }

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _not_http(str(scope["type"]), receive, send)
            return
        exchange = Exchange(scope, receive, send)
        route, handlers = self._route(exchange.path)
        self._begin_trace(exchange, route)
        try:
            if not handlers:
                raise NotFoundError(f"route {exchange.path[:100]!r}", "see /openapi.json for the routes there are")
            if exchange.method not in handlers:
                raise MethodNotAllowedError(exchange.method, ", ".join(handlers))
            await handlers[exchange.method](exchange)
        except ClientGoneError:
            return
        except Exception as error:
            known = _known(error, route)
            if not exchange.status:  # else part of an answer has gone out; the connection ends instead
                await exchange.send(self._refusal(exchange, known))
        finally:
            self._end_trace(exchange, route)
        self._telemetry.responses.inc((route, str(exchange.status)))

    def decide(self, scope: MutableMapping[str, Any], body: bytes, tell: Callable[[Reply], None]) -> None:
        """Answer `POST /v1/decisions` where the whole request is here, without a task; in the event loop's thread.

        Parameters
        ----------
        scope : as ASGI has it.
        tell : called once, with what `__call__` would send.
        """
        asked = Asked(scope)
        self._begin_trace(asked, DECISIONS)
        try:
            service = self._checked(asked, Scope.DECIDE)
            asked.require_length(self._config.body_limit_bytes, len(body))
            waits = self._submit(asked, service, body)
        except Exception as error:
            self._tell(asked, self._refusal(asked, _known(error, DECISIONS)), tell)
        else:
            waits.ticket.future.add_done_callback(lambda future: self._tell(asked, self._reply(asked, waits), tell))

    def _tell(self, asked: Asked, reply: Reply, tell: Callable[[Reply], None]) -> None:
        asked.status = reply.status
        tell(reply)
        self._end_trace(asked, DECISIONS)
        self._telemetry.responses.inc((DECISIONS, str(reply.status)))

    def _reply(self, asked: Asked, waits: _Waits) -> Reply:
        try:
            return self._decided(asked, waits, _result_of(waits.ticket.future.result()))
        except Exception as error:
            return self._refusal(asked, _known(error, DECISIONS))

    def _begin_trace(self, asked: Asked, route: str) -> None:
        if self._traces is not None and route.startswith("/v1/"):
            asked.trace = self._traces.begin(asked.headers, asked.received_ns)

    def _end_trace(self, asked: Asked, route: str) -> None:
        if self._traces is not None and asked.trace is not None:
            self._traces.end(asked.trace, asked.method, route, asked.status)

    def accept(self, keys: KeyRing) -> None:
        """Go by these keys from the next request on."""
        self._keys = keys
        self._limits.keep(keys.names)

    def _caller(self, asked: Asked, scope: Scope) -> ApiKey:
        """Return whose request it is: the key has the scope, and has not been used too often."""
        now_ms = self._clock.now_ms()
        key = self._keys.holder(asked.authorization, scope, now_ms=now_ms)
        if asked.trace is not None:
            asked.trace.has_key = True
        self._telemetry.key_uses.inc((key.name,))
        self._limits.take(key.name, key.rate, now_ms=now_ms)
        return key

    def _route(self, path: str) -> tuple[str, dict[str, Handler]]:
        found = self._routes.get(path)
        if found is not None:
            return path, found
        if path.startswith("/v1/decisions/"):
            return "/v1/decisions/{id}", {"GET": self._stored_decision}
        if path.startswith("/v1/entities/"):
            return "/v1/entities/{type}/{id}", {"GET": self._entity}
        return "unknown", {}

    def _refusal(self, asked: Asked, error: RingfenceError) -> Reply:
        reply, problem = Reply.to(error)
        kind = problem.type.rpartition(":")[2]
        self._telemetry.problems.labels(kind).inc()
        if asked.trace is not None:
            asked.trace.problem = kind
        return reply

    def _service(self, asked: Asked) -> ScenarioService:
        name = asked.query("scenario")
        if name is None and len(self._services) == 1:
            return next(iter(self._services.values()))
        service = self._services.get(name) if name is not None else None
        if service is None:
            raise AmbiguousScenarioError(name, tuple(self._services))
        return service

    def _checked(self, asked: Asked, scope: Scope) -> ScenarioService:
        """Check key and media type; return the service."""
        self._caller(asked, scope)
        service = self._service(asked)
        asked.require_media_type(JSON_TYPES)
        return service

    async def _body(self, exchange: Exchange, scope: Scope) -> tuple[ScenarioService, bytes, int]:
        """Check key, media type, size and readiness; return the service, the body, and when its last byte was there."""
        service = self._checked(exchange, scope)
        body = await exchange.body(self._config.body_limit_bytes)
        start_ns = exchange.received_ns or time.perf_counter_ns()
        service.require_ready()
        return service, body, start_ns

    async def _message(self, exchange: Exchange, scope: Scope) -> tuple[ScenarioService, dict[str, Any], int]:
        """As `_body`, with the JSON object that it is."""
        service, body, start_ns = await self._body(exchange, scope)
        return service, wire.read_object(body), start_ns

    async def _decide(self, exchange: Exchange) -> None:
        service = self._checked(exchange, Scope.DECIDE)
        waits = self._submit(exchange, service, await exchange.body(self._config.body_limit_bytes))
        await exchange.send(self._decided(exchange, waits, _result_of(await waits.ticket.future)))

    def _submit(self, asked: Asked, service: ScenarioService, body: bytes) -> _Waits:
        """Ask the engine for a decision on the event in a body whose last byte has just come."""
        start_ns = asked.received_ns or time.perf_counter_ns()
        service.require_ready()
        given_ms = asked.deadline_ms(self._config.longest_deadline_ms)
        deadline_ns = start_ns + (given_ms or self._config.deadline_ms) * MS
        service.require_room(deadline_ns)  # before more work goes into what will be refused
        admission = service.doorman.admit_body(body, asked.ahead)
        ticket = service.submit(Ask.DECIDE, admission=admission, deadline_ns=deadline_ns, trace=asked.trace)
        return _Waits(service, ticket, start_ns, deadline_ns)

    @staticmethod
    def _decided(asked: Asked, waits: _Waits, answer: wire.DecisionAnswer | wire.PendingAnswer) -> Reply:
        service, ticket, start_ns, deadline_ns = waits
        ended_ns = time.perf_counter_ns()
        if asked.trace is not None:
            asked.trace.answered(service.scenario.name, ticket, start_ns)
        headers = _headers(ticket, ticket.queued_at_ns - start_ns)
        if isinstance(answer, wire.PendingAnswer):
            return Reply.of(202, wire.encode(answer), headers=headers)
        service.record_latency(answer, (ended_ns - start_ns) / 1e9, is_late=ended_ns > deadline_ns)
        return Reply.of(200, wire.encode(answer), headers=headers)

    async def _decide_batch(self, exchange: Exchange) -> None:
        key = self._caller(exchange, Scope.DECIDE)
        service = self._service(exchange)

        def charge() -> None:
            self._limits.charge(key.name, key.rate, 1, now_ms=self._clock.now_ms())

        await decide_lines(exchange, service, self._config, self._open_batches, self._telemetry, charge)

    async def _learn(self, exchange: Exchange) -> None:
        service, message, start_ns = await self._message(exchange, Scope.DECIDE)
        admission = service.doorman.admit(message)
        ticket = service.submit(Ask.LEARN, admission=admission, trace=exchange.trace)
        answer: wire.EventAnswer = await self._outcome(ticket)
        if exchange.trace is not None:
            exchange.trace.answered(service.scenario.name, ticket, start_ns)
        await exchange.answer(202, wire.encode(answer), headers=_headers(ticket, ticket.queued_at_ns - start_ns))

    async def _label(self, exchange: Exchange) -> None:
        service, message, start_ns = await self._message(exchange, Scope.LABEL)
        notice = service.doorman.label(message)
        ticket = service.submit(Ask.TELL, notice=notice, trace=exchange.trace)
        answer: wire.LabelAnswer = await self._outcome(ticket)
        if exchange.trace is not None:
            exchange.trace.answered(service.scenario.name, ticket, start_ns)
        await exchange.answer(202, wire.encode(answer), headers=_headers(ticket, ticket.queued_at_ns - start_ns))

    async def _stored_decision(self, exchange: Exchange) -> None:
        self._caller(exchange, Scope.READ)
        service = self._service(exchange)
        decision_id = exchange.path.removeprefix("/v1/decisions/")
        stored = await asyncio.to_thread(service.stored_decision, decision_id, full=_wants_all(exchange))
        if stored is None:
            raise NotFoundError(f"decision {decision_id[:100]!r}", "use the decision_id of an answer, such as d-1042")
        await exchange.answer(200, wire.encode(stored))

    async def _find_decision(self, exchange: Exchange) -> None:
        self._caller(exchange, Scope.READ)
        service = self._service(exchange)
        event_id, event_type = exchange.query("event_id"), exchange.query("event_type")
        decides = service.scenario.decide
        if event_id is None:
            raise BadQueryError("event_id", "nothing", "name the event, as in GET /v1/decisions?event_id=c-1042")
        if event_type not in (None, decides):
            raise BadQueryError(
                "event_type", repr(event_type[:100]), f"decisions are made on {decides!r}; leave it out"
            )
        stored = await asyncio.to_thread(service.decision_on, event_id, full=_wants_all(exchange))
        await exchange.answer(202 if isinstance(stored, wire.StoredPending) else 200, wire.encode(stored))

    async def _entity(self, exchange: Exchange) -> None:
        self._caller(exchange, Scope.READ)
        service = self._service(exchange)
        service.require_ready()
        rest = exchange.raw_path.partition(b"?")[0].removeprefix(b"/v1/entities/")
        entity_type_raw, _, entity_id_raw = rest.partition(b"/")
        try:
            entity_type = unquote_to_bytes(entity_type_raw).decode()
            entity_id = unquote_to_bytes(entity_id_raw).decode()
        except UnicodeDecodeError as error:
            raise MalformedBodyError("invalid UTF-8", "percent-encode UTF-8", path="$path") from error
        if entity_type not in service.entity_types or not entity_id:
            known = ", ".join(service.entity_types)
            raise NotFoundError(f"entity type {entity_type[:100]!r}", f"ask for /v1/entities/TYPE/ID, TYPE of {known}")
        ticket = service.submit(Ask.READ, read=lambda: service.entity(entity_type, entity_id))
        answer: wire.EntityAnswer | None = await self._outcome(ticket)
        if answer is None:
            raise NotFoundError(f"{entity_type} of that id in any event", "check type and id")
        await exchange.answer(200, wire.encode(answer))

    async def _decide_pending(self, exchange: Exchange) -> None:
        self._caller(exchange, Scope.DECIDE)
        service = self._service(exchange)
        await pending_routes.decide_pending(exchange, service, self._paces[service.scenario.name])

    async def _releases(self, exchange: Exchange) -> None:
        self._caller(exchange, Scope.READ)
        await release_routes.tell_releases(exchange, self._service(exchange))

    async def _promote(self, exchange: Exchange) -> None:
        key = self._caller(exchange, Scope.ADMIN)
        await release_routes.promote(exchange, self._service(exchange), f"key {key.name}")

    async def _roll_back(self, exchange: Exchange) -> None:
        key = self._caller(exchange, Scope.ADMIN)
        await release_routes.roll_back(exchange, self._service(exchange), f"key {key.name}")

    async def _begin_shadow(self, exchange: Exchange) -> None:
        key = self._caller(exchange, Scope.ADMIN)
        await release_routes.begin_shadow(exchange, self._service(exchange), f"key {key.name}")

    async def _end_shadow(self, exchange: Exchange) -> None:
        key = self._caller(exchange, Scope.ADMIN)
        await release_routes.end_shadow(exchange, self._service(exchange), f"key {key.name}")

    async def _healthz(self, exchange: Exchange) -> None:
        states = {name: str(service.state) for name, service in self._services.items()}
        failed = State.FAILED in states.values()
        body = wire.encode(wire.Health(status="failed" if failed else "alive", scenarios=states))
        await exchange.answer(503 if failed else 200, body)

    async def _readyz(self, exchange: Exchange) -> None:
        states = {name: str(service.state) for name, service in self._services.items()}
        ready = all(state == State.READY for state in states.values())
        degraded = {name: "ledger" for name, service in self._services.items() if service.is_late}
        body = wire.encode(wire.Health(status="ready" if ready else "not ready", scenarios=states, degraded=degraded))
        await exchange.answer(200 if ready else 503, body, headers=() if ready else ((b"retry-after", b"2"),))

    async def _metrics(self, exchange: Exchange) -> None:
        if not self._config.metrics_open:
            self._caller(exchange, Scope.READ)
        for service in self._services.values():
            await asyncio.to_thread(service.measure)
        await exchange.answer(200, self._telemetry.page(), CONTENT_TYPE)

    async def _describe(self, exchange: Exchange) -> None:
        self._caller(exchange, Scope.READ)
        scenarios = {name: service.scenario for name, service in self._services.items()}
        if self._openapi is None or self._openapi[0] != scenarios:
            self._openapi = scenarios, wire.encode(openapi(scenarios, self._config))
        await exchange.answer(200, self._openapi[1])

    @staticmethod
    async def _outcome(ticket: Ticket) -> Any:
        """Wait for the engine thread's result; raise it where it is an error."""
        return _result_of(await ticket.future)


class _Waits(NamedTuple):
    """A decision that the engine was asked for. Moments are `perf_counter_ns`."""

    service: ScenarioService
    ticket: Ticket
    start_ns: int
    deadline_ns: int


def _result_of(result: Any) -> Any:
    if isinstance(result, RingfenceError):
        raise result
    return result


def _known(error: Exception, route: str) -> RingfenceError:
    """Return what a client is told of an error; one that is not ours goes to the log."""
    if isinstance(error, RingfenceError):
        return error
    _log.error("request failed", route=route, exc_info=error)
    return ServiceFaultError()


async def _not_http(kind: str, receive: Receive, send: Send) -> None:
    """Answer what is no HTTP request as the ASGI specification has it: start and stop with the server, no websockets.

    Raises
    ------
    UnknownProtocolError
        For a kind of connection that the specification did not know when this was written.
    """
    if kind == "lifespan":  # recovery begins with `ScenarioService.start`; a server that asks need not wait for it
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if kind != "websocket":
        raise UnknownProtocolError(kind)
    await receive()
    await send({"type": "websocket.close", "code": _NO_WEBSOCKETS})


def _wants_all(exchange: Exchange) -> bool:
    """Read `explain`: absent, or `full`."""
    found = exchange.query("explain", blank=True)
    if found not in (None, FULL):
        raise BadQueryError("explain", repr(found[:100]), f"write explain={FULL}, or leave it out")
    return found is not None


def _headers(ticket: Ticket, decode_ns: int) -> tuple[tuple[bytes, bytes], ...]:
    timing = (
        f"decode;dur={decode_ns / 1e6:.3f}, queue;dur={ticket.queue_ns / 1e6:.3f}, "
        f"observe;dur={ticket.observe_ns / 1e6:.3f}, score;dur={ticket.score_ns / 1e6:.3f}, "
        f"commit;dur={ticket.commit_ns / 1e6:.3f}"
    ).encode()
    if ticket.repeated:
        return (b"server-timing", timing), (b"ringfence-repeated", b"true")
    return ((b"server-timing", timing),)
