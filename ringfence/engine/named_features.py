# SPDX-License-Identifier: Apache-2.0
"""Features that a scenario names: each section that does holds its names against the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ringfence.engine.kmeans_features import check_kmeans
from ringfence.engine.monotone_features import monotone_features
from ringfence.engine.rule_features import check_rules, rule_features
from ringfence.scenario.spec import Scenario

if TYPE_CHECKING:
    from ringfence.engine.catalogue import Feature


def check_named(scenario: Scenario, features: Sequence[Feature]) -> None:
    """Hold `segments`, `monotone` and `rules` of a scenario against the features that it has.

    Raises
    ------
    KMeansFeatureError
        If `scenario.kmeans` names a category, or what is no feature.
    MonotoneFeatureError
        If `scenario.monotone` does.
    RuleFeatureError
        If one of `scenario.rules` names what is no feature, or compares what cannot be compared.
    """
    monotone_features(scenario, features)
    if scenario.kmeans is not None:
        check_kmeans(scenario.name, scenario.kmeans, {one.name: one.is_category for one in features})
    if scenario.rules:
        check_rules(scenario.name, scenario.rules, rule_features(features))
