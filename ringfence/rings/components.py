# SPDX-License-Identifier: Apache-2.0
"""Connected components over strong roles: which events follow upon each other through things that few people share."""

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


_EVER: Final = int(np.iinfo(np.int64).max)


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """Disjoint groups of a graph's entities and events; each has a member."""

    entity_group: NDArray[np.int32]  # (v,) -1 for hubs and for entities that no strong role names
    event_group: NDArray[np.int32]  # (n,) -1 where no strong entity below the cap is named, or all have moved on
    table: NDArray[np.void]  # (n_groups,) of GROUP

    def __len__(self) -> int:
        return int(self.table.shape[0])


def components(graph: Graph, *, tie_ms: int | None = None) -> Groups:
    """Group what strong entities tie; hubs tie nothing.

    An entity ties each of its events to its next, where at most `tie_ms` lies between the two: people who stage
    something together do so within weeks, while a person's own claims lie months apart.

    Parameters
    ----------
    tie_ms : inclusive, > 0; None: however much time lies between two events.

    Returns
    -------
    Groups in the order of their first event. With a `tie_ms` an entity can act in several of them: it belongs to the
    one of most events, of equals to the one it acted in last. A group that all have left for larger ones is none.

    Notes
    -----
    "Next" goes by the order of event keys; an event that came late ties by its own time to its neighbours there.
    Union-find with path halving (Tarjan, van Leeuwen 1984): O(m log n) at worst for m links and n events, in practice
    one pass over the links. The result does not depend on the order of unions.
    """
    newest, parent = np.full(graph.n_entities, -1, np.int32), np.full(graph.n_events, -1, np.int32)
    links = (graph.link_start, graph.link_entity, graph.link_role, graph.strong, graph.is_hub)
    kernels.unite(*links, graph.event_time_ms, _EVER if tie_ms is None else tie_ms, newest, parent)
    event_group, size = np.empty(graph.n_events, np.int32), np.zeros(graph.n_events, np.int32)
    n_acted = int(kernels.number_events(parent, event_group, size))
    entity_group = np.full(graph.n_entities, -1, np.int32)
    kernels.join_largest(*links, event_group, size, entity_group)
    n_groups = kernels.drop_deserted(entity_group, event_group, np.full(n_acted, -1, np.int32))
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
