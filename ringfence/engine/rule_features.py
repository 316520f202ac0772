# SPDX-License-Identifier: Apache-2.0
"""Which features rules may name, and whether they name others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ringfence.engine.errors import RuleFeatureError
from ringfence.scenario.condition import read_condition
from ringfence.scenario.condition_names import Kind, Known, bind
from ringfence.scenario.errors import ConditionError
from ringfence.scenario.spec import Rule


class _Feature(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def is_category(self) -> bool: ...


def rule_features(features: Sequence[_Feature]) -> dict[str, Known]:
    """Return what rules may name: every feature, by its column and kind."""
    return {
        feature.name: Known(
            column, Kind.CATEGORY if feature.is_category else Kind.FLAG if feature.unit == "0/1" else Kind.NUMBER
        )
        for column, feature in enumerate(features)
    }


def check_rules(scenario: str, rules: Sequence[Rule], features: Mapping[str, Known]) -> None:
    """Hold what rules name against the features that there are.

    Parameters
    ----------
    scenario : its name, for the message.

    Raises
    ------
    RuleFeatureError
        If a name is no feature, or kinds do not go together.
    """
    for number, rule in enumerate(rules, start=1):
        try:
            bind(rule.when, read_condition(rule.when), features)
        except ConditionError as error:
            raise RuleFeatureError(scenario=scenario, number=number, rule=rule.name, error=error) from None
