# SPDX-License-Identifier: Apache-2.0
"""A deliberate look-ahead: the same history, told as if every label were known the moment its event happened.

    honest   1 event   2 event          3 label of 1
    ahead    2 event   3 label of 2     4 event

This is what a table of past events with a label column invites one to do. It exists to show that the leakage guard can
fail, and what the cheat would gain; nothing is ever trained or served from it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.label_history import LabelHistory, read_history
from ringfence.engine.replay import BatchSource
from ringfence.scenario.batch import EVENT, FRAUD, LABEL, NO_LABEL, Batch


class LookAhead:
    """A source whose labels come right after their events, with the value that stands in the end.

    Seqs are doubled, which leaves room for a label after each event: what has seq s in the ledger has 2 s here.
    """

    def __init__(self, source: BatchSource, catalogue: Catalogue) -> None:
        self._source = source
        self._decided = catalogue.plan.decided
        # Columns of `Batch.values` that a label has in common with its event.
        self._is_segment = np.isin(np.arange(len(catalogue.scenario.value_attributes)), catalogue.plan.segment_columns)
        self.honest = read_history(source, catalogue)  # in the seqs of the ledger

    def seqs(self, seqs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the seqs that events of the ledger have here."""
        return 2 * seqs

    @property
    def history(self) -> LabelHistory:
        """What was honestly known, and when, in the seqs of this source."""
        honest = self.honest
        return msgspec.structs.replace(
            honest,
            event_seq=2 * honest.event_seq,
            label_of=2 * honest.label_of,
            label_seq=2 * honest.label_seq,
            entity_seq=2 * honest.entity_seq,
        )

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]:
        """Yield events, each decided one followed by its label; as `Ledger.batches`, of at most 2 x `size` records."""
        until = None if until_seq is None else until_seq // 2
        for batch in self._source.batches(after_seq // 2, until, size):
            yield self._told_early(batch)

    def _told_early(self, batch: Batch) -> Batch:
        events = np.flatnonzero(batch.kind == EVENT)
        final = self.honest.label_before(batch.seq[events], np.full(events.shape, np.iinfo(np.int64).max))
        is_labelled = (batch.event_type[events] == self._decided) & (final != NO_LABEL)
        of = np.repeat(events, 1 + is_labelled)  # the record that each new one is made from
        is_label = np.zeros(of.shape[0], np.bool_)
        is_label[1:] = of[1:] == of[:-1]
        value = np.repeat(final, 1 + is_labelled)
        n_links = batch.link_start[of + 1] - batch.link_start[of]
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(n_links)])
        link = np.arange(start[-1]) - np.repeat(start[:-1] - batch.link_start[of], n_links)
        return Batch(
            seq=2 * batch.seq[of] + is_label,
            kind=np.where(is_label, LABEL, EVENT).astype(np.uint8),
            event_type=batch.event_type[of],
            time_ms=batch.time_ms[of],
            offset_ms=np.where(is_label, 0, batch.offset_ms[of]).astype(np.int32),
            amount_minor=np.where(is_label, 0, batch.amount_minor[of]),
            values=np.where(is_label[:, None] & ~self._is_segment, np.nan, batch.values[of]),
            link_start=start,
            link_role=batch.link_role[link],
            link_lo=batch.link_lo[link],
            link_hi=batch.link_hi[link],
            label_event_seq=np.where(is_label, 2 * batch.seq[of], -1),
            label_event_time_ms=np.where(is_label, batch.time_ms[of], 0),
            label_value=np.where(is_label, value == FRAUD, NO_LABEL).astype(np.int8),
            label_replaces=np.full(of.shape[0], NO_LABEL, np.int8),
            simhash=np.where(is_label[:, None], np.uint64(0), batch.simhash[of]),
        )
