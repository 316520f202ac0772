# SPDX-License-Identifier: Apache-2.0
"""An event that waits for its decision: what the ledger has of it, what it had, and how its decision is laid out.

One copy for the run that holds the ledger itself and for the service that decides beside its requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import EventBody, Kind, PendingBody
from ringfence.ledger.writer import Writer
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.packed import joined, unpack
from ringfence.models.seen import Seen
from ringfence.policy.policy import BATCH
from ringfence.scenario.event import Event
from ringfence.scenario.spec import Scenario
from ringfence.scoring.scorer import Answer
from ringfence.serving.decided import Row, decision_body, feature_digest, texts_of
from ringfence.serving.kept import KeptRows
from ringfence.serving.late_kept import LateKept
from ringfence.serving.reviews import ReviewBudget

REVIEW: Final = "review"


class Waiting(NamedTuple):
    """An event that waits."""

    pending_seq: int
    body: PendingBody
    event: Event
    recorded_at_ms: int  # the event


class Had(NamedTuple):
    """What an event had at its own seq."""

    row: Row
    packed: bytes = b""  # its neighbourhood, as `models.packed` packs one; empty where none is sampled
    near: SampledArrays | None = None  # the same, unpacked


def event_at(ledger: Ledger, seq: int) -> tuple[Event, int]:
    """Return a live event and when it was recorded."""
    record = next(ledger.records(seq - 1, (Kind.EVENT,), 1, until_seq=seq))
    assert isinstance(record.body, EventBody)
    return record.body.event, record.recorded_at_ms


def waiting_in(ledger: Ledger, after_event_seq: int, limit: int) -> list[Waiting]:
    """Read events that wait, of those after a seq, in the order of their seqs; at most `limit`."""
    found = []
    for record in ledger.pending(after_event_seq, limit):
        assert isinstance(record.body, PendingBody)
        found.append(Waiting(record.seq, record.body, *event_at(ledger, record.body.event_seq)))
    return found


def had_then(one: Waiting, kept: KeptRows | LateKept, no_samples: SampledArrays | None, spec: str) -> Had | None:
    """Return what an event had, as it was kept; None where that is of another feature spec, lost, or not what it was.

    Parameters
    ----------
    no_samples : the neighbourhoods of no event, as the release reads them; None: it reads none.
    spec : the release's feature spec.
    """
    body = one.body
    if body.versions["spec"] != spec:
        return None
    row, packed, near = np.frombuffer(body.row, np.float64), b"", None
    if no_samples is not None:
        found = kept.get(body.event_seq, one.event.payload_digest)
        near = None if found is None else unpack(found.near, no_samples)
        if found is None or near is None:
            return None
        packed = found.near
    return Had(row, packed, near) if feature_digest(row, packed) == body.feature_digest else None


def seen_together(scenario: Scenario, waiting: Sequence[Waiting], had: Sequence[Had]) -> Seen:
    """Lay out n events for a scorer, n > 0."""
    near = [one.near for one in had if one.near is not None]
    texts = texts_of(scenario, [one.event.attributes for one in waiting])
    return Seen(np.stack([one.row for one in had]), joined(near) if near else None, texts)


def stage_decisions(
    writer: Writer,
    waiting: Sequence[Waiting],
    had: Sequence[Had],
    answers: Sequence[Answer],
    *,
    left: int | None,
    reviews: ReviewBudget,
    versions: dict[str, str],
    row_sample: int,
) -> list[int]:
    """Give the decisions on n events their places, in this order; return their seqs. With the commit none waits more.

    Parameters
    ----------
    left : reviews that there were for the answers; counted down here: midnight within a group changes nothing.
    reviews : what they are spent from.
    """
    seqs = []
    for one, (row, packed, _), answer in zip(waiting, had, answers, strict=True):
        circumstances = {
            "reviews_left": left,
            "batch_size": len(waiting),
            "route": BATCH,
            "pending_seq": one.pending_seq,
            **({"late": True} if one.body.late else {}),
        }
        body = decision_body(
            answer,
            one.body.event_seq,
            one.event,
            row,
            packed,
            versions=versions,
            circumstances=circumstances,
            row_sample=row_sample,
        )
        seqs.append(writer.stage_decision(body))
        if answer.action == REVIEW and left is not None:
            left = max(0, left - 1)
            reviews.spend()
    return seqs
