# SPDX-License-Identifier: Apache-2.0
"""Which features may be held to one direction, by full and by short name."""

from __future__ import annotations

import msgspec
import pytest

from ringfence.engine import Catalogue
from ringfence.engine.errors import MonotoneFeatureError
from ringfence.engine.monotone_features import monotone_features
from ringfence.scenario.spec import Direction
from tests.scoring.releases import scenario

UP, DOWN = Direction.INCREASING, Direction.DECREASING


def catalogue_with(**monotone: Direction) -> Catalogue:
    return Catalogue.build(msgspec.structs.replace(scenario(), monotone=monotone))


def held(catalogue: Catalogue) -> dict[str, Direction]:
    return monotone_features(catalogue.scenario, catalogue.features)


def test_short_names_stand_for_the_amount_and_for_attributes() -> None:
    asked = {"amount": UP, "policy_age_days": DOWN, "claimant.fraud_count_30d": UP}
    assert held(catalogue_with(**asked)) == {
        "event.amount": UP,
        "attribute.policy_age_days": DOWN,
        "claimant.fraud_count_30d": UP,
    }


def test_directions_change_no_value_of_a_feature() -> None:
    assert catalogue_with(amount=UP).spec_hash == Catalogue.build(scenario()).spec_hash


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        (
            {"amont": UP},
            "scenarios.motor-claims.monotone.amont: found no feature of this scenario; did you mean 'amount'",
        ),
        ({"claimant.fraud_count_90d": UP}, "did you mean 'claimant.fraud_count_30d'"),
        ({"vehicle_make": UP}, "found a category, whose codes have no order"),
        ({"sex": UP}, "found no feature"),
        (
            {"amount": UP, "event.amount": DOWN},
            "scenarios.motor-claims.monotone.event.amount: found event.amount again",
        ),
    ],
)
def test_what_cannot_be_held_is_refused_with_its_path(asked: dict[str, Direction], part: str) -> None:
    with pytest.raises(MonotoneFeatureError) as refusal:
        catalogue_with(**asked)
    assert part in str(refusal.value)
