# SPDX-License-Identifier: Apache-2.0
"""The sequence model: a recurrent network over the last events of an entity, oldest to newest.

It is a network over sampled neighbourhoods like the graph network (`ringfence.training.gnn`), with other options: a
recurrent unit in place of a gate, the roles that are declared `sequence`, and nothing of what lies one hop further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import BatchSource
from ringfence.scenario.batch import EVENT
from ringfence.scenario.spec import Scenario
from ringfence.training.gnn_options import GnnOptions, options_for

FEWEST_EVENTS: Final = 10  # of the median entity: with fewer the feature row says all there is to say


def sequence_options(n_fraud: int, roles: Sequence[str]) -> GnnOptions:
    """Return the options of a sequence model of the entities in `roles`, for so many frauds to learn from."""
    return msgspec.structs.replace(options_for(n_fraud), gather="recurrent", hops=1, roles=tuple(roles))


def sequence_roles(scenario: Scenario) -> tuple[str, ...]:
    """Return the roles of the decided event type that are declared `sequence`."""
    return tuple(column.role for column in scenario.decided.roles if scenario.role(column.role).sequence)


def why_no_sequence(lengths: Mapping[str, float]) -> str:
    """Say why no sequence model is tried, told the events of the median entity of each role; empty: it is."""
    if not lengths:
        return "no role is declared `sequence`"
    if any(length >= FEWEST_EVENTS for length in lengths.values()):
        return ""
    return "; ".join(
        f"the median {role} has {length:g} events, it takes {FEWEST_EVENTS}" for role, length in lengths.items()
    )


def median_lengths(source: BatchSource, catalogue: Catalogue, *, until_seq: int | None = None) -> dict[str, float]:
    """Return, for each role that is a sequence, how many events its median entity has; 0 where there is none.

    Counted are those that the sequence model could read: of the decided type in that role, and those of other types
    that are sampled with them. Entities are those of a decided event. Memory: 8 bytes for each of these links.

    Parameters
    ----------
    catalogue : built with `neighbourhoods`.
    until_seq : the last record that counts; None: the end.
    """
    plan, scenario = catalogue.plan, catalogue.scenario
    told: dict[str, list[tuple[int, int]]] = {}
    for role in map(scenario.role, sequence_roles(scenario)):
        seats = np.flatnonzero(plan.seats[:, 0] == role.index)
        streams = plan.timelines[np.isin(plan.timelines[:, 0], seats), 1]
        others = [(int(kind), int(at)) for kind, at in np.argwhere(np.isin(plan.stream_of, streams))]
        told[role.name] = [(plan.decided, role.index), *others]
    named: dict[tuple[str, bool], list[NDArray[np.uint64]]] = {}
    for batch in source.batches(0, until_seq) if told else ():
        links = np.diff(batch.link_start)
        kind = np.repeat(np.where(batch.kind == EVENT, batch.event_type.astype(np.int64), -1), links)
        for name, pairs in told.items():
            for at, (of, role_index) in enumerate(pairs):
                chosen = (kind == of) & (batch.link_role == role_index)
                named.setdefault((name, at == 0), []).append(batch.link_lo[chosen])
    found = {}
    for name in told:
        none = [np.zeros(0, np.uint64)]
        own, other = (np.concatenate(named.get((name, is_own), none)) for is_own in (True, False))
        entities, counts = np.unique(np.concatenate([own, other]), return_counts=True)
        counts = counts[np.isin(entities, own)]
        found[name] = float(np.median(counts)) if counts.shape[0] else 0.0
    return found
