# SPDX-License-Identifier: Apache-2.0
"""Every feature has a measured cost, and the reference shows it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from ringfence.engine import Catalogue
from ringfence.engine.feature_costs import WORKS, Work, feature_costs
from ringfence.engine.feature_table import costs_markdown
from ringfence.engine.stats import FAMILIES, RINGS
from ringfence.scenario.load import load_scenarios
from ringfence.scenario.spec import Scenario
from ringfence.simulate import motor

ROOT = Path(__file__).resolve().parents[2]
THREE_ROLES = ("claimant", "repair_shop", "witness")


@pytest.fixture(scope="module")
def insurer() -> Scenario:
    """The simulated insurer with every family on."""
    path = Path(motor.__file__).parent / "workspace" / "ringfence.yaml"
    scenario = load_scenarios(path)["motor-claims"]
    return msgspec.structs.replace(scenario, features=dict.fromkeys(FAMILIES, True))


def with_three_roles(scenario: Scenario) -> Scenario:
    event_types = tuple(
        msgspec.structs.replace(event_type, roles=tuple(c for c in event_type.roles if c.role in THREE_ROLES))
        for event_type in scenario.event_types
    )
    return msgspec.structs.replace(scenario, event_types=event_types)


def test_every_family_and_every_work_has_a_measured_cost() -> None:
    found = feature_costs()
    assert tuple(found.families) == FAMILIES
    assert tuple(found.works) == tuple(WORKS)
    for cost in (*found.families.values(), *found.works.values()):
        assert cost.features > 0
        assert cost.plus_minus_ns > 0


def test_costs_were_measured_on_the_features_of_today(insurer: Scenario) -> None:
    # A feature that is new shares in the cost of its family once `python -m benchmarks.feature_costs --write` has run.
    families = Counter(feature.family for feature in Catalogue.build(insurer).features)
    assert {name: family.features for name, family in feature_costs().families.items()} == families
    works = Counter(feature.work for feature in Catalogue.build(with_three_roles(insurer)).features)
    works[RINGS] = families[RINGS]
    assert {name: work.features for name, work in feature_costs().works.items()} == works


def test_a_work_is_dear_where_it_walks_and_cheap_where_it_looks_up() -> None:
    works = feature_costs().works
    assert works["links"].left_out_ns > works["history"].left_out_ns
    assert feature_costs().measured.full_row_ns > feature_costs().measured.event_only_ns


def test_cost_of_a_feature_is_its_share_of_its_work(insurer: Scenario) -> None:
    catalogue = Catalogue.build(with_three_roles(insurer))
    for name, work in feature_costs().works.items():
        shares = [feature.cost_ns for feature in catalogue.features if feature.work == name]
        if name != RINGS:
            assert sum(shares) == pytest.approx(work.most_ns)
    assert {feature.work for feature in catalogue.features} == set(WORKS)


def test_saving_within_the_scatter_is_told_as_a_bound() -> None:
    clear = Work(features=10, left_out_ns=500.0, plus_minus_ns=100.0)
    lost = Work(features=10, left_out_ns=-50.0, plus_minus_ns=100.0)
    assert (clear.is_told_apart, clear.value_ns) == (True, 50.0)
    assert (lost.is_told_apart, lost.value_ns) == (False, 10.0)


def test_reference_states_every_feature_in_full() -> None:
    page = (ROOT / "docs" / "reference" / "features.md").read_text("utf-8")
    assert costs_markdown() in page
    head = "| feature | family | meaning | unit | window, rounded to | missing (NaN) when | version | ns |"
    assert head in page
    assert "| `claimant.n_events` | novelty_gaps | number of earlier events of claimant | events | – |" in page
    assert "| 30d, 1h |" in page
