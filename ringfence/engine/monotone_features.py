# SPDX-License-Identifier: Apache-2.0
"""In which columns of a feature row the trees' score may move one way only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ringfence.engine.errors import MonotoneFeatureError
from ringfence.scenario.errors import did_you_mean
from ringfence.scenario.spec import Direction, Scenario

if TYPE_CHECKING:
    from ringfence.engine.catalogue import Feature

_SHORT: Final = ("event", "attribute")  # what a short name may leave out: `amount`, `policy_age_days`


def monotone_features(scenario: Scenario, features: Sequence[Feature]) -> dict[str, Direction]:
    """Hold the features named under `monotone` against those that there are.

    Parameters
    ----------
    scenario : in it `amount` is short for `event.amount`, and an attribute's own name for its feature.
    features : of its catalogue.

    Returns
    -------
    The direction by the feature's full name, in the order given.

    Raises
    ------
    MonotoneFeatureError
        If one is a category, no feature, or named twice.
    """
    found: dict[str, Direction] = {}
    is_category = {one.name: one.is_category for one in features}
    for name, direction in scenario.monotone.items():
        known = [full for full in (name, *(f"{part}.{name}" for part in _SHORT)) if full in is_category]
        if not known:
            numbers = [other for other, is_one in is_category.items() if not is_one]
            short = [other.partition(".")[2] for other in numbers if other.partition(".")[0] in _SHORT]
            near = did_you_mean(name, short if "." not in name else numbers)
            do = f"{near}; `ringfence features --list` shows all"
            raise MonotoneFeatureError(scenario=scenario.name, name=name, found="no feature of this scenario", do=do)
        full = known[0]
        if is_category[full]:
            do = "name numbers there: nothing grows from one category to another"
            raise MonotoneFeatureError(
                scenario=scenario.name, name=name, found="a category, whose codes have no order", do=do
            )
        if full in found:
            raise MonotoneFeatureError(
                scenario=scenario.name, name=name, found=f"{full} again", do="name each feature once"
            )
        found[full] = direction
    return found
