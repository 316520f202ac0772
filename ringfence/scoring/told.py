# SPDX-License-Identifier: Apache-2.0
"""An explanation with the names of entities and events, as the ledger knows them at the moment of telling.

Ids of entities lie in the directory that can be erased; of one that was erased the beginning of its digest is told. So
it is for entities whose every role is derived from a personal attribute: what the door made of a personal value is as
personal as the value.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from ringfence.ledger.event_ids import event_ids
from ringfence.scenario.personal import personal_roles

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.whole import LinkEffect, NeighbourEffect, Whole

_DAY_MS: Final = 86_400_000


class ToldLink(msgspec.Struct, frozen=True, kw_only=True):
    """An entity that the event names, and what it would be without it."""

    entity: str  # `lawyer:L7`; `erased:1f3a…` where its id was erased, `withheld:1f3a…` where it is personal
    roles: list[str]  # in which the event names it
    sentence: str
    change: float  # of the raw score, log-odds, had the event not named it; below zero: it raises the score
    score_without: float
    by_branch: dict[str, float]  # what `change` is made of


class ToldNeighbour(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier event, and what the networks would say had it not been."""

    event_id: str | None  # None where the ledger no longer knows it
    event_type: str | None
    event_seq: int
    event_time: str
    days_before: float  # below zero where the event at hand came late
    seats: list[str]  # whose last events it was among, such as `claimant` or `witness.2`
    label: str | None  # fraud | legit, as known just before the event at hand; None: not known then
    sentence: str
    change: float
    score_without: float


class BranchShare(msgspec.Struct, frozen=True, kw_only=True):
    """What a member of the stack adds to the raw score: its weight times what it says above its mean."""

    branch: str
    contribution: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What one score is made of, and what it would be without. `base` and the branches' contributions sum to `raw`."""

    score: float
    raw: float
    base: float
    branches: list[BranchShare]  # largest contribution first
    without_strongest: str | None  # a sentence about the link that raises the score most; None where none does
    links: list[ToldLink]  # what raises the score most first, at most 10
    n_links: int  # entities that the event names
    neighbours: list[ToldNeighbour]  # likewise; empty where no network counts in the score
    n_neighbours: int  # earlier events that the networks looked at


def told(whole: Whole, ledger: Ledger) -> Explanation:
    """Name what an explanation is about. Reads the ledger for at most as many names as the explanation holds."""
    scenario = ledger.scenario
    names = ledger.entity_names({link.entity for link in whole.links})
    ids = event_ids(ledger, {neighbour.event_seq for neighbour in whole.neighbours})
    withheld = personal_roles(scenario, scenario.decided)
    links = [_link(link, names, withheld, whole.score) for link in whole.links]
    shares = sorted(whole.branches.items(), key=lambda item: -item[1])
    return Explanation(
        score=whole.score,
        raw=whole.raw,
        base=whole.base,
        branches=[BranchShare(branch=name, contribution=share) for name, share in shares],
        without_strongest=links[0].sentence if links and links[0].change < 0.0 else None,
        links=links,
        n_links=whole.n_links,
        neighbours=[_neighbour(one, ids, scenario, whole.score) for one in whole.neighbours],
        n_neighbours=whole.n_neighbours,
    )


def _link(link: LinkEffect, names: dict[bytes, tuple[str, str]], withheld: frozenset[str], score: float) -> ToldLink:
    digest = link.entity.hex()[:12]
    if set(link.roles) <= withheld:
        entity, called = f"withheld:{digest}", digest
    elif link.entity in names:
        entity, called = ":".join(names[link.entity]), names[link.entity][1]
    else:
        entity, called = f"erased:{digest}", digest
    roles = " and ".join(role.replace("_", " ") for role in link.roles)
    return ToldLink(
        entity=entity,
        roles=list(link.roles),
        sentence=f"Without the {roles} {called}: {_say(score)} -> {_say(link.score_without)}",
        change=link.change,
        score_without=link.score_without,
        by_branch=link.by_branch,
    )


def _neighbour(
    one: NeighbourEffect, ids: dict[int, tuple[str, str]], scenario: Scenario, score: float
) -> ToldNeighbour:
    event_type, event_id = ids.get(one.event_seq, (None, None))
    days = one.gap_ms / _DAY_MS
    ago = f"{days:,.0f} days before" if days >= 2.0 else f"{24.0 * days:,.0f} hours before" if days >= 0.0 else "later"
    known = "" if one.label is None else f", known to be {one.label}"
    seats = ", ".join(seat.replace("_", " ") for seat in one.seats)
    called = f"{event_type or scenario.decide} {event_id or f'seq {one.event_seq}'}"
    return ToldNeighbour(
        event_id=event_id,
        event_type=event_type,
        event_seq=one.event_seq,
        event_time=_iso(one.event_time_ms),
        days_before=days,
        seats=list(one.seats),
        label=one.label,
        sentence=f"Without {called} of its {seats}, {ago}{known}: {_say(score)} -> {_say(one.score_without)}",
        change=one.change,
        score_without=one.score_without,
    )


def _say(score: float) -> str:
    return f"{score:.2f}" if 0.1 <= score < 0.995 else f"{score:.4f}"


def _iso(time_ms: int) -> str:
    at = datetime.fromtimestamp(time_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
