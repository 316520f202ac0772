# SPDX-License-Identifier: Apache-2.0
"""`POST /v1/pending/decide`: the service decides what waits for the nightly run, a few events a turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

from ringfence.errors import RingfenceError
from ringfence.policy.costs import ACTIONS
from ringfence.serving import wire
from ringfence.serving.cycle import Settled
from ringfence.serving.errors import LedgerUnavailableError, MalformedBodyError
from ringfence.serving.exchange import Exchange
from ringfence.serving.fields import fields_of
from ringfence.serving.pace import Pace
from ringfence.serving.queue import Ask
from ringfence.serving.service import ScenarioService
from ringfence.serving.waiting import Waiting

GROUP: Final = 8  # events that share a turn: about as many as a turn of requests has under load
USUAL_LIMIT: Final = 64
MOST: Final = 256
LAST_SEQ: Final = (1 << 63) - 1  # that a ledger could have


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
                settled = await _settled(service, group)
            n_looked += len(group)
            after = last_seq = group[-1].body.event_seq
            n_to_replay += settled.n_to_replay
            actions.update(settled.actions)
            release = settled.release
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


async def _settled(service: ScenarioService, group: list[Waiting]) -> Settled:
    result = await service.submit(Ask.DECIDE_WAITING, waiting=group).future
    if isinstance(result, RingfenceError):
        raise result
    assert isinstance(result, Settled)
    return result


def _whole(given: dict[str, Any], name: str, usual: int, least: int, most: int) -> int:
    value = given.get(name, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        do = f"send a whole number from {least} to {most}, or leave it out"
        raise MalformedBodyError(repr(value)[:100], do, path=f"$.{name}")
    return value
