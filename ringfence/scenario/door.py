# SPDX-License-Identifier: Apache-2.0
"""The only way in: a message as it was decoded from JSON -> a validated event or label, or an error with a path."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from ringfence.scenario.batch import FRAUD, LEGIT
from ringfence.scenario.calendar import local_offset_ms_at
from ringfence.scenario.derivations import input_text
from ringfence.scenario.derived import Input, Origin
from ringfence.scenario.deriver import Deriver, Given
from ringfence.scenario.errors import InvalidEventError, did_you_mean, shown, withheld
from ringfence.scenario.event import Admission, AttributeValue, Event, LabelNotice, Link
from ringfence.scenario.identity import LONGEST_ID, IdentityKey, id_text
from ringfence.scenario.lookup_files import Lookups
from ringfence.scenario.payload import INPUT_TYPE, TYPE_NUMBER, PayloadDigest, input_word, tag_of, value_word
from ringfence.scenario.spec import Amount, EventType, Role, Scenario
from ringfence.scenario.times import (
    EVENT_TIME_FROM_MS,
    EVENT_TIME_TO_MS,
    HOW_TO_WRITE,
    NOT_MILLISECONDS,
    looks_like_seconds,
    moment_ms,
)
from ringfence.scenario.values import canonical_value, value_of

FUTURE_TOLERANCE_MS: Final = 300_000
LARGEST_MINOR: Final = 2**53  # exclusive: beyond it float64 cannot count single minor units
NOT_NEGATIVE: Final = (
    "an amount is not below zero; where refunds and reversals are events of their own, write `negative: allow` under "
    "`amount` in ringfence.yaml"
)
MOST_ENTITIES: Final = 1_000  # in one role of one event
_EVENT_FIELDS: Final = frozenset({"event_type", "event_id", "event_time", "amount", "entities", "attributes"})
_LABEL_FIELDS: Final = frozenset({"event_type", "event_id", "label", "source", "known_at"})
_LABELS: Final = {"fraud": FRAUD, "legit": LEGIT}
_SOURCE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ID_RULE: Final = f"an id is a text of 1 to {LONGEST_ID} characters or a whole number of at most 64 bits"


class Door:
    """Lets events and labels of one scenario in. Holds no state: equal messages give equal admissions.

    Parameters
    ----------
    lookups : the prepared tables of its derived values, where there are any.
    """

    def __init__(self, scenario: Scenario, identity: IdentityKey, lookups: Lookups | None = None) -> None:
        self._scenario = scenario
        self._identity = identity
        self._derivers = {
            event_type.name: Deriver(event_type, lookups or {})
            for event_type in scenario.event_types
            if event_type.derived
        }
        self._value_attributes = scenario.value_attributes  # made anew whenever it is asked for
        self._types = {event_type.name: event_type for event_type in scenario.event_types}
        self._roles = {
            event_type.name: sorted(
                (scenario.role(column.role) for column in event_type.given_roles), key=lambda r: r.index
            )
            for event_type in scenario.event_types
        }

        self._declared = {event_type.name: event_type.given_attributes for event_type in scenario.event_types}
        self._inputs = {event_type.name: event_type.inputs for event_type in scenario.event_types}
        self._names = {
            name: frozenset([*(attribute.name for attribute in declared), *self._inputs[name]])
            for name, declared in self._declared.items()
        }

    def admit(self, raw: Any, *, now_ms: int) -> Admission:
        """Validate an event in API form.

        Raises
        ------
        InvalidEventError
            With the JSON path of the first thing that does not fit.
        """
        fields = _object(raw, "$", _EVENT_FIELDS)
        event_type = self._event_type(fields)
        event_id = _id(fields, "event_id")
        time_ms = self._event_time(event_type, fields, now_ms)
        amount_minor = _amount(event_type, fields.get("amount"))
        digest = PayloadDigest()
        if fields.get("event_time") is not None:  # a time that we gave must not make a retry look changed
            digest.add(tag_of("time"), time_ms)
        if amount_minor is not None:
            digest.add(tag_of("amount"), amount_minor)
        links, entity_ids = self._links(event_type, fields.get("entities"), digest)
        attributes, personal = self._attributes(event_type, fields.get("attributes"), digest)
        failed: tuple[str, ...] = ()
        if event_type.derived:
            links, failed = self._derive(event_type, fields, time_ms, links, entity_ids, attributes, personal, digest)
        values: tuple[float, ...] = ()
        if event_type.name == self._scenario.decide:
            values = tuple(
                value_of(attribute, attributes.get(attribute.name), time_ms) for attribute in self._value_attributes
            )
        else:
            values = (math.nan,) * len(self._value_attributes)
        event = Event(
            event_type=event_type.name,
            event_id=event_id,
            event_time_ms=time_ms,
            amount_minor=amount_minor,
            links=links,
            attributes=attributes,
            payload_digest=digest.digest(),
        )
        return Admission(
            event=event,
            entity_ids=entity_ids,
            personal=personal,
            values=values,
            offset_ms=local_offset_ms_at(self._scenario.time_zone, time_ms),
            underived=failed,
        )

    def label(self, raw: Any) -> LabelNotice:
        """Validate a label in API form. Whether its event exists, the ledger knows.

        Raises
        ------
        InvalidEventError
            With the JSON path of the first thing that does not fit.
        """
        fields = _object(raw, "$", _LABEL_FIELDS)
        event_type = self._event_type(fields)
        event_id = _id(fields, "event_id")
        label = fields.get("label")
        value = _LABELS.get(label) if isinstance(label, str) else None
        if value is None:
            raise InvalidEventError("$.label", _found(fields, "label"), 'a label is "fraud" or "legit"')
        source = fields.get("source", "api")
        if not isinstance(source, str) or _SOURCE.fullmatch(source) is None:
            raise InvalidEventError(
                "$.source", shown(source), "a source is a word of at most 64 letters, digits, dots, dashes"
            )
        if source == "matured":
            raise InvalidEventError("$.source", shown(source), "this word is reserved for labels that time has given")
        known_at_ms = None
        if fields.get("known_at") is not None:
            known_at_ms = self._moment("$.known_at", fields["known_at"])
        return LabelNotice(
            event_type=event_type.name, event_id=event_id, value=value, source=source, known_at_ms=known_at_ms
        )

    def _event_type(self, fields: dict[str, Any]) -> EventType:
        name = fields.get("event_type", self._scenario.decide)
        event_type = self._types.get(name) if isinstance(name, str) else None
        if event_type is None:
            hint = did_you_mean(name if isinstance(name, str) else "", self._types)
            raise InvalidEventError("$.event_type", shown(name), f"name an event type of the scenario; {hint}")
        return event_type

    def _event_time(self, event_type: EventType, fields: dict[str, Any], now_ms: int) -> int:
        if event_type.event_time_column is None and fields.get("event_time") is None:
            return now_ms
        if fields.get("event_time") is None:
            raise InvalidEventError("$.event_time", _found(fields, "event_time"), HOW_TO_WRITE)
        time_ms = self._moment("$.event_time", fields["event_time"])
        if time_ms > now_ms + FUTURE_TOLERANCE_MS:
            raise InvalidEventError(
                "$.event_time", shown(fields["event_time"]), "an event may lie at most five minutes in the future"
            )
        return time_ms

    def _moment(self, path: str, value: object) -> int:
        if looks_like_seconds(value):
            raise InvalidEventError(path, shown(value), NOT_MILLISECONDS)
        time_ms = moment_ms(value, self._scenario.time_zone)
        if time_ms is None:
            raise InvalidEventError(path, shown(value), HOW_TO_WRITE)
        if not EVENT_TIME_FROM_MS <= time_ms < EVENT_TIME_TO_MS:
            raise InvalidEventError(path, shown(value), "a time lies in the years 1970 to 2199")
        return time_ms

    def _links(
        self, event_type: EventType, raw: Any, digest: PayloadDigest
    ) -> tuple[tuple[Link, ...], dict[bytes, tuple[str, str]]]:
        if raw is None:
            return (), {}
        roles = self._roles[event_type.name]
        given = _object(raw, "$.entities", frozenset(role.name for role in roles))
        links: list[Link] = []
        entity_ids: dict[bytes, tuple[str, str]] = {}
        for role in roles:
            named = given.get(role.name)
            if named is None:
                continue
            seen = set()
            for path, entity_id in _entity_ids(role, named):
                text = id_text(entity_id)
                if text is None:
                    raise InvalidEventError(path, shown(entity_id), f"{_ID_RULE}; leave out a role that nobody has")
                hi, lo = self._identity.entity(role.entity_type, text)
                if (hi, lo) in seen:
                    continue
                seen.add((hi, lo))
                links.append(Link(role=role.index, lo=lo, hi=hi))
                entity_ids[hi.to_bytes(8, "big") + lo.to_bytes(8, "big")] = (role.entity_type, text)
                digest.add(tag_of("role", role.name), hi, lo)
        return tuple(links), entity_ids

    def _derive(
        self,
        event_type: EventType,
        fields: dict[str, Any],
        time_ms: int,
        links: tuple[Link, ...],
        entity_ids: dict[bytes, tuple[str, str]],
        attributes: dict[str, AttributeValue],
        personal: dict[str, AttributeValue],
        digest: PayloadDigest,
    ) -> tuple[tuple[Link, ...], tuple[str, ...]]:
        """Add derived values to `attributes` and `entity_ids`; return all links, and what could not be derived.

        What is derived is no part of the payload: a newer table must not make a retry look changed. What it is made of
        is, also where nothing keeps it.
        """
        given, entities = fields.get("attributes") or {}, fields.get("entities") or {}
        inputs = self._inputs[event_type.name]
        texts = {name: input_text(given.get(name)) for name in inputs}
        for name, text in texts.items():
            if text is not None:
                digest.add(tag_of("input", name), input_word(name, text, self._identity), INPUT_TYPE)

        def find(item: Input) -> Given:
            if item.origin is Origin.ROLE:
                text = id_text(entities.get(item.name))
                return Given(text, text is not None)
            if item.origin is Origin.ATTRIBUTE:
                value = attributes.get(item.name, personal.get(item.name))
                return Given(input_text(value), value is not None and value != "")
            value = given.get(item.name)
            return Given(texts[item.name], value is not None and value != "")

        found = self._derivers[event_type.name].of(find, time_ms)
        added: list[Link] = []
        for one in event_type.derived:
            value = found.values.get(one.name)
            if value is None:
                continue
            if not one.is_role:
                attributes[one.name] = value
                continue
            role = self._scenario.role(one.name)
            hi, lo = self._identity.entity(role.entity_type, str(value))
            added.append(Link(role=role.index, lo=lo, hi=hi))
            entity_ids[hi.to_bytes(8, "big") + lo.to_bytes(8, "big")] = (role.entity_type, str(value))
        return tuple(sorted((*links, *added), key=lambda link: link.role)), found.failed

    def _attributes(
        self, event_type: EventType, raw: Any, digest: PayloadDigest
    ) -> tuple[dict[str, AttributeValue], dict[str, AttributeValue]]:
        kept: dict[str, AttributeValue] = {}
        personal: dict[str, AttributeValue] = {}
        if raw is None:
            return kept, personal
        declared = self._declared[event_type.name]
        given = _object(raw, "$.attributes", self._names[event_type.name])
        for attribute in declared:
            found = given.get(attribute.name)
            try:
                value = canonical_value(attribute, found, self._scenario.time_zone)
            except ValueError as error:
                what = withheld(found) if attribute.personal else shown(found)
                raise InvalidEventError(
                    f"$.attributes.{attribute.name}", what, f"this attribute is {error}; null where unknown"
                ) from None
            if value is None:
                continue
            (personal if attribute.personal else kept)[attribute.name] = value
            digest.add(
                tag_of("attribute", attribute.name),
                value_word(attribute, value, self._identity),
                TYPE_NUMBER[attribute.type],
            )
        return kept, personal


def amount_minor(amount: Amount, value: float) -> int | None:
    """Whole minor units, rounded half to even on the float64 product; None if not finite or 2^53 and more."""
    scaled = value * 10.0**amount.digits
    if not math.isfinite(scaled):
        return None
    minor = round(scaled)
    return minor if abs(minor) < LARGEST_MINOR else None


def _amount(event_type: EventType, value: object) -> int | None:
    if value is None:
        return None
    if event_type.amount is None:
        raise InvalidEventError("$.amount", shown(value), f"{event_type.name} has no amount; leave it out")
    do = f"an amount is a finite number of {event_type.amount.currency}, less than 2^53 of its smallest unit"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidEventError("$.amount", shown(value), do)
    try:
        minor = amount_minor(event_type.amount, float(value))
    except OverflowError:
        minor = None
    if minor is None:
        raise InvalidEventError("$.amount", shown(value), do)
    if minor < 0 and not event_type.amount.negative:
        raise InvalidEventError("$.amount", shown(value), NOT_NEGATIVE)
    return minor


def _entity_ids(role: Role, named: Any) -> list[tuple[str, Any]]:
    path = f"$.entities.{role.name}"
    if not isinstance(named, list):
        return [(path, named)]
    if not role.many:
        raise InvalidEventError(path, shown(named), "this role holds one entity; give its id without a list")
    if len(named) > MOST_ENTITIES:
        raise InvalidEventError(path, shown(named), f"a role holds at most {MOST_ENTITIES:,} entities")
    return [(f"{path}[{i}]", entity_id) for i, entity_id in enumerate(named)]


def _id(fields: dict[str, Any], name: str) -> str:
    text = id_text(fields.get(name))
    if text is None:
        raise InvalidEventError(f"$.{name}", _found(fields, name), _ID_RULE)
    return text


def _object(raw: Any, path: str, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise InvalidEventError(path, shown(raw), "an object with names and values must stand here")
    for name in raw:
        if name not in known:
            if not isinstance(name, str):
                raise InvalidEventError(path, shown(name), "names are texts")
            raise InvalidEventError(f"{path}.{shown(name)[1:-1]}", "an unknown name", did_you_mean(name, known))
    return raw


def _found(fields: dict[str, Any], name: str) -> str:
    return shown(fields[name]) if name in fields else "nothing"
