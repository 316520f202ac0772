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

from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

Money = Annotated[float, msgspec.Meta(ge=0.0)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]

ACTIONS: Final = ("approve", "challenge", "review", "decline")  # milder first: ties go to the milder
APPROVE, CHALLENGE, REVIEW, DECLINE = range(4)


class Scaled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money that may grow with the amount: `fixed + amount_share * amount`, in major units."""

    fixed: Money = 0.0
    amount_share: Money = 0.0

    def of(self, amounts: FloatArray) -> FloatArray:
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
    loss = costs.missed_fraud.of(amounts)
    legit = 1.0 - scores
    margin = legit * costs.benefit.approve_legit.of(amounts)
    table = np.full((scores.shape[0], 4), np.inf)
    table[:, APPROVE] = scores * loss - margin
    if costs.challenge is not None:
        missed = 1.0 - costs.challenge.stops
        table[:, CHALLENGE] = costs.challenge.friction + scores * missed * loss - margin
    if costs.review is not None:
        missed = 1.0 - costs.review.detects
        table[:, REVIEW] = costs.review.cost + scores * missed * loss - margin
    table[:, DECLINE] = legit * costs.false_decline.of(amounts)
    return table
