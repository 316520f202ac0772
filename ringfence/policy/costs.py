# SPDX-License-Identifier: Apache-2.0
"""What each action is expected to cost, in money, for an event of a given probability of fraud and amount.

With p the calibrated probability of fraud, x the amount, L(x) the loss of a missed fraud, F(x) the harm of declining
a legitimate event, B(x) the benefit of letting one through (each `fixed + amount_share * x`):

    approve     p L(x)                                   - (1 - p) B(x)
    challenge   friction + p (1 - stops) L(x)            - (1 - p) B(x)
    review      cost + p (1 - detects) L(x)              - (1 - p) B(x)
    decline     (1 - p) F(x)

The benefit is the margin a legitimate event brings; a declined one forgoes it, which is why it is not in the last
line. A challenge or a review that clears a legitimate event keeps it.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Numbers = TypeVar("Numbers", float, FloatArray)

Money = Annotated[float, msgspec.Meta(ge=0.0)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]

ACTIONS: Final = ("approve", "challenge", "review", "decline")  # milder first: ties go to the milder
APPROVE, CHALLENGE, REVIEW, DECLINE = range(4)
FEW: Final = 10  # events up to which one by one is faster: 1 µs each against 14 for arrays of any length


class Scaled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money that may grow with the amount: `fixed + amount_share * amount`, in major units."""

    fixed: Money = 0.0
    amount_share: Money = 0.0

    def of(self, amounts: Numbers) -> Numbers:
        return self.fixed + self.amount_share * amounts


class ReviewCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cost: Money  # an investigator's time for one event
    detects: Share  # share of frauds that a review stops


class ChallengeCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    friction: Money  # of asking anyone once
    stops: Share  # share of frauds that a challenge stops


class Benefit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    approve_legit: Scaled = Scaled()


class Costs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cost table. An action whose row is absent (`review`, `challenge`) does not exist in this scenario."""

    currency: str
    missed_fraud: Scaled
    false_decline: Scaled
    review: ReviewCost | None = None
    challenge: ChallengeCost | None = None
    benefit: Benefit = Benefit()
    digits: Annotated[int, msgspec.Meta(ge=0, le=6)] = 2  # minor units per major unit, as a power of ten

    @property
    def actions(self) -> tuple[int, ...]:
        """Actions that exist, in the order of `ACTIONS`."""
        exists = (True, self.challenge is not None, self.review is not None, True)
        return tuple(action for action in range(4) if exists[action])


def expected_costs(costs: Costs, scores: FloatArray, amounts: FloatArray) -> FloatArray:
    """Return the expected cost of every action; the formulae are in this module's docstring.

    Parameters
    ----------
    scores : shape (n,), calibrated probability of fraud, in [0, 1].
    amounts : shape (n,), major units, without NaN.

    Returns
    -------
    shape (n, 4) in the order of `ACTIONS`, major units, negative where a benefit outweighs the risk; infinite for an
    action that does not exist.
    """
    table = np.empty((scores.shape[0], 4))
    if scores.shape[0] <= FEW:
        for at, (score, amount) in enumerate(zip(scores.tolist(), amounts.tolist(), strict=True)):
            table[at] = _cost_of_each(costs, score, amount)
    else:
        for action, column in enumerate(_cost_of_each(costs, scores, amounts)):
            table[:, action] = column
    return table


def _cost_of_each(costs: Costs, score: Numbers, amount: Numbers) -> tuple[Numbers | float, ...]:
    # One event or many: the same operations in the same order, and so the same bits.
    loss = costs.missed_fraud.of(amount)
    legit = 1.0 - score
    margin = legit * costs.benefit.approve_legit.of(amount)
    challenge, review = costs.challenge, costs.review
    return (
        score * loss - margin,
        math.inf if challenge is None else challenge.friction + score * (1.0 - challenge.stops) * loss - margin,
        math.inf if review is None else review.cost + score * (1.0 - review.detects) * loss - margin,
        legit * costs.false_decline.of(amount),
    )
