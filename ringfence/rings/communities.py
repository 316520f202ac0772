# SPDX-License-Identifier: Apache-2.0
"""Communities by label propagation: what is left of a component that has grown too large to act together."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.rings import _kernels_communities as kernels
from ringfence.rings import _kernels_components as grouping
from ringfence.rings.components import Groups, summarise
from ringfence.rings.graph import Graph, mixed

MAX_ROUNDS: Final = 50


def communities(
    graph: Graph,
    *,
    roles: NDArray[np.bool_] | None = None,
    wanted: NDArray[np.bool_] | None = None,
    max_rounds: int = MAX_ROUNDS,
) -> Groups:
    """Let each entity take the label that most of those it meets in events carry, until none changes.

    Parameters
    ----------
    roles : shape (n_roles,), the roles whose links count; the strong ones when None. Hubs never count.
    wanted : shape (n_entities,), the entities that take part; all when None.
    max_rounds : over all entities; a graph that has not settled by then keeps the labels it has.

    Notes
    -----
    Raghavan, Albert, Kumara, Physical Review E 76 (2007), made repeatable: entities move one after the other in the
    order of their mixed keys; ties keep the label that stands, then fall to the smallest mixed key. An event goes with
    most of its entities. (Letting events vote too, side by side, freezes at once where events name two entities.)
    A round costs the sum of squares of the number of entities in an event; 20 bytes an entity, 12 an event and 4 a
    link of memory besides the result.
    """
    counts = graph.strong if roles is None else roles
    part = np.ones(graph.n_entities, np.bool_) if wanted is None else wanted
    filters = (graph.link_role, counts, graph.is_hub, part)
    event_end, entity_start = np.empty(graph.n_events, np.int64), np.zeros(graph.n_entities + 1, np.int64)
    kernels.count_neighbours(graph.link_start, graph.link_entity, *filters, event_end, entity_start)
    entity_event = np.empty(int(entity_start[-1]), np.int32)
    kernels.list_neighbours(graph.link_start, graph.link_entity, *filters, entity_start[:-1].copy(), entity_event)
    label, event_label = np.arange(graph.n_entities, dtype=np.int32), np.full(graph.n_events, -1, np.int32)
    votes, key = np.zeros(graph.n_entities, np.int32), graph.entity_key
    restless = np.ones(graph.n_entities, np.bool_)
    order = np.argsort(mixed(key), kind="stable")
    order = order[np.diff(entity_start)[order] > 0]
    links = (graph.link_start, event_end, graph.link_entity, *filters)
    for _ in range(max_rounds):
        if not kernels.vote_entities(order, entity_start, entity_event, *links, key, votes, restless, label):
            break
    kernels.vote_events(*links, label, key, votes, event_label)
    return _groups(graph, np.where(np.diff(entity_start) > 0, label, -1).astype(np.int32), event_label)


def split_over_large(graph: Graph, groups: Groups, over_large: int) -> Groups:
    """Replace components of more than `over_large` events, context included, by their communities."""
    large = groups.table["n_events"] + groups.table["n_context"] > over_large
    if not large.any():
        return groups
    member = groups.entity_group >= 0
    in_large = member & large[groups.entity_group]
    parts = communities(graph, wanted=in_large)
    # One label space for both: an entity of the group. Communities are named after their founder, as components are.
    label = np.where(member, groups.table["founder"][groups.entity_group], -1)
    label[in_large] = parts.table["founder"][parts.entity_group[in_large]]
    event_label = np.where(groups.event_group >= 0, groups.table["founder"][groups.event_group], -1)
    # Whoever acts in a large group belongs to one at least as large, so each of its events is in some community. Events
    # of such people outside large groups stay where they are.
    inside = (groups.event_group >= 0) & large[groups.event_group]
    event_label[inside] = parts.table["founder"][parts.event_group[inside]]
    return _groups(graph, label.astype(np.int32), event_label.astype(np.int32))


def _groups(graph: Graph, label: NDArray[np.int32], event_label: NDArray[np.int32]) -> Groups:
    """Number groups by their first entity. A label is an entity's ordinal: one that need not carry it any more."""
    entities = np.flatnonzero(label >= 0)
    first = np.full(graph.n_entities, graph.n_entities, np.int64)  # label -> first entity that carries it
    np.minimum.at(first, label[entities], entities)
    parent = np.where(label >= 0, first[label], -1).astype(np.int32)
    entity_group = np.full(graph.n_entities, -1, np.int32)
    n_groups = grouping.number_groups(parent, entity_group)
    event_group = np.full(graph.n_events, -1, np.int32)
    carried = event_label >= 0
    event_group[carried] = entity_group[first[event_label[carried]]]
    return Groups(
        entity_group=entity_group,
        event_group=event_group,
        table=summarise(graph, entity_group, event_group, int(n_groups)),
    )
