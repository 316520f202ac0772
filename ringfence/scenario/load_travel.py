# SPDX-License-Identifier: Apache-2.0
"""`travel:` of a scenario: where decided events happen, and whose journeys between them are measured."""

from __future__ import annotations

from ringfence.scenario.errors import did_you_mean
from ringfence.scenario.node import Node
from ringfence.scenario.spec import Attribute, AttributeType, EventType, Travel


def read_travel(node: Node | None, decided: EventType) -> Travel | None:
    """Read the two attributes that make a place, and the roles whose last place is remembered.

    Raises
    ------
    ScenarioFileError
        If a place is no pair of numbers of the decided event type that reach the engine, or `of` names no role of it.
    """
    if node is None:
        return None
    node.keys(("place", "of"))
    place = node.required("place", "name latitude and longitude, such as `place: [lat, lon]`")
    items = place.sequence("[latitude, longitude], two numbers among the attributes")
    if len(items) != 2:
        raise place.error(f"{len(items)} parts", "a place is [latitude, longitude]")
    latitude, longitude = (_degrees(item, decided) for item in items)
    if latitude == longitude:
        raise place.error(f"{latitude!r} twice", "a place is [latitude, longitude]")
    of = node.required("of", "name the roles whose journeys count, such as `of: [card]`")
    known = [column.role for column in decided.roles]
    roles: list[str] = []
    for item in of.sequence("roles of the decided event type, such as `of: [card]`"):
        if item.text() not in known:
            raise item.error(repr(item.value), f"name a role of {decided.name}; {did_you_mean(item.text(), known)}")
        if item.value in roles:
            raise item.error(f"{item.value!r} again", "name each role once")
        roles.append(item.text())
    if not roles:
        raise of.error("an empty list", "name at least one role, or remove `travel`")
    return Travel(latitude=latitude, longitude=longitude, roles=tuple(roles))


def _degrees(item: Node, decided: EventType) -> str:
    name = item.text()
    fitting = [attribute.name for attribute in decided.attributes if _problem(attribute) is None]
    attribute = next((attribute for attribute in decided.attributes if attribute.name == name), None)
    if attribute is None:
        known = f"; {did_you_mean(name, fitting)}" if fitting else ""
        raise item.error(repr(name), f"declare it as a number under the attributes of {decided.name}{known}")
    problem = _problem(attribute)
    if problem is not None:
        raise item.error(f"{name!r}, {problem}", "a place is made of two numbers, degrees north and east")
    return name


def _problem(attribute: Attribute) -> str | None:
    if attribute.personal:
        return "a personal attribute, which never reaches the engine"
    if not attribute.is_feature:
        return "an attribute for audits only, which never reaches the engine"
    if attribute.type is not AttributeType.NUMBER:
        return f"a {attribute.type.value}"
    return None
