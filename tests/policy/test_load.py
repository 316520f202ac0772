# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.policy import PolicyFileError, default_policy_text, load_policy, policy_from_text

GOOD = """\
costs:
  currency: EUR
  missed_fraud: {amount_share: 1.0, fixed: 0}
  review: {cost: 25, detects: 0.9}
  challenge: {friction: 2, stops: 0.7}
  false_decline: {fixed: 50, amount_share: 0}
capacity: {reviews_per_day: 50}
permitted:
  rules: [approve, challenge, review]
"""


def test_policy_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cards.yaml"
    path.write_text(GOOD)
    policy = load_policy(path)
    assert policy.reviews_per_day == 50
    assert policy.costs.review is not None
    assert policy.costs.review.detects == 0.9
    assert policy.review_price == 0.0


@pytest.mark.parametrize("template", ["motor-claims", "card-payments"])
def test_default_policies_are_valid_and_commented(template: str) -> None:
    text = default_policy_text(template)
    assert policy_from_text(text, where=template).reviews_per_day
    assert "# " in text


@pytest.mark.parametrize(
    ("old", "new", "path", "found"),
    [
        ("detects: 0.9", "detects: 1.9", "$.costs.review.detects", "1.0"),
        ("detects: 0.9", "detects: lots", "$.costs.review.detects", "str"),
        ("cost: 25,", "cost: -25,", "$.costs.review.cost", "0.0"),
        ("cost: 25,", "cost: .nan,", "$.costs.review.cost", "nan"),
        ("cost: 25,", "cost: .inf,", "$.costs.review.cost", "inf"),
        ("cost: 25,", "price: 25,", "$.costs.review", "price"),
        ("currency: EUR", "currency: 7", "$.costs.currency", "int"),
        ("reviews_per_day: 50", "reviews_per_day: -1", "$.capacity.reviews_per_day", "0.0"),
        ("rules: [approve, challenge, review]", "rules: [pay]", "$.permitted[...]", "pay"),
        ("rules: [approve, challenge, review]", "rules: [review]", "$.permitted.rules", "used up"),
        ("rules: [", "robots: [", "", "robots"),
        ("  challenge: {friction: 2, stops: 0.7}\n", "", "$.permitted.rules", "'challenge' has no row"),
        ("amount_share: 1.0, fixed: 0", "amount_share: 0, fixed: 0", "$.costs.missed_fraud", "costs nothing"),
        ("costs:", "costs: [", "$", "not YAML"),
        (GOOD, "", "$", "object"),
    ],
)
def test_wrong_policy_says_where_and_what(old: str, new: str, path: str, found: str) -> None:
    assert old in GOOD
    with pytest.raises(PolicyFileError) as raised:
        policy_from_text(GOOD.replace(old, new), where="cards.yaml")
    error = raised.value
    assert error.file == "cards.yaml"
    assert path in error.path
    assert found in str(error)
    assert error.do


def test_absent_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="cannot be read"):
        load_policy(tmp_path / "none.yaml")
