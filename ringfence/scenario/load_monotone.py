# SPDX-License-Identifier: Apache-2.0
"""`monotone:` of a scenario: features in which the trees' score may move one way only."""

from __future__ import annotations

from ringfence.scenario.node import Node
from ringfence.scenario.spec import Direction


def read_monotone(node: Node | None) -> dict[str, Direction]:
    """Read which way the score goes as a feature grows. Whether there are such features, the catalogue knows.

    Raises
    ------
    ScenarioFileError
        If it is no mapping of names to `increasing` or `decreasing`.
    """
    if node is None:
        return {}
    items = node.mapping("`increasing` or `decreasing` per feature, such as `event.amount: increasing`")
    return {item.name: Direction(item.choice([one.value for one in Direction])) for item in items}
