# SPDX-License-Identifier: Apache-2.0
"""The leakage guard: every sampled event, and the label it showed, held against what the ledger knew by then.

    seq   3       5         8          9
          x       e         x: fraud   e'       e may show x, unlabelled; e' may show x as fraud

The guard reads events and labels for itself, in arrays and searches, and shares no code with the fold. `LookAhead` is
its opponent: the same history with every label told right after its event, as in a data set whose labels carry no time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.neighbourhoods import Neighbourhoods
from ringfence.engine.replay import BatchSource, NotDecidedError, Progress
from ringfence.scenario.batch import EVENT, LABEL, NO_LABEL

_CHUNK = 8_192  # records to a batch, so that samples of one batch stay below 100 MB


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a ledger knew, and when: 16 bytes an event and 17 a label in memory."""

    event_seq: NDArray[np.int64]  # (events,) of the decided type, ascending
    event_time_ms: NDArray[np.int64]  # (events,)
    label_of: NDArray[np.int64]  # (labels,) seq of the labelled event; ascending
    label_seq: NDArray[np.int64]  # (labels,) seq from which on it was known; ascending for each event
    label_value: NDArray[np.int8]  # (labels,) FRAUD or LEGIT

    def time_of(self, seq: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return whether each seq is a decided event, and its event time where it is."""
        if not self.event_seq.shape[0]:
            return np.zeros(seq.shape, np.bool_), np.zeros(seq.shape, np.int64)
        place = np.minimum(np.searchsorted(self.event_seq, seq), self.event_seq.shape[0] - 1)
        return self.event_seq[place] == seq, self.event_time_ms[place]

    def label_before(self, of: NDArray[np.int64], seq: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return the label of event `of` that stood just before `seq`, NO_LABEL where none was known."""
        if not self.label_of.shape[0]:
            return np.full(of.shape, NO_LABEL, np.int8)
        place = _rank(self.label_of, self.label_seq, of, seq) - 1
        found = np.maximum(place, 0)
        return np.where((place >= 0) & (self.label_of[found] == of), self.label_value[found], NO_LABEL).astype(np.int8)


def _rank(
    label_of: NDArray[np.int64], label_seq: NDArray[np.int64], of: NDArray[np.int64], seq: NDArray[np.int64]
) -> NDArray[np.int64]:
    # How many labels come before (of, seq), in the order (label_of, label_seq): a binary search for all at once.
    low = np.zeros(of.shape, np.int64)
    high = np.full(of.shape, label_of.shape[0], np.int64)
    while (low < high).any():
        middle = np.minimum((low + high) >> 1, label_of.shape[0] - 1)
        smaller = (label_of[middle] < of) | ((label_of[middle] == of) & (label_seq[middle] < seq))
        open_ = low < high
        low = np.where(open_ & smaller, middle + 1, low)
        high = np.where(open_ & ~smaller, middle, high)
    return low


def read_history(source: BatchSource, catalogue: Catalogue, *, until_seq: int | None = None) -> History:
    """Collect events and labels of the decided type, up to and including `until_seq`."""
    decided = catalogue.plan.decided
    events: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    labels: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
    for batch in source.batches(0, until_seq):
        is_event = (batch.kind == EVENT) & (batch.event_type == decided)
        is_label = (batch.kind == LABEL) & (batch.event_type == decided)
        events.append(np.stack([batch.seq[is_event], batch.time_ms[is_event]], axis=1))
        told = [batch.label_event_seq[is_label], batch.seq[is_label], batch.label_value[is_label].astype(np.int64)]
        labels.append(np.stack(told, axis=1))
    event, label = np.concatenate(events), np.concatenate(labels)
    label = label[np.lexsort((label[:, 1], label[:, 0]))]
    return History(
        event_seq=event[:, 0].copy(),
        event_time_ms=event[:, 1].copy(),
        label_of=label[:, 0].copy(),
        label_seq=label[:, 1].copy(),
        label_value=label[:, 2].astype(np.int8),
    )


class LeakageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Violations among the sampled links of some events. A link counts once in each column that it violates."""

    n_events: int  # whose neighbourhood was sampled
    n_links: int  # sampled events, over all seats
    n_labelled: int  # of them, those that showed a label
    n_not_earlier: int  # sampled events whose seq is not smaller than that of the event at hand
    n_not_on_record: int  # that are no decided event of the ledger, or have another event time there
    n_ahead: int  # that showed a label before any was known
    n_other_label: int  # that showed another label than the one that stood, or none where one stood
    first_seq: int | None  # the first event at hand with a violation

    @classmethod
    def total(cls, reports: Iterable[LeakageReport]) -> LeakageReport:
        """Add up reports about different events."""
        listed = tuple(reports)
        counts = {name: sum(getattr(report, name) for report in listed) for name in cls.__struct_fields__[:-1]}
        firsts = [report.first_seq for report in listed if report.first_seq is not None]
        return cls(**counts, first_seq=min(firsts, default=None))

    @property
    def n_violations(self) -> int:
        return self.n_not_earlier + self.n_not_on_record + self.n_ahead + self.n_other_label

    @property
    def holds(self) -> bool:
        """Whether links were looked at and none violates anything."""
        return self.n_links > 0 and self.n_violations == 0


def leakage(found: Neighbourhoods, history: History) -> LeakageReport:
    """Count the violations of some neighbourhoods, told what was known and when."""
    mask = found.mask
    seq = np.broadcast_to(found.seq[:, None, None], mask.shape)[mask]
    sampled, time_ms = found.event_seq[mask], found.event_time_ms[mask]
    is_known = found.events[..., at.SAMPLE_KNOWN][mask] > 0.5
    shown = np.where(is_known, found.events[..., at.SAMPLE_FRAUD][mask] > 0.5, NO_LABEL).astype(np.int8)
    stood = history.label_before(sampled, seq)
    on_record, recorded_ms = history.time_of(sampled)
    not_earlier = sampled >= seq
    not_on_record = ~on_record | (recorded_ms != time_ms)
    ahead = is_known & (stood == NO_LABEL)
    other_label = (shown != stood) & ~ahead
    wrong = seq[not_earlier | not_on_record | ahead | other_label]
    return LeakageReport(
        n_events=len(found),
        n_links=seq.shape[0],
        n_labelled=int(is_known.sum()),
        n_not_earlier=int(not_earlier.sum()),
        n_not_on_record=int(not_on_record.sum()),
        n_ahead=int(ahead.sum()),
        n_other_label=int(other_label.sum()),
        first_seq=int(wrong.min()) if wrong.size else None,
    )


def replay_leakage(
    source: BatchSource,
    catalogue: Catalogue,
    seqs: NDArray[np.int64],
    history: History,
    *,
    progress: Progress | None = None,
) -> LeakageReport:
    """Sample the neighbourhoods of the wanted events in one replay and guard every link of them.

    Parameters
    ----------
    catalogue : built with `neighbourhoods`.
    seqs : shape (n,), strictly ascending seqs of decided events.
    history : of the honest ledger, with the seqs of `source`; see `LookAhead.history`.

    Raises
    ------
    NotDecidedError
        If a wanted seq is not an event of the decided type.
    NoSamplingError
        If the catalogue samples no neighbourhoods.
    """
    engine = Engine(catalogue)
    reports: list[LeakageReport] = []
    last = int(seqs[-1]) if seqs.shape[0] else 0
    for batch in source.batches(0, last, _CHUNK) if seqs.shape[0] else ():
        place = np.minimum(np.searchsorted(seqs, batch.seq), seqs.shape[0] - 1)
        nothing = np.zeros(len(batch), np.bool_)
        _, found = engine.observe_sampled(batch, nothing, seqs[place] == batch.seq)
        reports.append(leakage(found, history))
        if progress is not None:
            progress(int(batch.seq[-1]), last)
    report = LeakageReport.total(reports)
    if report.n_events != seqs.shape[0]:
        raise NotDecidedError(n_missing=seqs.shape[0] - report.n_events, n_wanted=seqs.shape[0])
    return report
