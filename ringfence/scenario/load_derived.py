# SPDX-License-Identifier: Apache-2.0
"""The `derive:` part of an event type: values and roles that the door computes."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from ringfence.scenario.derived import (
    BadRows,
    Derived,
    Distance,
    EmailDomain,
    Entropy,
    How,
    Input,
    IpPrefix,
    Lookup,
    Origin,
    Overlaps,
)
from ringfence.scenario.errors import shown
from ringfence.scenario.node import Node
from ringfence.scenario.spec import Attribute, AttributeType, AttributeUse, RoleColumn

_KINDS: Final = ("ip_prefix", "email_domain", "lookup", "entropy", "distance")
_EXAMPLE: Final = "one entry per derived value, such as `mail_domain: {email_domain: email}`"
_V4_BITS: Final = 24
_V6_BITS: Final = 48  # what a site is given (RFC 6177)
_NUMBERS: Final = (Entropy, Distance)
_OF_TEXT: Final = (AttributeType.CATEGORY, AttributeType.TEXT)
_READS: Final[dict[type, tuple[AttributeType, ...]]] = {
    IpPrefix: (*_OF_TEXT, AttributeType.NUMBER),
    EmailDomain: _OF_TEXT,
    Entropy: _OF_TEXT,
    Distance: (AttributeType.NUMBER,),
    Lookup: (*_OF_TEXT, AttributeType.NUMBER, AttributeType.BOOLEAN),
}


def derived_entries(event_type: Node) -> list[Node]:
    """The entries under `derive:` of an event type, in order."""
    node = event_type.get("derive")
    return [] if node is None else node.mapping(_EXAMPLE)


def derived_role(entry: Node) -> Node | None:
    """The `role:` of an entry, where it makes one."""
    if not isinstance(entry.value, dict):
        return None
    role = entry.get("role")
    if role is None or role.value is False:
        return None
    if role.value is not True:
        role.keys(("type", "many", "strong", "hub_cap", "sequence"))
    return role


def read_derived(
    event_type: Node, attributes: tuple[Attribute, ...], roles: tuple[RoleColumn, ...], many: set[str]
) -> tuple[tuple[Derived, ...], tuple[Attribute, ...], tuple[RoleColumn, ...]]:
    """Read `derive:`; return it with the attributes and the roles that it makes.

    Parameters
    ----------
    attributes, roles : what the event type declares.
    many : names of the roles that hold several entities.

    Raises
    ------
    ScenarioFileError
        At the first thing that cannot be followed.
    """
    derived: list[Derived] = []
    made: list[Attribute] = []
    filled: list[RoleColumn] = []
    for entry in derived_entries(event_type):
        one = _derived(entry, _Known(attributes, roles, many, {earlier.name: earlier for earlier in derived}))
        for other in [*attributes, *made]:
            if other.name == one.name:
                raise entry.error("the name of an attribute", "give the derived value a name of its own")
        if any(column.role == one.name for column in roles):
            raise entry.error("the name of a role", "give the derived value a name of its own")
        if any(given.origin is Origin.COLUMN and given.name == one.name for given in one.inputs):
            raise entry.error("the name of the column that it is made of", "give it a name of its own")
        derived.append(one)
        if one.is_role:
            filled.append(RoleColumn(role=one.name, column=one.column, derived=True))
        else:
            kind = AttributeType.NUMBER if one.is_number else AttributeType.CATEGORY
            made.append(Attribute(name=one.name, column=one.column, type=kind, use=_use(entry), derived=True))
    return tuple(derived), tuple(made), tuple(filled)


class _Known:
    """What a derived value may be made of."""

    def __init__(
        self,
        attributes: tuple[Attribute, ...],
        roles: tuple[RoleColumn, ...],
        many: set[str],
        earlier: dict[str, Derived],
    ) -> None:
        self._attributes = {attribute.name: attribute for attribute in attributes}
        self._roles = {column.role: column for column in roles}
        self._many, self._earlier = many, earlier

    def input(self, node: Node, reads: tuple[AttributeType, ...]) -> Input:
        """Find what a name stands for: an attribute, a role, an earlier derived value, or else a column."""
        name = node.text()
        if name in self._attributes:
            kind = self._attributes[name].type
            if kind not in reads:
                raise node.error(
                    f"{name!r}, a {kind.value}", f"this is made of a {' or a '.join(kind.value for kind in reads)}"
                )
            return Input(name=name, origin=Origin.ATTRIBUTE)
        if name in self._roles:
            if name in self._many:
                raise node.error(f"{name!r}, a role that holds several", "name something that an event has one of")
            return Input(name=name, origin=Origin.ROLE)
        if name in self._earlier:
            if self._earlier[name].is_number and AttributeType.NUMBER not in reads:
                raise node.error(f"{name!r}, a number", "name something that is a text")
            return Input(name=name, origin=Origin.DERIVED)
        for what, columns in (
            ("attribute", {a.column: a.name for a in self._attributes.values()}),
            ("role", {column.column: role for role, column in self._roles.items()}),
        ):
            if name in columns:
                raise node.error(f"the column of {what} {columns[name]!r}", f"write {columns[name]}")
        return Input(name=name, origin=Origin.COLUMN)


def _derived(entry: Node, known: _Known) -> Derived:
    if not isinstance(entry.value, dict):
        raise entry.error(shown(entry.value), "say how it is made, such as `{email_domain: email}`")
    if "speed" in entry.value:
        raise entry.error(
            "`speed`",
            "it needs the last place of an entity, which the door does not know: remove it, and write under the "
            "scenario `travel: {place: [latitude, longitude], of: [role]}`, which gives role.travel_kmh",
        )
    entry.keys((*_KINDS, "field", "type", "role", "use"))
    kinds = [kind for kind in _KINDS if kind in entry.value]
    if len(kinds) != 1:
        found = " and ".join(f"`{kind}`" for kind in kinds) or "nothing that says how it is made"
        raise entry.error(found, f"write one of {', '.join(_KINDS)}")
    kind = entry.required(kinds[0], "say what it is made of")
    field = entry.get("field")
    if field is not None and kind.name != "lookup":
        raise field.error("`field`", "it belongs to a lookup; elsewhere what a value is made of stands under its kind")
    how, inputs = _how(kind, entry, known)
    role, type_ = derived_role(entry), entry.get("type")
    is_number = isinstance(how, _NUMBERS)
    if type_ is not None:
        wanted = type_.choice(["number", "category"])
        if role is not None:
            raise type_.error("a type beside `role`", "a role's values are ids; write one of both")
        if not isinstance(how, Lookup) and (wanted == "number") != is_number:
            raise type_.error(wanted, f"{kind.name} gives a {'number' if is_number else 'category'}")
        is_number = wanted == "number"
    if role is not None and is_number:
        raise role.error("a number as a role", "an entity needs an id; derive a prefix, a domain or a looked-up value")
    return Derived(name=entry.name, how=how, inputs=inputs, is_role=role is not None, is_number=is_number)


def _how(kind: Node, entry: Node, known: _Known) -> tuple[How, tuple[Input, ...]]:
    match kind.name:
        case "ip_prefix":
            if not isinstance(kind.value, dict):
                return IpPrefix(bits=_V4_BITS, bits_v6=_V6_BITS), (known.input(kind, _READS[IpPrefix]),)
            kind.keys(("field", "bits", "bits_v6"))
            field, v4, v6 = kind.required("field", "name the IP address"), kind.get("bits"), kind.get("bits_v6")
            prefix = IpPrefix(
                bits=_V4_BITS if v4 is None else v4.whole(1, 32), bits_v6=_V6_BITS if v6 is None else v6.whole(1, 128)
            )
            return prefix, (known.input(field, _READS[IpPrefix]),)
        case "email_domain":
            return EmailDomain(), (known.input(kind, _READS[EmailDomain]),)
        case "entropy":
            return Entropy(), (known.input(kind, _READS[Entropy]),)
        case "distance":
            return Distance(), _places(kind, known)
    field = entry.required("field", "name what is looked up, such as `field: ip` beside `lookup`")
    return _lookup(kind), (known.input(field, _READS[Lookup]),)


def _places(node: Node, known: _Known) -> tuple[Input, ...]:
    node.keys(("from", "to"))
    inputs: list[Input] = []
    for end in ("from", "to"):
        place = node.required(end, "write a place, such as `[latitude, longitude]`")
        items = place.sequence("[latitude, longitude]: names of numbers, or degrees")
        if len(items) != 2:
            raise place.error(f"{len(items)} parts", "a place is [latitude, longitude]")
        for item, most in zip(items, (90.0, 180.0), strict=True):
            if isinstance(item.value, str):
                inputs.append(known.input(item, _READS[Distance]))
            elif isinstance(item.value, bool) or not isinstance(item.value, int | float) or abs(item.value) > most:
                raise item.error(shown(item.value), f"name a number, or write degrees from -{most:g} to {most:g}")
            else:
                inputs.append(Input(name="", origin=Origin.FIXED, number=float(item.value)))
    if all(given.origin is Origin.FIXED for given in inputs):
        raise node.error("two fixed places", "at least one place comes from the event")
    return tuple(inputs)


def _lookup(node: Node) -> Lookup:
    node.keys(("file", "value", "key", "from", "to", "valid_from", "valid_to", "bad_rows", "overlaps"))
    file = node.required("file", "name the CSV or Parquet file, relative to the workspace")
    place = PurePosixPath(file.text())
    if place.is_absolute() or ".." in place.parts or "\\" in file.text():
        raise file.error(shown(file.value), "name a file inside the workspace: no absolute path, no `..`")
    key, low, high = node.get("key"), node.get("from"), node.get("to")
    if (key is None) == (low is None and high is None) or (low is None) != (high is None):
        raise node.error(
            "neither `key` nor `from` and `to`" if key is None and low is None and high is None
            else "`key` and a range at once" if key is not None else "half a range",
            "name the column of the exact key, or the two columns of a range",
        )  # fmt: skip
    bad_rows, overlaps = node.get("bad_rows"), node.get("overlaps")
    if overlaps is not None and key is not None:
        raise overlaps.error(
            "`overlaps` beside `key`", "remove it: keys have no width; `bad_rows` says what of keys that come twice"
        )
    return Lookup(
        file=file.text(),
        value=node.required("value", "name the column that holds what is looked up").text(),
        key=_text(key),
        low=_text(low),
        high=_text(high),
        valid_from=_text(node.get("valid_from")),
        valid_to=_text(node.get("valid_to")),
        bad_rows=BadRows.REFUSE if bad_rows is None else BadRows(bad_rows.choice([one.value for one in BadRows])),
        overlaps=Overlaps.REFUSE if overlaps is None else Overlaps(overlaps.choice([one.value for one in Overlaps])),
    )


def _text(node: Node | None) -> str | None:
    return None if node is None else node.text()


def _use(entry: Node) -> AttributeUse:
    use = entry.get("use")
    return AttributeUse.FEATURE if use is None else AttributeUse(use.choice([use.value for use in AttributeUse]))
