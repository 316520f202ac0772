# SPDX-License-Identifier: Apache-2.0
"""What the policy would have done with scored events, and what that would have cost, now that the truth is known.

The cost of an action on an event of known truth is `policy.expected_costs` at a probability of 0 or 1: a review that
finds 88 % of frauds leaves 12 % of the loss, and nobody has to guess which.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.policy.costs import ACTIONS, APPROVE, CHALLENGE, DECLINE, REVIEW, expected_costs
from ringfence.policy.placeholders import are_placeholders
from ringfence.policy.policy import Policy
from ringfence.training.ranking import Interval

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_REPLICATES: Final = 400


class ActionTaken(msgspec.Struct, frozen=True, kw_only=True):
    """What one action met; money in major units."""

    action: str
    n_fraud: int
    n_legit: int
    fraud_amount: float | None  # None without amounts
    legit_amount: float | None
    fraud_cost: float  # what the action cost on frauds: what was lost all the same, and the work
    legit_cost: float  # what it cost on legit events; negative: what they brought


class SavedAtCapacity(msgspec.Struct, frozen=True, kw_only=True):
    """Each day's highest scores get the alert action, all else is approved."""

    alerts_per_day: int
    saved_per_day: Interval  # against approving everything


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """The policy on a window of scored events whose truth is known. Money in major units, costs positive."""

    currency: str
    policy: str  # its version
    review_price: float
    has_amounts: bool
    n_days: float
    actions: list[ActionTaken]  # those that exist, milder first
    cost: float  # of the policy
    cost_approving_all: float
    cost_knowing_all: float  # of the cheapest action for each event, had the truth been known: the bound of any score
    best_single: str  # the action that costs least if all events get it: what the scores must beat
    cost_best_single: float
    saved: Interval  # cost_approving_all - cost
    alert_action: str  # review, or the mildest other that is no approval
    at_capacity: list[SavedAtCapacity]
    costs_are_placeholders: bool = False  # nobody has set them yet: `policy.are_placeholders`


def money_of(
    fraud: NDArray[np.int8],
    score: FloatArray,
    amount_minor: FloatArray,
    rank_within_day: IntArray,
    policy: Policy,
    *,
    n_days: float,
    alerts_per_day: list[int],
    seed: int,
) -> Money:
    """Let the policy act on scored events and count the money.

    Parameters
    ----------
    fraud, score : shape (n,), n > 0.
    amount_minor : shape (n,), NaN where missing: the policy's typical amount stands in then, as it does live.
    rank_within_day : shape (n,), from 1, each day's highest score first.
    n_days : days that the events span, > 0.
    alerts_per_day : capacities to count the saving at.
    seed : of the bootstrap.

    Notes
    -----
    Actions assume an empty queue, as `ringfence score` does. Intervals resample single events (Poisson bootstrap):
    frauds one by one, since a few large ones carry the sum, and legit events, which cost about the same each, by the
    normal approximation of their sum.
    """
    rng = np.random.default_rng(seed)
    amounts = policy.amounts_of(amount_minor)
    truth = expected_costs(policy.costs, fraud.astype(np.float64), amounts)
    codes = policy.decide(score, amount_minor).codes
    taken = truth[np.arange(codes.shape[0]), codes]
    approved = truth[:, APPROVE]
    existing = list(policy.costs.actions)
    has_amounts = bool((~np.isnan(amount_minor)).any())
    single = truth[:, existing].sum(axis=0)
    best = int(np.argmin(single))
    alert = next((code for code in (REVIEW, CHALLENGE) if code in existing), DECLINE)
    draws = rng.poisson(1.0, size=(N_REPLICATES, int(fraud.sum()))).astype(np.float64)
    noise = rng.standard_normal(N_REPLICATES)

    def saved(gain: FloatArray, per: float) -> Interval:
        legit = gain[fraud == 0]
        drawn = draws @ gain[fraud == 1] + float(legit.sum()) + noise * float(np.sqrt(np.sum(legit**2)))
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Interval(float(gain.sum()) / per, float(low) / per, float(high) / per)

    return Money(
        currency=policy.costs.currency,
        policy=policy.version,
        review_price=policy.review_price,
        has_amounts=has_amounts,
        n_days=n_days,
        actions=[_taken(code, codes, fraud, amounts if has_amounts else None, taken) for code in existing],
        cost=float(taken.sum()),
        cost_approving_all=float(approved.sum()),
        cost_knowing_all=float(truth[:, existing].min(axis=1).sum()),
        best_single=ACTIONS[existing[best]],
        cost_best_single=float(single[best]),
        saved=saved(approved - taken, 1.0),
        alert_action=ACTIONS[alert],
        at_capacity=[
            SavedAtCapacity(
                alerts_per_day=alerts,
                saved_per_day=saved(np.where(rank_within_day <= alerts, approved - truth[:, alert], 0.0), n_days),
            )
            for alerts in alerts_per_day
        ],
        costs_are_placeholders=are_placeholders(policy.costs),
    )


def _taken(
    code: int, codes: IntArray, fraud: NDArray[np.int8], amounts: FloatArray | None, taken: FloatArray
) -> ActionTaken:
    bad, good = (codes == code) & (fraud == 1), (codes == code) & (fraud == 0)
    return ActionTaken(
        action=ACTIONS[code],
        n_fraud=int(bad.sum()),
        n_legit=int(good.sum()),
        fraud_amount=None if amounts is None else float(amounts[bad].sum()),
        legit_amount=None if amounts is None else float(amounts[good].sum()),
        fraud_cost=float(taken[bad].sum()),
        legit_cost=float(taken[good].sum()),
    )
