# SPDX-License-Identifier: Apache-2.0
"""Rings the slow way: dictionaries, breadth-first search, and linear systems solved densely."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.rings import Links

Pair = tuple[int, int]  # entity key, role


class SlowGraph(NamedTuple):
    """Active events in order of their keys, each with its (entity, role) pairs; which entities are hubs."""

    events: dict[int, set[Pair]]
    hubs: set[int]

    def entities_of(self, event: int) -> set[int]:
        return {entity for entity, _ in self.events[event]} - self.hubs


def slow_graph(links: Links, hub_cap: NDArray[np.int64], active_since_ms: int) -> SlowGraph:
    named: dict[int, set[Pair]] = {}
    for row in np.argsort(links.event_key):
        if links.event_time_ms[row] > active_since_ms:
            at = np.flatnonzero(links.link_event == row)
            named[int(links.event_key[row])] = {(int(links.link_key[i]), int(links.link_role[i])) for i in at}
    pairs = [pair for event in named.values() for pair in event]
    return SlowGraph(named, {entity for entity, role in pairs if pairs.count((entity, role)) > hub_cap[role]})


def slow_components(
    graph: SlowGraph, strong: NDArray[np.bool_], time_ms: dict[int, int] | None = None, tie_ms: int = 0
) -> set[tuple[frozenset[int], frozenset[int]]]:
    """(entities, events) of each component, by breadth-first search; without times every tie lasts."""
    tied = {
        event: {entity for entity, role in pairs if strong[role]} - graph.hubs for event, pairs in graph.events.items()
    }
    next_to: dict[int, set[int]] = {event: set() for event, members in tied.items() if members}
    for entity in set().union(*tied.values()) if tied else set():
        acts = [event for event in sorted(tied) if entity in tied[event]]
        for one, other in pairwise(acts):
            if time_ms is None or abs(time_ms[other] - time_ms[one]) <= tie_ms:
                next_to[one].add(other)
                next_to[other].add(one)
    acted: list[set[int]] = []
    left = set(next_to)
    while left:
        events = {min(left)}
        while wider := set().union(*(next_to[event] for event in events)) - events:
            events |= wider
        acted.append(events)
        left -= events
    members: list[set[int]] = [set() for _ in acted]
    for entity in set().union(*tied.values()) if tied else set():
        choices = [g for g, events in enumerate(acted) if any(entity in tied[event] for event in events)]
        last = {g: max(event for event in acted[g] if entity in tied[event]) for g in choices}
        members[max(choices, key=lambda g: (len(acted[g]), last[g]))].add(entity)
    return {(frozenset(who), frozenset(what)) for who, what in zip(members, acted, strict=True) if who}


def adjacency(graph: SlowGraph) -> tuple[NDArray[np.float64], list[int]]:
    """W (events, entities) of ones, and the entities that are no hubs, ascending."""
    entities = sorted(set().union(*(graph.entities_of(event) for event in graph.events)) if graph.events else set())
    matrix = np.zeros((len(graph.events), len(entities)))
    for row, event in enumerate(graph.events):
        for entity in graph.entities_of(event):
            matrix[row, entities.index(entity)] = 1.0
    return matrix, entities


def slow_birank(
    w: NDArray[np.float64], seeds: NDArray[np.float64], damping: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The fixpoint of He et al. (2017) with no query on the entities, from one dense linear system."""
    by_event, by_entity = w.sum(1), w.sum(0)
    s = w / np.sqrt(np.where(by_event > 0, by_event, 1.0))[:, None] / np.sqrt(by_entity)[None, :]
    p = np.linalg.solve(np.eye(len(seeds)) - damping**2 * s @ s.T, (1.0 - damping) * seeds)
    return p, damping * s.T @ p


def slow_pagerank(w: NDArray[np.float64], seeds: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """Personalised PageRank of events then entities: the stationary vector of the Google matrix, solved densely."""
    n = sum(w.shape)
    links = np.block([[np.zeros((w.shape[0],) * 2), w], [w.T, np.zeros((w.shape[1],) * 2)]])
    restart = np.concatenate((seeds / seeds.sum(), np.zeros(w.shape[1])))
    degree = links.sum(1)
    step = np.where(degree[:, None] > 0, links / np.where(degree > 0, degree, 1.0)[:, None], restart[None, :])
    return np.linalg.solve(np.eye(n) - damping * step.T, (1.0 - damping) * restart)
