# SPDX-License-Identifier: Apache-2.0
"""Who finds out, and when: an investigator looks at some claims, is sometimes wrong, and learns more months later."""

from __future__ import annotations

import numpy as np

from ringfence.simulate.motor import difficulty
from ringfence.simulate.traits import Bools, Floats, Ints


def investigate(
    rng: np.random.Generator,
    *,
    kind: Ints,
    amount: Floats,
    policy_age_days: Ints,
    day: Floats,
    has_lawyer: Bools,
    uncovered_day: Floats,
    by_chance: float,
) -> tuple[Ints, Floats]:
    """Draw what the insurer comes to know of each claim.

    Returns
    -------
    label : shape (n,), 1 fraud, 0 legit, -1 never known.
    known_day : shape (n,), >= day; meaningless where the label is -1.
    """
    n = kind.shape[0]
    fraud = kind > 0
    by_amount = np.where(
        amount > 25_000.0, difficulty.LOOK_LARGE, np.where(amount > 10_000.0, difficulty.LOOK_MIDDLE, 0.0)
    )
    by_hand_rule = difficulty.LOOK_YOUNG_CONTRACT * ((policy_age_days < 90) & (amount > 4_000.0))
    by_hand_rule += difficulty.LOOK_YOUNG_WITH_LAWYER * (has_lawyer & (policy_age_days < 365))
    looked = rng.random(n) < np.minimum(by_chance + by_amount + by_hand_rule, difficulty.LOOK_AT_MOST)
    found = np.where(fraud, rng.random(n) < difficulty.FOUND, rng.random(n) < difficulty.WRONGLY_ACCUSED)
    known_day = day + 2.0 + rng.lognormal(np.log(24.0), 0.7, n)

    # Once a ring is seen through, its earlier claims are reopened and its later ones are met at the door.
    exposed = np.isfinite(uncovered_day) & (rng.random(n) < difficulty.REOPENED)
    exposed_day = np.maximum(uncovered_day, day) + 3.0 + rng.lognormal(np.log(15.0), 0.6, n)
    # A confession, a divorce, a court file: months later, whatever the first look said.
    confessed = fraud & (rng.random(n) < difficulty.CONFESSED)
    confessed_day = day + rng.uniform(120.0, 420.0, n)

    label = np.where(looked, found.astype(np.int64), -1)
    late_day = np.where(exposed, exposed_day, confessed_day)
    late = (exposed | confessed) & ~((label == 1) & (known_day <= late_day))
    return np.where(late, 1, label), np.where(late, late_day, known_day)
