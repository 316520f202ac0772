# SPDX-License-Identifier: Apache-2.0
"""`branches:` of a scenario: networks that were trained elsewhere and take part beside the trees."""

from __future__ import annotations

import re
from typing import Final

from ringfence.scenario.errors import shown
from ringfence.scenario.node import Node
from ringfence.scenario.spec import Brought, BroughtOutput
from ringfence.scenario.times import moment_ms

MOST_BROUGHT: Final = 4
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}", re.ASCII)
# What a release, a column of scores or a rung is called already.
TAKEN: Final = (
    *("gbdt", "linear", "anomaly", "gnn", "sequence", "text", "rules", "full"),
    *("event_id", "event_time", "score", "action", "rung", "release", "segment"),
)


def read_branches(node: Node | None, time_zone: str) -> tuple[Brought, ...]:
    """Read the networks in the order given. Whether their features exist, the catalogue knows; files are read by train.

    Raises
    ------
    ScenarioFileError
        At the first thing that cannot be followed.
    """
    if node is None:
        return ()
    found: list[Brought] = []
    items = node.sequence("such as `branches: [{name: my-net, onnx: my_net.onnx, features: [event.amount]}]`")
    for item in items:
        item.keys(("name", "onnx", "features", "output", "missing", "trained_until"))
        name = item.required("name", "give it a name, such as `name: my-net`; scores and card use it")
        if _NAME.fullmatch(name.text()) is None:
            raise name.error(
                repr(name.value), "a branch's name is made of small letters, digits, - and _, letter first"
            )
        if name.value in TAKEN:
            raise name.error(repr(name.value), "that name is taken; choose another one")
        if name.value in [one.name for one in found]:
            raise name.error(f"{name.value!r} again", "name each branch once")
        file = item.required("onnx", "name its file inside the workspace, such as `onnx: my_net.onnx`")
        found.append(
            Brought(
                name=name.text(),
                file=file.text(),
                features=_features(item),
                output=_output(item.get("output")),
                missing=_missing(item.get("missing")),
                trained_until_ms=_trained_until(item.get("trained_until"), time_zone),
            )
        )
    if not 1 <= len(found) <= MOST_BROUGHT:
        raise node.error(f"{len(found)} branches", f"name 1 to {MOST_BROUGHT}, or remove `branches`")
    return tuple(found)


def _features(item: Node) -> tuple[str, ...]:
    features = item.required("features", "list what it reads, in its order; see `ringfence features --list`")
    names: list[str] = []
    for feature in features.sequence("features in the order in which the network takes them"):
        if feature.text() in names:
            raise feature.error(f"{feature.value!r} again", "name each feature once")
        names.append(feature.text())
    if not names:
        raise features.error("an empty list", "name at least one feature")
    return tuple(names)


def _output(node: Node | None) -> BroughtOutput:
    if node is None:
        return BroughtOutput.PROBABILITY
    return BroughtOutput(node.choice([one.value for one in BroughtOutput]))


def _missing(node: Node | None) -> float | None:
    if node is None or node.value == "nan":
        return None
    if isinstance(node.value, bool) or not isinstance(node.value, int | float) or not abs(node.value) < 1e30:
        raise node.error(shown(node.value), "write the number that stands for a missing value, or nan")
    return float(node.value)


def _trained_until(node: Node | None, time_zone: str) -> int | None:
    if node is None:
        return None
    time_ms = moment_ms(node.value, time_zone)
    if time_ms is None:
        raise node.error(shown(node.value), "write a date (2024-06-30) or ISO 8601 (2024-06-30T13:00:00Z)")
    return time_ms
