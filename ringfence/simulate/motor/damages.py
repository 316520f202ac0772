# SPDX-License-Identifier: Apache-2.0
"""What happened, at which hour, and what it costs."""

from __future__ import annotations

from typing import Final

import numpy as np

from ringfence.simulate.motor import difficulty, plans
from ringfence.simulate.motor.population import MAKE_COST
from ringfence.simulate.traits import Floats, Ints

TYPE_SHARES: Final = np.array([0.2, 0.15, 0.08, 0.18, 0.13, 0.03, 0.08, 0.05, 0.1])
_TYPE_MEDIAN: Final = np.array([4_100.0, 5_200.0, 3_900.0, 1_900.0, 750.0, 2_700.0, 6_500.0, 2_900.0, 5_600.0])
_TYPE_LARGE: Final = np.array([0.11, 0.15, 0.10, 0.012, 0.0, 0.012, 0.18, 0.03, 0.16])  # chance of a large loss
_HOUR_SHARES: Final = np.array(
    [4, 3, 2, 2, 3, 8, 20, 45, 60, 55, 50, 48, 50, 48, 50, 56, 62, 60, 45, 30, 20, 14, 10, 6], dtype=np.float64
)
_WEEKDAY: Final = np.array([1.15, 1.08, 1.05, 1.05, 1.12, 0.85, 0.7])  # Monday first


def day_weights(weekday: Ints) -> Floats:
    """How many ordinary claims each day of the world has, in proportion: the week, the season, a slow growth."""
    days = np.arange(len(weekday))
    season = 1.0 + 0.12 * np.cos(2.0 * np.pi * (days / 365.25))
    return _WEEKDAY[weekday] * season * (1.0 + 0.05 * days / 365.25)


def time_of_day_ms(rng: np.random.Generator, kind: Ints) -> Ints:
    k = len(kind)
    hour = rng.choice(24, k, p=_HOUR_SHARES / _HOUR_SHARES.sum())
    evening = ((kind == plans.STAGED) | (kind == plans.GHOST)) & (rng.random(k) < 0.15)
    hour = np.where(evening, rng.integers(18, 24, k), hour)
    milliseconds: Ints = hour * 3_600_000 + rng.integers(0, 3_600_000, k)
    return milliseconds


def amounts_minor(rng: np.random.Generator, kind: Ints, claim_type: Ints, make: Ints, vehicle_age: Ints) -> Ints:
    """Claimed amounts in cents: a lognormal body, a Pareto tail from 22,000 EUR, a third rounded as people round."""
    k = len(kind)
    wear = 1.0 / (1.0 + 0.03 * np.minimum(vehicle_age, 15))
    cost = np.array(difficulty.COST)[kind]
    body = _TYPE_MEDIAN[claim_type] * MAKE_COST[make] * wear * cost * rng.lognormal(0.0, 0.85, k)
    worth = 1.45 * (1.0 - vehicle_age / 24.0)  # an old car is rarely worth a large loss
    large = rng.random(k) < _TYPE_LARGE[claim_type] * worth * np.array(difficulty.LARGE)[kind]
    tail = 22_000.0 * (1.0 - rng.random(k)) ** (-1.0 / 1.6)
    euros = np.minimum(np.maximum(np.where(large, tail, body), 60.0), 450_000.0)
    rounding = rng.random(k)
    cents = np.where(rounding < 0.15, np.rint(euros / 50.0) * 5_000.0, np.rint(euros * 100.0))
    cents = np.where((rounding >= 0.15) & (rounding < 0.33), np.rint(euros / 10.0) * 1_000.0, cents)
    return cents.astype(np.int64)
