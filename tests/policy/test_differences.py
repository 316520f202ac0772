# SPDX-License-Identifier: Apache-2.0
"""What `train` fits is no difference; every edit of the file is."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.policy import default_policy_text, differences, policy_from_text

TEXT = default_policy_text("motor-claims")
WRITTEN = policy_from_text(TEXT, where="claims.yaml")
LIVE = WRITTEN.fit_capacity(np.linspace(0.0, 1.0, 500), np.full(500, 2e5), n_days=1.0)


def test_fitted_price_and_amount_are_no_difference() -> None:
    assert LIVE.review_price > 0.0
    assert LIVE.typical_amount == 2_000.0
    assert differences(WRITTEN, LIVE) == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("cost: 60", "cost: 61", "costs.review.cost (61 in the file, 60 in the release)"),
        ("reviews_per_day: 50", "reviews_per_day: 0", "capacity.reviews_per_day (0 in the file, 50 in the release)"),
        ("  reviews_per_day: 50", "  {}", "capacity.reviews_per_day (nothing in the file, 50 in the release)"),
        ("[approve, challenge, review]", "[approve]", "approve in the file, approve, challenge, review in the release"),
        ("permitted:", "typical_amount: 3\npermitted:", "typical_amount (3 in the file, 2000 in the release)"),
    ],
)
def test_edits_are_named_with_both_values(old: str, new: str, expected: str) -> None:
    assert old in TEXT
    found = differences(policy_from_text(TEXT.replace(old, new), where="claims.yaml"), LIVE)
    assert expected in str(found[0])
    assert len(found) == 1
