# SPDX-License-Identifier: Apache-2.0
"""What a ledger knew and when: events, labels, and the labels of each entity, as sorted arrays that are searched.

Read from the batches themselves, and sharing no code with the fold: it is what the leakage guard holds samples against.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.plan import Plan
from ringfence.engine.replay import BatchSource
from ringfence.scenario.batch import EVENT, FRAUD, LABEL, NO_LABEL, Batch

IntArray = NDArray[np.int64]


class LabelHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Events, and labels of the decided type: 16 bytes an event, 17 a label and 32 an entity of a label in memory.

    Events are those of the decided type; of all types where the catalogue samples others too.
    """

    event_seq: IntArray  # (events,) ascending
    event_time_ms: IntArray  # (events,)
    label_of: IntArray  # (labels,) seq of the labelled event; ascending
    label_seq: IntArray  # (labels,) seq from which on it was known; ascending for each event
    label_value: NDArray[np.int8]  # (labels,) FRAUD or LEGIT
    entity: NDArray[np.uint64]  # (changes,) ascending; an entity as `entity_keys` names it
    entity_seq: IntArray  # (changes,) seq of a label of one of its events; ascending for each entity
    known: IntArray  # (changes + 1,) labelled events, summed over all changes before
    frauds: IntArray  # (changes + 1,) likewise, those that stand as fraud

    def time_of(self, seq: IntArray) -> tuple[NDArray[np.bool_], IntArray]:
        """Return whether each seq is an event that can be sampled, and its event time where it is."""
        if not self.event_seq.shape[0]:
            return np.zeros(seq.shape, np.bool_), np.zeros(seq.shape, np.int64)
        place = np.minimum(np.searchsorted(self.event_seq, seq), self.event_seq.shape[0] - 1)
        return self.event_seq[place] == seq, self.event_time_ms[place]

    def label_before(self, of: IntArray, seq: IntArray) -> NDArray[np.int8]:
        """Return the label of event `of` that stood just before `seq`, NO_LABEL where none was known."""
        if not self.label_of.shape[0]:
            return np.full(of.shape, NO_LABEL, np.int8)
        place = _n_before(self.label_of, self.label_seq, of, seq) - 1
        found = np.maximum(place, 0)
        return np.where((place >= 0) & (self.label_of[found] == of), self.label_value[found], NO_LABEL).astype(np.int8)

    def counts_before(self, entity: NDArray[np.uint64], seq: IntArray) -> tuple[IntArray, IntArray]:
        """Return how many of an entity's events were labelled, and labelled fraud, just before `seq`."""
        last = _n_before(self.entity, self.entity_seq, entity, seq)
        first = np.searchsorted(self.entity, entity, side="left")
        return self.known[last] - self.known[first], self.frauds[last] - self.frauds[first]


def _n_before(
    of: NDArray[np.int64] | NDArray[np.uint64],
    seq: IntArray,
    key: NDArray[np.int64] | NDArray[np.uint64],
    until: IntArray,
) -> IntArray:
    # How many entries come before (key, until), in the order (of, seq): a binary search for all of them at once.
    low = np.searchsorted(of, key, side="left").astype(np.int64)
    high = np.searchsorted(of, key, side="right").astype(np.int64)
    while (low < high).any():
        middle = np.minimum((low + high) >> 1, seq.shape[0] - 1)
        is_open = low < high
        smaller = seq[middle] < until
        low = np.where(is_open & smaller, middle + 1, low)
        high = np.where(is_open & ~smaller, middle, high)
    return low


def entity_keys(batch: Batch, plan: Plan) -> NDArray[np.uint64]:
    """Name the entity of every link of a batch, shape (links,): the same in all roles that share its type."""
    kind = np.repeat(batch.event_type, np.diff(batch.link_start))
    shared = plan.any_of[kind, batch.link_role]
    stream = np.where(shared >= 0, shared, plan.stream_of[kind, batch.link_role])
    keys: NDArray[np.uint64] = batch.link_lo ^ plan.salts[stream]
    return keys


def seat_keys(batch: Batch, plan: Plan, wanted: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Name the entity in each seat of the wanted records, shape (wanted, seats); 0 where there is none."""
    keys, record = entity_keys(batch, plan), np.repeat(np.arange(len(batch)), np.diff(batch.link_start))
    order = np.lexsort((batch.link_role, record))
    same = record[order] * (int(batch.link_role.max(initial=0)) + 1) + batch.link_role[order]
    place = np.empty(order.shape[0], np.int64)
    place[order] = np.arange(order.shape[0]) - np.searchsorted(same, same)
    found = np.zeros((len(batch), plan.seats.shape[0]), np.uint64)
    for s in range(plan.seats.shape[0]):
        here = (batch.link_role == plan.seats[s, 0]) & (place == plan.seats[s, 1])
        found[record[here], s] = keys[here]
    return found[wanted]


def _changes(batch: Batch, plan: Plan) -> tuple[NDArray[np.uint64], IntArray]:
    # Of each label record its first 16 different entities: the key, and (seq, known, frauds) that the label adds.
    is_label = (batch.kind == LABEL) & (batch.event_type == plan.decided)
    record = np.repeat(np.arange(len(batch)), np.diff(batch.link_start))
    keys = entity_keys(batch, plan)
    order = np.lexsort((keys, record))  # stable: of equal ones the first link comes first
    repeats = np.zeros(order.shape[0], np.bool_)
    repeats[order[1:]] = (keys[order[1:]] == keys[order[:-1]]) & (record[order[1:]] == record[order[:-1]])
    takes_part = ~repeats
    nth = np.cumsum(takes_part)
    before = np.concatenate([np.zeros(1, np.int64), nth])[batch.link_start[record]]
    takes_part &= (nth - before <= at.MOST_NODES) & is_label[record]
    of = record[takes_part]
    replaced = batch.label_replaces[of].astype(np.int64)
    fraud = (batch.label_value[of] == FRAUD).astype(np.int64) - (replaced == FRAUD)
    return keys[takes_part], np.stack([batch.seq[of], (replaced == NO_LABEL).astype(np.int64), fraud], axis=1)


def read_history(source: BatchSource, catalogue: Catalogue, *, until_seq: int | None = None) -> LabelHistory:
    """Collect events and labels of the decided type, up to and including `until_seq`."""
    plan = catalogue.plan
    events: list[IntArray] = [np.zeros((0, 2), np.int64)]
    labels: list[IntArray] = [np.zeros((0, 3), np.int64)]
    keys: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    changes: list[IntArray] = [np.zeros((0, 3), np.int64)]
    for batch in source.batches(0, until_seq):
        is_event = (batch.kind == EVENT) & ((batch.event_type == plan.decided) | bool(plan.timelines.shape[0]))
        is_label = (batch.kind == LABEL) & (batch.event_type == plan.decided)
        events.append(np.stack([batch.seq[is_event], batch.time_ms[is_event]], axis=1))
        told = [batch.label_event_seq[is_label], batch.seq[is_label], batch.label_value[is_label].astype(np.int64)]
        labels.append(np.stack(told, axis=1))
        found, change = _changes(batch, plan)
        keys.append(found)
        changes.append(change)
    event, label = np.concatenate(events), np.concatenate(labels)
    key, change = np.concatenate(keys), np.concatenate(changes)
    label = label[np.lexsort((label[:, 1], label[:, 0]))]
    order = np.lexsort((change[:, 0], key))
    sums = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum(change[order, 1:], axis=0)])
    return LabelHistory(
        event_seq=event[:, 0].copy(),
        event_time_ms=event[:, 1].copy(),
        label_of=label[:, 0].copy(),
        label_seq=label[:, 1].copy(),
        label_value=label[:, 2].astype(np.int8),
        entity=key[order],
        entity_seq=change[order, 0].copy(),
        known=sums[:, 0].copy(),
        frauds=sums[:, 1].copy(),
    )
