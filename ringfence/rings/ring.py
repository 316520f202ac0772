# SPDX-License-Identifier: Apache-2.0
"""A ring as people understand it: who is in it, what they did together, what is at stake, and how one knows."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.rings.errors import UnknownRingError
from ringfence.rings.evidence import Evidence, spanning_evidence
from ringfence.rings.survey import Survey
from ringfence.scenario.batch import MISSING_AMOUNT

PREFIX: Final = "R-"


class RingOrder(StrEnum):
    """What rings are listed by."""

    RISK = "risk"
    UNLABELLED = "unlabelled"  # what can still be saved
    NEW = "new"  # events since the last tick
    RECENT = "recent"  # time of the newest event


_COLUMN: Final = {
    RingOrder.RISK: "risk",
    RingOrder.UNLABELLED: "unlabelled_minor",
    RingOrder.NEW: "grown_events",
    RingOrder.RECENT: "last_ms",
}


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """An entity that the ring's events name."""

    entity: int  # ordinal in the graph
    digest: bytes  # high and low half, big endian: what the erasable directory knows it by
    roles: tuple[int, ...]  # Role.index of the roles it plays in the ring's events, ascending
    n_events: int  # of the ring that name it
    n_elsewhere: int  # other active events that do
    n_fraud: int  # of the ring's that name it and are known as fraud
    risk: float
    is_member: bool  # false for an associate: shared, but weak, a hub, or of another ring


class RingEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the ring."""

    event: int  # ordinal in the graph
    key: int  # its seq
    time_ms: int
    label: int  # FRAUD, LEGIT or -1
    is_decided: bool
    amount_minor: int | None
    risk: float


class Ring(msgspec.Struct, frozen=True, kw_only=True):
    """One ring at T."""

    ring_id: str
    founded_ms: int  # first event, expired ones included
    first_ms: int  # oldest and newest active event
    last_ms: int
    n_entities: int
    n_events: int  # of the decided type
    n_context: int
    grown_entities: int  # since the previous tick
    grown_events: int
    n_known: int
    n_fraud: int
    fraud_share: float | None  # of the events with a label; None where none has one
    exposure_minor: int  # sum of amounts
    unlabelled_minor: int  # the part on events without a label: what can still be saved
    risk: float
    members: tuple[Member, ...] = ()  # entities of the ring, most events first
    associates: tuple[Member, ...] = ()  # other entities that two or more of its events name
    events: tuple[RingEvent, ...] = ()  # by time
    evidence: tuple[Evidence, ...] = ()


def ring_name(ring_id: int) -> str:
    """Write a ring's id: R- and 16 hex digits."""
    return f"{PREFIX}{ring_id:016x}"


def top_rings(
    survey: Survey, *, min_events: int = 3, top: int | None = None, by: RingOrder = RingOrder.RISK
) -> NDArray[np.int64]:
    """Rows of `survey.tick.rings` with at least `min_events` decided events and two entities.

    Most of what `by` says first; of equals the higher risk, more known fraud, more events, the older, the smaller id.
    At most `top` of them.
    """
    rings = survey.tick.rings
    rows = np.flatnonzero((rings["n_events"] >= min_events) & (rings["n_entities"] >= 2))
    found = rings[rows]
    keys = (found["ring_id"], found["founded_ms"], -found["n_events"], -found["n_fraud"], -found["risk"])
    order = np.lexsort((*keys, -found[_COLUMN[by]]))
    return rows[order][:top]


def find_ring(survey: Survey, wanted: str) -> int:
    """The row of the ring whose id is `wanted` or begins with it.

    Raises
    ------
    UnknownRingError
        If none does, or several do.
    """
    if wanted.upper() == PREFIX:
        raise UnknownRingError(
            wanted=wanted, found=tuple(ring_name(int(ring)) for ring in survey.tick.rings["ring_id"])
        )
    digits = wanted.lower().removeprefix(PREFIX.lower())
    if digits and len(digits) <= 16 and all(digit in "0123456789abcdef" for digit in digits):
        spare = np.uint64(4 * (16 - len(digits)))
        rows = np.flatnonzero(survey.tick.rings["ring_id"] >> spare == np.uint64(int(digits, 16)))
        if len(rows) == 1:
            return int(rows[0])
        raise UnknownRingError(
            wanted=wanted, found=tuple(ring_name(int(survey.tick.rings["ring_id"][r])) for r in rows)
        )
    raise UnknownRingError(wanted=wanted, found=())


def outline(survey: Survey, row: int) -> Ring:
    """The ring's figures, without members, events and evidence."""
    found = survey.tick.rings[row]
    n_known = int(found["n_known"])
    return Ring(
        ring_id=ring_name(int(found["ring_id"])),
        founded_ms=int(found["founded_ms"]),
        first_ms=int(found["first_ms"]),
        last_ms=int(found["last_ms"]),
        n_entities=int(found["n_entities"]),
        n_events=int(found["n_events"]),
        n_context=int(found["n_context"]),
        grown_entities=int(found["grown_entities"]),
        grown_events=int(found["grown_events"]),
        n_known=n_known,
        n_fraud=int(found["n_fraud"]),
        fraud_share=int(found["n_fraud"]) / n_known if n_known else None,
        exposure_minor=int(found["amount_minor"]),
        unlabelled_minor=int(found["unlabelled_minor"]),
        risk=float(found["risk"]),
    )


def describe(survey: Survey, row: int) -> Ring:
    """The ring with its members, events and evidence. O(events of the graph) to find them, then of the ring alone."""
    graph, scores = survey.graph, survey.scores
    events = np.flatnonzero(survey.groups.event_group == row)
    by_time = events[np.lexsort((graph.event_key[events], graph.event_time_ms[events]))]
    entities = _entities(survey, row, events)
    return msgspec.structs.replace(
        outline(survey, row),
        members=tuple(entity for entity in entities if entity.is_member),
        associates=tuple(entity for entity in entities if not entity.is_member and entity.n_events >= 2),
        events=tuple(
            RingEvent(
                event=event,
                key=int(graph.event_key[event]),
                time_ms=int(graph.event_time_ms[event]),
                label=int(graph.event_label[event]),
                is_decided=bool(graph.event_decided[event]),
                amount_minor=None if graph.amount_minor[event] == MISSING_AMOUNT else int(graph.amount_minor[event]),
                risk=float(scores.event[event]),
            )
            for event in by_time.tolist()
        ),
        evidence=spanning_evidence(graph, events),
    )


def _entities(survey: Survey, row: int, events: NDArray[np.int64]) -> list[Member]:
    """Whom the ring's events name: most events first, then fewest elsewhere, then by key."""
    graph, groups = survey.graph, survey.groups
    named: dict[int, tuple[set[int], set[int]]] = {}  # entity -> roles, events
    for event in events.tolist():
        for link in range(int(graph.link_start[event]), int(graph.link_start[event + 1])):
            roles, seen = named.setdefault(int(graph.link_entity[link]), (set(), set()))
            roles.add(int(graph.link_role[link]))
            seen.add(event)
    found = [
        Member(
            entity=entity,
            digest=int(graph.entity_check[entity]).to_bytes(8, "big")
            + int(graph.entity_key[entity]).to_bytes(8, "big"),
            roles=tuple(sorted(roles)),
            n_events=len(seen),
            n_elsewhere=int(graph.degree[entity]) - len(seen),
            n_fraud=sum(int(graph.event_label[event]) == 1 for event in seen),
            risk=float(survey.scores.entity[entity]),
            is_member=int(groups.entity_group[entity]) == row,
        )
        for entity, (roles, seen) in named.items()
    ]
    return sorted(found, key=lambda member: (-member.n_events, member.n_elsewhere, member.digest))
