# SPDX-License-Identifier: Apache-2.0
"""The action of least expected cost, under what a rung may do and what investigators can carry.

    action = argmin over permitted a of  cost_a(p, x) + price * [a = review]

`price` is the shadow price of the last review of a day: `Policy.fit_capacity` takes the smallest at which history
would have asked for no more than `reviews_per_day`. It turns a hard limit into a threshold that favours the events
where a review saves most. The limit itself still holds live: with no reviews left, review is not permitted and the
next best action is taken. A capacity without one whole review a day is no capacity: then `review` is never permitted,
however much one would save, live and in `score` alike.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.policy.costs import ACTIONS, REVIEW, Costs, expected_costs

FloatArray = NDArray[np.float64]
ActionName = Literal["approve", "challenge", "review", "decline"]
Rung = Literal["full", "gbdt", "rules"]

REALTIME: Final = "realtime"  # decided before the answer leaves
BATCH: Final = "batch"  # recorded now, decided by `ringfence decide --pending`
_MILD: Final[tuple[ActionName, ...]] = ("approve", "challenge", "review")


class Capacity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reviews_per_day: Annotated[float, msgspec.Meta(ge=0.0)] | None = None  # None: as many as pay off; below 1: none
    review_price: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0  # major units; fitted by `train`


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When events are decided: at once where a condition holds, in the nightly batch otherwise."""

    realtime: str  # a condition as rules have them; an event of which it is unknown does not fulfil it
    otherwise: Literal["batch"]


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with n events."""

    codes: NDArray[np.int64]  # (n,) positions in ACTIONS
    expected_costs: FloatArray  # (n, 4) major units, without the review price; inf where the action does not exist
    amounts: FloatArray  # (n,) major units as used: the typical amount where an event has none
    propensity: FloatArray  # (n,) probability of the action taken; 1 as long as nothing is randomised

    @property
    def names(self) -> list[str]:
        return [ACTIONS[code] for code in self.codes.tolist()]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Costs, capacity and permitted actions of one scenario; read from `policies/<scenario>.yaml`.

    `permitted` names actions by rung. Where a rung is absent, `full` and `gbdt` may do anything the cost table has
    and `rules` all of it but decline: a decline without a model needs a list or a rule that says so.
    """

    costs: Costs
    capacity: Capacity = Capacity()
    permitted: dict[Rung, tuple[ActionName, ...]] = {}
    typical_amount: Annotated[float, msgspec.Meta(ge=0.0)] | None = None  # stands in for a missing amount, major units
    route: Route | msgspec.UnsetType = msgspec.UNSET  # everything at once; unset, no policy's version knows of it

    @property
    def version(self) -> str:
        """A name that changes exactly when the policy does."""
        return "p-" + blake2b(self.to_json(), digest_size=6).hexdigest()

    @property
    def reviews_per_day(self) -> float | None:
        return self.capacity.reviews_per_day

    @property
    def has_reviews(self) -> bool:
        """Whether anybody may be sent to review at all: live a day has `floor(reviews_per_day)` of them."""
        return self.reviews_per_day is None or self.reviews_per_day >= 1.0

    @property
    def fits_review_price(self) -> bool:
        """Whether capacity makes reviews scarce, so that `fit_capacity` sets the price of one."""
        return self.reviews_per_day is not None and self.has_reviews and self.costs.review is not None

    @property
    def review_price(self) -> float:
        return self.capacity.review_price

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> Policy:
        return msgspec.json.decode(data, type=cls)

    def permitted_actions(self, rung: str, *, reviews_left: int | None) -> tuple[int, ...]:
        """Return the codes that `rung` may take now, milder first.

        Parameters
        ----------
        reviews_left : of today; 0 and below: `review` is not among them. None: no limit but the policy's own, under
            which a capacity of less than one review a day permits none.
        """
        default = _MILD if rung == "rules" else ACTIONS
        named = self.permitted.get(rung, default)  # type: ignore[call-overload]
        codes = [code for code in self.costs.actions if ACTIONS[code] in named]
        if not self.has_reviews or (reviews_left is not None and reviews_left <= 0):
            codes = [code for code in codes if code != REVIEW]
        return tuple(codes)

    def decide(
        self, scores: FloatArray, amounts_minor: FloatArray, *, rung: str = "full", reviews_left: int | None = None
    ) -> Actions:
        """Choose the action of least expected cost for each event, in the order given.

        Parameters
        ----------
        scores : shape (n,), calibrated probability of fraud.
        amounts_minor : shape (n,), float64, NaN where an event has no amount (the typical amount stands in; without
            one, 0: only the fixed parts of the costs count).
        reviews_left : reviews that may still be asked for, counted down event by event; None: no limit.

        Returns
        -------
        Deterministic; ties go to the milder action. An event's action depends on the others in the call only through
        the reviews they use up before it.
        """
        amounts = self.amounts_of(amounts_minor)
        costs = expected_costs(self.costs, scores, amounts)
        priced = costs.copy()
        priced[:, REVIEW] += self.review_price
        codes = _cheapest(priced, self.permitted_actions(rung, reviews_left=reviews_left))
        if reviews_left is not None and reviews_left < codes.shape[0]:
            beyond = np.flatnonzero(codes == REVIEW)[max(reviews_left, 0) :]
            if beyond.shape[0]:
                codes[beyond] = _cheapest(priced[beyond], self.permitted_actions(rung, reviews_left=0))
        return Actions(
            codes=codes, expected_costs=costs, amounts=amounts, propensity=np.ones(scores.shape[0], dtype=np.float64)
        )

    def amounts_of(self, amounts_minor: FloatArray) -> FloatArray:
        """Return what is at stake in major units: the size of the amount, the typical one where there is none.

        Below zero, where a scenario allows that (a refund), the size counts: taking it as it is would make fraud pay.
        """
        amounts = np.abs(np.asarray(amounts_minor, dtype=np.float64)) / 10.0**self.costs.digits
        return np.where(np.isnan(amounts), self.typical_amount or 0.0, amounts)

    def fit_capacity(self, scores: FloatArray, amounts_minor: FloatArray, *, n_days: float) -> Policy:
        """Return the policy with the smallest review price under which these events ask for few enough reviews.

        Parameters
        ----------
        scores : shape (n,), calibrated on events the model did not see.
        amounts_minor : shape (n,), NaN where missing; their median becomes the typical amount unless the file has one.
        n_days : days that the events span, > 0.

        Notes
        -----
        A review is worth g = (least cost of the other actions) - (cost of review), and is asked for where g exceeds
        the price. With room for K reviews the price is the (K + 1)-th largest positive g, or 0.
        """
        if not n_days > 0.0:
            raise ValueError(f"n_days is a positive number of days, found {n_days}")
        policy = self
        if policy.typical_amount is None and not np.isnan(amounts_minor).all():
            typical = float(np.nanmedian(amounts_minor)) / 10.0**self.costs.digits
            policy = msgspec.structs.replace(policy, typical_amount=max(typical, 0.0))
        if self.reviews_per_day is None or not self.fits_review_price:
            return policy
        costs = expected_costs(policy.costs, scores, policy.amounts_of(amounts_minor))
        others = list(policy.permitted_actions("full", reviews_left=0))
        gain = np.sort(costs[:, others].min(axis=1) - costs[:, REVIEW])[::-1]
        room = math.floor(self.reviews_per_day * n_days)
        price = float(max(gain[room], 0.0)) if room < gain.shape[0] else 0.0
        while True:
            capacity = msgspec.structs.replace(policy.capacity, review_price=price)
            fitted = msgspec.structs.replace(policy, capacity=capacity)
            n_reviews = int(np.count_nonzero(fitted.decide(scores, amounts_minor).codes == REVIEW))
            if n_reviews <= room:
                return fitted
            price = price * (1.0 + 1e-12) + 1e-12  # a tie that went to review over decline: a hair above it


def _cheapest(priced: FloatArray, permitted: tuple[int, ...]) -> NDArray[np.int64]:
    if len(permitted) == len(ACTIONS):
        return np.asarray(np.argmin(priced, axis=1))
    codes = np.array(permitted, dtype=np.int64)
    return np.asarray(codes[np.argmin(priced[:, codes], axis=1)])
