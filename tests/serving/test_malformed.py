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
}

CASES = [
    *(pytest.param("/v1/decisions", *case, id=name) for name, case in DECISIONS.items()),
    *(
        pytest.param("/v1/events", *case, id=f"event: {name}")
        for name, case in DECISIONS.items()
        if name != "a type that only teaches"
    ),
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
    ],
)
def test_a_request_in_the_wrong_shape_is_refused(
    shared: RunningService, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = shared.ask(method, path, json.dumps(claim("shape")).encode(), headers=headers)
    assert response.status_code == status, response.text
    assert response.json()["detail"]
    assert shared.ask("GET", "/readyz", key=None).status_code == 200
