# SPDX-License-Identifier: Apache-2.0
"""Connected components over strong roles: who is tied to whom by things that few people share."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.rings import _kernels_components as kernels
from ringfence.rings.graph import Graph
from ringfence.scenario.batch import MISSING_AMOUNT

GROUP: Final = np.dtype(
    [
        ("n_entities", "<i8"),
        ("n_events", "<i8"),  # of the decided type
        ("n_context", "<i8"),  # of other types
        ("n_known", "<i8"),  # events with a label
        ("n_fraud", "<i8"),
        ("first_ms", "<i8"),  # oldest and newest active event, context included
        ("last_ms", "<i8"),
        ("amount_minor", "<i8"),
        ("unlabelled_minor", "<i8"),  # the part of it on events without a label
        ("founder", "<i8"),  # entity named first by a strong role; of equals the one with the smallest key
    ]
)


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """Disjoint groups of a graph's entities and events, numbered by their first entity."""

    entity_group: NDArray[np.int32]  # (v,) -1 for hubs and for entities that no strong role names
    event_group: NDArray[np.int32]  # (n,) -1 where an event names no strong entity below the cap
    table: NDArray[np.void]  # (n_groups,) of GROUP

    def __len__(self) -> int:
        return int(self.table.shape[0])


def components(graph: Graph) -> Groups:
    """Group what strong links connect; hubs connect nothing.

    Notes
    -----
    Union by size with path halving: O(m α(v)) for m links. The result does not depend on the order of unions.
    """
    parent, size = np.full(graph.n_entities, -1, np.int32), np.ones(graph.n_entities, np.int32)
    links = (graph.link_start, graph.link_entity, graph.link_role, graph.strong, graph.is_hub)
    kernels.unite(*links, parent, size)
    entity_group, event_group = np.full(graph.n_entities, -1, np.int32), np.empty(graph.n_events, np.int32)
    n_groups = kernels.number_groups(parent, entity_group)
    kernels.group_events(*links, entity_group, event_group)
    return Groups(
        entity_group=entity_group,
        event_group=event_group,
        table=summarise(graph, entity_group, event_group, int(n_groups)),
    )


def summarise(
    graph: Graph, entity_group: NDArray[np.int32], event_group: NDArray[np.int32], n_groups: int
) -> NDArray[np.void]:
    """Add up each group's entities, events, labels and amounts; shape (n_groups,) of GROUP."""
    table = np.zeros(n_groups, GROUP)
    table["first_ms"], table["last_ms"] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    table["founder"] = -1
    kernels.add_events(
        event_group,
        graph.event_time_ms,
        graph.event_decided,
        graph.event_label,
        graph.amount_minor,
        MISSING_AMOUNT,
        table,
    )
    kernels.add_entities(entity_group, graph.first_ms, graph.entity_key, table)
    return table
