# SPDX-License-Identifier: Apache-2.0
"""A survey of the rings at T, and the tick that is left of it: what features read, and what the next tick needs."""

from __future__ import annotations

from functools import cached_property
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.rings.birank import Scores, birank, fraud_seeds
from ringfence.rings.communities import split_over_large
from ringfence.rings.components import Groups, components
from ringfence.rings.errors import LinkShapeError
from ringfence.rings.graph import Graph, Links, freeze
from ringfence.rings.lineage import Earlier, Members, trace
from ringfence.rings.settings import RingSettings
from ringfence.scenario.spec import Scenario

TICK_VERSION: Final = 2  # raise when a value of a tick changes for equal links

ENTITY: Final = np.dtype(
    [
        ("key", "<u8"),
        ("risk", "<f8"),  # BiRank from known fraud; 0 for hubs
        ("first_ms", "<i8"),  # oldest active event that names it in a strong role; NEVER_MS where none does
        ("ring", "<i4"),  # row of Tick.rings, or -1
        ("degree", "<i4"),  # active events
        ("is_hub", "|b1"),
    ]
)
RING: Final = np.dtype(
    [
        ("ring_id", "<u8"),
        ("founded_ms", "<i8"),  # first event of the ring, expired ones included
        ("first_ms", "<i8"),  # oldest and newest active event
        ("last_ms", "<i8"),
        ("n_entities", "<i8"),
        ("n_events", "<i8"),  # of the decided type
        ("n_context", "<i8"),
        ("n_known", "<i8"),
        ("n_fraud", "<i8"),
        ("amount_minor", "<i8"),
        ("unlabelled_minor", "<i8"),
        ("grown_entities", "<i8"),  # since the previous tick; all of them when the ring is new
        ("grown_events", "<i8"),
        ("risk", "<f8"),  # mean BiRank of its events of the decided type; 0 without any
    ]
)
_COUNTED: Final = (
    "first_ms", "last_ms", "n_entities", "n_events", "n_context", "n_known", "n_fraud", "amount_minor",
    "unlabelled_minor",
)  # fmt: skip


class Tick(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The rings at T in two tables without padding: what a tick record's digest stands for."""

    as_of_ms: int
    entities: NDArray[np.void]  # (v,) of ENTITY, ascending key: everything that active events name
    rings: NDArray[np.void]  # (r,) of RING, lone entities included

    @cached_property
    def digest(self) -> bytes:
        """16 bytes; equal links, settings and previous tick give equal digests. A second per GB, once."""
        digest = blake2b(f"ringfence tick {TICK_VERSION} {self.as_of_ms}".encode(), digest_size=16)
        for table in (self.entities, self.rings):  # not as `tobytes`: a copy of a table would stop every thread
            digest.update(np.ascontiguousarray(table).view(np.uint8).data)
        return digest.digest()

    def find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Rows of `entities` for keys, shape (k,); -1 for those no active event names."""
        if not len(self.entities):
            return np.full(len(keys), -1, np.int64)
        known = self.entities["key"]
        at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return np.where(known[at] == keys, at, -1)

    def as_earlier(self) -> Earlier:
        """What the next tick needs of this one."""
        members = self.entities[self.entities["ring"] >= 0]
        return Earlier(
            key=members["key"],
            ring=members["ring"],
            ring_id=self.rings["ring_id"],
            founded_ms=self.rings["founded_ms"],
        )


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen graph with its groups and its propagated risk. Group g is row g of `tick.rings`."""

    graph: Graph
    groups: Groups
    scores: Scores
    tick: Tick


def freeze_for(
    scenario: Scenario, links: Links, settings: RingSettings, as_of_ms: int, *, consume: bool = False
) -> Graph:
    """Freeze links as a scenario's roles and the settings say; see `freeze`."""
    return freeze(
        links,
        strong=np.array([role.strong for role in scenario.roles], np.bool_),
        hub_cap=np.array([settings.hub_caps.get(role.name, settings.hub_cap) for role in scenario.roles], np.int64),
        as_of_ms=as_of_ms,
        active_since_ms=as_of_ms - settings.active_ms,
        consume=consume,
    )


def survey(graph: Graph, settings: RingSettings, previous: Tick | None = None) -> Survey:
    """Find the rings of a graph, carry on their ids, and spread risk from known fraud.

    Components over strong roles, tied within `settings.tie_ms`; those over `settings.over_large` events fall into
    communities. A pure function of its arguments: replay gives equal bytes.

    Parameters
    ----------
    previous : the tick before this one; ids, founding times and growth refer to it. None for the first.

    Raises
    ------
    NotConvergedError
        If the settings allow propagation too few iterations.
    LinkShapeError
        If `previous` is not older than the graph.
    """
    if previous is not None and previous.as_of_ms >= graph.as_of_ms:
        raise LinkShapeError(what="previous tick", found=previous.as_of_ms, expected=f"before {graph.as_of_ms}")
    groups = split_over_large(graph, components(graph, tie_ms=settings.tie_ms), settings.over_large)
    scores = birank(
        graph,
        fraud_seeds(graph, settings.recency_half_life_ms),
        damping=settings.damping,
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
    )
    return Survey(graph=graph, groups=groups, scores=scores, tick=_tick(graph, groups, scores, previous))


def _tick(graph: Graph, groups: Groups, scores: Scores, previous: Tick | None) -> Tick:
    order = np.argsort(graph.entity_key, kind="stable")
    entities = np.zeros(graph.n_entities, ENTITY)
    entities["key"], entities["risk"] = graph.entity_key[order], scores.entity[order]
    entities["first_ms"], entities["ring"] = graph.first_ms[order], groups.entity_group[order]
    entities["degree"], entities["is_hub"] = graph.degree[order], graph.is_hub[order]
    inside = entities["ring"] >= 0
    members = Members(
        key=entities["key"][inside], group=entities["ring"][inside], first_ms=entities["first_ms"][inside]
    )
    lineage = trace(members, len(groups), groups.table["first_ms"], None if previous is None else previous.as_earlier())
    rings = np.zeros(len(groups), RING)
    rings["ring_id"], rings["founded_ms"] = lineage.ring_id, lineage.founded_ms
    for name in _COUNTED:
        rings[name] = groups.table[name]
    for size, growth in (("n_entities", "grown_entities"), ("n_events", "grown_events")):
        rings[growth] = rings[size]
        carried = lineage.heir_of >= 0
        if previous is not None and carried.any():
            rings[growth][carried] -= previous.rings[size][lineage.heir_of[carried]]
    counted = graph.event_decided & (groups.event_group >= 0)
    total = np.bincount(groups.event_group[counted], weights=scores.event[counted], minlength=len(groups))
    np.divide(total, rings["n_events"], out=rings["risk"], where=rings["n_events"] > 0)
    return Tick(as_of_ms=graph.as_of_ms, entities=entities, rings=rings)
