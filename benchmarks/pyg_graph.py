# SPDX-License-Identifier: Apache-2.0
"""An exported graph as arrays, and the part of it that each event may see: temporal neighbour sampling in NumPy.

 seed ── its entities ── the last K events of each with a smaller seq ── (their entities ── …)

It is what PyTorch Geometric's `NeighborLoader(disjoint=True, temporal_strategy="last")` samples with `seq` as time: a
graph of its own for every seed, in which nothing is as new as the seed. So its edges may be walked both ways, and a
label is shown on an event where the label's own seq is smaller than the seed's. That loader needs compiled packages
beside PyTorch Geometric; this needs NumPy. Two ways to look ahead are here as well, marked as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.steps.graph_files import GraphFiles

IntArray = NDArray[np.int64]
FRAUD, LEGIT, UNKNOWN = 1, 0, -1


@dataclass(frozen=True)
class EventGraph:
    """Decided events (n, in order of seq), entities of all types (numbered through), and m links in order of event."""

    events: pl.DataFrame  # as exported
    seq: IntArray  # (n,) ascending
    time_ms: IntArray  # (n,)
    part: NDArray[np.str_]  # (n,)
    label: NDArray[np.int8]  # (n,) known at the cut, of the part train; UNKNOWN elsewhere
    roles: tuple[str, ...]
    n_entity_types: int
    entity_type: IntArray  # (n entities,)
    link_event: IntArray  # (m,) ascending
    link_entity: IntArray  # (m,)
    link_role: IntArray  # (m,) place in `roles`
    event_start: IntArray  # (n + 1,) links of event i are event_start[i]:event_start[i + 1]
    by_entity: IntArray  # (m,) links in order of entity, then event
    entity_key: IntArray  # (m,) entity * n + event of those, ascending
    label_key: IntArray  # (l,) event * (last seq + 1) + seq of each thing that a label said, ascending
    label_value: NDArray[np.int8]  # (l,)
    last_seq: int

    @property
    def train(self) -> IntArray:
        """The events that are learnt from."""
        return np.flatnonzero(self.part == "train")

    @property
    def test(self) -> IntArray:
        return np.flatnonzero(self.part == "test")

    def known_label(self, event: IntArray, before_seq: IntArray) -> NDArray[np.int8]:
        """What was known of the labels of some events just before some seqs; UNKNOWN where nothing was."""
        width = self.last_seq + 1
        place = np.searchsorted(self.label_key, event * width + before_seq) - 1
        found = np.full(event.shape[0], UNKNOWN, np.int8)
        inside = np.flatnonzero(place >= 0)
        inside = inside[self.label_key[place[inside]] // width == event[inside]]
        found[inside] = self.label_value[place[inside]]
        return found


@dataclass(frozen=True)
class Sampled:
    """Disjoint graphs of s seeds, put side by side: e event nodes (the seeds first), v entity nodes, k links."""

    n_seeds: int
    seed: IntArray  # (e,) whose graph an event node belongs to
    event: IntArray  # (e,)
    label: NDArray[np.int8]  # (e,) as the seed may know it; UNKNOWN of the seed itself
    gap_ms: IntArray  # (e,) from the event to its seed; 0 of the seed, below 0 where an event was reported late
    entity_seed: IntArray  # (v,)
    entity: IntArray  # (v,)
    n_events: IntArray  # (v,) links of the entity that the seed may see
    link_event: IntArray  # (k,) event nodes
    link_entity: IntArray  # (k,) entity nodes
    link_role: IntArray  # (k,)


def read_graph(folder: Path | str) -> EventGraph:
    """Read what `ringfence export graph` wrote, with labels after the cut where they were exported.

    Only decided events and their links are read; other event types are left out.
    """
    files = GraphFiles.open(folder)
    manifest, events = files.manifest, files.events()
    first, types = {}, []
    for number, nodes in enumerate(manifest.entities):
        first[nodes.entity_type] = sum(len(one) for one in types)
        types.append(np.full(nodes.n, number, np.int64))
    edges = [one for one in manifest.edges if one.event_type == manifest.decide]
    parts = []
    for role, one in enumerate(edges):
        found = files.edges(one.role)
        entity = found["entity"].to_numpy() + first[one.entity_type]
        parts.append((found["event"].to_numpy(), entity, np.full(found.height, role, np.int64)))
    said = files.labels(later=True)
    return event_graph(
        events,
        roles=tuple(one.role for one in edges),
        entity_type=np.concatenate([np.zeros(0, np.int64), *types]),
        link_event=np.concatenate([np.zeros(0, np.int64), *(one[0] for one in parts)]),
        link_entity=np.concatenate([np.zeros(0, np.int64), *(one[1] for one in parts)]),
        link_role=np.concatenate([np.zeros(0, np.int64), *(one[2] for one in parts)]),
        said=said,
        last_seq=manifest.last_seq,
    )


def event_graph(
    events: pl.DataFrame,
    *,
    roles: tuple[str, ...],
    entity_type: IntArray,
    link_event: IntArray,
    link_entity: IntArray,
    link_role: IntArray,
    said: pl.DataFrame,
    last_seq: int,
) -> EventGraph:
    """Put links and labels in the orders that sampling looks them up in.

    Parameters
    ----------
    events : columns seq, event_time, part, label at least, in order of seq.
    said : what labels said: seq, event, label.
    """
    n = events.height
    order = np.lexsort((link_role, link_event))
    link_event, link_entity, link_role = link_event[order], link_entity[order], link_role[order]
    by_entity = np.lexsort((np.arange(order.shape[0]), link_event, link_entity))
    label_key = said["event"].to_numpy() * np.int64(last_seq + 1) + said["seq"].to_numpy()
    in_order = np.argsort(label_key)
    return EventGraph(
        events=events,
        seq=events["seq"].to_numpy(),
        time_ms=events["event_time"].dt.epoch("ms").to_numpy(),
        part=events["part"].to_numpy().astype(np.str_),
        label=events["label"].fill_null(UNKNOWN).to_numpy().astype(np.int8),
        roles=roles,
        n_entity_types=int(entity_type.max(initial=-1)) + 1,
        entity_type=entity_type,
        link_event=link_event,
        link_entity=link_entity,
        link_role=link_role,
        event_start=np.searchsorted(link_event, np.arange(n + 1)),
        by_entity=by_entity,
        entity_key=link_entity[by_entity] * n + link_event[by_entity],
        label_key=label_key[in_order],
        label_value=said["label"].to_numpy().astype(np.int8)[in_order],
        last_seq=last_seq,
    )


def sample(
    graph: EventGraph, seeds: IntArray, *, last: int = 16, layers: int = 2, looks_ahead: bool = False
) -> Sampled:
    """Cut out what each seed may see.

    Parameters
    ----------
    seeds : shape (s,), events.
    last : events taken of each entity, those with the largest seq.
    layers : steps away from the seed, each from events to entities or back; > 0.
    looks_ahead : a cheat: as many events of an entity, but half of them later ones, with whatever was told of their
        labels until the end, as where a whole graph is split at random.
    """
    n_seeds = seeds.shape[0]
    seed, event = np.arange(n_seeds), seeds
    entity_seed, entity = np.zeros(0, np.int64), np.zeros(0, np.int64)
    n_events = np.zeros(0, np.int64)
    links: list[tuple[IntArray, IntArray, IntArray]] = []  # seed, link, as rows; made nodes of at the end
    fresh_events, fresh_entities = (seed, event), (entity_seed, entity)
    for step in range(layers):
        if step % 2 == 0:
            of, at = _spread(graph.event_start[fresh_events[1]], graph.event_start[fresh_events[1] + 1])
            link_seed = fresh_events[0][of]
            links.append((link_seed, at, np.full(at.shape[0], step)))
            fresh_entities = _new(link_seed, graph.link_entity[at], entity_seed, entity)
            entity_seed = np.concatenate([entity_seed, fresh_entities[0]])
            entity = np.concatenate([entity, fresh_entities[1]])
        else:
            link_seed, at, seen = _last_links(graph, seeds, *fresh_entities, last=last, looks_ahead=looks_ahead)
            n_events = np.concatenate([n_events, seen])
            links.append((link_seed, at, np.full(at.shape[0], step)))
            fresh_events = _new(link_seed, graph.link_event[at], seed, event)
            seed, event = np.concatenate([seed, fresh_events[0]]), np.concatenate([event, fresh_events[1]])
    if layers % 2:
        n_events = np.concatenate(
            [n_events, _last_links(graph, seeds, *fresh_entities, last=0, looks_ahead=looks_ahead)[2]]
        )
    width = np.int64(graph.link_event.shape[0] + 1)
    walked = np.unique(np.concatenate([s * width + at for s, at, _ in links]))
    link_seed, at = walked // width, walked % width
    before_seq = np.full(event.shape[0], graph.last_seq + 1) if looks_ahead else graph.seq[seeds][seed]
    label = graph.known_label(event, before_seq)
    label = np.where(np.arange(event.shape[0]) < n_seeds, UNKNOWN, label).astype(np.int8)
    return Sampled(
        n_seeds=n_seeds,
        seed=seed,
        event=event,
        label=label,
        gap_ms=graph.time_ms[seeds][seed] - graph.time_ms[event],
        entity_seed=entity_seed,
        entity=entity,
        n_events=n_events,
        link_event=_places(link_seed, graph.link_event[at], seed, event),
        link_entity=_places(link_seed, graph.link_entity[at], entity_seed, entity),
        link_role=graph.link_role[at],
    )


def _last_links(
    graph: EventGraph, seeds: IntArray, seed: IntArray, entity: IntArray, *, last: int, looks_ahead: bool
) -> tuple[IntArray, IntArray, IntArray]:
    """Return seed and link of the links taken of some entities, and how many each has that its seed may see."""
    n = graph.seq.shape[0]
    begin = np.searchsorted(graph.entity_key, entity * n)
    here = np.searchsorted(graph.entity_key, entity * n + seeds[seed])
    if not looks_ahead:
        of, at = _spread(np.maximum(begin, here - last), here)
        return seed[of], graph.by_entity[at], here - begin
    after = np.searchsorted(graph.entity_key, entity * n + seeds[seed] + 1)
    end = np.searchsorted(graph.entity_key, (entity + 1) * n)
    half = last // 2
    before_of, before_at = _spread(np.maximum(begin, here - (last - half)), here)
    after_of, after_at = _spread(after, np.minimum(end, after + half))
    of, at = np.concatenate([before_of, after_of]), np.concatenate([before_at, after_at])
    return seed[of], graph.by_entity[at], end - begin - (after - here)


def _spread(start: IntArray, stop: IntArray) -> tuple[IntArray, IntArray]:
    """Return which range each number comes from, and the numbers of all ranges start[i]:stop[i] one after another."""
    counts = stop - start
    of = np.repeat(np.arange(start.shape[0]), counts)
    begins = np.cumsum(counts) - counts
    return of, np.arange(of.shape[0]) - begins[of] + start[of]


def _new(seed: IntArray, node: IntArray, old_seed: IntArray, old_node: IntArray) -> tuple[IntArray, IntArray]:
    """Return the distinct (seed, node) that are not among the old ones."""
    width = np.int64(max(node.max(initial=0), old_node.max(initial=0)) + 1)
    found = np.setdiff1d(seed * width + node, old_seed * width + old_node)
    return found // width, found % width


def _places(seed: IntArray, node: IntArray, of_seed: IntArray, of_node: IntArray) -> IntArray:
    """Return where each (seed, node) stands among all."""
    width = np.int64(of_node.max(initial=0) + 1)
    keys = of_seed * width + of_node
    order = np.argsort(keys)
    return order[np.searchsorted(keys, seed * width + node, sorter=order)]
