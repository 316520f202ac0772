# SPDX-License-Identifier: Apache-2.0
"""What an event would have read, had it not named one of its entities: read again, just before it is folded.

event         claimant c7, shop s2, lawyer L7
read again    claimant c7, shop s2                 "without L7": features of the role lawyer and of its pairs missing,
                                                   what was shared with c7 through L7 gone, L7's events not sampled
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.errors import AlreadyFoldedError, BatchShapeError
from ringfence.engine.neighbourhoods import Neighbourhoods
from ringfence.scenario.batch import EVENT, Batch
from ringfence.scenario.batches import links_of

if TYPE_CHECKING:
    from ringfence.engine.engine import Engine

MOST_ENTITIES: Final = 32  # of one event that are left out in turn: bounds the work of an event that names hundreds


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is, and without each of its entities in turn: 1 + n readings.

    An entity that is named in several roles is left out of all of them at once.
    """

    entities: tuple[tuple[int, int], ...]  # n, each (hi, lo): in the order of the event's links
    roles: tuple[tuple[int, ...], ...]  # n, the roles (Role.index) in which the event names it
    n_entities: int  # that the event names; more than n where it names more than were asked for
    rows: NDArray[np.float64]  # (1 + n, n_features), the event as it is first
    neighbourhoods: Neighbourhoods | None  # likewise; None where the catalogue samples none


def read_without_each(engine: Engine, event: Batch, *, most: int = MOST_ENTITIES) -> Reading:
    """Read an event that would be next, as it is and without each of its entities; change nothing.

    Parameters
    ----------
    engine : stands just before the event: every record before it is folded.
    event : one event of the decided type, with a seq above `engine.seq`.
    most : entities left out in turn, the first ones that the event names, > 0.

    Raises
    ------
    AlreadyFoldedError
        If the engine is at or beyond the event.
    BatchShapeError
        If the batch is anything but one decided event of this scenario.
    """
    is_decided = len(event) == 1 and event.event_type.item() == engine.catalogue.plan.decided
    if not is_decided or event.kind.item() != EVENT:
        raise BatchShapeError(what="events to read again", found=len(event), expected="one event of the decided type")
    if event.seq.item() <= engine.seq:
        raise AlreadyFoldedError(engine_seq=engine.seq, found_seq=int(event.seq.item()))
    named = _named(event)
    entities = tuple(named)[:most]
    rows, near = read_next(engine, _without_each(event, entities))
    return Reading(
        entities=entities,
        roles=tuple(named[entity] for entity in entities),
        n_entities=len(named),
        rows=rows,
        neighbourhoods=near,
    )


def read_next(engine: Engine, asked: Batch) -> tuple[NDArray[np.float64], Neighbourhoods | None]:
    """Return rows and neighbourhoods of decided events of one time, were each next; change nothing.

    A tick that such an event would make begin or take effect is read, and undone: what comes before it must not see it.
    """
    time_ms = int(asked.time_ms[0])
    with engine.turned_to(time_ms) if time_ms >= engine.next_turn_ms else nullcontext():
        return engine.peek(asked), None if engine.catalogue.neighbourhoods is None else engine.neighbourhood(asked)


def without_entities(event: Batch, entities: tuple[tuple[int, int], ...]) -> Batch:
    """Return one event as if it named none of some entities, each (hi, lo)."""
    gone = [entity in entities for entity in _entities_of(event)]
    return _kept(event, ~np.array(gone, np.bool_).reshape(1, -1))


def _entities_of(event: Batch) -> list[tuple[int, int]]:
    return list(zip(event.link_hi.tolist(), event.link_lo.tolist(), strict=True))


def _named(event: Batch) -> dict[tuple[int, int], tuple[int, ...]]:
    named: dict[tuple[int, int], tuple[int, ...]] = {}
    for entity, role in zip(_entities_of(event), event.link_role.tolist(), strict=True):
        named[entity] = (*named.get(entity, ()), role)
    return named


def _without_each(event: Batch, entities: tuple[tuple[int, int], ...]) -> Batch:
    of_link = _entities_of(event)
    stays = np.ones((1 + len(entities), len(of_link)), np.bool_)
    for at, entity in enumerate(entities):
        stays[1 + at] = [found != entity for found in of_link]
    return _kept(event, stays)


def _kept(event: Batch, stays: NDArray[np.bool_]) -> Batch:
    # The event once for each row of `stays`, shape (n, its links), with the links that are true there.
    n = stays.shape[0]
    _, links = links_of(event, np.zeros(n, np.int64))
    links = links[stays.reshape(-1)]
    of_records = {
        name: np.repeat(getattr(event, name), n, axis=0)
        for name in Batch.__struct_fields__
        if name not in ("link_start", "link_role", "link_lo", "link_hi")
    }
    return Batch(
        link_start=np.concatenate((np.zeros(1, np.int64), np.cumsum(stays.sum(axis=1)))),
        link_role=event.link_role[links],
        link_lo=event.link_lo[links],
        link_hi=event.link_hi[links],
        **of_records,
    )
