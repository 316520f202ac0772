# SPDX-License-Identifier: Apache-2.0
"""Boosted trees the slow way: LightGBM's dumped JSON, walked by recursion, and Shapley values by their definition."""

from __future__ import annotations

import itertools
import math
from typing import Any


def goes_left(node: dict[str, Any], value: float) -> bool:
    if node["decision_type"] == "==":
        codes = {int(code) for code in node["threshold"].split("||")}
        return not math.isnan(value) and value >= 0 and int(value) in codes
    if math.isnan(value):
        if node["missing_type"] == "NaN":
            return bool(node["default_left"])
        value = 0.0
    return value <= node["threshold"]


def tree_value(node: dict[str, Any], row: list[float]) -> float:
    while "leaf_value" not in node:
        node = node["left_child"] if goes_left(node, row[node["split_feature"]]) else node["right_child"]
    return float(node["leaf_value"])


def _cover(node: dict[str, Any]) -> int:
    return int(node.get("internal_count", node.get("leaf_count", 1)))


def value_of_known(node: dict[str, Any], row: list[float], known: frozenset[int]) -> float:
    """The tree's value when only the features in `known` are: elsewhere both sides, by training cover."""
    if "leaf_value" in node:
        return float(node["leaf_value"])
    left, right = node["left_child"], node["right_child"]
    if node["split_feature"] in known:
        return value_of_known(left if goes_left(node, row[node["split_feature"]]) else right, row, known)
    total = _cover(left) + _cover(right)
    a, b = value_of_known(left, row, known), value_of_known(right, row, known)
    return (a * _cover(left) + b * _cover(right)) / total


def shapley_values(tree: dict[str, Any], row: list[float]) -> list[float]:
    """Every coalition, by the definition: only for a handful of features."""
    n = len(row)
    values = [0.0] * n
    for feature in range(n):
        others = [other for other in range(n) if other != feature]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for chosen in itertools.combinations(others, size):
                known = frozenset(chosen)
                gain = value_of_known(tree, row, known | {feature}) - value_of_known(tree, row, known)
                values[feature] += weight * gain
    return values
