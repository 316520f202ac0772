# SPDX-License-Identifier: Apache-2.0
"""A stored decision with the explanation of its whole score, as far as it was kept."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from ringfence.ledger.ledger import Ledger
from ringfence.policy.costs import ACTIONS, APPROVE
from ringfence.scoring.told import told
from ringfence.serving import wire
from ringfence.serving.wholes import Wholes


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
