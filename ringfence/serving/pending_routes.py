# SPDX-License-Identifier: Apache-2.0
"""`POST /v1/pending/decide`: the service decides what waits for the nightly run, a few events a turn."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

from ringfence.errors import RingfenceError
from ringfence.policy.costs import ACTIONS
from ringfence.serving import wire
from ringfence.serving.cycle import Caught
from ringfence.serving.errors import LedgerUnavailableError, MalformedBodyError
from ringfence.serving.exchange import Exchange
from ringfence.serving.fields import fields_of
from ringfence.serving.queue import Ask
from ringfence.serving.service import ScenarioService
from ringfence.serving.waiting import Waiting

GROUP: Final = 8  # events that share a turn: about as many as a turn of requests has under load
USUAL_LIMIT: Final = 64
MOST: Final = 256
LAST_SEQ: Final = (1 << 63) - 1  # that a ledger could have


class Pace:
    """Lets one group after another through, each after a pause as long as the one before took.

    So that deciding what waits takes at most every other turn of the engine's thread, whoever and however many ask.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._free_at_s = 0.0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn, and hold it for the body."""
        async with self._lock:
            await asyncio.sleep(max(0.0, self._free_at_s - time.perf_counter()))
            began_s = time.perf_counter()
            try:
                yield
            finally:
                ended_s = time.perf_counter()
                self._free_at_s = ended_s + (ended_s - began_s)


async def decide_pending(exchange: Exchange, service: ScenarioService, pace: Pace) -> None:
    """Decide events that wait, those after a seq, in their order; at most `limit` are looked at.

    Trouble after the first group ends the request early, with what was done until then: the next one meets it first.
    """
    given = await fields_of(exchange, ("limit", "after"))
    limit = _whole(given, "limit", USUAL_LIMIT, 1, MOST)
    after = _whole(given, "after", 0, 0, LAST_SEQ)
    n_looked, n_to_replay, last_seq = 0, 0, None
    release, actions = service.doorman.release.id, Counter[str]()
    try:
        while n_looked < limit:
            async with pace.turn():
                group = await _next(service, after, min(GROUP, limit - n_looked))
                if not group:
                    break
                caught = await _decided(service, group)
            n_looked += len(group)
            after = last_seq = group[-1].body.event_seq
            n_to_replay += caught.n_to_replay
            actions.update(caught.actions)
            release = caught.release
    except RingfenceError:
        if not n_looked:
            raise
    told = wire.PendingDecided(
        decided=actions.total(),
        need_replay=n_to_replay,
        left=await asyncio.to_thread(service.count_waiting),
        by_action={name: actions[name] for name in ACTIONS if name in actions},
        release=release,
        last_event_seq=last_seq,
    )
    await exchange.answer(200, wire.encode(told))


async def _next(service: ScenarioService, after: int, limit: int) -> list[Waiting]:
    service.require_ready()
    if service.is_late:  # what is decided already still waits in the ledger
        raise LedgerUnavailableError
    return await asyncio.to_thread(service.waiting, after, limit)


async def _decided(service: ScenarioService, group: list[Waiting]) -> Caught:
    result = await service.submit(Ask.DECIDE_WAITING, waiting=group).future
    if isinstance(result, RingfenceError):
        raise result
    assert isinstance(result, Caught)
    return result


def _whole(given: dict[str, Any], name: str, usual: int, least: int, most: int) -> int:
    value = given.get(name, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        do = f"send a whole number from {least} to {most}, or leave it out"
        raise MalformedBodyError(repr(value)[:100], do, path=f"$.{name}")
    return value
