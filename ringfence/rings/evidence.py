# SPDX-License-Identifier: Apache-2.0
"""What holds a ring together: who shares what with whom, told with as few links as possible, the strongest first."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.rings.graph import Graph


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Two events name the same entity. Events and the entity are ordinals in the graph."""

    event: int
    other: int  # the later of the two, in the order of events
    entity: int
    role: int  # Role.index in `event`
    other_role: int
    n_sharing: int  # events in the whole graph that name the entity: the fewer, the more it says


def spanning_evidence(graph: Graph, events: NDArray[np.int64]) -> tuple[Evidence, ...]:
    """Choose the fewest shared entities that connect the events, the strongest first.

    Each strong entity below the cap links its consecutive events. Links are taken in the order of (events that share
    the entity, time between the two events, keys), and only where they connect what was not connected: Kruskal (1956).
    An entity that two people in the world share comes before one that fifty share.

    Parameters
    ----------
    events : ordinals, distinct, of one ring.

    Returns
    -------
    n - 1 pieces where strong links within `events` connect all n of them; fewer where they do not (a community can
    hang together through events outside it).
    """
    pairs = _shared(graph, events)
    parent = {int(event): int(event) for event in events}

    def root(event: int) -> int:
        while parent[event] != event:
            parent[event] = parent[parent[event]]
            event = parent[event]
        return event

    chosen = []
    for piece in pairs:
        one, two = root(piece.event), root(piece.other)
        if one != two:
            parent[two] = one
            chosen.append(piece)
    return tuple(chosen)


def _shared(graph: Graph, events: NDArray[np.int64]) -> list[Evidence]:
    """Every strong entity's consecutive events, strongest link first."""
    named: dict[int, list[tuple[int, int]]] = {}  # entity -> (event, role), in the order of events
    for event in np.sort(events).tolist():
        for link in range(int(graph.link_start[event]), int(graph.link_start[event + 1])):
            entity, role = int(graph.link_entity[link]), int(graph.link_role[link])
            if not graph.strong[role] or graph.is_hub[entity]:
                continue
            seen = named.setdefault(entity, [])
            if not seen or seen[-1][0] != event:
                seen.append((event, role))
    pieces = [
        Evidence(
            event=event,
            other=other,
            entity=entity,
            role=role,
            other_role=other_role,
            n_sharing=int(graph.degree[entity]),
        )
        for entity, seen in named.items()
        for (event, role), (other, other_role) in pairwise(seen)
    ]
    times_ms, keys = graph.event_time_ms, graph.entity_key
    return sorted(
        pieces,
        key=lambda piece: (
            piece.n_sharing,
            abs(int(times_ms[piece.other]) - int(times_ms[piece.event])),
            piece.event,
            piece.other,
            int(keys[piece.entity]),
        ),
    )
