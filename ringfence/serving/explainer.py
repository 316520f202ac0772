# SPDX-License-Identifier: Apache-2.0
"""Work after the answer for explanations of whole scores: events read again in passing, and readings scored later."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

import numpy as np
import structlog

from ringfence.engine.engine import Engine
from ringfence.engine.replay import replay
from ringfence.engine.without import Reading, read_without_each
from ringfence.errors import RingfenceError
from ringfence.ledger.assembly import slice_batch
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody
from ringfence.policy.costs import ACTIONS, APPROVE
from ringfence.scenario.batch import Batch
from ringfence.scoring.release import Release
from ringfence.scoring.scorer import Scorer
from ringfence.scoring.whole import Whole, whole_of_decision
from ringfence.serving.wholes import MOST_WAITING, Wholes

_log: Final = structlog.get_logger("ringfence.serving")
_SCORED_AT_ONCE: Final = 4
_APPROVED: Final = ACTIONS[APPROVE]


def fold_and_read(engine: Engine, batch: Batch, ledger: Ledger, wholes: Wholes) -> None:
    """Fold a batch; of each event in it that was decided, and not approved, keep what it read and would have read.

    Only of decisions of the engine's own feature spec that are durable by then, and only while fewer than
    `MOST_WAITING` readings wait: the follower must not fall behind for it.
    """
    wanted: list[tuple[int, int]] = []
    try:
        wanted = _explainable(engine, batch, ledger, wholes)[: max(MOST_WAITING - wholes.n_waiting, 0)]
    except sqlite3.Error as error:
        _log.warning("events are passed by without explanations", cause=str(error))
    readings: list[tuple[int, Reading]] = []
    begin = 0
    for event_seq, decision_seq in wanted:
        place = int(np.searchsorted(batch.seq, event_seq))
        _fold(engine, slice_batch(batch, begin, place))
        readings.append((decision_seq, read_without_each(engine, slice_batch(batch, place, place + 1))))
        begin = place
    if begin:
        _fold(engine, slice_batch(batch, begin, len(batch)))
    else:
        replay(engine, (batch,), until_seq=ledger.last_seq)
    try:
        wholes.add(readings, engine.seq)
    except sqlite3.Error as error:  # snapshots must not wait for a disk that explanations are refused by
        _log.warning("readings for explanations are lost", n=len(readings), cause=str(error))


def _fold(engine: Engine, batch: Batch) -> None:
    if len(batch):
        engine.observe(batch, want=np.zeros(len(batch), np.bool_))


def _explainable(engine: Engine, batch: Batch, ledger: Ledger, wholes: Wholes) -> list[tuple[int, int]]:
    """Return (event seq, decision seq) of what is to be explained in a batch, in the order of events."""
    found = []
    for record in ledger.decisions_of(int(batch.seq[0]), int(batch.seq[-1])):
        body = record.body
        if (
            isinstance(body, DecisionBody)
            and body.action != _APPROVED
            and body.versions["spec"] == engine.catalogue.spec_hash
            and not wholes.is_known(record.seq)
        ):
            found.append((body.event_seq, record.seq))
    return sorted(found)


def score_readings(ledger: Ledger, wholes: Wholes, release_of: Callable[[str], Release]) -> int:
    """Explain the oldest decisions whose readings wait; return how many were looked at, 0 when there are none."""
    waiting = wholes.waiting(_SCORED_AT_ONCE)
    for decision_seq, reading in waiting:
        whole = None
        try:
            whole = _explained(ledger, decision_seq, reading, release_of)
        except RingfenceError as error:  # a broken branch, or a score that does not come out again
            _log.warning("a score is not explained", decision=f"d-{decision_seq}", cause=str(error))
        wholes.put(decision_seq, whole)
    return len(waiting)


def _explained(
    ledger: Ledger, decision_seq: int, reading: Reading, release_of: Callable[[str], Release]
) -> Whole | None:
    record = ledger.decision(f"d-{decision_seq}")
    if record is None or not isinstance(record.body, DecisionBody):
        return None
    return whole_of_decision(ledger, record.body, reading, Scorer(release_of(record.body.versions["release"])))
