# SPDX-License-Identifier: Apache-2.0
"""The fields of a request that is no event: a small JSON object, or no body at all."""

from __future__ import annotations

from typing import Any, Final

from ringfence.serving import wire
from ringfence.serving.errors import MalformedBodyError
from ringfence.serving.exchange import JSON_TYPES, Exchange

_BODY_BYTES: Final = 16_384


async def fields_of(exchange: Exchange, known: tuple[str, ...]) -> dict[str, Any]:
    """Read the body; an empty one is an empty object.

    Raises
    ------
    MediaTypeError, BodyTooLargeError, MalformedBodyError
        Also for a field that is not among the known ones.
    """
    exchange.require_media_type(JSON_TYPES)
    body = await exchange.body(_BODY_BYTES)
    given = wire.read_object(body) if body.strip() else {}
    for name in given:
        if name not in known:
            raise MalformedBodyError(
                "a field of that name is not known", f"send {' and '.join(known)}", path=f"$.{name[:100]}"
            )
    return given
