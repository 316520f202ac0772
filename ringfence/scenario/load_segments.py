# SPDX-License-Identifier: Apache-2.0
"""`segments:` of a scenario: which attributes of the decided event make its segment, or which features find it."""

from __future__ import annotations

from typing import Final

from ringfence.scenario.errors import did_you_mean
from ringfence.scenario.node import Node
from ringfence.scenario.spec import Attribute, AttributeType, EventType, KMeans

_KINDS: Final = (AttributeType.CATEGORY, AttributeType.BOOLEAN)
MOST_KMEANS: Final = 12  # segments: more than a report can show, or anybody keep apart
MOST_KMEANS_FEATURES: Final = 16
_USUAL_K: Final = 5
_PREFIX: Final = "segment"  # of the features that describe an event's segment


def read_segments(node: Node | None, decided: EventType) -> tuple[str, ...]:
    """Read the names of the attributes that make a segment, in the order given; none without `segments`.

    An event's segment is known when it is decided, so only its own attributes can make it. An entity cannot: it has a
    rate of its own, which falls back on that of the segment.

    Raises
    ------
    ScenarioFileError
        If a name is no category or true-or-false attribute of the decided event type, or one that reaches no model.
    """
    if node is None:
        return ()
    node.keys(("by", "kmeans"))
    if node.get("kmeans") is not None and node.get("by") is None:
        return ()
    by = node.required("by", "list attributes of the decided event type, such as `by: [region, product]`")
    names: list[str] = []
    for item in by.sequence("attributes of the decided event type, such as `by: [region, product]`"):
        _check(item, decided)
        if item.value in names:
            raise item.error(f"{item.value!r} again", "name each attribute once")
        names.append(item.text())
    if not names:
        raise by.error("an empty list", "name at least one attribute, or remove `segments`")
    if any(column.role == _PREFIX for column in decided.roles):
        raise node.error(
            f"a role named {_PREFIX!r} beside `segments`",
            f"give the role another name: features of segments are called {_PREFIX}.…",
        )
    return tuple(names)


def read_kmeans(node: Node | None) -> KMeans | None:
    """Read the features on which k-means finds segments, and how many. Whether there are such features, the catalogue
    of features knows.

    Raises
    ------
    ScenarioFileError
        If it is no list of different names, or `k` is no small number.
    """
    kmeans = None if node is None else node.get("kmeans")
    if kmeans is None:
        return None
    kmeans.keys(("on", "k"))
    on = kmeans.required("on", "list features, such as `on: [event.amount, card.count_7d]`; see `ringfence features`")
    names: list[str] = []
    for item in on.sequence("features, such as `on: [event.amount, card.count_7d]`; see `ringfence features --list`"):
        if item.text() in names:
            raise item.error(f"{item.value!r} again", "name each feature once")
        names.append(item.text())
    if not 1 <= len(names) <= MOST_KMEANS_FEATURES:
        raise on.error(f"{len(names)} features", f"name 1 to {MOST_KMEANS_FEATURES}")
    k = kmeans.get("k")
    return KMeans(features=tuple(names), k=_USUAL_K if k is None else k.whole(2, MOST_KMEANS))


def _check(item: Node, decided: EventType) -> None:
    fitting = [attribute.name for attribute in decided.attributes if _problem(attribute) is None]
    name = item.text()
    attribute = next((attribute for attribute in decided.attributes if attribute.name == name), None)
    if attribute is not None:
        problem = _problem(attribute)
        if problem is not None:
            raise item.error(f"{name!r}, {problem}", _instead(fitting))
    elif any(column.role == name for column in decided.roles):
        raise item.error(f"{name!r}, a role", f"an entity has a rate of its own; {_instead(fitting)}")
    else:
        known = f"; {did_you_mean(name, fitting)}" if fitting else ""
        raise item.error(repr(name), f"declare it as a category under the attributes of {decided.name}{known}")


def _problem(attribute: Attribute) -> str | None:
    if attribute.personal:
        return "a personal attribute, which never reaches a model"
    if not attribute.is_feature:
        return "an attribute for audits only, which never reaches a model"
    if attribute.type not in _KINDS:
        return f"a {attribute.type.value}"
    return None


def _instead(fitting: list[str]) -> str:
    if not fitting:
        return "segments are made of categories; declare one as an attribute, or remove `segments`"
    return f"segments are made of categories: {', '.join(fitting)}"
