# SPDX-License-Identifier: Apache-2.0
"""`/v1/releases`: what is live, promote another, roll back. The service stays up; see `swap`."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ringfence.serving import wire
from ringfence.serving.errors import MalformedBodyError
from ringfence.serving.exchange import JSON_TYPES, Exchange
from ringfence.serving.service import ScenarioService

LONGEST_NOTE: Final = 2_000  # characters
_BODY_BYTES: Final = 16_384


async def tell_releases(exchange: Exchange, service: ScenarioService) -> None:
    """Answer what is live, what was, and what is on its way."""
    answer = await asyncio.to_thread(service.swap.status)
    await exchange.answer(200, wire.encode(answer))


async def promote(exchange: Exchange, service: ScenarioService, by: str) -> None:
    """Begin to make a release the champion: 202 once its files are found whole. `by` is put on record."""
    given = await _object(exchange, ("release", "note"))
    release, note = given.get("release"), _note(given)
    if not isinstance(release, str) or not release:
        raise MalformedBodyError("no release", 'name one, as in {"release": "latest"}', path="$.release")
    service.require_ready()
    status = await asyncio.to_thread(service.swap.promote, release, note=note, by=by)
    await exchange.answer(202, wire.encode(status))


async def roll_back(exchange: Exchange, service: ScenarioService, by: str) -> None:
    """Begin to make the previous champion the champion again."""
    note = _note(await _object(exchange, ("note",)))
    service.require_ready()
    status = await asyncio.to_thread(service.swap.rollback, note=note, by=by)
    await exchange.answer(202, wire.encode(status))


async def _object(exchange: Exchange, fields: tuple[str, ...]) -> dict[str, Any]:
    """Read the body; an empty one is an empty object."""
    exchange.require_media_type(JSON_TYPES)
    body = await exchange.body(_BODY_BYTES)
    given = wire.read_object(body) if body.strip() else {}
    for name in given:
        if name not in fields:
            raise MalformedBodyError(
                "a field of that name is not known", f"send {' and '.join(fields)}", path=f"$.{name[:100]}"
            )
    return given


def _note(given: dict[str, Any]) -> str:
    note = given.get("note", "")
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        do = f"send a text of at most {LONGEST_NOTE} characters, or leave it out"
        raise MalformedBodyError("a note that is none", do, path="$.note")
    return note
