# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.scoring.reasons import ReasonBook, feature_texts
from ringfence.scoring.sentences import FeatureText, say
from tests.scoring.releases import scenario

NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("repair_shop.fraud_count_30d", 3.0, "3 frauds of this repair shop confirmed in the last 30 days"),
        ("repair_shop.fraud_count_30d", 1.0, "1 fraud of this repair shop confirmed in the last 30 days"),
        ("claimant.count_7d", 0.0, "No events of this claimant in the last 7 days"),
        ("claimant.count_7d", 1.0, "1 event of this claimant in the last 7 days"),
        ("claimant.is_new", 1.0, "This claimant has never been seen before"),
        ("claimant.is_new", 0.0, "Not the case: this claimant has never been seen before"),
        ("claimant.amount_sum_7d", 1234.5, "Sum of the amounts of this claimant in the last 7 days: 1,234.50 EUR"),
        ("claimant.amount_to_mean", 3.21, "The amount is 3.2 times the mean of all earlier amounts of this claimant"),
        (
            "claimant.age_days",
            NAN,
            "No value here, as it was not given or nothing came before: days since this claimant was first seen",
        ),
        ("claimant.age_days", 12.25, "12.2 days since this claimant was first seen"),
        ("attribute.policy_age_days", 9.0, "Policy age days: 9"),
        ("attribute.vehicle_make", 4.5e9, "Vehicle make is of a kind that matters here"),
        ("witness.n", 3.0, "Number of entities in the role witness: 3"),
        ("claimant.gap_hours", 72.0, "3 days since the newest earlier event of this claimant"),
        ("claimant.gap_hours", 1.0, "1 hour since the newest earlier event of this claimant"),
        ("repair_shop.n_events", 4.0, "Number of earlier events of this repair shop: 4"),
        ("witness.count_7d.max", 2.0, "2 events of this witness in the last 7 days (the largest of several)"),
        ("witness.is_new.mean", 0.5, "For 50 % of several: this witness has never been seen before"),
        ("witness.is_new.max", 0.0, "Not the case: this witness has never been seen before"),
        ("claimant~repair_shop.is_new", 1.0, "This claimant and this repair shop have never been seen together"),
    ],
)
def test_sentence_is_filled_with_the_value(name: str, value: float, expected: str) -> None:
    texts = {text.name: text for text in feature_texts(Catalogue.build(scenario()).features)}
    assert say(texts[name], value, currency="EUR") == expected


@pytest.mark.parametrize("value", [0.0, 1.0, 2.5, 17.0, -3.0, NAN])
def test_every_feature_of_the_catalogue_can_be_said(value: float) -> None:
    for text in feature_texts(Catalogue.build(scenario()).features):
        said = say(text, value, currency="EUR")
        assert said[0] == said[0].upper()
        assert "_" not in said
        assert "{" not in said
        assert "nan" not in said.lower().split()


def book() -> ReasonBook:
    features = [("velocity:claimant", "a"), ("velocity:claimant", "b"), ("label_risk:shop", "c"), ("event", "d")]
    return ReasonBook(
        [FeatureText(name=name, group=group, sentence=name, unit="as given") for group, name in features],
        currency="EUR",
    )


def told(contributions: list[float], amount: float | None = None) -> list[tuple[str, str]]:
    row: NDArray[np.float64] = np.arange(4.0)
    reasons = book().reasons(row, np.array(contributions), amount=amount)
    assert len(reasons) >= 3
    return [(reason.code, reason.sentence) for reason in reasons]


def test_groups_are_summed_and_speak_through_their_strongest_feature() -> None:
    assert told([0.3, 0.4, 0.6, 0.1]) == [
        ("VELOCITY_CLAIMANT", "B: 1"),
        ("LABEL_RISK_SHOP", "C: 2"),
        ("EVENT", "D: 3"),
    ]
    family = book().by_family(np.array([[0.3, 0.4, 0.6, 0.1]]))
    assert dict(zip(book().families, family[0].round(9).tolist(), strict=True)) == {
        "velocity": 0.7,
        "label_risk": 0.6,
        "event": 0.1,
    }


def test_too_few_groups_are_filled_up_with_features_amount_and_what_does_not_raise() -> None:
    assert told([0.5, 0.2, 0.1, -0.1]) == [
        ("VELOCITY_CLAIMANT", "A: 0"),
        ("VELOCITY_CLAIMANT", "B: 1"),
        ("LABEL_RISK_SHOP", "C: 2"),
    ]
    assert told([0.5, -0.2, -0.1, -0.3], amount=1200.0) == [
        ("VELOCITY_CLAIMANT", "A: 0"),
        ("AMOUNT_AT_STAKE", "At stake: 1,200.00 EUR"),
        ("LABEL_RISK_SHOP", "C: 2 (does not raise the score)"),
    ]


def test_nothing_that_raises_the_score_still_gives_three_reasons() -> None:
    assert [code for code, _ in told([-0.4, -0.3, -0.2, -0.1])] == ["EVENT", "LABEL_RISK_SHOP", "VELOCITY_CLAIMANT"]
