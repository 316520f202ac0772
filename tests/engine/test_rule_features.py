# SPDX-License-Identifier: Apache-2.0
"""Rules name features of the catalogue; those that name others are refused with rule, place and what is near."""

from __future__ import annotations

import msgspec
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.errors import RuleFeatureError
from ringfence.engine.rule_features import rule_features
from ringfence.scenario.condition_names import Kind
from ringfence.scenario.spec import Rule, Scenario
from tests.scoring.releases import scenario


def ruled(*conditions: str) -> Scenario:
    rules = tuple(Rule(name=f"rule-{n}", when=when, points=10) for n, when in enumerate(conditions))
    return msgspec.structs.replace(scenario(), rules=rules)


def test_rules_change_neither_rows_nor_the_spec_of_features() -> None:
    good = ruled("amount > 10000 and policy_age_days < 30", "vehicle_make = 'vw' and claimant.is_new", "event.night")
    assert Catalogue.build(good).spec_hash == Catalogue.build(scenario()).spec_hash


def test_kinds_follow_the_catalogue() -> None:
    catalogue = Catalogue.build(scenario())
    features = rule_features(catalogue.features)
    kinds = {name: features[name].kind for name in ("event.amount", "attribute.vehicle_make", "claimant.is_new")}
    assert list(kinds.values()) == [Kind.NUMBER, Kind.CATEGORY, Kind.FLAG]
    assert [features[name].column for name in catalogue.names] == list(range(len(catalogue.names)))


@pytest.mark.parametrize(
    ("when", "place", "part"),
    [
        ("amount > 1 and policy_age_day < 30", 16, "did you mean 'policy_age_days'?"),
        ("sex = 'f'", 1, "`sex`, no feature of this scenario"),
        ("vehicle_make > 3", 14, "a category beside a number"),
    ],
)
def test_what_names_no_feature_is_refused_with_rule_and_place(when: str, place: int, part: str) -> None:
    with pytest.raises(RuleFeatureError, match=r"motor-claims\.rules\[1\]\.when, rule 'rule-1'") as caught:
        Catalogue.build(ruled("event.night", when))
    assert caught.value.at + 1 == place
    assert f"character {place}: " in str(caught.value)
    assert part in str(caught.value)
