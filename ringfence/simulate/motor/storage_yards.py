# SPDX-License-Identifier: Apache-2.0
"""A fraud that never occurred before some day: a yard tows cars that nobody asked it to tow, and bills for storage.

    runners (three)  ->  wait at accidents, are named as witnesses, and send for the yard's tow truck
    yard             ->  a repair shop that was honest until then; keeps the car for weeks
    lawyer           ->  gets the storage fees out of the insurer
    customers        ->  strangers to each other and to the ring; each claims once

No other ring looks like it: the witnesses repeat and the claimants do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ringfence.simulate.calendar import DAY_MS
from ringfence.simulate.motor.claims import Claims
from ringfence.simulate.motor.labels import investigate
from ringfence.simulate.motor.narratives import CLAIM_TYPES
from ringfence.simulate.motor.plans import FIRST_YARD_RING, STORAGE, Planned, planned
from ringfence.simulate.motor.population import Population
from ringfence.simulate.motor.settings import WorldSettings
from ringfence.simulate.traits import Ints, generator_of, key_of, uniform_of

_CLAIMS: Final = 18.0  # typical number of claims of a yard
_LEAST: Final = 5
_LIFE_DAYS: Final = (60.0, 200.0)
_RUNNERS: Final = 3
_BY_RUNNER: Final = 0.75  # claims in which a runner is a witness
_LAWYER: Final = 0.6  # claims with the yard's lawyer; the others have none
_TOWED: Final = np.array(
    [CLAIM_TYPES.index(name) for name in ("rear_end", "junction", "lane_change", "single_vehicle")]
)
_TOWING_EUR: Final = 280.0
_STORAGE_EUR_A_DAY: Final = 42.0
_STORED_DAYS: Final = (6.0, 34.0)
_RECOGNISED: Final = 0.5  # of the frauds that a look finds; nobody knows the pattern, the others are closed as legit


@dataclass(frozen=True)
class Yard:
    """What each claim of the pattern has to do with its yard, by plan; -1 where nothing."""

    first_plan: int  # plans are numbered from here
    shop: Ints  # (p,)
    lawyer: Ints
    runner: Ints


def storage_yards(
    settings: WorldSettings,
    population: Population,
    *,
    onset_day: int,
    n_claims: int,
    first_plan: int,
) -> tuple[Planned, Yard]:
    """Plan `n_claims` claims of storage yards on days from `onset_day` on, the live days included.

    Returns
    -------
    plans : numbered from `first_plan` on; drawn as honest claims on their day, in their region.
    yard : what `billed` makes of them after the draw.
    """
    rng = generator_of(settings.seed, "shock/new_pattern")
    n_yards = max(1, round(n_claims / _CLAIMS))
    weight = rng.lognormal(0.0, 0.45, n_yards)
    group = np.sort(rng.choice(n_yards, n_claims, p=weight / weight.sum()))
    home = rng.choice(len(population.region_weights), n_yards, p=population.region_weights)
    open_days = settings.total_days - onset_day
    start = rng.uniform(0.0, open_days, n_yards)
    start[0] = 0.0
    life = rng.uniform(*_LIFE_DAYS, n_yards)
    day = onset_day + np.mod(start[group] + life[group] * rng.random(n_claims), open_days).astype(np.int64)
    shop = population.shops.pick(home, rng.uniform(0.2, 1.0, n_yards))[group]
    lawyer = population.lawyers.pick(home, rng.uniform(0.2, 1.0, n_yards))[group]
    runners = population.persons.pick(np.repeat(home, _RUNNERS), rng.random(n_yards * _RUNNERS))
    runner = runners[group * _RUNNERS + rng.integers(0, _RUNNERS, n_claims)]
    yard = Yard(
        first_plan=first_plan,
        shop=shop,
        lawyer=np.where(rng.random(n_claims) < _LAWYER, lawyer, -1),
        runner=np.where(rng.random(n_claims) < _BY_RUNNER, runner, -1),
    )
    claim_type = rng.choice(_TOWED, n_claims)
    return planned(n_claims, day=day, region=home[group], ring=FIRST_YARD_RING + group, claim_type=claim_type), yard


def billed(claims: Claims, at: Ints, plan: Ints, yard: Yard, settings: WorldSettings, block_day: Ints) -> Claims:
    """Turn claims that were drawn as honest ones into claims of their yards.

    Parameters
    ----------
    at, plan : shape (p,), places in `claims`, and the plan each follows.
    block_day : shape (k,), day of the world of each claim.

    Returns
    -------
    The claims, in the same order; those at `at` have kind STORAGE, the yard's shop, lawyer and runner, a larger amount,
    and are investigated as the fraud they are.
    """
    which = plan - yard.first_plan
    key = key_of(settings.seed, "shock/new_pattern/claim")
    shop, lawyer, witness = claims.shop.copy(), claims.lawyer.copy(), claims.witness.copy()
    shop[at], lawyer[at] = yard.shop[which], yard.lawyer[which]
    runner = np.where(yard.runner[which] == claims.claimant[at], -1, yard.runner[which])
    seats = witness[at]
    seats[seats == runner[:, None]] = -1
    seats[:, 0] = np.where(runner >= 0, runner, seats[:, 0])
    witness[at] = seats
    stored = _STORED_DAYS[0] + (_STORED_DAYS[1] - _STORED_DAYS[0]) * uniform_of(key, claims.number[at] * 2)
    amount = claims.amount_minor.copy()
    amount[at] = added(amount[at], 100.0 * (_TOWING_EUR + _STORAGE_EUR_A_DAY * np.floor(stored)))
    kind = claims.kind.copy()
    kind[at] = STORAGE
    label, known_ms = claims.label.copy(), claims.known_ms.copy()
    label[at], known_ms[at] = _investigated(replace(claims, amount_minor=amount), at, block_day, settings)
    return replace(
        claims, kind=kind, shop=shop, lawyer=lawyer, witness=witness, amount_minor=amount, label=label,
        known_ms=known_ms,
    )  # fmt: skip


def added(amount_minor: Ints, more_minor: NDArray[np.floating[Any]]) -> Ints:
    """Add to amounts in cents and round as people rounded before; a round amount stays as round, and never 0."""
    unit = np.where(amount_minor % 5_000 == 0, 5_000, np.where(amount_minor % 1_000 == 0, 1_000, 1))
    total: Ints = (np.maximum(np.rint((amount_minor + more_minor) / unit), 1.0) * unit).astype(np.int64)
    return total


def _investigated(claims: Claims, at: Ints, day: Ints, settings: WorldSettings) -> tuple[Ints, Ints]:
    if not len(at):
        return claims.label[at], claims.known_ms[at]
    rng = generator_of(settings.seed, "shock/new_pattern/label", int(claims.number.min()))
    label, known_day = investigate(
        rng, kind=np.full(len(at), STORAGE), amount=claims.amount_minor[at] / 100.0,
        policy_age_days=claims.policy_age_days[at], day=day[at].astype(np.float64),
        has_lawyer=claims.lawyer[at] >= 0, uncovered_day=np.full(len(at), np.inf), by_chance=settings.investigated,
    )  # fmt: skip
    label = np.where((label == 1) & (rng.random(len(at)) >= _RECOGNISED), 0, label)
    delay_ms = ((known_day - day[at]) * DAY_MS).astype(np.int64)
    return label, np.where(label >= 0, claims.time_ms[at] + delay_ms, 0)
