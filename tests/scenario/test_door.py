# SPDX-License-Identifier: Apache-2.0
"""What the door lets in, and the path it names when it does not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from ringfence.scenario.batch import FRAUD, LEGIT
from ringfence.scenario.door import MOST_ENTITIES, Door
from ringfence.scenario.errors import InvalidEventError, did_you_mean
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario
from ringfence.scenario.values import category_code
from tests.scenario.claims import NOW_MS, claim

NOON_MS = 1_714_559_400_000  # 2024-05-01 12:30 in Berlin


def test_claim_becomes_an_event_with_digests_instead_of_ids(door: Door) -> None:
    admission = door.admit(claim(), now_ms=NOW_MS)
    event = admission.event
    assert (event.event_type, event.event_id, event.event_time_ms) == ("claim", "c-1", NOON_MS)
    assert event.amount_minor == 123_456
    assert [link.role for link in event.links] == [0, 1, 1, 2]
    assert sorted(admission.entity_ids.values()) == [
        ("person", "3"),
        ("person", "p-1"),
        ("person", "p-2"),
        ("repair_shop", "s-1"),
    ]
    assert admission.offset_ms == 7_200_000
    assert b"p-1" not in json.dumps(event.attributes).encode()


def test_values_follow_the_scenario_and_leave_out_what_is_no_feature(door: Door, scenario: Scenario) -> None:
    attributes = {"policy_age_days": 12, "vehicle_make": "VW", "is_towed": True, "narrative": "äb", "sex": "f"}
    admission = door.admit(claim(attributes=attributes | {"insured_since": "2024-04-30T10:30:00Z"}), now_ms=NOW_MS)
    names = [attribute.name for attribute in scenario.value_attributes]
    assert names == ["policy_age_days", "vehicle_make", "is_towed", "narrative", "insured_since"]
    assert admission.values == (12.0, category_code("VW"), 1.0, 2.0, 1.0)


def test_missing_attributes_are_nan_and_not_zero(door: Door) -> None:
    admission = door.admit(claim(attributes={"policy_age_days": None}), now_ms=NOW_MS)
    assert all(math.isnan(value) for value in admission.values)
    assert admission.event.attributes == {}


def test_personal_attributes_stay_beside_the_event(door: Door) -> None:
    admission = door.admit(claim(attributes={"phone": "0301234"}), now_ms=NOW_MS)
    assert admission.personal == {"phone": "0301234"}
    assert "phone" not in admission.event.attributes


def test_changed_personal_attribute_changes_the_digest(door: Door) -> None:
    one, other = (
        door.admit(claim(attributes={"phone": phone}), now_ms=NOW_MS).event.payload_digest for phone in ("1", "2")
    )
    assert one != other


def test_key_order_and_order_within_a_role_do_not_change_the_digest(door: Door) -> None:
    message = claim()
    turned = dict(reversed(message.items())) | {
        "entities": {"repair_shop": "s-1", "witness": [3, "p-2"], "claimant": "p-1"},
        "attributes": dict(reversed(message["attributes"].items())) | {"sex": None},
        "event_time": NOON_MS,
    }
    assert door.admit(message, now_ms=NOW_MS).event.payload_digest == (
        door.admit(turned, now_ms=NOW_MS).event.payload_digest
    )


@pytest.mark.parametrize(
    "change",
    [
        {"event_time": "2024-05-01T12:30:00.001+02:00"},
        {"amount": 1234.57},
        {"amount": ...},
        {"entities": {"claimant": "p-1", "witness": ["p-2"], "repair_shop": "s-1"}},
        {"entities": {"claimant": "p-2", "witness": ["p-1", 3], "repair_shop": "s-1"}},
        {"attributes": {"policy_age_days": 12, "vehicle_make": "VW", "is_towed": True}},
        {"attributes": {"policy_age_days": 12, "vehicle_make": "VW", "is_towed": False, "narrative": "Rear-ended."}},
    ],
)
def test_another_payload_has_another_digest(door: Door, change: dict[str, Any]) -> None:
    before = door.admit(claim(), now_ms=NOW_MS).event.payload_digest
    assert door.admit(claim(**change), now_ms=NOW_MS).event.payload_digest != before


def test_digest_is_the_same_in_every_version(door: Door) -> None:
    # The ledger compares digests across years. If this fails, repeated imports would look like conflicts.
    assert door.admit(claim(), now_ms=NOW_MS).event.payload_digest.hex() == "d802b309989c9adcc43d33fa080985f1"


def test_one_entity_named_twice_in_a_role_is_one_link(door: Door) -> None:
    admission = door.admit(claim(entities={"witness": [7, "7", 7.0]}), now_ms=NOW_MS)
    assert len(admission.event.links) == 1


@pytest.mark.parametrize(
    ("amount", "minor"),
    [(0.125, 12), (0.375, 38), (-0.0, 0), (12.345, 1234), (3, 300), (2**53 / 100 - 1, 2**53 - 100)],
)
def test_amounts_round_half_to_even_on_the_product(door: Door, amount: float, minor: int) -> None:
    assert door.admit(claim(amount=amount), now_ms=NOW_MS).event.amount_minor == minor


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2024-05-01T12:30:00+02:00", NOON_MS),
        ("2024-05-01T10:30:00Z", NOON_MS),
        ("2024-05-01 12:30", NOON_MS),
        ("2024-05-01T12:30:00.0009", NOON_MS),
        ("2024-05-01T05:00:00-0530", NOON_MS),
        ("2024-05-01", 1_714_514_400_000),
        (NOON_MS, NOON_MS),
        ("2024-10-27T02:30:00", 1_729_989_000_000),  # twice on the wall clock: the earlier one
        ("2024-03-31T02:30:00", 1_711_848_600_000),  # never on the wall clock: shifted to 03:30
    ],
)
def test_times_are_read_in_the_scenarios_zone(door: Door, text: str | int, time_ms: int) -> None:
    assert door.admit(claim(event_time=text), now_ms=NOW_MS).event.event_time_ms == time_ms


def test_event_may_be_five_minutes_ahead(door: Door) -> None:
    assert door.admit(claim(event_time=NOW_MS + 300_000), now_ms=NOW_MS).event.event_time_ms == NOW_MS + 300_000


def test_event_type_without_a_time_takes_the_present_and_can_be_retried(identity: IdentityKey) -> None:
    described = {"decide": "loan", "events": {"loan": {"event_id": "row", "attributes": {"age": "number"}}}}
    door = Door(scenario_from_mapping("loans", described, where="ringfence.yaml"), identity)
    message = {"event_id": 1, "attributes": {"age": 30}}
    first, again = (door.admit(message, now_ms=now_ms).event for now_ms in (NOW_MS, NOW_MS + 500))
    assert (first.event_time_ms, again.event_time_ms) == (NOW_MS, NOW_MS + 500)
    assert first.payload_digest == again.payload_digest


def test_context_event_has_no_values(door: Door, scenario: Scenario) -> None:
    message = {"event_type": "policy_change", "event_id": 5, "event_time": NOON_MS, "entities": {"claimant": "p-1"}}
    admission = door.admit(message, now_ms=NOW_MS)
    assert len(admission.values) == len(scenario.value_attributes)
    assert all(math.isnan(value) for value in admission.values)
    assert admission.event.links[0] == door.admit(claim(), now_ms=NOW_MS).event.links[0]


DEEP: list[Any] = []
for _ in range(50):
    DEEP = [DEEP]

MALFORMED: list[tuple[str, Any, str]] = [
    ("a list", [], "$"),
    ("a text", "claim", "$"),
    ("null", None, "$"),
    ("an unknown field", claim(event_tme=1), "$.event_tme"),
    ("a field name that is no text", claim() | {7: 1}, "$"),
    ("a field name with half a character", claim() | {"\ud800": 1}, "$.\\ud800"),
    ("an unknown event type", claim(event_type="clam"), "$.event_type"),
    ("an event type that is a list", claim(event_type=["claim"]), "$.event_type"),
    ("a null event type", claim(event_type=None), "$.event_type"),
    ("no id", claim(event_id=...), "$.event_id"),
    ("a null id", claim(event_id=None), "$.event_id"),
    ("an empty id", claim(event_id=""), "$.event_id"),
    ("a boolean id", claim(event_id=True), "$.event_id"),
    ("a fractional id", claim(event_id=1.5), "$.event_id"),
    ("a list as id", claim(event_id=["c-1"]), "$.event_id"),
    ("an endless id", claim(event_id="x" * 513), "$.event_id"),
    ("half a character as id", claim(event_id="\ud800"), "$.event_id"),
    ("an id beyond 64 bits", claim(event_id=2**64), "$.event_id"),
    ("no time", claim(event_time=...), "$.event_time"),
    ("a boolean time", claim(event_time=True), "$.event_time"),
    ("a fractional time", claim(event_time=1.5), "$.event_time"),
    ("a time in words", claim(event_time="yesterday"), "$.event_time"),
    ("a 13th month", claim(event_time="2024-13-01"), "$.event_time"),
    ("30 February", claim(event_time="2024-02-30"), "$.event_time"),
    ("29 February in a common year", claim(event_time="2023-02-29"), "$.event_time"),
    ("hour 24", claim(event_time="2024-05-01T24:00:00"), "$.event_time"),
    ("a leap second", claim(event_time="2016-12-31T23:59:60Z"), "$.event_time"),
    ("an offset of 25 hours", claim(event_time="2024-05-01T12:00:00+25:00"), "$.event_time"),
    ("digits of another script", claim(event_time="２０２４-05-01"), "$.event_time"),
    ("a line after the time", claim(event_time="2024-05-01\n"), "$.event_time"),
    ("1900", claim(event_time="1900-01-01T00:00:00Z"), "$.event_time"),
    ("2200", claim(event_time="2200-01-01T00:00:00Z"), "$.event_time"),
    ("before 1970", claim(event_time=-1), "$.event_time"),
    ("seconds since 1970", claim(event_time=1_700_000_000), "$.event_time"),
    ("a step as time", claim(event_time=0), "$.event_time"),
    ("a huge time", claim(event_time=10**400), "$.event_time"),
    ("more than five minutes ahead", claim(event_time=NOW_MS + 300_001), "$.event_time"),
    ("an amount in words", claim(amount="12"), "$.amount"),
    ("a boolean amount", claim(amount=True), "$.amount"),
    ("an amount below zero", claim(amount=-12.5), "$.amount"),
    ("NaN", claim(amount=math.nan), "$.amount"),
    ("infinity", claim(amount=math.inf), "$.amount"),
    ("minus infinity", claim(amount=-math.inf), "$.amount"),
    ("2^53 minor units", claim(amount=2.0**53 / 100), "$.amount"),
    ("an amount beyond float64", claim(amount=10**400), "$.amount"),
    ("an amount that overflows in minor units", claim(amount=1e308), "$.amount"),
    (
        "an amount where there is none",
        {"event_type": "policy_change", "event_id": 1, "event_time": NOON_MS, "amount": 3},
        "$.amount",
    ),
    ("entities as a list", claim(entities=[]), "$.entities"),
    ("an unknown role", claim(entities={"claiment": "p"}), "$.entities.claiment"),
    ("two ids in a single role", claim(entities={"claimant": ["p-1", "p-2"]}), "$.entities.claimant"),
    ("an object as id", claim(entities={"claimant": {"id": 1}}), "$.entities.claimant"),
    ("an empty entity", claim(entities={"claimant": ""}), "$.entities.claimant"),
    ("a boolean entity", claim(entities={"claimant": False}), "$.entities.claimant"),
    ("NaN as entity", claim(entities={"claimant": math.nan}), "$.entities.claimant"),
    ("infinity as entity", claim(entities={"claimant": math.inf}), "$.entities.claimant"),
    ("a null among ids", claim(entities={"witness": ["p-1", None]}), "$.entities.witness[1]"),
    ("a list in a list", claim(entities={"witness": [["p-1"]]}), "$.entities.witness[0]"),
    ("a deep list", claim(entities={"witness": DEEP}), "$.entities.witness[0]"),
    ("half a character among ids", claim(entities={"witness": ["a", "\udfff"]}), "$.entities.witness[1]"),
    ("a crowd", claim(entities={"witness": list(range(MOST_ENTITIES + 1))}), "$.entities.witness"),
    ("attributes as a text", claim(attributes="red"), "$.attributes"),
    ("an unknown attribute", claim(attributes={"vehicle_mak": "VW"}), "$.attributes.vehicle_mak"),
    ("text as number", claim(attributes={"policy_age_days": "12"}), "$.attributes.policy_age_days"),
    ("a boolean as number", claim(attributes={"policy_age_days": True}), "$.attributes.policy_age_days"),
    ("NaN as number", claim(attributes={"policy_age_days": math.nan}), "$.attributes.policy_age_days"),
    ("a number beyond float64", claim(attributes={"policy_age_days": 10**400}), "$.attributes.policy_age_days"),
    ("2 as boolean", claim(attributes={"is_towed": 2}), "$.attributes.is_towed"),
    ("yes as boolean", claim(attributes={"is_towed": "yes"}), "$.attributes.is_towed"),
    ("a list as category", claim(attributes={"vehicle_make": ["VW"]}), "$.attributes.vehicle_make"),
    ("a fraction as category", claim(attributes={"vehicle_make": 1.5}), "$.attributes.vehicle_make"),
    ("an endless category", claim(attributes={"vehicle_make": "x" * 1001}), "$.attributes.vehicle_make"),
    ("half a character as category", claim(attributes={"vehicle_make": "\ud800"}), "$.attributes.vehicle_make"),
    ("a number as text", claim(attributes={"narrative": 3}), "$.attributes.narrative"),
    ("an endless text", claim(attributes={"narrative": "x" * 100_001}), "$.attributes.narrative"),
    ("half a character as text", claim(attributes={"narrative": "\ud800"}), "$.attributes.narrative"),
    ("a time in words as attribute", claim(attributes={"insured_since": "soon"}), "$.attributes.insured_since"),
]


@pytest.mark.parametrize(("message", "path"), [pytest.param(m, p, id=what) for what, m, p in MALFORMED])
def test_malformed_event_is_refused_with_its_path(door: Door, message: Any, path: str) -> None:
    with pytest.raises(InvalidEventError) as refusal:
        door.admit(message, now_ms=NOW_MS)
    assert refusal.value.path == path
    assert refusal.value.do
    str(refusal.value).encode()  # the message itself can always be sent
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("value", ["1980-13-01", 19801301.5, True, ["1980"]])
def test_personal_value_is_not_shown_in_the_refusal(door: Door, value: Any) -> None:
    with pytest.raises(InvalidEventError, match="personal, not shown") as refusal:
        door.admit(claim(attributes={"birth_date": value}), now_ms=NOW_MS)
    assert "1980" not in str(refusal.value)


def test_unknown_name_gets_a_suggestion(door: Door) -> None:
    with pytest.raises(InvalidEventError, match="did you mean 'claimant'"):
        door.admit(claim(entities={"claiment": "p"}), now_ms=NOW_MS)


def test_suggestion_stays_short_however_much_is_known() -> None:
    assert did_you_mean("zzz", [f"name_{i:03}" for i in range(50)]).endswith("name_019 and 30 more")
    assert did_you_mean("zzz", []) == "nothing may stand here"


def test_label_is_read(door: Door) -> None:
    notice = door.label({"event_id": 5, "label": "fraud", "source": "investigator", "known_at": "2024-05-01T10:30:00Z"})
    assert (notice.event_type, notice.event_id, notice.value) == ("claim", "5", FRAUD)
    assert (notice.source, notice.known_at_ms) == ("investigator", NOON_MS)
    plain = door.label({"event_id": "5", "label": "legit"})
    assert (plain.value, plain.source, plain.known_at_ms) == (LEGIT, "api", None)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"label": None}, "$.label"),
        ({"label": 1}, "$.label"),
        ({"label": "Fraud"}, "$.label"),
        ({"label": ["fraud"]}, "$.label"),
        ({"event_id": ""}, "$.event_id"),
        ({"event_type": "clam"}, "$.event_type"),
        ({"source": ""}, "$.source"),
        ({"source": "a b"}, "$.source"),
        ({"source": 3}, "$.source"),
        ({"source": "matured"}, "$.source"),
        ({"known_at": "1900-01-01"}, "$.known_at"),
        ({"known_at": True}, "$.known_at"),
        ({"knownat": 1}, "$.knownat"),
    ],
)
def test_malformed_label_is_refused_with_its_path(door: Door, change: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidEventError) as refusal:
        door.label({"event_id": "5", "label": "fraud"} | change)
    assert refusal.value.path == path


def test_seconds_are_refused_with_the_way_out_in_labels_too(door: Door) -> None:
    with pytest.raises(InvalidEventError, match="multiply it by 1,000"):
        door.admit(claim(event_time=1_700_000_000), now_ms=NOW_MS)
    with pytest.raises(InvalidEventError, match="multiply it by 1,000") as refusal:
        door.label({"event_id": "c-1", "label": "fraud", "known_at": 1_700_000_000})
    assert refusal.value.path == "$.known_at"
