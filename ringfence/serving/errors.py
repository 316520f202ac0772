# SPDX-License-Identifier: Apache-2.0
"""Causes to HTTP, in one table: the status, type and title of every error a client can see (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec

from ringfence.errors import RingfenceError
from ringfence.ledger.errors import LabelFromFutureError, PayloadConflictError, UnknownEventError
from ringfence.rollout.errors import (
    AlreadyChampionError,
    AlreadyShadowError,
    ChampionIsNoShadowError,
    NoShadowError,
    NothingToRollBackError,
    UnknownReleaseError,
)
from ringfence.scenario.errors import InvalidEventError


class ServingError(RingfenceError):
    """Raised by the service itself. `path` is where in the request the trouble is, `$` for the whole body."""

    path: str | None = None
    retry_after_s: int | None = None


class KeyFileError(ServingError):
    """The service cannot start with these keys."""

    def __init__(self, where: str, found: str, do: str) -> None:
        self.where, self.found, self.do = where, found, do
        super().__init__(f"{where}: {found}; {do}")


class TracingMissingError(ServingError):
    """Traces are asked for, and what sends them is not installed."""

    def __init__(self, library: str) -> None:
        self.library = library
        super().__init__(
            f"--traces needs {library}, which is not installed; run: pip install 'ringfence[otel]', or serve without it"
        )


class TlsFileError(ServingError):
    """The service cannot speak TLS with these files."""

    def __init__(self, file: Path, found: str, do: str) -> None:
        self.file, self.found, self.do = file, found, do
        super().__init__(f"{file}: {found}; {do}")


class NoChampionError(ServingError):
    """There is nothing to decide with."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        super().__init__(f"scenario {scenario!r} has no live release; run `ringfence train` first")


class ServiceFailedError(ServingError):
    """An engine thread gave up."""

    def __init__(self, scenario: str, cause: str) -> None:
        self.scenario, self.cause = scenario, cause
        super().__init__(f"the service of {scenario!r} stopped: {cause}; mend that and start it again, which recovers")


class KeyMissingError(ServingError):
    def __init__(self) -> None:
        super().__init__("no valid API key; send `Authorization: Bearer TOKEN` with a token of `ringfence keys create`")


class KeyExpiredError(ServingError):
    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"key {name!r} is valid no longer; use the token that replaced it, or ask for a new one")


class ScopeMissingError(ServingError):
    def __init__(self, name: str, scope: str) -> None:
        self.name, self.scope = name, scope
        super().__init__(f"key {name!r} lacks the scope {scope!r}; use another key or create one that has it")


class MalformedBodyError(ServingError):
    def __init__(self, found: str, do: str, *, path: str = "$") -> None:
        self.path, self.found, self.do = path, found, do
        super().__init__(f"the body at {path} is not readable: {found}; {do}")


class BodyTooLargeError(ServingError):
    def __init__(self, limit_bytes: int) -> None:
        self.path, self.limit_bytes = "$", limit_bytes
        super().__init__(f"the body is larger than {limit_bytes} bytes; send fewer events at once")


class HeadTooLargeError(ServingError):
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"request line and headers have more than {limit_bytes} bytes; send fewer or shorter ones")


class MalformedRequestError(ServingError):
    def __init__(self) -> None:
        super().__init__(
            "what was sent is no HTTP request; speak HTTP/1.1, over TLS where the service has a certificate"
        )


class RequestTooSlowError(ServingError):
    def __init__(self, part: str, limit_s: float) -> None:
        self.part, self.limit_s = part, limit_s
        super().__init__(
            f"the {part} of the request was not complete after {limit_s:g} s; nothing was recorded; send it at once"
        )


class MediaTypeError(ServingError):
    def __init__(self, found: str, expected: str) -> None:
        self.path, self.found, self.expected = "$", found, expected
        super().__init__(f"Content-Type {found!r} is not accepted here; send {expected}")


class NotFoundError(ServingError):
    def __init__(self, what: str, do: str) -> None:
        self.what, self.do = what, do
        super().__init__(f"there is no {what}; {do}")


class MethodNotAllowedError(ServingError):
    def __init__(self, method: str, allowed: str) -> None:
        self.method, self.allowed = method, allowed
        super().__init__(f"{method} is not possible here; use {allowed}")


class AmbiguousScenarioError(ServingError):
    def __init__(self, found: str | None, names: tuple[str, ...]) -> None:
        self.path, self.names = "$query.scenario", names
        named = "no scenario" if found is None else f"the scenario {found!r}"
        super().__init__(f"{named} was asked for; add ?scenario=NAME with one of {', '.join(names)}")


class BadQueryError(ServingError):
    """A parameter behind the question mark is missing or makes no sense."""

    def __init__(self, parameter: str, found: str, do: str) -> None:
        self.path, self.found, self.do = f"$query.{parameter}", found, do
        super().__init__(f"query parameter {parameter}: found {found}; {do}")


class BadHeaderError(ServingError):
    """A header that we read makes no sense."""

    def __init__(self, name: str, found: str, do: str) -> None:
        self.path, self.found, self.do = f"$header.{name}", found, do
        super().__init__(f"header {name}: found {found}; {do}")


class HistoryEventError(ServingError):
    """The event is known, undecided, and its feature row was not kept when it was recorded."""

    def __init__(self, event_id: str, seq: int) -> None:
        self.path, self.event_id, self.seq = "$.event_id", event_id, seq
        super().__init__(
            f"event {event_id!r} was recorded as seq {seq} without the features that the live release reads: it is "
            f"imported history, or was learned under another feature spec; it cannot be decided live; score it with "
            f"`ringfence score`"
        )


class ReleaseRefusedError(ServingError):
    """The service goes on with the release it has."""

    def __init__(self, release: str, found: str, do: str) -> None:
        self.release, self.found, self.do = release, found, do
        super().__init__(f"release {release!r} does not become the champion: {found}; {do}")


class SwitchRunningError(ServingError):
    def __init__(self, release: str, step: str) -> None:
        self.release, self.step, self.retry_after_s = release, step, 2
        super().__init__(f"release {release!r} is on its way already ({step}); wait until it is done: GET /v1/releases")


class QueueFullError(ServingError):
    def __init__(self, size: int) -> None:
        self.size, self.retry_after_s = size, 1
        super().__init__(f"{size} requests are waiting already; nothing was recorded; retry after a second")


class RateLimitedError(ServingError):
    def __init__(self, name: str, per_s: float, retry_after_s: int) -> None:
        self.name, self.per_s, self.retry_after_s = name, per_s, retry_after_s
        super().__init__(
            f"key {name!r} may ask {per_s:g} times a second, and has asked more often; nothing was recorded; retry "
            f"after {retry_after_s} s"
        )


class TooManyConnectionsError(ServingError):
    def __init__(self, limit: int) -> None:
        self.limit, self.retry_after_s = limit, 1
        super().__init__(
            f"{limit} connections are open already; nothing was recorded; retry after a second, and use fewer"
        )


class NotReadyError(ServingError):
    def __init__(self, state: str) -> None:
        self.state, self.retry_after_s = state, 2
        super().__init__(f"the service is {state}; nothing was recorded; retry after two seconds")


class LedgerUnavailableError(ServingError):
    """Refused before anything was staged, because an earlier commit still fails."""

    def __init__(self) -> None:
        self.retry_after_s = 1
        super().__init__("the ledger cannot be written at the moment; nothing was recorded; retry after a second")


class OutcomeUnknownError(ServingError):
    """Staged, but the commit failed. The batch is retried unchanged, so it may still become durable."""

    def __init__(self) -> None:
        self.retry_after_s = 1
        super().__init__("unknown whether this was recorded: the ledger did not confirm; retry with the same event_id")


class SpoolFullError(ServingError):
    """Refused before anything was staged: as many records wait for the ledger as may."""

    def __init__(self, n_waiting: int) -> None:
        self.n_waiting = n_waiting
        self.retry_after_s = 1
        super().__init__(
            f"{n_waiting} answered records wait for a ledger that cannot be written, as many as may; nothing was "
            f"recorded; retry after a second"
        )


class NotInFullError(ServingError):
    """What waits for the nightly run has no lower rung: nobody waits for the answer."""

    def __init__(self, release: str, found: str) -> None:
        self.release, self.found, self.retry_after_s = release, found, 2
        super().__init__(
            f"release {release!r} cannot be asked in full: {found}; nothing was decided, and what waits goes on "
            f"waiting; retry after two seconds, or promote a release that is whole"
        )


class UnknownProtocolError(ServingError):
    """The server hands over a connection of a kind that is not served."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f"{kind!r} connections are not served; speak HTTP")


class ServiceFaultError(ServingError):
    """A defect of ours. The client learns nothing about its inside; the log has the traceback."""

    def __init__(self) -> None:
        super().__init__("the service failed on this request; retry with the same event_id and report it")


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem, media type application/problem+json."""

    type: str  # urn:ringfence:problem:NAME
    title: str
    status: int
    detail: str = ""
    path: str | None = None  # JSON path into the request, such as $.entities.claimant
    found: str | None = None
    do: str | None = None
    line: int | None = None  # 1-based line of an NDJSON body


_Row = tuple[HTTPStatus, str, str]

_TABLE: Final[dict[type[RingfenceError], _Row]] = {
    KeyMissingError: (HTTPStatus.UNAUTHORIZED, "key-missing", "No valid API key"),
    KeyExpiredError: (HTTPStatus.UNAUTHORIZED, "key-expired", "The API key is valid no longer"),
    ScopeMissingError: (HTTPStatus.FORBIDDEN, "scope-missing", "The key lacks a scope"),
    MalformedBodyError: (HTTPStatus.BAD_REQUEST, "malformed-body", "The body cannot be read"),
    BodyTooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "The body is too large"),
    HeadTooLargeError: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "The headers are too large"),
    MalformedRequestError: (HTTPStatus.BAD_REQUEST, "malformed-request", "No HTTP request"),
    RequestTooSlowError: (HTTPStatus.REQUEST_TIMEOUT, "request-too-slow", "The request came too slowly"),
    MediaTypeError: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media-type", "The media type is not accepted"),
    NotFoundError: (HTTPStatus.NOT_FOUND, "not-found", "Not found"),
    MethodNotAllowedError: (HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
    AmbiguousScenarioError: (HTTPStatus.BAD_REQUEST, "ambiguous-scenario", "Which scenario is meant"),
    BadQueryError: (HTTPStatus.BAD_REQUEST, "bad-query", "A query parameter is missing or wrong"),
    BadHeaderError: (HTTPStatus.BAD_REQUEST, "bad-header", "A header is wrong"),
    HistoryEventError: (HTTPStatus.CONFLICT, "history-event", "The event is imported history"),
    ReleaseRefusedError: (HTTPStatus.CONFLICT, "release-refused", "The release cannot become the champion"),
    SwitchRunningError: (HTTPStatus.CONFLICT, "switch-running", "Another release is on its way"),
    QueueFullError: (HTTPStatus.TOO_MANY_REQUESTS, "queue-full", "The queue is full"),
    RateLimitedError: (HTTPStatus.TOO_MANY_REQUESTS, "rate-limited", "The key is used too often"),
    TooManyConnectionsError: (HTTPStatus.SERVICE_UNAVAILABLE, "too-many-connections", "Too many connections"),
    NotReadyError: (HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
    LedgerUnavailableError: (HTTPStatus.SERVICE_UNAVAILABLE, "ledger-unavailable", "The ledger is unavailable"),
    SpoolFullError: (HTTPStatus.SERVICE_UNAVAILABLE, "spool-full", "Too many records wait for the ledger"),
    OutcomeUnknownError: (HTTPStatus.SERVICE_UNAVAILABLE, "outcome-unknown", "Unknown whether it was recorded"),
    NotInFullError: (HTTPStatus.SERVICE_UNAVAILABLE, "not-in-full", "The release cannot be asked in full"),
    ServiceFaultError: (HTTPStatus.INTERNAL_SERVER_ERROR, "service-fault", "The service failed"),
    # causes from other rooms
    InvalidEventError: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-event", "The event does not fit the scenario"),
    PayloadConflictError: (HTTPStatus.CONFLICT, "payload-conflict", "Same event_id, different payload"),
    UnknownEventError: (HTTPStatus.NOT_FOUND, "unknown-event", "The labelled event is not known"),
    LabelFromFutureError: (HTTPStatus.UNPROCESSABLE_ENTITY, "label-from-future", "The label is from the future"),
    UnknownReleaseError: (HTTPStatus.NOT_FOUND, "unknown-release", "The release is not known"),
    AlreadyChampionError: (HTTPStatus.CONFLICT, "already-champion", "The release is live already"),
    NothingToRollBackError: (HTTPStatus.CONFLICT, "nothing-to-roll-back", "There is no release to go back to"),
    AlreadyShadowError: (HTTPStatus.CONFLICT, "already-shadow", "The release scores along already"),
    ChampionIsNoShadowError: (HTTPStatus.CONFLICT, "champion-is-no-shadow", "The release decides already"),
    NoShadowError: (HTTPStatus.CONFLICT, "no-shadow", "No release scores along"),
}
# Where in the request the cause lies, for errors whose room knows no requests.
_PATHS: Final[dict[type[RingfenceError], str]] = {
    PayloadConflictError: "$.event_id",
    UnknownEventError: "$.event_id",
    LabelFromFutureError: "$.known_at",
    UnknownReleaseError: "$.release",
    AlreadyChampionError: "$.release",
    AlreadyShadowError: "$.release",
    ChampionIsNoShadowError: "$.release",
}
PROBLEM_TYPES: Final = tuple(sorted(slug for _, slug, _ in _TABLE.values()))


def problem_of(error: RingfenceError, *, line: int | None = None) -> Problem:
    """Describe an error to a client; a cause that is not in the table is a fault of ours."""
    kind = next((kind for kind in type(error).__mro__ if kind in _TABLE), None)
    if kind is None:
        return problem_of(ServiceFaultError(), line=line)
    status, slug, title = _TABLE[kind]
    return Problem(
        type=f"urn:ringfence:problem:{slug}",
        title=title,
        status=int(status),
        detail=str(error),
        path=_text(error, "path") or _PATHS.get(kind),
        found=_text(error, "found"),
        do=_text(error, "do"),
        line=line,
    )


def _text(error: RingfenceError, name: str) -> str | None:
    value = getattr(error, name, None)
    return None if value is None else str(value)
