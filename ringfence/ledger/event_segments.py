# SPDX-License-Identifier: Apache-2.0
"""Which segment an event belongs to, looked up by its seq: a label is counted under that of its event.

    events    seq 3: region north     seq 4: region south
    label     seq 9: of 3, fraud  --> region north

Looked up when batches are read, and not kept on the labels, so that naming other segments needs no new import.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.ledger.records import LabelBody
from ringfence.ledger.segments import Segment, SegmentReader, attribute_column
from ringfence.scenario.batch import LABEL, Batch
from ringfence.scenario.event import Event
from ringfence.scenario.spec import Scenario
from ringfence.scenario.values import value_of, values_of

Floats = NDArray[np.float64]
_Coded = tuple[Floats, NDArray[Any]]  # the distinct values of an attribute, and which of them each record has


class EventSegments:
    """The values that make events' segments, as they stand in `Batch.values`.

    Of every row group of imported history that a label reached back to, a code per record and attribute is kept as long
    as the ledger is open: one or two bytes. Threads may share it.

    Parameters
    ----------
    live : the live event at a seq, None where it is imported.
    imports : the imported parts of the ledger, in seq order.
    reader : reads one of them.
    """

    def __init__(
        self,
        scenario: Scenario,
        live: Callable[[int], Event | None],
        imports: Callable[[], list[Segment]],
        reader: Callable[[Segment], SegmentReader],
    ) -> None:
        self._live, self._imports, self._reader = live, imports, reader
        decided = scenario.decided
        self._decided = decided.index
        self._columns = scenario.segment_columns
        self._n_values = len(scenario.value_attributes)
        self._attributes = [scenario.value_attributes[column] for column in self._columns]
        self._names = [attribute_column(decided, attribute) for attribute in self._attributes]
        self._coded: dict[tuple[str, int], list[_Coded]] = {}

    def values_for(self, label: LabelBody) -> tuple[float, ...] | None:
        """`values` of the event that a label is about; None where the scenario names no segments."""
        return self.values(label.event_seq) if self._columns and label.event_type == self._decided else None

    def values(self, event_seq: int) -> tuple[float, ...]:
        """A row of `Batch.values` that holds the segment of a decided event, and NaN in all other columns."""
        found = [math.nan] * self._n_values
        for column, value in zip(self._columns, self._of([event_seq])[0].tolist(), strict=True):
            found[column] = value
        return tuple(found)

    def tell(self, batch: Batch) -> None:
        """Write the segments of their events to the labels of a batch, in place."""
        if not self._columns:
            return
        labels = np.flatnonzero((batch.kind == LABEL) & (batch.event_type == self._decided))
        if len(labels):
            batch.values[labels[:, None], list(self._columns)] = self._of(batch.label_event_seq[labels].tolist())

    def _of(self, seqs: list[int]) -> Floats:
        # Shape (seqs, attributes). An import holds a run of seqs; what lies in none is live.
        found = np.full((len(seqs), len(self._columns)), np.nan)
        wanted = np.array(seqs, np.int64)
        is_live = np.ones(len(seqs), np.bool_)
        for segment in self._imports():
            here = np.flatnonzero((wanted >= segment.first_seq) & (wanted <= segment.last_seq))
            if len(here):
                is_live[here] = False
                found[here] = self._imported(segment, wanted[here])
        for place in np.flatnonzero(is_live).tolist():
            event = self._live(seqs[place])
            assert event is not None  # a label is taken for events on record only
            given, time_ms = event.attributes, event.event_time_ms
            found[place] = [value_of(a, given.get(a.name), time_ms) for a in self._attributes]
        return found

    def _imported(self, segment: Segment, seqs: NDArray[np.int64]) -> Floats:
        reader = self._reader(segment)
        starts = np.array([reader.first_seq_of(group) for group in range(reader.n_row_groups)], np.int64)
        groups = np.searchsorted(starts, seqs, side="right") - 1
        found = np.empty((len(seqs), len(self._columns)))
        for group in np.unique(groups).tolist():
            here = groups == group
            rows = seqs[here] - starts[group]
            for position, (distinct, codes) in enumerate(self._codes_of(segment, group)):
                found[here, position] = distinct[codes[rows]]
        return found

    def _codes_of(self, segment: Segment, group: int) -> list[_Coded]:
        key = (segment.path, group)
        coded = self._coded.get(key)
        if coded is None:
            coded = self._coded[key] = [_coded(values) for values in self._read(self._reader(segment), group)]
        return coded

    def _read(self, reader: SegmentReader, group: int) -> Iterator[Floats]:
        table = reader.read(group, ["time_ms", *(name for name in self._names if name in reader.column_names)])
        time_ms = table.column("time_ms").to_numpy()
        for attribute, name in zip(self._attributes, self._names, strict=True):
            if name in reader.column_names:
                yield values_of(attribute, pl.Series(pl.from_arrow(table.column(name))), time_ms)
            else:
                yield np.full(table.num_rows, np.nan)


def _coded(values: Floats) -> _Coded:
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct, codes.astype(np.min_scalar_type(len(distinct)))
