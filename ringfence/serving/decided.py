# SPDX-License-Identifier: Apache-2.0
"""From an answer to the decision on record: one copy for what is decided at once and what is decided in the batch."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ringfence.ledger.records import DecisionBody
from ringfence.models.seen import Texts
from ringfence.scenario.event import AttributeValue, Event
from ringfence.scenario.spec import Scenario
from ringfence.scoring.scorer import Answer

APPROVE: Final = "approve"

Row = NDArray[np.float64]


def feature_digest(row: Row, packed: bytes) -> bytes:
    """16 bytes that name a feature row, and the packed neighbourhood where one is read."""
    return blake2b(row.tobytes() + packed, digest_size=16).digest()


def decision_body(
    answer: Answer,
    event_seq: int,
    event: Event,
    row: Row,
    packed: bytes,
    *,
    versions: dict[str, str],
    circumstances: dict[str, Any],
    row_sample: int,
) -> DecisionBody:
    """Lay out a decision.

    Parameters
    ----------
    circumstances : beside those of the answer.
    row_sample : one approval in so many keeps its row, too; >= 1.
    """
    digest = feature_digest(row, packed)
    sampled = int.from_bytes(digest[:4], "big") % row_sample == 0
    keeps_row = answer.action != APPROVE or bool(answer.circumstances.get("degraded")) or sampled
    return DecisionBody(
        event_seq=event_seq,
        event_id=event.event_id,
        event_type=event.event_type,
        action=answer.action,
        score=answer.score,
        raw_score=answer.raw,
        members=answer.members,
        reasons=answer.reasons,
        versions=versions,
        circumstances={**answer.circumstances, "rung": answer.rung, **circumstances},
        propensity=answer.propensity,
        feature_digest=digest,
        row=row.tobytes() if keeps_row else None,
    )


def texts_of(scenario: Scenario, attributes: list[dict[str, AttributeValue]]) -> Texts:
    """What events say in the text attributes that models may read, as `Seen.texts` has them."""
    return tuple(
        [None if (text := given.get(attribute.name)) is None else str(text) for given in attributes]
        for attribute in scenario.read_texts
    )
