# SPDX-License-Identifier: Apache-2.0
"""The kinds of record a ledger holds, as they are stored."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from ringfence.scenario.event import Event, Link


class Kind(IntEnum):
    EVENT = 0
    LABEL = 1
    DECISION = 2
    LIST = 3
    RULE = 4
    POLICY = 5
    SWITCH = 6
    RELEASE = 7
    TICK = 8
    IMPORT = 9
    REVIEW_REQUESTED = 10
    PENDING = 11
    DISAGREEMENT = 12


class EventBody(msgspec.Struct, frozen=True, kw_only=True):
    event: Event
    late: bool = False  # older than the watermark by more than the scenario's max_lateness


class LabelBody(msgspec.Struct, frozen=True, kw_only=True):
    event_seq: int
    event_type: int  # EventType.index of the labelled event
    event_time_ms: int
    links: tuple[Link, ...]
    value: int  # FRAUD or LEGIT
    replaces: int  # the value it takes the place of, or NO_LABEL
    source: str
    known_at_ms: int
    stands: bool = True  # False: a stronger source has spoken before; on record, without effect


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    code: str  # stable, such as VELOCITY_CLAIMANT
    sentence: str  # readable by a customer-service agent
    contribution: float  # log-odds, positive raises the score


class DecisionBody(msgspec.Struct, frozen=True, kw_only=True):
    event_seq: int
    event_id: str
    event_type: str
    action: str  # approve | challenge | review | decline
    score: float  # calibrated probability of fraud, 0..1
    raw_score: float
    members: dict[str, float]
    reasons: tuple[Reason, ...]
    versions: dict[str, str]  # release, spec, policy, ringfence
    circumstances: dict[
        str, Any
    ]  # rung, degraded, review_price, reviews_open, batch size: what clock and machine decided
    propensity: float  # probability with which this action was taken, 1 where nothing was randomised
    feature_digest: bytes  # 16-byte blake2b of the feature row's bytes, and of the neighbourhood's if one is read
    row: bytes | None  # the float64 feature row, where the policy of record-keeping says so


class ReleaseBody(msgspec.Struct, frozen=True, kw_only=True):
    release: str
    act: str  # registered | promoted | rolled_back | shadowed | unshadowed
    replaces: str | None = None
    digest: str = ""
    note: str = ""
    by: str = ""  # the user of the operating system, or the name of a key, where a person did that


class TickBody(msgspec.Struct, frozen=True, kw_only=True):
    """What the service computed at a tick: proof of it, not the moment that it took effect, which records decide."""

    as_of_ms: int  # T
    effect_seq: int  # the first record that read it; before this one
    digest: bytes  # 16 bytes, `rings.Tick.digest`
    spec: str  # digest of the feature spec in force, as in DecisionBody.versions: another one has other ticks


class ReviewRequestedBody(msgspec.Struct, frozen=True, kw_only=True):
    """A decision of a lower rung, scored in full afterwards, would have been another one: somebody should look at it.

    The decision stands. What is said here follows from the ledger, the event, the release and the circumstances that
    the decision recorded.
    """

    decision_seq: int
    event_seq: int
    event_id: str
    event_type: str
    release: str
    rung: str  # that answered
    why: str  # it was not `full`: the decision's circumstance `degraded`
    action: str  # as decided
    score: float
    full_action: str  # what `full` would have done
    full_score: float


class DisagreementBody(msgspec.Struct, frozen=True, kw_only=True):
    """The shadow, a release that scores along after the answer, would have taken another action. Nobody acts on it.

    What is said here follows from the ledger, the shadow's release and the circumstances that the decision recorded.
    """

    decision_seq: int
    event_seq: int
    event_id: str
    event_type: str
    release: str  # that decided
    rung: str
    action: str
    score: float
    shadow: str  # the other release
    shadow_action: str
    shadow_score: float


class PendingBody(msgspec.Struct, frozen=True, kw_only=True):
    """An event that the policy routes to the batch: `ringfence decide --pending` decides it, from what is kept here."""

    event_seq: int
    event_id: str
    event_type: str
    versions: dict[str, str]  # in force when it was routed, as in DecisionBody; what decides it may be another release
    late: bool  # the event's
    feature_digest: bytes  # as in DecisionBody
    row: bytes  # the float64 feature row as of the event's seq


Told = (
    EventBody | LabelBody | DecisionBody | ReleaseBody | TickBody | ReviewRequestedBody | PendingBody | DisagreementBody
)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    kind: Kind
    recorded_at_ms: int
    watermark_ms: int
    body: Told | dict[str, Any]
    chain: bytes  # 16-byte hash over the previous chain value and this record's bytes
