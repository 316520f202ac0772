# SPDX-License-Identifier: Apache-2.0
"""`rules:` of a scenario: conditions with points. Whether there are such features, the catalogue of features knows."""

from __future__ import annotations

import re
from typing import Final

from ringfence.scenario.condition import read_condition
from ringfence.scenario.errors import ConditionError
from ringfence.scenario.node import Node
from ringfence.scenario.spec import Rule

MOST_RULES: Final = 200
MOST_POINTS: Final = 1_000
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)


def read_rules(node: Node | None) -> tuple[Rule, ...]:
    """Read named conditions, in the order of the file.

    Raises
    ------
    ScenarioFileError
        At the first thing that cannot be followed; of a condition with the place in its text.
    """
    if node is None:
        return ()
    rules: list[Rule] = []
    items = node.sequence("rules, such as `- {name: young-policy, when: policy_age_days < 30, points: 30}`")
    if not 1 <= len(items) <= MOST_RULES:
        raise node.error(f"{len(items)} rules", f"write 1 to {MOST_RULES}, or remove `rules`")
    for item in items:
        item.keys(("name", "when", "points", "says"))
        named = item.required("name", "name the rule, such as `name: young-policy`")
        if _NAME.fullmatch(named.text()) is None:
            raise named.error(
                repr(named.value), "a rule's name is made of small letters, digits, - and _, letter first"
            )
        if any(rule.name == named.value for rule in rules):
            raise named.error(f"{named.value!r} again", "name each rule once")
        points = item.required("points", "say how much it counts, such as `points: 30`")
        says = item.get("says")
        rules.append(
            Rule(
                name=named.text(),
                when=_condition(item.required("when", "write when it holds, such as `when: policy_age_days < 30`")),
                points=points.whole(-MOST_POINTS, MOST_POINTS),
                says="" if says is None else says.text(),
            )
        )
        if rules[-1].points == 0:
            raise points.error("0", "a rule without points changes nothing; remove it, or count it")
    return tuple(rules)


def _condition(node: Node) -> str:
    text = node.text()
    try:
        read_condition(text)
    except ConditionError as error:
        raise node.error(f"{error.found} at character {error.at + 1}", error.do) from None
    return text
