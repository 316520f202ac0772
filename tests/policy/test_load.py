# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
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
        ("detects: 0.9", "detects: 1.9", "costs.review.detects", "found 1.9; write a number from 0 to 1"),
        ("detects: 0.9", "detects: lots", "costs.review.detects", "found 'lots'; write a number"),
        ("detects: 0.9", "detects: true", "costs.review.detects", "found True"),
        (", detects: 0.9", "", "costs.review.detects", "found nothing; write the share of frauds"),
        ("cost: 25,", "cost: -25,", "costs.review.cost", "found -25; write a number, 0 or more"),
        ("cost: 25,", "cost: .nan,", "costs.review.cost", "nan"),
        ("cost: 25,", "cost: .inf,", "costs.review.cost", "inf"),
        ("cost: 25,", "price: 25,", "costs.review.price", "an unknown key 'price'"),
        ("fixed: 50", "fixd: 50", "costs.false_decline.fixd", "did you mean 'fixed'?"),
        ("false_decline: {fixed: 50, amount_share: 0}", "", "costs.false_decline", "found nothing"),
        ("currency: EUR", "currency: 7", "costs.currency", "found 7; write three capital letters"),
        ("currency: EUR", "currency: EUR\n  currency: USD", "line 3", "'currency', which stands twice"),
        ("currency: EUR", "currency: EUR\n  digits: 9", "costs.digits", "0 to 6"),
        ("reviews_per_day: 50", "reviews_per_day: -1", "capacity.reviews_per_day", "found -1"),
        ("reviews_per_day: 50", "reviews: 5", "capacity.reviews", "did you mean 'reviews_per_day'?"),
        ("rules: [approve, challenge, review]", "rules: [pay]", "permitted.rules[0]", "found 'pay'; known: approve"),
        ("rules: [approve, challenge, review]", "rules: approve", "permitted.rules", "write a list"),
        ("rules: [approve, challenge, review]", "rules: [approve, approve]", "permitted.rules", "twice"),
        ("rules: [approve, challenge, review]", "rules: [review]", "permitted.rules", "used up"),
        ("rules: [", "robots: [", "permitted.robots", "known: full, gbdt, rules"),
        ("  challenge: {friction: 2, stops: 0.7}\n", "", "permitted.rules", "'challenge' has no row"),
        ("amount_share: 1.0, fixed: 0", "amount_share: 0, fixed: 0", "costs.missed_fraud", "costs nothing"),
        ("costs:", "costs: [", "line ", "no YAML ("),
        (GOOD, "", "", "found nothing"),
    ],
)
def test_wrong_policy_says_where_and_what(old: str, new: str, path: str, found: str) -> None:
    assert old in GOOD
    with pytest.raises(PolicyFileError) as raised:
        policy_from_text(GOOD.replace(old, new), where="cards.yaml")
    error = raised.value
    assert error.file == "cards.yaml"
    assert error.path.startswith(path)
    assert found in str(error)
    assert not re.search(r"\bfound\b.*\bfound\b|Object|Expected", str(error))
    assert error.do


def test_absent_file_says_so_and_where_one_comes_from(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="there is no such file; every scenario needs one: `ringfence init`"):
        load_policy(tmp_path / "none.yaml")


def test_file_that_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyFileError, match="invalid UTF-8 at byte 0"):
        load_policy(tmp_path / "policy.yaml")
