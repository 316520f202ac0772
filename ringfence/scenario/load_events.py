# SPDX-License-Identifier: Apache-2.0
"""The `events:` part of a scenario file: event types, roles, attributes, the amount and the label."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from ringfence.scenario.errors import shown
from ringfence.scenario.load_derived import derived_entries, derived_role, read_derived
from ringfence.scenario.load_outcome import COLUMN_KEYS, is_by_outcome, read_outcome
from ringfence.scenario.load_ticks import TICK_ID, TICK_TIME, check_ticked
from ringfence.scenario.node import Node
from ringfence.scenario.spec import (
    Amount,
    Attribute,
    AttributeType,
    AttributeUse,
    EventType,
    Label,
    Role,
    RoleColumn,
)

ROW_AS_ID: Final = "row"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_DIGITS_OF: Final = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "BHD": 3, "KWD": 3, "OMR": 3, "TND": 3}
_TYPES: Final = [kind.value for kind in AttributeType]
_DEFAULT_HUB_CAP: Final = 1_000
_MOST: Final = 255  # roles and event types are numbered in one byte


def read_event_types(
    node: Node, *, decide: str, is_ticked: bool = False
) -> tuple[tuple[EventType, ...], tuple[Role, ...]]:
    """Read all event types; the decided one gets index 0, its roles come first. `is_ticked`: ticks make its events."""
    entries = node.mapping("one entry per event type, such as `claim:`")
    entries.sort(key=lambda entry: entry.name != decide)
    if len(entries) > _MOST:
        raise node.error(f"{len(entries)} event types", f"at most {_MOST} can be told apart")
    for entry in entries:
        _named(entry, "an event type")
        entry.keys(("event_id", "event_time", "amount", "entities", "attributes", "derive", "label"))
    roles = _roles(node, entries)
    if is_ticked:
        check_ticked(entries[0])
    event_types = tuple(
        _event_type(entry, index, decide, roles, is_ticked=is_ticked and index == 0)
        for index, entry in enumerate(entries)
    )
    label = entries[0].get("label")
    if label is not None and is_by_outcome(label):  # read last: it is about two event types
        decided = msgspec.structs.replace(event_types[0], label=read_outcome(label, event_types))
        event_types = (decided, *event_types[1:])
    return event_types, roles


def _event_type(node: Node, index: int, decide: str, roles: tuple[Role, ...], *, is_ticked: bool) -> EventType:
    event_id: str = TICK_ID
    event_time: str | None = TICK_TIME
    if not is_ticked:
        event_id = node.required("event_id", "name the column that identifies the event, or `row`").text()
        given = node.get("event_time")
        event_time = None if given is None else given.text()
    label = node.get("label")
    if label is not None and node.name != decide:
        raise label.error("a label", f"only the decided event type ({decide}) has one; remove it here")
    amount = node.get("amount")
    many = {role.name for role in roles if role.many}
    columns, attributes = _role_columns(node.get("entities"), many), _attributes(node.get("attributes"))
    derived, made, filled = read_derived(node, attributes, columns, many)
    return EventType(
        name=node.name,
        index=index,
        event_id_column=None if event_id == ROW_AS_ID else event_id,
        event_time_column=event_time,
        roles=columns + filled,
        attributes=attributes + made,
        amount=None if amount is None else _amount(amount),
        label=None if label is None or is_by_outcome(label) else _label(label),
        derived=derived,
    )


def _roles(events: Node, entries: list[Node]) -> tuple[Role, ...]:
    """One role means one thing in the whole scenario: a full definition serves every event type that names it.

    Derived roles come last, whichever event type has them: a ledger's roles may only grow at the end.
    """
    defined: dict[str, tuple[Node, Role]] = {}
    order: list[str] = []
    for item, described in [*_declared(entries), *_derived(entries)]:
        if item.name not in order:
            order.append(item.name)
        role = _role(item.name, described)
        if role is None:
            continue
        earlier = defined.get(item.name)
        if earlier is not None and earlier[1] != role:
            raise item.error(
                "another definition of this role", f"make it the same as {earlier[0].path}, or name only a column"
            )
        defined.setdefault(item.name, (item, role))
    if len(order) > _MOST:
        raise events.error(f"{len(order)} roles", f"at most {_MOST} can be told apart")
    roles = []
    for index, name in enumerate(order):
        role = defined[name][1] if name in defined else Role(name=name, entity_type=name, index=0)
        roles.append(msgspec.structs.replace(role, index=index))
    return tuple(roles)


def _declared(entries: list[Node]) -> Iterator[tuple[Node, Node]]:
    """Roles under `entities`, each with the node that describes it."""
    for entry in entries:
        entities = entry.get("entities")
        for item in entities.mapping("a column per role") if entities is not None else []:
            _named(item, "a role")
            if isinstance(item.value, dict):
                item.keys(("column", "type", "many", "strong", "hub_cap", "sequence", "separator"))
            yield item, item


def _derived(entries: list[Node]) -> Iterator[tuple[Node, Node]]:
    """Roles under `derive`, each with the node that describes it."""
    for entry in entries:
        for item in derived_entries(entry):
            _named(item, "a derived value")
            described = derived_role(item)
            if described is not None:
                yield item, described


def _role(name: str, described: Node) -> Role | None:
    """A role as it is described; None where nothing but a column is named."""
    if not isinstance(described.value, dict):
        return None
    entity_type, many, strong = described.get("type"), described.get("many"), described.get("strong")
    hub_cap, sequence = described.get("hub_cap"), described.get("sequence")
    if all(given is None for given in (entity_type, many, strong, hub_cap, sequence)):
        return None
    return Role(
        name=name,
        entity_type=name if entity_type is None else _named(entity_type, "an entity type"),
        index=0,
        many=many is not None and many.flag(),
        strong=strong is not None and strong.flag(),
        hub_cap=_DEFAULT_HUB_CAP if hub_cap is None else hub_cap.whole(1, 1_000_000_000),
        sequence=sequence is not None and sequence.flag(),
    )


def _role_columns(node: Node | None, many: set[str]) -> tuple[RoleColumn, ...]:
    if node is None:
        return ()
    columns: dict[str, str] = {}
    separators: dict[str, str] = {}
    for item in node.mapping("a column per role"):
        if isinstance(item.value, dict):
            column = item.required("column", "name the column that holds the ids").text()
            separator = item.get("separator")
            if separator is not None:
                if item.name not in many:
                    raise separator.error(shown(separator.value), "only a role with `many: true` holds several ids")
                separators[item.name] = separator.text()
        else:
            column = item.text()
        if column in columns.values():
            twin = next(role for role, other in columns.items() if other == column)
            raise item.error(
                f"the column {column!r} again", f"role {twin!r} already uses it; one column names one role"
            )
        columns[item.name] = column
    return tuple(
        RoleColumn(role=role, column=column, separator=separators.get(role)) for role, column in columns.items()
    )


def _attributes(node: Node | None) -> tuple[Attribute, ...]:
    if node is None:
        return ()
    items = node.mapping("a type per attribute, such as `vehicle_make: category`")
    known: dict[str, str] = {}
    for item in items:
        twin = known.setdefault(item.name.lower(), item.name)
        if twin != item.name:  # the ledger's segments tell columns apart as SQL does
            raise item.error(
                f"{item.name!r} beside {twin!r}", "rename one: names that differ in case alone are one name"
            )
    return tuple(_attribute(item) for item in items)


def _attribute(node: Node) -> Attribute:
    _named(node, "an attribute")
    if not isinstance(node.value, dict):
        return Attribute(name=node.name, column=node.name, type=AttributeType(node.choice(_TYPES)))
    node.keys(("type", "column", "personal", "use"), later=("retain",))
    kind = node.required("type", "name a type: " + ", ".join(_TYPES)).choice(_TYPES)
    column, personal, use = node.get("column"), node.get("personal"), node.get("use")
    is_personal = personal is not None and personal.flag()
    used_as = AttributeUse.FEATURE if use is None else AttributeUse(use.choice([use.value for use in AttributeUse]))
    if is_personal and use is not None and used_as is AttributeUse.FEATURE:
        raise use.error("a personal attribute as a feature", "what is personal never reaches a model; drop one of both")
    return Attribute(
        name=node.name,
        column=node.name if column is None else column.text(),
        type=AttributeType(kind),
        use=used_as,
        personal=is_personal,
    )


def _amount(node: Node) -> Amount:
    node.keys(("field", "currency", "digits", "negative"))
    field = node.required("field", "name the column that holds the amount").text()
    currency = node.required("currency", "name the one currency of the scenario, such as EUR")
    if not isinstance(currency.value, str) or _CURRENCY.fullmatch(currency.value) is None:
        raise currency.error(shown(currency.value), "write three capital letters of ISO 4217, such as EUR")
    negative_node = node.get("negative")
    negative = negative_node is not None and negative_node.choice(["refuse", "allow"]) == "allow"
    digits = node.get("digits")
    if digits is None:
        places = _DIGITS_OF.get(currency.value, 2)
        return Amount(column=field, currency=currency.value, digits=places, negative=negative)
    if isinstance(digits.value, bool) or not isinstance(digits.value, int) or not 0 <= digits.value <= 8:
        raise digits.error(shown(digits.value), "write the number of decimals that count, 0 to 8")
    return Amount(column=field, currency=currency.value, digits=digits.value, negative=negative)


def _label(node: Node) -> Label:
    node.keys(COLUMN_KEYS)
    field = node.required("field", "name the column that holds the truth, or `event` and `horizon`").text()
    known_at, delay = node.get("known_at"), node.get("delay")
    if (known_at is None) == (delay is None):
        raise node.error(
            "neither `known_at` nor `delay`" if known_at is None else "both `known_at` and `delay`",
            "say when a label becomes known: the column that holds the moment, or a delay such as 30d after the event",
        )
    fraud, legit, unlabelled = _label_values(node.get("values"))
    source = node.get("source")
    if source is not None and source.text() == "matured":
        raise source.error("'matured'", "this word is reserved for labels that time has given")
    return Label(
        column=field,
        fraud=fraud,
        legit=legit,
        unlabelled=unlabelled,
        known_at_column=None if known_at is None else known_at.text(),
        delay_ms=None if delay is None else delay.duration(),
        legit_after_ms=_legit_after(node.get("absent")),
        source="import" if source is None else source.text(),
    )


def _label_values(node: Node | None) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    if node is None:
        return ("1", "true"), ("0", "false"), ()
    node.keys(("fraud", "legit", "unlabelled"))
    fraud = _texts(node.required("fraud", "list the values that mean fraud, such as [1]"))
    legit_node = node.get("legit")
    legit = () if legit_node is None else _texts(legit_node)
    unlabelled_node = node.get("unlabelled")
    unlabelled = () if unlabelled_node is None else _texts(unlabelled_node)
    for text in legit + unlabelled:
        if (fraud + legit + unlabelled).count(text) > 1:
            raise node.error(f"{text!r} in two lists", "one value means one thing")
    return fraud, legit, unlabelled


def _texts(node: Node) -> tuple[str, ...]:
    items = node.sequence("values, such as [1]") if isinstance(node.value, list) else [node]
    texts = []
    for item in items:
        if isinstance(item.value, bool):
            texts.append("true" if item.value else "false")
        elif isinstance(item.value, int | str) and item.value != "":
            texts.append(str(item.value))
        else:
            raise item.error(shown(item.value), "write a text, a whole number, true or false")
    return tuple(texts)


def _legit_after(node: Node | None) -> int | None:
    if node is None or node.value == "unlabelled":
        return None
    if not isinstance(node.value, dict):
        raise node.error(shown(node.value), "write `unlabelled`, or {legit_after: 90d}")
    node.keys(("legit_after",))
    return node.required("legit_after", "write a duration such as 90d").duration()


def _named(node: Node, what: str) -> str:
    """Insist that a name can stand inside a feature's name."""
    name = node.name if isinstance(node.value, dict) or not what.startswith("an entity") else str(node.value)
    if _NAME.fullmatch(name) is None:
        raise node.error(repr(name), f"{what} is named with letters, digits and _, letter first")
    return name
