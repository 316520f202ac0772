# SPDX-License-Identifier: Apache-2.0
"""The leakage guard: every sampled event, the label it showed, and the labels counted of each seat's entity, held
against what the ledger knew by then.

    seq   3       5         8          9
          x       e         x: fraud   e'       e may show x, unlabelled; e' may show x as fraud

The guard searches a `LabelHistory` and shares no code with the fold. `LookAhead` is its opponent: the same history with
every label told right after its event, as in a data set whose labels carry no time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.label_history import LabelHistory, seat_keys
from ringfence.engine.neighbourhoods import Neighbourhoods
from ringfence.engine.replay import BatchSource, NotDecidedError, Progress
from ringfence.scenario.batch import NO_LABEL

_CHUNK = 8_192  # records to a batch, so that samples of one batch stay below 100 MB


class LeakageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Violations among the sampled links and seats of some events, each counted once in each column it violates."""

    n_events: int  # whose neighbourhood was sampled
    n_links: int  # sampled events, over all seats
    n_labelled: int  # of them, those that showed a label
    n_not_earlier: int  # sampled events whose seq is not smaller than that of the event at hand
    n_not_on_record: int  # that are no event of the ledger that could be, or have another event time there
    n_ahead: int  # that showed a label before any was known
    n_other_label: int  # that showed another label than the one that stood, or none where one stood
    n_seats: int  # seats that were taken
    n_seats_ahead: int  # of them, those whose entity showed more known labels or frauds than there were
    n_seats_other: int  # that showed fewer, or sit where the event names nobody
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
        links = self.n_not_earlier + self.n_not_on_record + self.n_ahead + self.n_other_label
        return links + self.n_seats_ahead + self.n_seats_other

    @property
    def holds(self) -> bool:
        """Whether links were looked at and none violates anything."""
        return self.n_links > 0 and self.n_violations == 0


def leakage(found: Neighbourhoods, seats: NDArray[np.uint64], history: LabelHistory) -> LeakageReport:
    """Count the violations of some neighbourhoods, told what was known and when.

    Parameters
    ----------
    found : n neighbourhoods, as the engine gave them.
    seats : shape (n, seats), who sits there; see `seat_keys`.
    """
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
    taken = found.nodes[..., at.SEAT_PRESENT] > 0.5
    seat_seq = np.broadcast_to(found.seq[:, None], taken.shape)[taken]
    counted = np.rint(np.expm1(found.nodes[taken].astype(np.float64))).astype(np.int64)
    known, frauds = history.counts_before(seats[taken], seat_seq)
    seats_ahead = (counted[:, at.SEAT_KNOWN] > known) | (counted[:, at.SEAT_FRAUDS] > frauds)
    exact = (counted[:, at.SEAT_KNOWN] == known) & (counted[:, at.SEAT_FRAUDS] == frauds)
    seats_other = (~exact & ~seats_ahead) | (seats[taken] == 0)
    wrong_link = not_earlier | not_on_record | ahead | other_label
    wrong = np.concatenate([seq[wrong_link], seat_seq[seats_ahead | seats_other]])
    return LeakageReport(
        n_events=len(found),
        n_links=seq.shape[0],
        n_labelled=int(is_known.sum()),
        n_not_earlier=int(not_earlier.sum()),
        n_not_on_record=int(not_on_record.sum()),
        n_ahead=int(ahead.sum()),
        n_other_label=int(other_label.sum()),
        n_seats=int(taken.sum()),
        n_seats_ahead=int(seats_ahead.sum()),
        n_seats_other=int(seats_other.sum()),
        first_seq=int(wrong.min()) if wrong.size else None,
    )


def replay_leakage(
    source: BatchSource,
    catalogue: Catalogue,
    seqs: NDArray[np.int64],
    history: LabelHistory,
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
        wanted = seqs[place] == batch.seq
        _, found = engine.observe_sampled(batch, np.zeros(len(batch), np.bool_), wanted)
        reports.append(leakage(found, seat_keys(batch, catalogue.plan, wanted), history))
        if progress is not None:
            progress(int(batch.seq[-1]), last)
    report = LeakageReport.total(reports)
    if report.n_events != seqs.shape[0]:
        raise NotDecidedError(n_missing=seqs.shape[0] - report.n_events, n_wanted=seqs.shape[0])
    return report
