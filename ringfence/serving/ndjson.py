# SPDX-License-Identifier: Apache-2.0
"""`POST /v1/decisions/batch`: one event a line in, one decision, pending or problem line out, in the same order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ringfence.errors import RingfenceError
from ringfence.serving import wire
from ringfence.serving.breaker import MS
from ringfence.serving.config import ServiceConfig
from ringfence.serving.errors import (
    BodyTooLargeError,
    LedgerUnavailableError,
    NotReadyError,
    QueueFullError,
    problem_of,
)
from ringfence.serving.exchange import NDJSON, NDJSON_TYPES, Exchange
from ringfence.serving.queue import NO_DEADLINE, Ask, Ticket
from ringfence.serving.service import ScenarioService
from ringfence.serving.telemetry import Telemetry
from ringfence.serving.trace import Trace

_PAUSE_S: Final = 0.002  # before a line is offered again to a full queue
_PART_BYTES: Final = 32_768
_TURN_LINES: Final = 64  # lines, and
_TURN_BYTES: Final = 65_536  # bytes of them, after which others have the loop: 16 MiB of bad lines take minutes
_BLANK: Final = b" \t\r"  # the white space of JSON; other control characters are a bad line


async def decide_lines(
    exchange: Exchange,
    service: ScenarioService,
    config: ServiceConfig,
    open_batches: asyncio.Semaphore,
    telemetry: Telemetry,
    charge: Callable[[], None],
) -> None:
    """Decide every line; a bad line becomes a problem line and stops nothing.

    The body is read whole before the first line is offered, so a body over the limit changes nothing, and a client
    that sends everything before it reads anything cannot lock up with us. Answers stream: at most
    `config.batch_window` lines are in flight at once. `charge` is called for each line after the first, when its
    turn comes.
    A deadline is that of each line, from the moment that it is taken; without the header there is none.
    """
    deadline_ms = exchange.deadline_ms(config.longest_deadline_ms)
    exchange.require_media_type(NDJSON_TYPES)
    if open_batches.locked():
        raise QueueFullError(config.open_batches)
    async with open_batches:
        body = await exchange.body(config.batch_body_limit_bytes)
        service.require_ready()
        await exchange.start_stream(NDJSON)
        await _stream(exchange, body, service, config, telemetry, charge, deadline_ms)
        await exchange.end_stream()


async def _stream(
    exchange: Exchange,
    body: bytes,
    service: ScenarioService,
    config: ServiceConfig,
    telemetry: Telemetry,
    charge: Callable[[], None],
    deadline_ms: int | None,
) -> None:
    in_flight: deque[tuple[int, Ticket | RingfenceError]] = deque()
    part = bytearray()
    trace = exchange.trace
    if trace is not None:
        trace.scenario = service.scenario.name
    line_number, n_offered, at = 0, 0, 0
    turn_line, turn_at = 0, 0
    while at < len(body) or in_flight:
        while at < len(body) and len(in_flight) < config.batch_window:
            end = body.find(b"\n", at)
            end = len(body) if end < 0 else end
            line = body[at:end].strip(_BLANK)
            at, line_number = end + 1, line_number + 1
            if line_number - turn_line >= _TURN_LINES or at - turn_at >= _TURN_BYTES:
                turn_line, turn_at = line_number, at
                await asyncio.sleep(0)  # nothing else below need wait: not a bad line, nor a client that reads fast
            if line:
                if n_offered:
                    charge()
                n_offered += 1
                in_flight.append((line_number, await _offer(line, service, config, deadline_ms, trace)))
        if not in_flight:
            break
        number, entry = in_flight.popleft()
        result = entry if isinstance(entry, RingfenceError) else await entry.future
        if isinstance(result, RingfenceError):
            result = problem_of(result, line=number)
            telemetry.problems.labels(result.type.rpartition(":")[2]).inc()
        elif trace is not None and isinstance(entry, Ticket):
            trace.add(entry)
        part += wire.encode(result) + b"\n"
        if len(part) >= _PART_BYTES or not in_flight:
            await exchange.send_part(bytes(part))
            part.clear()
    if part:
        await exchange.send_part(bytes(part))


async def _offer(
    line: bytes, service: ScenarioService, config: ServiceConfig, deadline_ms: int | None, trace: Trace | None
) -> Ticket | RingfenceError:
    if len(line) > config.body_limit_bytes:
        return BodyTooLargeError(config.body_limit_bytes)
    try:
        event, doorman = wire.read_object(line), service.doorman
        admission = doorman.admit_decided(event)
    except RingfenceError as error:
        return error
    deadline_ns = NO_DEADLINE if deadline_ms is None else time.perf_counter_ns() + deadline_ms * MS
    while True:
        try:
            return service.submit(Ask.DECIDE, admission=admission, deadline_ns=deadline_ns, trace=trace)
        except QueueFullError:
            await asyncio.sleep(_PAUSE_S)  # single requests go first
            if service.doorman is not doorman:  # another release is live, and lets in by its own
                try:
                    doorman = service.doorman
                    admission = doorman.admit_decided(event)
                except RingfenceError as error:
                    return error
        except (LedgerUnavailableError, NotReadyError) as error:
            return error
