# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI description of every route, made from the wire structs and from the scenario itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ringfence import __version__
from ringfence.scenario.spec import AttributeType, EventType, Scenario
from ringfence.scenario.times import SHORTEST_EPOCH_MS
from ringfence.serving import wire
from ringfence.serving.config import ServiceConfig
from ringfence.serving.errors import Problem
from ringfence.serving.exchange import DEADLINE
from ringfence.serving.pending_routes import LAST_SEQ, MOST, USUAL_LIMIT
from ringfence.serving.release_routes import LONGEST_NOTE

_STRUCTS: Final = (
    wire.DecisionAnswer,
    wire.PendingAnswer,
    wire.StoredDecision,
    wire.ExplainedDecision,
    wire.StoredPending,
    wire.EventAnswer,
    wire.LabelAnswer,
    wire.EntityAnswer,
    wire.PendingDecided,
    wire.SwitchStatus,
    wire.ReleasesAnswer,
    wire.ShadowChange,
    wire.Health,
    Problem,
)
_ATTRIBUTES: Final[dict[AttributeType, dict[str, Any]]] = {
    AttributeType.NUMBER: {"type": "number"},
    AttributeType.CATEGORY: {"type": ["string", "integer", "boolean"]},
    AttributeType.BOOLEAN: {"type": "boolean"},
    AttributeType.TEXT: {"type": "string"},
    AttributeType.TIME: {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}]},
}
_STORED: Final = ("ExplainedDecision", "StoredDecision")  # with explain=full, and without
_EXPLAIN: Final[dict[str, Any]] = {
    "name": "explain",
    "in": "query",
    "required": False,
    "schema": {"enum": ["full"]},
    "description": "with what was kept of the explanation of the whole score; nothing is computed for the request",
}
_INPUT: Final[dict[str, Any]] = {
    "type": ["string", "number", "boolean", "null"],
    "description": "only derived values are made of it; it is not kept",
}
_ID: Final[dict[str, Any]] = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 512}, {"type": "integer"}]}
_TIME: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "string", "description": "ISO 8601"},
        {"type": "integer", "minimum": SHORTEST_EPOCH_MS, "description": "ms since 1970, UTC; not seconds"},
    ]
}


def openapi(scenarios: Mapping[str, Scenario], config: ServiceConfig) -> dict[str, Any]:
    """Describe the API of a service for these scenarios, OpenAPI 3.1."""
    _, components = msgspec.json.schema_components(_STRUCTS, ref_template="#/components/schemas/{name}")
    schemas: dict[str, Any] = dict(components)
    decided, taught = [], []
    for scenario in scenarios.values():
        for event_type in scenario.event_types:
            name = f"Event_{scenario.name}_{event_type.name}".replace("-", "_")
            schemas[name] = _event(scenario, event_type)
            taught.append(_ref(name))
            if event_type.name == scenario.decide:
                decided.append(_ref(name))
    schemas["DecidedEvent"] = _either(decided)
    schemas["Event"] = _either(taught)
    schemas["Label"] = _label()
    schemas["Promotion"], schemas["Rollback"] = _promotion()
    schemas["PendingToDecide"] = _pending()
    ask = [{"name": "scenario", "in": "query", "required": len(scenarios) > 1, "schema": {"enum": list(scenarios)}}]
    deadline = {
        "name": DEADLINE,
        "in": "header",
        "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": config.longest_deadline_ms},
    }
    hurried = f"milliseconds from the request's last byte to its answer; without it {config.deadline_ms}"
    in_lines = "milliseconds from taking a line to its answer; without it there is no hurry"
    decides = sorted({scenario.decide for scenario in scenarios.values()})
    megabytes = config.batch_body_limit_bytes >> 20
    paths = {
        "/v1/decisions": {
            "post": _operation(
                "decide",
                "Decide an event; the same event again gets the same decision",
                "DecisionAnswer",
                pending="PendingAnswer",
            )
            | {
                "parameters": [*ask, {**deadline, "description": hurried}],
                "requestBody": _body("application/json", "DecidedEvent"),
            },
            "get": _operation(
                "read", "Find the decision on an event by the event's id", *_STORED, pending="StoredPending"
            )
            | {
                "parameters": [
                    *ask,
                    {"name": "event_id", "in": "query", "required": True, "schema": {"type": "string"}},
                    {"name": "event_type", "in": "query", "required": False, "schema": {"enum": decides}},
                    _EXPLAIN,
                ]
            },
        },
        "/v1/decisions/batch": {
            "post": _operation(
                "decide", f"Decide one event a line, at most {megabytes} MB; a bad line becomes a problem line"
            )
            | {
                "parameters": [*ask, {**deadline, "description": in_lines}],
                "requestBody": _body("application/x-ndjson", "DecidedEvent"),
            }
        },
        "/v1/events": {
            "post": _operation("decide", "Learn an event without deciding it", "EventAnswer", status=202)
            | {"parameters": ask, "requestBody": _body("application/json", "Event")}
        },
        "/v1/labels": {
            "post": _operation("label", "Tell the truth about an event", "LabelAnswer", status=202)
            | {"parameters": ask, "requestBody": _body("application/json", "Label")}
        },
        "/v1/pending/decide": {
            "post": _operation("decide", "Decide some of the events that wait for the nightly run", "PendingDecided")
            | {"parameters": ask, "requestBody": {**_body("application/json", "PendingToDecide"), "required": False}}
        },
        "/v1/decisions/{id}": {
            "get": _operation("read", "Read a decision with its exact reasons, once computed", *_STORED)
            | {"parameters": [*ask, _in_path("id", "d-1042"), _EXPLAIN]}
        },
        "/v1/entities/{type}/{id}": {
            "get": _operation("read", "An entity's features and recent events as of now", "EntityAnswer")
            | {"parameters": [*ask, _in_path("type", "person"), _in_path("id", "4711")]}
        },
        "/v1/releases": {
            "get": _operation("read", "What is live, what was, and what is on its way", "ReleasesAnswer")
            | {"parameters": ask}
        },
        "/v1/releases/promote": {
            "post": _operation("admin", "Make a release the champion, without a pause", "SwitchStatus", status=202)
            | {"parameters": ask, "requestBody": _body("application/json", "Promotion")}
        },
        "/v1/releases/rollback": {
            "post": _operation("admin", "Make the previous champion live again", "SwitchStatus", status=202)
            | {"parameters": ask, "requestBody": {**_body("application/json", "Rollback"), "required": False}}
        },
        "/v1/releases/shadow": {
            "post": _operation("admin", "Have a release score along after the answer; it never acts", "ShadowChange")
            | {"parameters": ask, "requestBody": _body("application/json", "Promotion")}
        },
        "/v1/releases/unshadow": {
            "post": _operation("admin", "Have no release score along any more", "ShadowChange")
            | {"parameters": ask, "requestBody": {**_body("application/json", "Rollback"), "required": False}}
        },
        "/healthz": {"get": _operation(None, "Is the process alive", "Health")},
        "/readyz": {"get": _operation(None, "Are decisions answered; 503 while not", "Health")},
        "/metrics": {"get": _operation("read", "Prometheus metrics")},
        "/openapi.json": {"get": _operation("read", "This description")},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "ringfence", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "ringfence keys create"}},
        },
    }


def _event(scenario: Scenario, event_type: EventType) -> dict[str, Any]:
    is_decided = event_type.name == scenario.decide
    properties: dict[str, Any] = {"event_type": {"const": event_type.name}, "event_id": _ID, "event_time": _TIME}
    if event_type.amount is not None:
        least = {} if event_type.amount.negative else {"minimum": 0}
        properties["amount"] = {
            "type": ["number", "null"],
            "description": f"in {event_type.amount.currency}; null or left out where there is none",
            **least,
        }
    roles = [scenario.role(column.role) for column in event_type.given_roles]
    properties["entities"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            role.name: {"anyOf": [_ID, {"type": "array", "items": _ID, "maxItems": 1000}]} if role.many else _ID
            for role in roles
        },
    }
    properties["attributes"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{a.name: {"anyOf": [_ATTRIBUTES[a.type], {"type": "null"}]} for a in event_type.given_attributes},
            **dict.fromkeys(event_type.inputs, _INPUT),
        },
    }
    required = ["event_id"]
    required += ["event_time"] if event_type.event_time_column is not None else []
    required += [] if is_decided else ["event_type"]
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}


def _label() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["event_id", "label"],
        "properties": {
            "event_id": _ID,
            "event_type": {"type": "string"},
            "label": {"enum": ["fraud", "legit"]},
            "source": {
                "type": "string",
                "default": "api",
                "pattern": "^[A-Za-z][A-Za-z0-9_.-]{0,63}$",
                "description": "who says so, such as investigator or chargeback; `matured` is reserved",
            },
            "known_at": {
                **_TIME,
                "description": "the moment of recording where it is left out, null or earlier; at most 5 minutes ahead",
            },
        },
    }


def _promotion() -> tuple[dict[str, Any], dict[str, Any]]:
    note = {"type": "string", "maxLength": LONGEST_NOTE, "description": "why; kept in the ledger with the change"}
    release = {"type": "string", "description": "the id of a release, or `latest`: the one registered last"}
    closed = {"type": "object", "additionalProperties": False}
    promotion = {**closed, "properties": {"release": release, "note": note}, "required": ["release"]}
    return promotion, {**closed, "properties": {"note": note}}


def _pending() -> dict[str, Any]:
    limit = {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST,
        "default": USUAL_LIMIT,
        "description": "events to look at",
    }
    after = {
        "type": "integer",
        "minimum": 0,
        "maximum": LAST_SEQ,
        "default": 0,
        "description": "the last_event_seq of the answer before, to go on there",
    }
    return {"type": "object", "additionalProperties": False, "properties": {"limit": limit, "after": after}}


def _operation(
    scope: str | None, summary: str, *answers: str, status: int = 200, pending: str | None = None
) -> dict[str, Any]:
    content = {"application/json": {"schema": _either([_ref(name) for name in answers])}} if answers else {}
    problem = {"content": {"application/problem+json": {"schema": _ref("Problem")}}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            str(status): {"description": "answered", **({"content": content} if content else {})},
            "4XX": {"description": "refused; nothing was recorded", **problem},
            "5XX": {"description": "not answered; retry after Retry-After with the same event_id", **problem},
        },
    }
    if pending is not None:
        waits = "recorded, and left to the nightly batch by the policy; there is no action yet"
        operation["responses"]["202"] = {
            "description": waits,
            "content": {"application/json": {"schema": _ref(pending)}},
        }
    if scope is not None:
        operation["security"] = [{"key": []}]
        operation["x-scope"] = scope
    return operation


def _body(media_type: str, schema: str) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": _ref(schema)}}}


def _in_path(name: str, example: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": example}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _either(references: list[dict[str, str]]) -> dict[str, Any]:
    return references[0] if len(references) == 1 else {"anyOf": references}
