# SPDX-License-Identifier: Apache-2.0
"""Rules as a branch: points on one event and on columns, what they are worth, and what they say."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.models.errors import ModelShapeError
from ringfence.models.rules import SLOPE, RulesModel
from ringfence.models.seen import Seen
from ringfence.scenario.condition_names import Kind, Known
from ringfence.scenario.spec import Rule
from ringfence.scenario.values import category_code
from ringfence.training.rules import fit_points

FEATURES = {
    "attribute.age": Known(0, Kind.NUMBER),
    "event.amount": Known(1, Kind.NUMBER),
    "attribute.make": Known(2, Kind.CATEGORY),
    "shop.is_new": Known(3, Kind.FLAG),
}
RULES = (
    Rule(name="young-and-dear", when="age < 30 and amount > 1000", points=30, says="A young policy, a high claim"),
    Rule(name="new-shop", when="shop.is_new", points=10),
    Rule(name="known-good", when="make in ('vw', 'audi') and not shop.is_new", points=-15),
)
MAKES = [category_code(make) for make in ("vw", "audi", "seat")]


def drawn(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.column_stack(
        [rng.integers(0, 90, n), rng.exponential(1500.0, n), rng.choice(MAKES, n), rng.integers(0, 2, n)]
    ).astype(np.float64)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows


@pytest.fixture
def model() -> RulesModel:
    return RulesModel.of(RULES, FEATURES, 4)


def test_points_are_those_of_the_rules_that_hold(model: RulesModel) -> None:
    rows = np.array(
        [[10, 2000, MAKES[0], 1], [10, 2000, MAKES[0], 0], [10, np.nan, MAKES[2], np.nan], [40, 1, np.nan, 1]]
    )
    assert model.points(rows).tolist() == [40.0, 15.0, 0.0, 10.0]
    assert [rule.name for rule in model.hits(rows[1])] == ["young-and-dear", "known-good"]


def test_one_event_and_columns_agree_to_the_bit_and_after_a_round_trip(model: RulesModel) -> None:
    rows = drawn(1, 400)
    fitted = fit_points(model, model.points(rows), (drawn(2, 400)[:, 3] == 1.0).astype(np.int8))
    again = RulesModel.from_bytes(fitted.to_bytes())
    together = fitted.raw(Seen(rows), rows)
    alone = np.concatenate([again.raw(Seen(rows[at : at + 1]), rows) for at in range(400)])
    assert alone.tobytes() == together.tobytes()
    assert again.points_by_column(rows).tobytes() == again.points(rows).tobytes()
    assert again.to_bytes() == fitted.to_bytes()


def test_what_a_point_is_worth_follows_labels_and_never_turns_around(model: RulesModel) -> None:
    rng = np.random.default_rng(3)
    points = model.points(drawn(3, 6_000))
    odds = -2.0 + 0.1 * points
    fraud = (rng.random(6_000) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)
    fitted = fit_points(model, points, fraud)
    assert fitted.slope == pytest.approx(0.1, rel=0.1)
    assert fitted.probability(fitted.log_odds(points)).mean() == pytest.approx(fraud.mean(), abs=1e-3)
    assert fit_points(model, points, 1 - fraud).slope == 0.0
    assert fit_points(model, points[:4], np.array([0, 1, 0, 1], np.int8)).slope == pytest.approx(SLOPE, rel=0.3)


def test_rules_that_hold_are_told_with_what_they_say(model: RulesModel) -> None:
    rows = np.array([[10, 2000, MAKES[0], 1], [90, 1, MAKES[0], 0]])
    first, second = model.said(Seen(rows), rows)
    assert [(one.code, one.sentence) for one in first] == [
        ("RULE_YOUNG_AND_DEAR", "A young policy, a high claim"),
        ("RULE_NEW_SHOP", "Rule new-shop: shop.is_new"),
    ]
    assert [one.adds for one in first] == [30 * SLOPE, 10 * SLOPE]
    assert second == ()  # what speaks against fraud is no reason


def test_rows_of_another_width_are_refused(model: RulesModel) -> None:
    with pytest.raises(ModelShapeError, match=r"found shape \(1, 5\), expected \(n, 4\)"):
        model.points(np.zeros((1, 5)))
