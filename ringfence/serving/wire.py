# SPDX-License-Identifier: Apache-2.0
"""What clients receive, as frozen structs; the encoder; and the reading of JSON bodies and of admissions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from ringfence.scenario.event import Admission
from ringfence.scoring.exact import ExactReason
from ringfence.scoring.told import Explanation
from ringfence.serving.errors import MalformedBodyError
from ringfence.serving.wholes import Status


class Ahead(msgspec.Struct, frozen=True, array_like=True):
    """An event that the front process let in already, by the door of a release."""

    release: str
    admission: bytes  # `scenario.event.Admission`, msgpack


class AnswerReason(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    sentence: str
    contribution: float  # log-odds, positive raises the score


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded decision. The same event sent again is answered with the same bytes, but for `durable`."""

    decision_id: str
    event_id: str
    event_type: str
    event_seq: int
    seq: int
    action: str  # approve | challenge | review | decline
    score: float  # calibrated probability of fraud, 0..1
    reasons: list[AnswerReason]
    rung: str
    degraded: bool
    durable: bool
    members: dict[str, float]
    versions: dict[str, str]
    circumstances: dict[str, Any]  # reviews_left, review_price, batch_size; late, degraded, skipped, segment where so
    propensity: float


class PendingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An event that the policy routes to the nightly batch: recorded, and not decided yet. It has no action."""

    event_id: str
    event_type: str
    event_seq: int
    seq: int
    status: Literal["pending"] = "pending"  # told from a decision by this
    route: Literal["batch"] = "batch"
    durable: bool = True


class StoredPending(msgspec.Struct, frozen=True, kw_only=True):
    """What is read back while an event waits for the nightly batch."""

    pending: PendingAnswer
    recorded_at: str


class StoredDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision read back, with the exact explanation once the follower has computed it."""

    decision: DecisionAnswer
    recorded_at: str
    exact_reasons: list[ExactReason] | None = None  # None: not computed (approved, or not yet)


class ExplainedDecision(StoredDecision, frozen=True, kw_only=True):
    """A decision read back with `explain=full`."""

    explanation_status: Status  # computed | pending: not yet | replay: not kept, `ringfence explain` computes it
    explanation: Explanation | None = None  # None unless it is computed


class EventAnswer(msgspec.Struct, frozen=True, kw_only=True):
    event_id: str
    event_type: str
    seq: int
    durable: bool = True


class LabelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    event_id: str
    event_type: str
    label: str  # fraud | legit
    source: str  # as sent, or `api` where the label named none
    known_at: str | None  # from when on it counts; None where the label of a stronger source stands instead
    stands: bool  # False: on record, and without effect, since a stronger source has spoken
    seq: int
    durable: bool = True


Recorded = DecisionAnswer | PendingAnswer | EventAnswer | LabelAnswer


def marked(answer: Recorded, durable_seq: int) -> Recorded:
    """Say of an answer that its record is not durable, where it is beyond `durable_seq`."""
    return answer if answer.seq <= durable_seq else msgspec.structs.replace(answer, durable=False)


class RecentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the decided type as the entity's own log remembers it."""

    event_time: str
    amount: float | None  # in major units of the scenario's currency


class EntityRole(msgspec.Struct, frozen=True, kw_only=True):
    features: dict[str, float | None]  # by feature name; None where there is no value
    recent_events: list[RecentEvent]  # newest first, at most 20


class EntityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    entity_type: str
    entity_id: str
    as_of: str
    as_of_seq: int
    roles: dict[str, EntityRole]  # by each role that entities of this type can have in the decided event


class SwitchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a promotion or a rollback is."""

    number: int  # of this process, from 1
    act: str  # promote | rollback
    release: str
    replaces: str
    step: str  # preparing | building | catching up | switching | done | failed
    records_left: int | None = None  # to be replayed, while the new state is built
    seq: int | None = None  # of the release record, once the switch is made
    stall_ms: float | None = None  # for which nothing was decided because of it
    failure: str | None = None  # why the release from before goes on


class ReleaseEntry(msgspec.Struct, frozen=True, kw_only=True):
    release: str
    registered_at: str
    champion: bool
    was_champion: bool
    shadow: bool
    note: str
    by: str


class ShadowActions(msgspec.Struct, frozen=True, kw_only=True):
    """How many decisions came to these two actions."""

    action: str
    shadow_action: str
    decisions: int


class ShadowAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The release that scores along after the answer, and what it found since it does. Nobody acts on it."""

    release: str
    since: str
    since_seq: int  # it scores events after this
    note: str
    by: str
    same: int  # decisions on which it would have taken the same action
    different: int  # another one: each is on record, or about to be
    impossible: int  # that it could not score
    waiting: int  # scored, and not decided yet: left to the nightly run, or learned only
    mean_difference: float | None  # of the scores, shadow minus decision; None before the first
    records_behind: int
    failure: str | None  # what keeps it from going on; None where nothing does
    actions: list[ShadowActions]


class ShadowChange(msgspec.Struct, frozen=True, kw_only=True):
    act: str  # shadowed | unshadowed
    release: str
    seq: int  # of the release record


class ReleasesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is live, what was, and what is on its way."""

    champion: str
    kept_ready: str | None  # the release that a rollback would be fastest to
    switch: SwitchStatus | None  # the newest one of this process; None before the first
    shadow: ShadowAnswer | None
    releases: list[ReleaseEntry]  # as the ledger has them, oldest first


class PendingDecided(msgspec.Struct, frozen=True, kw_only=True):
    """What became of some events that waited for the nightly run. All of it is durable."""

    decided: int
    need_replay: int  # that go on waiting, as what they had is not kept as the live release reads it
    left: int  # that wait, these included
    by_action: dict[str, int]  # of the decided ones
    release: str  # that decided, or would have
    last_event_seq: int | None  # of the events looked at, to go on `after`; None where none waits there


class Health(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    scenarios: dict[str, str] = {}
    degraded: dict[str, str] = {}  # by scenario: `ledger` where answers are not durable yet (`best_effort`)


def iso(time_ms: int) -> str:
    """Write milliseconds since 1970 as ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder()
_ADMISSION: Final = msgspec.msgpack.Decoder(Admission)
DEPTH_LIMIT: Final = 16  # levels of a body; an event has three
_FLAT: Final = "send the flat event form of the API reference"
_TOO_DEEP: Final = "nesting too deep"


def encode(value: object) -> bytes:
    return _ENCODER.encode(value)


def ahead_of(release: str, admission: Admission) -> Ahead:
    """Pack an admission by the door of a release."""
    return Ahead(release, msgspec.msgpack.encode(admission))


def admission_of(ahead: Ahead) -> Admission:
    """Unpack what `ahead_of` packed, equal to the last bit."""
    return _ADMISSION.decode(ahead.admission)


def read_object(body: bytes) -> dict[str, Any]:
    """Decode one JSON object.

    Raises
    ------
    MalformedBodyError
        If the bytes are not UTF-8, not JSON (NaN and Infinity are not), nested too deeply or not an object.
    """
    try:
        value = _DECODER.decode(body)
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"invalid UTF-8 ({error.reason})", "encode the body as UTF-8") from error
    except RecursionError as error:
        raise MalformedBodyError(_TOO_DEEP, _FLAT) from error  # the decoder's own bound, about a thousand levels
    except msgspec.DecodeError as error:
        raise MalformedBodyError(str(error), "send one JSON object; NaN and Infinity are not JSON") from error
    if not isinstance(value, dict):
        raise MalformedBodyError(f"a JSON {_json_name(value)}", "send one JSON object")
    # Counting costs 0.3 µs; a body with no more brackets than levels allowed cannot be too deep.
    if body.count(b"{") + body.count(b"[") > DEPTH_LIMIT and _is_deeper(value, DEPTH_LIMIT):
        raise MalformedBodyError(f"{_TOO_DEEP}: more than {DEPTH_LIMIT} levels", _FLAT)
    return value


def _is_deeper(value: dict[str, Any], limit: int) -> bool:
    """Whether arrays and objects are nested more than `limit` deep; looks level by level, and no further."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _json_name(value: object) -> str:
    names: dict[type, str] = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
