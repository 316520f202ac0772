# SPDX-License-Identifier: Apache-2.0
"""Requests wrong in every way we could think of: each a clear 4xx with a path, nothing recorded, the service alive."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from .conftest import DAY_MS, NOW_MS, RunningService, claim


def body(text: str) -> bytes:
    return text.encode()


def without(name: str) -> dict[str, Any]:
    event = claim("bad")
    del event[name]
    return event


def attribute(name: str, value: Any) -> dict[str, Any]:
    return claim("bad", attributes={name: value})


def entities(**roles: Any) -> dict[str, Any]:
    return claim("bad", entities=roles)


LABEL = {"event_id": "past-1", "label": "fraud", "source": "investigator"}
RAW = '{"event_id":"c-bad","event_time":1749990000000,"amount":%s,"entities":{}}'


def timed(moment: Any) -> dict[str, Any]:
    return claim("bad", event_time=moment)


# what is sent, the status, the path
DECISIONS: dict[str, tuple[object, int, str]] = {
    # not JSON, or not an object
    "empty body": (b"", 400, "$"),
    "white space": (b"  \n", 400, "$"),
    "truncated": (b'{"event_id": "c-1", "ev', 400, "$"),
    "trailing bytes": (b'{"event_id": "c-1"} x', 400, "$"),
    "two objects": (b"{}{}", 400, "$"),
    "an array": ([claim("bad")], 400, "$"),
    "a string": (b'"c-1"', 400, "$"),
    "null": (b"null", 400, "$"),
    "a number": (b"1", 400, "$"),
    "invalid UTF-8 in a text": (b'{"event_id": "\xff\xfe"}', 400, "$"),
    "UTF-16": ('{"event_id": "c-1"}'.encode("utf-16"), 400, "$"),
    "byte order mark": (b"\xef\xbb\xbf{}", 400, "$"),
    "half a surrogate pair": (b'{"event_id": "\\ud800"}', 400, "$"),
    "a hundred thousand brackets": (b"[" * 100_000, 400, "$"),
    "deeply nested attribute": (b'{"attributes":' * 5_000, 400, "$"),
    "NaN amount": (body(RAW % "NaN"), 400, "$"),
    "infinite amount": (body(RAW % "Infinity"), 400, "$"),
    "amount beyond floats": (body(RAW % "1e999"), 400, "$"),
    # fields
    "empty object": ({}, 422, "$.event_id"),
    "no event_id": (without("event_id"), 422, "$.event_id"),
    "null event_id": (claim("bad", event_id=None), 422, "$.event_id"),
    "empty event_id": (claim("bad", event_id=""), 422, "$.event_id"),
    "event_id a list": (claim("bad", event_id=["c-1"]), 422, "$.event_id"),
    "event_id true": (claim("bad", event_id=True), 422, "$.event_id"),
    "event_id a fraction": (claim("bad", event_id=1.5), 422, "$.event_id"),
    "event_id of a megabyte less a bit": (claim("bad", event_id="x" * 1_000_000), 422, "$.event_id"),
    "unknown field": (claim("bad", colour="red"), 422, "$.colour"),
    "unknown event type": (claim("bad", event_type="invoice"), 422, "$.event_type"),
    "event type a number": (claim("bad", event_type=3), 422, "$.event_type"),
    "a type that only teaches": (
        {"event_id": "p-1", "event_type": "policy_change", "event_time": NOW_MS},
        422,
        "$.event_type",
    ),
    # times
    "no event_time": (without("event_time"), 422, "$.event_time"),
    "event_time in words": (claim("bad", event_time="yesterday"), 422, "$.event_time"),
    "event_time in 1900": (claim("bad", event_time="1900-01-01T00:00:00Z"), 422, "$.event_time"),
    "event_time in 2200": (claim("bad", event_time="2200-01-01T00:00:00Z"), 422, "$.event_time"),
    "event_time before 1970": (claim("bad", event_time=-1), 422, "$.event_time"),
    "event_time a day ahead": (claim("bad", event_time=NOW_MS + DAY_MS), 422, "$.event_time"),
    "event_time on 30 February": (claim("bad", event_time="2025-02-30T00:00:00Z"), 422, "$.event_time"),
    "event_time with a zone by name": (
        claim("bad", event_time="2025-01-01T00:00:00 Mars/Olympus"),
        422,
        "$.event_time",
    ),
    "event_time true": (claim("bad", event_time=True), 422, "$.event_time"),
    "event_time of 200 digits": (body('{"event_id":"c-bad","event_time":' + "9" * 200 + "}"), 422, "$.event_time"),
    # amounts
    "amount a text": (claim("bad", amount="12.50"), 422, "$.amount"),
    "amount true": (claim("bad", amount=True), 422, "$.amount"),
    "amount a list": (claim("bad", amount=[1]), 422, "$.amount"),
    "amount too large to count": (claim("bad", amount=1e300), 422, "$.amount"),
    "amount a huge whole number": (body(RAW % ("9" * 400)), 422, "$.amount"),
    # entities
    "entities a list": (claim("bad", entities=["7"]), 422, "$.entities"),
    "entities a text": (claim("bad", entities="7"), 422, "$.entities"),
    "unknown role": (entities(notary="7"), 422, "$.entities.notary"),
    "role of another case": (entities(Claimant="7"), 422, "$.entities.Claimant"),
    "two claimants": (entities(claimant=["7", "8"]), 422, "$.entities.claimant"),
    "claimant an object": (entities(claimant={"id": 7}), 422, "$.entities.claimant"),
    "claimant a fraction": (entities(claimant=7.25), 422, "$.entities.claimant"),
    "claimant empty": (entities(claimant=""), 422, "$.entities.claimant"),
    "claimant too long": (entities(claimant="7" * 600), 422, "$.entities.claimant"),
    "one witness null": (entities(witness=["7", None]), 422, "$.entities.witness[1]"),
    "a thousand and one witnesses": (entities(witness=list(range(1001))), 422, "$.entities.witness"),
    # attributes
    "attributes a list": (claim("bad", attributes=[]), 422, "$.attributes"),
    "unknown attribute": (attribute("shoe_size", 44), 422, "$.attributes.shoe_size"),
    "number as a text": (attribute("policy_age_days", "12"), 422, "$.attributes.policy_age_days"),
    "number as a list": (attribute("policy_age_days", [12]), 422, "$.attributes.policy_age_days"),
    "text as a number": (attribute("narrative", 5), 422, "$.attributes.narrative"),
    "boolean as a word": (attribute("towed", "maybe"), 422, "$.attributes.towed"),
    "time in words": (attribute("bought_at", "long ago"), 422, "$.attributes.bought_at"),
    "category as an object": (attribute("vehicle_make", {"vw": 1}), 422, "$.attributes.vehicle_make"),
    "personal text as a number": (attribute("phone", 4915), 422, "$.attributes.phone"),
    # identity
    "another payload for a known id": (claim("bad", event_id="past-1"), 409, "$.event_id"),
}

MORE: dict[str, tuple[object, int, str]] = {
    # not JSON
    "minus infinity": (body(RAW % "-Infinity"), 400, "$"),
    "a number with a plus": (body(RAW % "+1"), 400, "$"),
    "a number with a leading zero": (body(RAW % "01"), 400, "$"),
    "a number without a leading zero": (body(RAW % ".5"), 400, "$"),
    "a hexadecimal number": (body(RAW % "0x10"), 400, "$"),
    "a whole number of 5,000 digits": (body(RAW % ("9" * 5_000)), 400, "$"),
    "the second half of a surrogate pair": (b'{"event_id": "\\udc00"}', 400, "$"),
    "a surrogate pair in the wrong order": (b'{"event_id": "\\udc00\\ud800"}', 400, "$"),
    "a surrogate in UTF-8": (b'{"event_id": "\xed\xa0\x80"}', 400, "$"),
    "an overlong NUL": (b'{"event_id": "\xc0\x80"}', 400, "$"),
    "a raw NUL": (b'{"event_id": "a\x00b"}', 400, "$"),
    "a raw tab in a text": (b'{"event_id": "a\tb"}', 400, "$"),
    "an escape of no kind": (b'{"event_id": "\\x41"}', 400, "$"),
    "half an escape": (b'{"event_id": "\\u12"}', 400, "$"),
    "single quotes": (b"{'event_id': 'c-1'}", 400, "$"),
    "a name without quotes": (b'{event_id: "c-1"}', 400, "$"),
    "a trailing comma": (b'{"event_id": "c-1",}', 400, "$"),
    "a comment": (b'{"event_id": "c-1" /* ours */}', 400, "$"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 400, "$"),
    "UTF-32": ('{"event_id": "c-1"}'.encode("utf-32"), 400, "$"),
    "a vertical tab before the object": (b'\x0b{"event_id": "c-1"}', 400, "$"),
    "seventeen levels": (b'{"attributes":' * 17 + b"1" + b"}" * 17, 400, "$"),
    "an event_id of ten megabytes": (b'{"event_id":"' + b"x" * (10 << 20) + b'"}', 413, "$"),
    # which of two equal names counts: the last
    "a good event_id, then a bad one": (
        b'{"event_id":"c-bad","event_id":[],"event_time":1749990000000}',
        422,
        "$.event_id",
    ),
    # times
    "event_time in seconds": (timed(1_749_990_000), 422, "$.event_time"),
    "event_time with a fraction": (timed(1_749_990_000_000.5), 422, "$.event_time"),
    "event_time -0": (body('{"event_id":"c-bad","event_time":-0}'), 422, "$.event_time"),
    "event_time 2^63": (timed(2**63), 422, "$.event_time"),
    "event_time -2^63": (timed(-(2**63)), 422, "$.event_time"),
    "event_time empty": (timed(""), 422, "$.event_time"),
    "event_time of spaces": (timed("  "), 422, "$.event_time"),
    "event_time between spaces": (timed(" 2025-06-14T12:00:00Z "), 422, "$.event_time"),
    "event_time with NUL": (timed("2025-06-14T12:00:00\x00Z"), 422, "$.event_time"),
    "event_time with a line feed": (timed("2025-06-14T12:00:00Z\n"), 422, "$.event_time"),
    "event_time day first": (timed("14.06.2025"), 422, "$.event_time"),
    "event_time month first": (timed("06/14/2025"), 422, "$.event_time"),
    "event_time as a week": (timed("2025-W24-6"), 422, "$.event_time"),
    "event_time as a day of the year": (timed("2025-165"), 422, "$.event_time"),
    "event_time without separators": (timed("20250614T120000Z"), 422, "$.event_time"),
    "event_time at 24 o'clock": (timed("2025-06-13T24:00:00Z"), 422, "$.event_time"),
    "event_time in a leap second": (timed("2016-12-31T23:59:60Z"), 422, "$.event_time"),
    "event_time 25 hours ahead of UTC": (timed("2025-06-14T12:00:00+25:00"), 422, "$.event_time"),
    "event_time with an offset and a zone": (timed("2025-06-14T12:00:00+02:00[Europe/Berlin]"), 422, "$.event_time"),
    "event_time of ten digits of a second": (timed("2025-06-14T12:00:00.1234567890Z"), 422, "$.event_time"),
    "event_time in wide digits": (timed("\uff12\uff10\uff12\uff15-06-14"), 422, "$.event_time"),
    "event_time with a printed minus": (timed("2025-06-14T12:00:00\u221202:00"), 422, "$.event_time"),
    "event_time in the year 0": (timed("0000-06-14T12:00:00Z"), 422, "$.event_time"),
    "event_time in the year 10000 of UTC": (timed("9999-12-31T23:59:59-14:00"), 422, "$.event_time"),
    "event_time in the year 0 of UTC": (timed("0001-01-01T00:00:00+14:00"), 422, "$.event_time"),
    # amounts
    "amount below nothing": (claim("bad", amount=-1), 422, "$.amount"),
    "amount of 2^53 cents": (claim("bad", amount=2**53 / 100), 422, "$.amount"),
    # entities
    "claimant true": (entities(claimant=True), 422, "$.entities.claimant"),
    "claimant 2^64": (entities(claimant=2**64), 422, "$.entities.claimant"),
    "claimant below -2^63": (entities(claimant=-(2**63) - 1), 422, "$.entities.claimant"),
    "a list of lists of witnesses": (entities(witness=[["7"]]), 422, "$.entities.witness[0]"),
    "witnesses by number": (entities(witness={"0": "7"}), 422, "$.entities.witness"),
    "the same witness a thousand and one times": (entities(witness=["7"] * 1_001), 422, "$.entities.witness"),
    "a role without a name": (entities(**{"": "7"}), 422, "$.entities."),
    "a role with a space": (entities(**{" claimant": "7"}), 422, "$.entities. claimant"),
    # attributes
    "number beyond floats": (attribute("policy_age_days", 10**400), 422, "$.attributes.policy_age_days"),
    "category a fraction": (attribute("vehicle_make", 1.5), 422, "$.attributes.vehicle_make"),
    "category of 1,001 letters": (attribute("vehicle_make", "x" * 1_001), 422, "$.attributes.vehicle_make"),
    "text of 100,001 letters": (attribute("narrative", "x" * 100_001), 422, "$.attributes.narrative"),
    "time beyond the year 9999": (attribute("bought_at", 253_402_300_800_000), 422, "$.attributes.bought_at"),
    "personal text as an object": (attribute("phone", {}), 422, "$.attributes.phone"),
}

LABELS: dict[str, tuple[object, int, str]] = {
    "label for an unknown event": ({**LABEL, "event_id": "nobody"}, 404, "$.event_id"),
    "label without a value": ({"event_id": "past-1"}, 422, "$.label"),
    "label of another word": ({**LABEL, "label": "maybe"}, 422, "$.label"),
    "label 1": ({**LABEL, "label": 1}, 422, "$.label"),
    "label with an amount": ({**LABEL, "amount": 3}, 422, "$.amount"),
    "label of an unknown type": ({**LABEL, "event_type": "invoice"}, 422, "$.event_type"),
    "label with a source of spaces": ({**LABEL, "source": "a b"}, 422, "$.source"),
    "label that claims to be matured": ({**LABEL, "source": "matured"}, 422, "$.source"),
    "label known in words": ({**LABEL, "known_at": "soon"}, 422, "$.known_at"),
    "label known next week": ({**LABEL, "known_at": NOW_MS + 7 * DAY_MS}, 422, "$.known_at"),
    "label not JSON": (b"fraud", 400, "$"),
    "label in capitals": ({**LABEL, "label": "FRAUD"}, 422, "$.label"),
    "label in a list": ({**LABEL, "label": ["fraud"]}, 422, "$.label"),
    "label of no type": ({**LABEL, "event_type": None}, 422, "$.event_type"),
    "label of an object": ({**LABEL, "event_id": {}}, 422, "$.event_id"),
    "label without a source": ({**LABEL, "source": None}, 422, "$.source"),
    "label with a source and a line feed": ({**LABEL, "source": "court\n"}, 422, "$.source"),
    "label known in seconds": ({**LABEL, "known_at": 1_749_990_000}, 422, "$.known_at"),
    "label known before 1970": ({**LABEL, "known_at": -1}, 422, "$.known_at"),
    "label known false": ({**LABEL, "known_at": False}, 422, "$.known_at"),
}

CASES = [
    *(pytest.param("/v1/decisions", *case, id=name) for name, case in DECISIONS.items()),
    *(
        pytest.param("/v1/events", *case, id=f"event: {name}")
        for name, case in DECISIONS.items()
        if name != "a type that only teaches"
    ),
    *(pytest.param("/v1/decisions", *case, id=name) for name, case in MORE.items()),
    *(pytest.param("/v1/labels", *case, id=name) for name, case in LABELS.items()),
]


def test_there_are_more_than_forty_kinds() -> None:
    assert len(DECISIONS) + len(LABELS) >= 75


@pytest.mark.parametrize(("route", "sent", "status", "path"), CASES)
def test_a_malformed_request_is_refused_with_a_path_and_changes_nothing(
    shared: RunningService, route: str, sent: object, status: int, path: str
) -> None:
    last_seq = shared.ledger.last_seq
    response = shared.ask("POST", route, sent)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["path"] == path
    assert problem["status"] == status
    assert problem["type"].startswith("urn:ringfence:problem:")
    assert len(problem["detail"]) < 2_000
    assert shared.ledger.last_seq == last_seq
    assert shared.ask("GET", "/readyz", key=None).status_code == 200


def test_after_all_of_it_the_service_still_decides(shared: RunningService) -> None:
    assert shared.ask("POST", "/v1/decisions", claim("good")).status_code == 200


async def megabytes(n: int, taken: list[int]) -> AsyncIterator[bytes]:
    for _ in range(n * 16):
        taken.append(1)
        yield b" " * 65_536


@pytest.mark.parametrize("route", ["/v1/decisions", "/v1/events", "/v1/labels"])
def test_a_body_of_a_hundred_megabytes_is_refused_after_one(shared: RunningService, route: str) -> None:
    response = shared.ask("POST", route, megabytes(100, []))
    assert (response.status_code, response.json()["path"]) == (413, "$")
    stated = shared.ask("POST", route, b"x" * (1 << 20) + b"x")
    assert stated.status_code == 413


def test_a_batch_over_its_limit_is_refused_whole(shared: RunningService) -> None:
    last_seq = shared.ledger.last_seq
    lines = (json.dumps(claim("whole")) + "\n").encode()
    too_long = lines + b"\n" * (17 << 20)
    response = shared.ask("POST", "/v1/decisions/batch", too_long, headers={"content-type": "application/x-ndjson"})
    assert response.status_code == 413
    assert shared.ledger.last_seq == last_seq


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("PUT", "/v1/decisions", {}, 405),
        ("GET", "/v1/decisions", {}, 400),
        ("GET", "/v1/decisions?event_id=c-1&event_type=policy_change", {}, 400),
        ("DELETE", "/v1/decisions/d-1", {}, 405),
        ("PUT", "/v1/labels", {}, 405),
        ("POST", "/healthz", {}, 405),
        ("POST", "/v1/decisions", {"content-type": "text/xml"}, 415),
        ("POST", "/v1/decisions", {"content-type": "application/x-www-form-urlencoded"}, 415),
        ("POST", "/v1/decisions/batch", {"content-type": "application/json"}, 415),
        ("POST", "/v1/decisions?scenario=nothing", {}, 400),
        ("GET", "/v1/decisions/d-", {}, 404),
        ("GET", "/v1/decisions/d-" + "9" * 400, {}, 404),
        ("GET", "/v1/decisions/x'; DROP TABLE records;--", {}, 404),
        ("GET", "/v1/entities/person/%FF%FE", {}, 400),
        ("GET", "/v1/entities/person/", {}, 404),
        ("GET", "/v1/entities/person/" + "7" * 600, {}, 404),
        ("GET", "/v1/entities/person/%ED%A0%80", {}, 400),
        ("GET", "/v1/entities/person/%zz", {}, 404),
        ("GET", "/v1/entities/person", {}, 404),
        ("GET", "/v1/entities//7", {}, 404),
        ("GET", "/v1/decisions/d-%00", {}, 404),
        ("GET", "/v1/decisions/%FF", {}, 404),
        ("GET", "/v1/decisions/d-9223372036854775808", {}, 404),
        ("GET", "/v1/decisions/d-1_0", {}, 404),
        ("GET", "/v1/decisions?event_id=%00", {}, 404),
        ("GET", "/v1/decisions?event_id=%ED%A0%80", {}, 404),
        ("GET", "/v1/decisions?event_id=" + "x" * 20_000, {}, 404),
        ("GET", "/v1/decisions?event_id=past-1&explain=", {}, 400),
        ("GET", "/v1/decisions?scenario=%00&event_id=past-1", {}, 400),
        ("GET", "/V1/decisions", {}, 404),
        ("GET", "/v1//decisions", {}, 404),
        ("TRACE", "/v1/decisions", {}, 405),
        ("PROPFIND", "/v1/events", {}, 405),
        ("OPTIONS", "/v1/labels", {}, 405),
        ("GET", "/v1/decisions/batch", {}, 405),
        ("POST", "/v1/decisions", {"content-type": ""}, 415),
        ("POST", "/v1/decisions", {"content-type": "application/json, text/plain"}, 415),
        ("POST", "/v1/decisions", {"content-type": "application/vnd.api+json"}, 415),
        ("POST", "/v1/decisions", {"content-type": "*/*"}, 415),
        ("POST", "/v1/decisions", {"ringfence-deadline-ms": ""}, 400),
        ("POST", "/v1/decisions", {"ringfence-deadline-ms": "+5"}, 400),
        ("POST", "/v1/decisions", {"ringfence-deadline-ms": "1e3"}, 400),
    ],
)
def test_a_request_in_the_wrong_shape_is_refused(
    shared: RunningService, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = shared.ask(method, path, json.dumps(claim("shape")).encode(), headers=headers)
    assert response.status_code == status, response.text
    assert response.json()["detail"]
    assert shared.ask("GET", "/readyz", key=None).status_code == 200
