# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.policy import ACTIONS, Policy, default_policy_text, policy_from_text
from ringfence.policy.costs import FEW, expected_costs

CARDS = policy_from_text(default_policy_text("card-payments"), where="cards.yaml")
CLAIMS = policy_from_text(default_policy_text("motor-claims"), where="claims.yaml")


def cost_by_hand(policy: Policy, action: str, p: float, amount: float) -> float:
    """One event, one action, from the cost table in words."""
    costs = policy.costs
    loss = costs.missed_fraud.fixed + costs.missed_fraud.amount_share * amount
    benefit = costs.benefit.approve_legit.fixed + costs.benefit.approve_legit.amount_share * amount
    if action == "decline":
        return (1 - p) * (costs.false_decline.fixed + costs.false_decline.amount_share * amount)
    price, gets_through = 0.0, 1.0
    if action == "challenge":
        if costs.challenge is None:
            return float("inf")
        price, gets_through = costs.challenge.friction, 1 - costs.challenge.stops
    if action == "review":
        if costs.review is None:
            return float("inf")
        price, gets_through = costs.review.cost, 1 - costs.review.detects
    return price + p * gets_through * loss - (1 - p) * benefit


@settings(max_examples=100)
@given(
    p=st.floats(0, 1),
    minor=st.integers(0, 10_000_000),
    policy=st.sampled_from([CARDS, CLAIMS]),
    rung=st.sampled_from(["full", "gbdt", "rules"]),
    reviews_left=st.sampled_from([None, 0, 1]),
)
def test_action_is_the_permitted_one_of_least_expected_cost(
    p: float, minor: int, policy: Policy, rung: str, reviews_left: int | None
) -> None:
    decided = policy.decide(np.array([p]), np.array([float(minor)]), rung=rung, reviews_left=reviews_left)
    by_hand = {action: cost_by_hand(policy, action, p, minor / 100) for action in ACTIONS}
    np.testing.assert_allclose(decided.expected_costs[0], list(by_hand.values()), rtol=1e-12, atol=1e-9)
    allowed = [a for a in ACTIONS if by_hand[a] < float("inf")]
    if rung == "rules":
        allowed.remove("decline")
    if reviews_left == 0:
        allowed.remove("review")
    assert decided.names[0] in allowed
    assert by_hand[decided.names[0]] <= min(by_hand[a] for a in allowed) + 1e-9


@pytest.mark.parametrize("policy", [CARDS, CLAIMS])
def test_few_events_cost_the_same_bits_as_many(policy: Policy) -> None:
    generator = np.random.default_rng(4)
    scores, amounts = generator.random(4 * FEW), 10.0 ** generator.uniform(-2, 9, 4 * FEW)
    many = expected_costs(policy.costs, scores, amounts)
    for size in (1, FEW):
        cuts = [slice(at, at + size) for at in range(0, 4 * FEW, size)]
        few = [expected_costs(policy.costs, scores[cut], amounts[cut]) for cut in cuts]
        assert np.concatenate(few).tobytes() == many.tobytes()


TABLE = policy_from_text(
    "costs: {currency: EUR, missed_fraud: {amount_share: 1.0}, review: {cost: 25, detects: 0.9}, "
    "challenge: {friction: 2, stops: 0.7}, false_decline: {fixed: 50}, benefit: {approve_legit: {amount_share: 0.01}}}",
    where="table.yaml",
)


def test_larger_amounts_and_scores_are_treated_more_strictly() -> None:
    # 200 EUR: approve 200 p, challenge 2 + 60 p, review 25 + 20 p, each less 2 (1 - p); decline 50 (1 - p)
    scores = np.array([0.001, 0.02, 0.3, 0.97])
    assert TABLE.decide(scores, np.full(4, 20_000.0)).names == ["approve", "challenge", "challenge", "decline"]
    amounts = np.array([100.0, 10_000.0, 1_000_000.0])
    assert TABLE.decide(np.full(3, 0.05), amounts).names == ["approve", "challenge", "review"]
    assert TABLE.decide(np.full(1, 0.01), np.full(1, 1_000_000.0)).names == ["challenge"]
    assert TABLE.decide(np.full(1, 0.005), np.full(1, 10_000_000.0)).names == ["review"]


def test_ties_go_to_the_milder_action() -> None:
    free = policy_from_text(
        "costs: {currency: EUR, missed_fraud: {fixed: 10}, false_decline: {fixed: 10}, "
        "review: {cost: 0, detects: 0}, challenge: {friction: 0, stops: 0}}",
        where="t",
    )
    assert free.decide(np.array([0.5]), np.array([0.0])).names == ["approve"]


@settings(max_examples=40)
@given(seed=st.integers(0, 9_999), per_day=st.integers(0, 12), n_days=st.integers(1, 6), ties=st.booleans())
def test_review_price_keeps_reviews_within_capacity_and_is_no_higher_than_needed(
    seed: int, per_day: int, n_days: int, ties: bool
) -> None:
    g = np.random.default_rng(seed)
    scores = g.beta(0.3, 3, 300)
    amounts = np.round(g.lognormal(9, 1.5, 300))
    if ties:
        scores, amounts = np.round(scores, 1), np.full(300, 50_000.0)
    capacity = msgspec.structs.replace(CLAIMS.capacity, reviews_per_day=float(per_day))
    policy = msgspec.structs.replace(CLAIMS, capacity=capacity)
    fitted = policy.fit_capacity(scores, amounts, n_days=float(n_days))
    n_reviews = fitted.decide(scores, amounts).names.count("review")
    n_wanted = policy.decide(scores, amounts).names.count("review")
    assert n_reviews <= per_day * n_days
    if n_wanted <= per_day * n_days:
        assert fitted.review_price == pytest.approx(0.0, abs=1e-9)
    elif not ties:
        assert n_reviews == per_day * n_days


def test_reviews_go_where_they_save_most() -> None:
    scores, amounts = np.full(5, 0.3), np.array([1e5, 5e5, 2e5, 4e5, 3e5])
    capacity = msgspec.structs.replace(CLAIMS.capacity, reviews_per_day=2.0)
    fitted = msgspec.structs.replace(CLAIMS, capacity=capacity).fit_capacity(scores, amounts, n_days=1.0)
    assert [name == "review" for name in fitted.decide(scores, amounts).names] == [False, True, False, True, False]


def test_live_cap_counts_down_within_a_batch_and_then_takes_the_next_best() -> None:
    scores, amounts = np.full(4, 0.3), np.full(4, 500_000.0)
    free = CLAIMS.decide(scores, amounts)
    assert free.names == ["review"] * 4
    capped = CLAIMS.decide(scores, amounts, reviews_left=2).names
    assert capped[:2] == ["review", "review"]
    assert capped[2:] == CLAIMS.decide(scores[:2], amounts[:2], reviews_left=0).names
    one_by_one = []
    left = 2
    for i in range(4):
        name = CLAIMS.decide(scores[i : i + 1], amounts[i : i + 1], reviews_left=left).names[0]
        left -= name == "review"
        one_by_one.append(name)
    assert one_by_one == capped


@pytest.mark.parametrize("per_day", [0.0, 0.9])
def test_no_whole_review_a_day_means_no_review_however_much_it_would_save(per_day: float) -> None:
    capacity = msgspec.structs.replace(CLAIMS.capacity, reviews_per_day=per_day)
    policy = msgspec.structs.replace(CLAIMS, capacity=capacity)
    history = policy.fit_capacity(np.full(3, 0.001), np.full(3, 1e4), n_days=30.0)
    scores, amounts = np.linspace(0.0, 1.0, 101), np.full(101, 1e7)
    assert "review" in CLAIMS.decide(scores, amounts).names
    for rung in ("full", "gbdt", "rules"):
        alone = history.decide(scores, amounts, rung=rung)
        assert "review" not in alone.names
        assert alone.names == history.decide(scores, amounts, rung=rung, reviews_left=0).names


def test_missing_amount_counts_as_the_typical_one() -> None:
    fitted = CLAIMS.fit_capacity(np.array([0.1, 0.2, 0.3]), np.array([1e5, np.nan, 3e5]), n_days=1.0)
    assert fitted.typical_amount == 2_000.0
    missing, typical = np.array([np.nan]), np.array([2e5])
    score = np.array([0.2])
    assert np.array_equal(fitted.decide(score, missing).expected_costs, fitted.decide(score, typical).expected_costs)
    assert CLAIMS.decide(score, missing).amounts.tolist() == [0.0]


def test_amount_below_zero_counts_by_its_size() -> None:
    scores = np.full(2, 0.3)
    refund, payment = TABLE.decide(scores, np.array([-200_000.0, 200_000.0])).expected_costs
    assert np.array_equal(refund, payment)


def test_rules_rung_never_declines_by_itself() -> None:
    scores, amounts = np.linspace(0, 1, 101), np.full(101, 1e6)
    bare = msgspec.structs.replace(CARDS, permitted={})
    assert "decline" not in bare.decide(scores, amounts, rung="rules").names
    assert "decline" in bare.decide(scores, amounts, rung="gbdt").names


def test_policy_survives_its_json_and_names_its_version() -> None:
    assert Policy.from_json(CARDS.to_json()) == CARDS
    assert CARDS.version == Policy.from_json(CARDS.to_json()).version
    assert CARDS.version != CLAIMS.version


MINIMAL: dict[str, Any] = {
    "costs": {"currency": "EUR", "missed_fraud": {"amount_share": 1.0}, "false_decline": {"fixed": 5}}
}


def test_smallest_policy_approves_or_declines() -> None:
    policy = policy_from_text(msgspec.json.encode(MINIMAL).decode(), where="m.yaml")
    names = policy.decide(np.array([0.0, 0.2, 0.9]), np.full(3, 1000.0)).names
    assert names == ["approve", "approve", "decline"]
