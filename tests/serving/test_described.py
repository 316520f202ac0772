# SPDX-License-Identifier: Apache-2.0
"""Requests drawn from our own OpenAPI description, fitting and not: each answer is one that it describes, none a 5xx.

The strategies are made here from the few words of JSON Schema that the description uses; an unknown word fails.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.serving import wire
from ringfence.serving.errors import PROBLEM_TYPES, Problem
from ringfence.serving.keys import Scope

from .conftest import NOW_MS, RunningService, claim

ROUTES = [
    ("/v1/decisions", "post"),
    ("/v1/decisions", "get"),
    ("/v1/decisions/batch", "post"),
    ("/v1/events", "post"),
    ("/v1/labels", "post"),
    ("/v1/pending/decide", "post"),
    ("/v1/decisions/{id}", "get"),
    ("/v1/entities/{type}/{id}", "get"),
    ("/v1/releases", "get"),
    ("/v1/releases/promote", "post"),
    ("/v1/releases/rollback", "post"),
    ("/v1/releases/shadow", "post"),
    ("/v1/releases/unshadow", "post"),
    ("/healthz", "get"),
    ("/readyz", "get"),
    ("/metrics", "get"),
    ("/openapi.json", "get"),
]
REFUSED = {  # always here, with one release; test_swap.py and test_shadow_routes.py have others
    f"/v1/releases/{act}" for act in ("promote", "rollback", "shadow", "unshadow")
}
ANSWERS: dict[str, Any] = {
    "DecisionAnswer": wire.DecisionAnswer,
    "StoredDecision": wire.StoredDecision,
    "ExplainedDecision": wire.ExplainedDecision,
    "EventAnswer": wire.EventAnswer,
    "LabelAnswer": wire.LabelAnswer,
    "EntityAnswer": wire.EntityAnswer,
    "PendingDecided": wire.PendingDecided,
    "ReleasesAnswer": wire.ReleasesAnswer,
    "Health": wire.Health,
}
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
KNOWN_WORDS = {
    "$ref", "anyOf", "const", "enum", "type", "properties", "required", "additionalProperties", "items", "maxItems",
    "minimum", "maximum", "minLength", "maxLength", "pattern", "format", "description", "default",
}  # fmt: skip


def fitting(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw documents that fit `schema`."""
    assert set(schema) <= KNOWN_WORDS, schema
    if "$ref" in schema:
        return fitting(root["components"]["schemas"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return st.one_of([fitting(one, root) for one in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_of_type(one, schema, root) for one in types])


def _of_type(name: str, schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    least = schema.get("minimum")
    match name:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(-(2**63) if least is None else least, schema.get("maximum", 2**63 - 1))
        case "number":
            return st.floats(-1e9 if least is None else least, 1e9)
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "string":
            moments = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
            texts = st.text(min_size=schema.get("minLength", 0), max_size=30)
            return moments | texts if schema.get("description") == "ISO 8601" or "format" in schema else texts
        case "array":
            return st.lists(fitting(schema["items"], root), max_size=3)
        case "object":
            inner = {key: fitting(value, root) for key, value in schema["properties"].items()}
            needed = schema.get("required", [])
            return st.fixed_dictionaries(
                {key: inner[key] for key in needed},
                optional={key: value for key, value in inner.items() if key not in needed},
            )
    raise AssertionError(name)


@st.composite
def requests(draw: Any, operation: dict[str, Any], root: dict[str, Any], path: str) -> tuple[str, Any, dict[str, str]]:
    """Draw path with query, body and headers; about half of the parts fit."""
    where, query, headers = path, [], {}
    for parameter in operation.get("parameters", []):
        value = draw(fitting(parameter["schema"], root) if draw(st.booleans()) else st.text(max_size=20))
        there = root["x-known"].get((path, parameter["name"]))
        value = there if there is not None and draw(st.integers(0, 3)) else value
        if parameter["in"] == "path":
            where = where.replace("{" + parameter["name"] + "}", quote(str(value), safe=""))
        elif draw(st.booleans()) or parameter["required"]:
            if parameter["in"] == "query":
                query.append(f"{parameter['name']}={quote(str(value), safe='')}")
            else:
                headers[parameter["name"]] = (
                    str(value).encode("ascii", "replace").decode().translate({10: 32, 13: 32, 0: 32})
                )
    body = None
    if "requestBody" in operation:
        ((media_type, content),) = operation["requestBody"]["content"].items()
        headers["content-type"] = media_type
        document = draw(fitting(content["schema"], root))
        if isinstance(document, dict):
            changes = {"event_time": NOW_MS - draw(st.integers(0, 10**9))} if "event_time" in document else {}
            document |= changes if draw(st.booleans()) else {}
            document |= {"event_id": "past-1"} if draw(st.booleans()) and "label" in document else {}
            if document and draw(st.booleans()):
                document[draw(st.sampled_from(sorted(document)))] = draw(JUNK)
        body = json.dumps(draw(st.just(document) | st.just(document) | JUNK)).encode()
    return where + ("?" + "&".join(query) if query else ""), body, headers


@pytest.fixture(scope="module")
def described(shared: RunningService) -> dict[str, Any]:
    event = claim("described")
    answer = shared.ask("POST", "/v1/decisions", event)
    assert answer.status_code == 200
    root: dict[str, Any] = shared.ask("GET", "/openapi.json").json()
    root["x-known"] = {  # what a read may find, by path and parameter
        ("/v1/decisions", "event_id"): event["event_id"],
        ("/v1/decisions/{id}", "id"): answer.json()["decision_id"],
        ("/v1/entities/{type}/{id}", "type"): "person",
        ("/v1/entities/{type}/{id}", "id"): event["entities"]["claimant"],
    }
    return root


def test_every_described_route_is_asked(described: dict[str, Any]) -> None:
    assert {(path, method) for path, methods in described["paths"].items() for method in methods} == set(ROUTES)


@pytest.mark.parametrize(("path", "method"), ROUTES, ids=[f"{method} {path}" for path, method in ROUTES])
def test_every_answer_is_one_that_is_described(
    shared: RunningService, described: dict[str, Any], path: str, method: str
) -> None:
    operation = described["paths"][path][method]
    good = next(status for status in operation["responses"] if status.isdigit())
    needed = operation.get("x-scope")
    seen: set[int] = set()

    @settings(max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(requests(operation, described, path), st.just(needed) | st.sampled_from([None, *map(str, Scope)]))
    def ask(request: tuple[str, Any, dict[str, str]], key: str | None) -> None:
        where, body, headers = request
        answer = shared.ask(method.upper(), where, body, key=key, headers=headers)
        assert answer.status_code < 500, answer.text
        seen.add(answer.status_code)
        media_type = answer.headers["content-type"].partition(";")[0]
        if answer.status_code == int(good):
            assert needed is None or key in (needed, "admin")
            content = operation["responses"][good].get("content", {})
            for schema in (one["schema"] for one in content.values()):
                assert media_type in content
                names = [one["$ref"].rpartition("/")[2] for one in schema.get("anyOf", [schema])]
                assert any(_fits(answer.content, ANSWERS[name]) for name in names), answer.text
            return
        assert 400 <= answer.status_code < 500
        assert media_type == "application/problem+json"
        problem = msgspec.json.decode(answer.content, type=Problem)
        assert problem.status == answer.status_code
        assert problem.type.rpartition(":")[2] in PROBLEM_TYPES
        assert problem.title
        assert problem.detail
        if key is None:
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        elif key not in (needed, "admin"):
            assert answer.status_code == 403
        elif answer.status_code == 422:
            assert (problem.path or "").startswith("$")
            assert problem.found
            assert problem.do

    ask()
    assert (int(good) in seen) == (path not in REFUSED)
    if needed is not None:  # who it is comes before what is asked
        where = path.replace("{id}", "x").replace("{type}", "x")
        other = next(str(scope) for scope in Scope if scope not in (needed, Scope.ADMIN))
        assert shared.ask(method.upper(), where, key=None).status_code == 401
        assert shared.ask(method.upper(), where, key=other).status_code == 403
    assert shared.ask("GET", "/readyz", key=None).status_code == 200


def _fits(body: bytes, kind: Any) -> bool:
    """Whether the body is of this struct, and has all of its names and no other."""
    try:
        return bool(
            json.loads(body).keys() == json.loads(msgspec.json.encode(msgspec.json.decode(body, type=kind))).keys()
        )
    except msgspec.ValidationError:
        return False
