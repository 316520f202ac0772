# SPDX-License-Identifier: Apache-2.0
"""What do we know? Ordered, durable records."""

from __future__ import annotations

from ringfence.ledger.ledger import Ledger, StoredEvent
from ringfence.ledger.records import (
    DecisionBody,
    DisagreementBody,
    EventBody,
    Kind,
    LabelBody,
    PendingBody,
    Reason,
    Record,
    ReleaseBody,
    ReviewRequestedBody,
)
from ringfence.ledger.writer import Duplicate, Staged, Writer

__all__ = [
    "DecisionBody",
    "DisagreementBody",
    "Duplicate",
    "EventBody",
    "Kind",
    "LabelBody",
    "Ledger",
    "PendingBody",
    "Reason",
    "Record",
    "ReleaseBody",
    "ReviewRequestedBody",
    "Staged",
    "StoredEvent",
    "Writer",
]
