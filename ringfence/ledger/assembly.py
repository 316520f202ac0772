# SPDX-License-Identifier: Apache-2.0
"""Batches out of single records, and parts of batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringfence.ledger.records import LabelBody
from ringfence.scenario.batch import EVENT, LABEL, MISSING_AMOUNT, NO_LABEL, Batch
from ringfence.scenario.calendar import local_offset_ms_at
from ringfence.scenario.event import Event
from ringfence.scenario.simhash import NO_TEXT, simhash_of
from ringfence.scenario.spec import Scenario
from ringfence.scenario.values import value_of


class BatchAssembler:
    """Collects events and labels one by one, in seq order, and lays them out as a Batch."""

    def __init__(self, scenario: Scenario) -> None:
        self._time_zone = scenario.time_zone
        self._attributes = scenario.value_attributes
        self._decide = scenario.decide
        self._index = {event_type.name: event_type.index for event_type in scenario.event_types}
        self._nothing = (math.nan,) * len(self._attributes)
        self._segment_columns = scenario.segment_columns
        self._texts = tuple(attribute.name for attribute in scenario.text_attributes)
        self._no_texts = (NO_TEXT,) * len(self._texts)
        if self._texts:
            simhash_of("")  # loads the compiled kernel here, and not while the first event waits
        self._clear()

    def _clear(self) -> None:
        self._scalars: list[tuple[Any, ...]] = []  # one tuple per record
        self._values: list[tuple[float, ...]] = []
        self._simhashes: list[tuple[int, ...]] = []
        self._links: list[tuple[int, int, int]] = []
        self._link_start: list[int] = [0]

    def __len__(self) -> int:
        return len(self._scalars)

    def add_event(self, seq: int, event: Event, values: tuple[float, ...] | None = None) -> None:
        """Append an event. Without `values` they are computed from its attributes."""
        if values is None:
            values = self._nothing
            if event.event_type == self._decide:
                given, time_ms = event.attributes, event.event_time_ms
                values = tuple(value_of(a, given.get(a.name), time_ms) for a in self._attributes)
        amount = MISSING_AMOUNT if event.amount_minor is None else event.amount_minor
        index = self._index[event.event_type]
        offset_ms = local_offset_ms_at(self._time_zone, event.event_time_ms)
        self._scalars.append((seq, EVENT, index, event.event_time_ms, offset_ms, amount, -1, 0, NO_LABEL, NO_LABEL))
        self._values.append(values)
        is_decided = event.event_type == self._decide
        self._simhashes.append(
            tuple(simhash_of(_text_of(event, name)) for name in self._texts) if is_decided else self._no_texts
        )
        self._links.extend((link.role, link.lo, link.hi) for link in event.links)
        self._link_start.append(len(self._links))

    def add_label(self, seq: int, label: LabelBody, values: tuple[float, ...] | None = None) -> None:
        """Append a label, unless it changes nothing: a weaker source, or the value that holds already.

        `values` are those of its event; what makes the event's segment is kept of them.
        """
        if not label.stands or label.value == label.replaces:
            return
        about = (label.event_seq, label.event_time_ms, label.value, label.replaces)
        self._scalars.append((seq, LABEL, label.event_type, label.known_at_ms, 0, 0, *about))
        self._values.append(self._nothing if values is None else self._segment_of(values))
        self._simhashes.append(self._no_texts)
        self._links.extend((link.role, link.lo, link.hi) for link in label.links)
        self._link_start.append(len(self._links))

    def _segment_of(self, values: tuple[float, ...]) -> tuple[float, ...]:
        kept = list(self._nothing)
        for column in self._segment_columns:
            kept[column] = values[column]
        return tuple(kept)

    def take(self) -> Batch:
        """Return what was collected and begin anew."""
        n = len(self._scalars)
        columns = list(zip(*self._scalars, strict=True)) if n else [()] * 10
        roles, los, his = zip(*self._links, strict=True) if self._links else ((), (), ())
        batch = Batch(
            seq=np.array(columns[0], np.int64),
            kind=np.array(columns[1], np.uint8),
            event_type=np.array(columns[2], np.uint8),
            time_ms=np.array(columns[3], np.int64),
            offset_ms=np.array(columns[4], np.int32),
            amount_minor=np.array(columns[5], np.int64),
            values=np.array(self._values, np.float64).reshape(n, len(self._attributes)),
            link_start=np.array(self._link_start, np.int64),
            link_role=np.array(roles, np.uint8),
            link_lo=np.array(los, np.uint64),
            link_hi=np.array(his, np.uint64),
            label_event_seq=np.array(columns[6], np.int64),
            label_event_time_ms=np.array(columns[7], np.int64),
            label_value=np.array(columns[8], np.int8),
            label_replaces=np.array(columns[9], np.int8),
            simhash=np.array(self._simhashes, np.uint64).reshape(n, len(self._texts)),
        )
        self._clear()
        return batch


def _text_of(event: Event, name: str) -> str | None:
    value = event.attributes.get(name)
    return value if isinstance(value, str) else None


def slice_batch(batch: Batch, start: int, stop: int) -> Batch:
    """Return records [start, stop) of a batch; arrays are views, except `link_start`."""
    if start == 0 and stop == len(batch):
        return batch
    first, last = int(batch.link_start[start]), int(batch.link_start[stop])
    return Batch(
        seq=batch.seq[start:stop],
        kind=batch.kind[start:stop],
        event_type=batch.event_type[start:stop],
        time_ms=batch.time_ms[start:stop],
        offset_ms=batch.offset_ms[start:stop],
        amount_minor=batch.amount_minor[start:stop],
        values=batch.values[start:stop],
        link_start=batch.link_start[start : stop + 1] - first,
        link_role=batch.link_role[first:last],
        link_lo=batch.link_lo[first:last],
        link_hi=batch.link_hi[first:last],
        label_event_seq=batch.label_event_seq[start:stop],
        label_event_time_ms=batch.label_event_time_ms[start:stop],
        label_value=batch.label_value[start:stop],
        label_replaces=batch.label_replaces[start:stop],
        simhash=batch.simhash[start:stop],
    )


def select(batch: Batch, wanted: NDArray[np.bool_]) -> Batch:
    """Return the records of a batch where `wanted`, shape (n,), is true; a copy unless all are."""
    if bool(wanted.all()):
        return batch
    counts = np.diff(batch.link_start)
    links = np.repeat(wanted, counts)
    return Batch(
        seq=batch.seq[wanted],
        kind=batch.kind[wanted],
        event_type=batch.event_type[wanted],
        time_ms=batch.time_ms[wanted],
        offset_ms=batch.offset_ms[wanted],
        amount_minor=batch.amount_minor[wanted],
        values=batch.values[wanted],
        link_start=np.concatenate((np.zeros(1, np.int64), np.cumsum(counts[wanted]))),
        link_role=batch.link_role[links],
        link_lo=batch.link_lo[links],
        link_hi=batch.link_hi[links],
        label_event_seq=batch.label_event_seq[wanted],
        label_event_time_ms=batch.label_event_time_ms[wanted],
        label_value=batch.label_value[wanted],
        label_replaces=batch.label_replaces[wanted],
        simhash=batch.simhash[wanted],
    )
