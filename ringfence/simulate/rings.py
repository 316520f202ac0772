# SPDX-License-Identifier: Apache-2.0
"""The claims that somebody or something arranged: staged accidents, shop collusion, ghost injuries, and hailstorms.

They are planned for the whole world at once, because a ring spans months; there are few of them, so the plan is small
(about 200 bytes per planned claim). Everything a planned claim leaves open is drawn with the honest claims of its
block, from the same distributions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from ringfence.simulate.narratives import CLAIM_TYPES
from ringfence.simulate.population import COMMUNITY, HOUSEHOLD, VEHICLES_PER_HOUSEHOLD, Population
from ringfence.simulate.settings import WorldSettings
from ringfence.simulate.traits import Bools, Floats, Ints, generator_of, key_of, uniform_of

KINDS: Final = ("honest", "staged_accident", "shop_collusion", "ghost_injury")
HONEST, STAGED, COLLUSION, GHOST = range(4)
CLAIMANT_ROLES: Final = ("", "driver", "customer", "patient")  # of the claimant in the ring, by kind
MAX_WITNESSES: Final = 3

_KIND_SHARES: Final = (0.0, 0.55, 0.30, 0.15)
_STORM_SHARE: Final = 0.03  # of all claims
_HAIL: Final = CLAIM_TYPES.index("hail")
_STAGED_TYPES: Final = np.array([CLAIM_TYPES.index(name) for name in ("rear_end", "junction", "lane_change")])


@dataclass(frozen=True)
class Planned:
    """P planned claims. -1 (NaN, inf) leaves the choice to the honest draw."""

    day: Ints  # (P,) day of the world
    kind: Ints  # (P,) index into KINDS; HONEST for hailstorms
    ring: Ints  # (P,) ring, numbered through all kinds; -1 for hailstorms
    storm: Ints  # (P,) hailstorm, or -1
    region: Ints  # (P,)
    claim_type: Ints  # (P,) index into CLAIM_TYPES, or -1
    claimant: Ints  # (P,) person, or -1
    vehicle: Ints  # (P,) or -1
    shop: Ints  # (P,) or -1; used only where the claim names a shop at all, and so for lawyer and doctor
    lawyer: Ints  # (P,)
    doctor: Ints  # (P,)
    witness: Ints  # (P, MAX_WITNESSES) persons, or -1
    story: Ints  # (P,) claims with the same story repeat each other's words; -1 for none
    policy_start_day: Floats  # (P,) day on which the claimant's contract began; NaN: as for everybody
    uncovered_day: Floats  # (P,) day on which investigators find the ring; inf: never


def planned_claims(settings: WorldSettings, population: Population) -> Planned:
    """Plan every ring and hailstorm of the world, its live days included."""
    rng = generator_of(settings.seed, "plan")
    total = settings.n_events + settings.n_live
    n_fraud = max(3, round(settings.fraud_rate * total))
    n_kind = [round(share * n_fraud) for share in _KIND_SHARES]
    parts: list[Planned] = []
    first_ring = 0
    for kind in (STAGED, COLLUSION, GHOST):
        part = _ring_claims(kind, max(1, n_kind[kind]), first_ring, settings, population, rng)
        first_ring = int(part.ring.max()) + 1
        parts.append(part)
    parts.append(_storm_claims(round(_STORM_SHARE * total), settings, population, rng))
    return Planned(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Planned)))


def _group_sizes(rng: np.random.Generator, n: int, typical: float, least: int) -> Ints:
    """Cut n claims into groups of long-tailed size."""
    draws = np.maximum(least, rng.lognormal(np.log(typical), 0.55, n // least + 1)).astype(np.int64)
    n_groups = int(np.searchsorted(np.cumsum(draws), n)) + 1
    sizes = draws[:n_groups]
    sizes[-1] -= int(sizes.sum()) - n
    return sizes


def _ring_claims(
    kind: int, n: int, first_ring: int, settings: WorldSettings, population: Population, rng: np.random.Generator
) -> Planned:
    key = key_of(settings.seed, f"ring/{kind}")
    sizes = _group_sizes(rng, n, (0.0, 20.0, 40.0, 16.0)[kind], 4)
    n_rings = len(sizes)
    group = np.repeat(np.arange(n_rings), sizes)
    home = rng.choice(len(population.region_weights), n_rings, p=population.region_weights)
    region = home[group]
    day = _ring_days(kind, group, sizes, settings.total_days, key, rng)
    order = np.lexsort((day, group))
    day = day[order]
    turn = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # position in the ring's own order of time

    # Members turn over: claim by claim the window of active members slides on.
    window = rng.integers(4, 9, n_rings)[group]
    base = (turn * rng.uniform(0.12, 0.35, n_rings)[group]).astype(np.int64)
    seat = rng.integers(0, 1 << 30, n) % window

    def person(member: Ints) -> Ints:
        # Most members come from one village or two, as friends do.
        at = group * 4_096 + member
        village = uniform_of(key, group * 8 + (uniform_of(key, at + (1 << 33)) < 0.5))
        near = population.persons.pick(region, village) // COMMUNITY * COMMUNITY
        near = near + (uniform_of(key, at + (1 << 34)) * COMMUNITY).astype(np.int64)
        far = population.persons.pick(region, uniform_of(key, at + (1 << 35)))
        chosen = np.where(uniform_of(key, at + (1 << 36)) < 0.45, near, far)
        return np.minimum(chosen, population.persons.total - 1)

    def associate(name: str, how_many: int, probability: float, lowest: float) -> Ints:
        """One of the ring's few providers for each claim, or -1 where it uses somebody else."""
        ranges = {"shop": population.shops, "lawyer": population.lawyers, "doctor": population.doctors}[name]
        salt = {"shop": 37, "lawyer": 38, "doctor": 39}[name]
        which = np.minimum(rng.geometric(0.55, n) - 1, how_many - 1)
        spread = lowest + (1.0 - lowest) * uniform_of(key, group * 8 + which + (1 << salt))
        return np.where(rng.random(n) < probability, ranges.pick(region, spread), -1)

    belongs = rng.random(n) < (0.0, 1.0, 0.0, 0.6)[kind]
    member = base + seat
    claimant = np.where(belongs, person(member), -1)
    witness = np.full((n, MAX_WITNESSES), -1, dtype=np.int64)
    if kind != COLLUSION:
        for k in range(MAX_WITNESSES):
            known = rng.random(n) < (0.0, 0.7, 0.0, 0.45)[kind]
            witness[:, k] = np.where(known, person(base + (seat + 1 + k) % window), -1)
    shop = associate("shop", (0, 2, 1, 2)[kind], (0.0, 0.8, 1.0, 0.3)[kind], 0.2)
    lawyer = associate("lawyer", (0, 2, 1, 1)[kind], (0.0, 0.8, 0.0, 0.9)[kind], 0.1)
    doctor = associate("doctor", (0, 2, 1, 1)[kind], (0.0, 0.8, 0.0, 0.95)[kind], 0.1)

    shared_car = population.persons.pick(region, uniform_of(key, group * 256 + turn // 6 + (1 << 40))) // HOUSEHOLD
    own_car = claimant // HOUSEHOLD * VEHICLES_PER_HOUSEHOLD + claimant % HOUSEHOLD % VEHICLES_PER_HOUSEHOLD
    uses_shared = rng.random(n) < (0.0, 0.4, 0.0, 0.0)[kind]
    vehicle = np.where(uses_shared, shared_car * VEHICLES_PER_HOUSEHOLD, np.where(belongs, own_car, -1))

    typed = rng.random(n) < (0.0, 0.45, 0.0, 0.5)[kind]
    claim_type = np.where(typed, _STAGED_TYPES[np.minimum(rng.geometric(0.5, n) - 1, 2)], -1)
    story = np.where(rng.random(n) < (0.0, 0.3, 0.0, 0.3)[kind], group * 4 + rng.integers(0, 3, n), -1)
    return Planned(
        day=day,
        kind=np.full(n, kind, dtype=np.int64),
        ring=first_ring + group,
        storm=np.full(n, -1, dtype=np.int64),
        region=region,
        claim_type=claim_type,
        claimant=claimant,
        vehicle=vehicle,
        shop=shop,
        lawyer=lawyer,
        doctor=doctor,
        witness=witness,
        story=story,
        policy_start_day=_new_policies(belongs, claimant, day, (0.0, 0.35, 0.0, 0.2)[kind], rng),
        uncovered_day=_uncovered_days(day, sizes, rng)[group],
    )


def _ring_days(kind: int, group: Ints, sizes: Ints, total_days: int, key: np.uint64, rng: np.random.Generator) -> Ints:
    """Rings work in episodes and sleep between them; a colluding shop works steadily for a year or so."""
    n_rings, n = len(sizes), len(group)
    start = rng.uniform(0.0, total_days, n_rings)[group]
    life = rng.uniform(*((150.0, 300.0) if kind == COLLUSION else (150.0, 600.0)), n_rings)[group]
    if kind == COLLUSION:
        day = start + life * rng.random(n)
    else:
        n_episodes = 1 + sizes[group] // 6
        episode = rng.integers(0, 1 << 30, n) % n_episodes
        day = start + life * uniform_of(key, group * 64 + episode + (1 << 42)) + rng.exponential(10.0, n)
    # Taken round the end, so that no day has more rings than another.
    chosen: Ints = np.minimum(np.mod(day, total_days).astype(np.int64), total_days - 1)
    return chosen


def _new_policies(belongs: Bools, claimant: Ints, day: Ints, share: float, rng: np.random.Generator) -> Floats:
    """Some members take out a contract a few weeks before their first claim in the ring; the others have one."""
    person, inverse = np.unique(claimant, return_inverse=True)
    first_day = np.full(len(person), np.iinfo(np.int64).max)
    np.minimum.at(first_day, inverse, day)
    start = np.where(rng.random(len(person)) < share, first_day - rng.uniform(6.0, 120.0, len(person)), np.nan)
    return np.where(belongs, start[inverse], np.nan)


def _uncovered_days(day: Ints, sizes: Ints, rng: np.random.Generator) -> Floats:
    """Day on which investigators see through each ring: after some of its claims, with a delay, or never."""
    last = np.cumsum(sizes) - 1
    first = last - sizes + 1
    reached = first + (rng.uniform(0.25, 1.0, len(sizes)) * (sizes - 1)).astype(np.int64)
    found = rng.random(len(sizes)) < 0.45
    return np.where(found, day[reached] + rng.gamma(2.0, 20.0, len(sizes)), np.inf)


def _storm_claims(n: int, settings: WorldSettings, population: Population, rng: np.random.Generator) -> Planned:
    """Hailstorms: a hundred honest claims in one region within days, most of them at the same dent specialist."""
    sizes = _group_sizes(rng, n, max(20.0, n / 9.0), 4)
    group = np.repeat(np.arange(len(sizes)), sizes)
    home = rng.choice(len(population.region_weights), len(sizes), p=population.region_weights)
    region = home[group]
    day = rng.integers(0, settings.total_days, len(sizes))[group] + rng.exponential(4.0, n).astype(np.int64)
    specialist = population.shops.pick(home, rng.random(len(sizes)))[group]
    nobody = np.full(n, -1, dtype=np.int64)
    return Planned(
        day=np.minimum(day, settings.total_days - 1),
        kind=np.full(n, HONEST, dtype=np.int64),
        ring=nobody,
        storm=group,
        region=region,
        claim_type=np.full(n, _HAIL, dtype=np.int64),
        claimant=nobody,
        vehicle=nobody,
        shop=np.where(rng.random(n) < 0.6, specialist, -1),
        lawyer=nobody,
        doctor=nobody,
        witness=np.full((n, MAX_WITNESSES), -1, dtype=np.int64),
        story=nobody,
        policy_start_day=np.full(n, np.nan),
        uncovered_day=np.full(n, np.inf),
    )
