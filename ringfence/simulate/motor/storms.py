# SPDX-License-Identifier: Apache-2.0
"""Hailstorms: a hundred honest claims in one region within days, most of them at a few dent specialists."""

from __future__ import annotations

from typing import Final

import numpy as np

from ringfence.simulate.motor import difficulty, plans
from ringfence.simulate.motor.narratives import CLAIM_TYPES
from ringfence.simulate.motor.plans import Planned, group_sizes, planned
from ringfence.simulate.motor.population import Population
from ringfence.simulate.motor.settings import WorldSettings
from ringfence.simulate.traits import generator_of

_HAIL: Final = CLAIM_TYPES.index("hail")
_SPECIALISTS: Final = 3


def storm_plans(settings: WorldSettings, population: Population) -> Planned:
    rng = generator_of(settings.seed, "plan/storms")
    n = round(difficulty.STORM_SHARE * (settings.n_events + settings.n_live))
    sizes = group_sizes(rng, n, max(20.0, n / difficulty.STORMS), 4)
    storm = np.repeat(np.arange(len(sizes)), sizes)
    home = rng.choice(len(population.region_weights), len(sizes), p=population.region_weights)
    day = rng.integers(0, settings.total_days, len(sizes))[storm] + rng.exponential(4.0, n).astype(np.int64)
    tents = rng.random((len(sizes), _SPECIALISTS))
    specialist = population.shops.pick(home[storm], tents[storm, rng.integers(0, _SPECIALISTS, n)])
    return planned(
        n,
        day=np.minimum(day, settings.total_days - 1),
        decoy=np.full(n, plans.STORM, dtype=np.int64),
        storm=storm,
        region=home[storm],
        claim_type=np.full(n, _HAIL, dtype=np.int64),
        shop=np.where(rng.random(n) < difficulty.STORM_SPECIALIST, specialist, -1),
    )
