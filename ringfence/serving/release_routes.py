# SPDX-License-Identifier: Apache-2.0
"""`/v1/releases`: what is live, promote another, roll back, shadow one. The service stays up; see `swap`, `shadow`."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ringfence.serving import shadow_acts, wire
from ringfence.serving.errors import MalformedBodyError
from ringfence.serving.exchange import Exchange
from ringfence.serving.fields import fields_of
from ringfence.serving.service import ScenarioService

LONGEST_NOTE: Final = 2_000  # characters


async def tell_releases(exchange: Exchange, service: ScenarioService) -> None:
    """Answer what is live, what was, what is on its way, and what the shadow found."""
    answer = await asyncio.to_thread(service.swap.status)
    await exchange.answer(200, wire.encode(answer))


async def promote(exchange: Exchange, service: ScenarioService, by: str) -> None:
    """Begin to make a release the champion: 202 once its files are found whole. `by` is put on record."""
    release, note = await _release_and_note(exchange)
    service.require_ready()
    status = await asyncio.to_thread(service.swap.promote, release, note=note, by=by)
    await exchange.answer(202, wire.encode(status))


async def roll_back(exchange: Exchange, service: ScenarioService, by: str) -> None:
    """Begin to make the previous champion the champion again."""
    note = _note(await fields_of(exchange, ("note",)))
    service.require_ready()
    status = await asyncio.to_thread(service.swap.rollback, note=note, by=by)
    await exchange.answer(202, wire.encode(status))


async def begin_shadow(exchange: Exchange, service: ScenarioService, by: str) -> None:
    """Make a release the shadow: 200 once that is on record."""
    release, note = await _release_and_note(exchange)
    service.require_ready()
    current = service.swap.current
    change = await asyncio.to_thread(shadow_acts.begin_shadow, current, service.record, release, note=note, by=by)
    await exchange.answer(200, wire.encode(change))


async def end_shadow(exchange: Exchange, service: ScenarioService, by: str) -> None:
    """Have no shadow any more: 200 once that is on record."""
    note = _note(await fields_of(exchange, ("note",)))
    service.require_ready()
    change = await asyncio.to_thread(shadow_acts.end_shadow, service.swap.current, service.record, note=note, by=by)
    await exchange.answer(200, wire.encode(change))


async def _release_and_note(exchange: Exchange) -> tuple[str, str]:
    given = await fields_of(exchange, ("release", "note"))
    release, note = given.get("release"), _note(given)
    if not isinstance(release, str) or not release:
        raise MalformedBodyError("no release", 'name one, as in {"release": "latest"}', path="$.release")
    return release, note


def _note(given: dict[str, Any]) -> str:
    note = given.get("note", "")
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        do = f"send a text of at most {LONGEST_NOTE} characters, or leave it out"
        raise MalformedBodyError("a note that is none", do, path="$.note")
    return note
