# SPDX-License-Identifier: Apache-2.0
"""Decisions read back from the ledger, with what was computed after the answer."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from ringfence.ledger.ledger import Ledger
from ringfence.policy.costs import ACTIONS, APPROVE
from ringfence.scoring.told import told
from ringfence.serving import wire
from ringfence.serving.cycle import answer_of, pending_answer_of
from ringfence.serving.errors import NotFoundError
from ringfence.serving.explanations import EXPLANATIONS, Explanations
from ringfence.serving.wholes import Wholes


def stored_decision(
    ledger: Ledger, state_dir: Path, decision_id: str, *, full: bool = False
) -> wire.StoredDecision | None:
    """Read a decision back, with its exact reasons where they have been computed; None where there is none of that id.

    Parameters
    ----------
    full : with what was kept of the explanation of the whole score. Nothing is computed here.
    """
    record = ledger.decision(decision_id)
    if record is None:
        return None
    exact = None
    if (state_dir / EXPLANATIONS).exists():
        with contextlib.closing(Explanations(state_dir)) as explanations:
            exact = explanations.get(record.seq)
    recorded_at = wire.iso(record.recorded_at_ms)
    stored = wire.StoredDecision(decision=answer_of(record), recorded_at=recorded_at, exact_reasons=exact)
    return explained_in_full(stored, ledger, state_dir) if full else stored


def decision_on(
    ledger: Ledger, state_dir: Path, decides: str, event_id: str, *, full: bool = False
) -> wire.StoredDecision | wire.StoredPending:
    """Read the decision on an event of the decided type back, or that it waits for the nightly batch.

    Raises
    ------
    NotFoundError
        If there is no such event, or no decision on it yet.
    """
    event = ledger.find_event(decides, event_id)
    if event is None:
        raise NotFoundError(f"{decides} {event_id[:100]!r}", "check the event_id; imported events are known by it too")
    record = ledger.decision_of(event.seq)
    stored = None if record is None else stored_decision(ledger, state_dir, f"d-{record.seq}", full=full)
    if record is None and (waits := ledger.pending_of(event.seq)) is not None:
        return wire.StoredPending(pending=pending_answer_of(waits), recorded_at=wire.iso(waits.recorded_at_ms))
    if stored is None:
        do = f"it is known (seq {event.seq}) and undecided; live events are decided by POST /v1/decisions"
        raise NotFoundError(f"decision on {decides} {event_id[:100]!r}", do)
    return stored


def explained_in_full(stored: wire.StoredDecision, ledger: Ledger, state_dir: Path) -> wire.ExplainedDecision:
    """Add what was kept. Bounded: two look-ups by key, and at most ten names each of entities and of events."""
    decision = stored.decision
    with contextlib.closing(Wholes(state_dir)) as wholes:
        whole = wholes.get(decision.seq)
        is_approval = decision.action == ACTIONS[APPROVE]
        status = wholes.status(decision.seq, decision.event_seq, is_approval=is_approval)
    return wire.ExplainedDecision(
        **msgspec.structs.asdict(stored),
        explanation_status=status,
        explanation=None if whole is None else told(whole, ledger),
    )
