# SPDX-License-Identifier: Apache-2.0
"""Groups of people who claim together: rings, and the honest circles and claims that look like theirs."""

from __future__ import annotations

from typing import Final

import numpy as np

from ringfence.simulate.motor import difficulty, plans
from ringfence.simulate.motor.difficulty import Recipe
from ringfence.simulate.motor.narratives import CLAIM_TYPES
from ringfence.simulate.motor.photos import N_POOL, POOL
from ringfence.simulate.motor.plans import MAX_WITNESSES, Planned, group_sizes, planned
from ringfence.simulate.motor.population import COMMUNITY, Population, Ranges
from ringfence.simulate.motor.settings import WorldSettings
from ringfence.simulate.traits import Bools, Floats, Ints, generator_of, key_of, uniform_of

_STAGED_TYPES: Final = np.array([CLAIM_TYPES.index(name) for name in ("rear_end", "junction", "lane_change")])
_STRETCHES: Final = 16  # of the calendar, each with the same number of a kind's claims
_KINDS_OF_FRAUD: Final = (
    (plans.STAGED, "STAGED", "STAGED_SHARE"),
    (plans.COLLUSION, "COLLUSION", "COLLUSION_SHARE"),
    (plans.GHOST, "GHOST", "GHOST_SHARE"),
)


def ring_plans(settings: WorldSettings, population: Population) -> list[Planned]:
    """Plan every ring, circle and honest claim of ring members, the live days included."""
    total = settings.n_events + settings.n_live
    n_fraud = max(3, round(settings.fraud_rate * total))
    parts: list[Planned] = []
    n_groups = 0
    for kind, recipe, share in _KINDS_OF_FRAUD:
        n = max(1, round(getattr(difficulty, share) * n_fraud))
        group, part = _group_claims(kind, n, n_groups, getattr(difficulty, recipe), settings, population)
        n_groups = int(group.max()) + 1
        parts.append(part)
    rings = plans.together(parts)
    n_circle = max(1, round(difficulty.CIRCLE_SHARE * total))
    _, circles = _group_claims(plans.HONEST, n_circle, n_groups, difficulty.CIRCLE, settings, population)
    return [rings, circles, _camouflage(rings, settings)]


def _group_claims(
    kind: int, n: int, first_group: int, recipe: Recipe, settings: WorldSettings, population: Population
) -> tuple[Ints, Planned]:
    """Plan n claims in groups of one kind. Returns the group of each claim, and the claims in order of group, time."""
    rng = generator_of(settings.seed, f"plan/{kind}")
    key = key_of(settings.seed, f"ring/{kind}")
    sizes = group_sizes(rng, n, recipe.claims, 4)
    n_groups = len(sizes)
    group = np.repeat(np.arange(n_groups), sizes)
    region = _homes(population, sizes, rng)[group]
    day, episode = _days(recipe, group, sizes, settings.total_days, key, rng)
    order = np.lexsort((day, group))
    day, episode = day[order], episode[order]
    turn = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # position in the group's own order of time

    # Members turn over: claim by claim the window of active members slides on.
    window = rng.integers(*recipe.members, n_groups)[group]
    base = (turn * rng.uniform(*recipe.turnover, n_groups)[group]).astype(np.int64)
    seat = rng.integers(0, 1 << 30, n) % window
    belongs = rng.random(n) < recipe.belongs
    loyal = rng.random(n) < recipe.loyal

    def person(member: Ints) -> Ints:
        return _member(population, recipe, region, group, member, key)

    def associate(ranges: Ranges, salt: int, how_many: int, share: float) -> Ints:
        """The group's provider of the episode, or -1 where the claim goes elsewhere."""
        if how_many == 0:
            return np.full(n, -1, dtype=np.int64)
        strays = rng.integers(0, how_many, n)
        which = np.where(rng.random(n) < 0.8, episode % how_many, strays)
        spread = uniform_of(key, group * 8 + which + (1 << salt))
        chosen = ranges.pick(region, recipe.hidden + (1.0 - recipe.hidden) * spread)
        return np.where(loyal & (rng.random(n) < share), chosen, -1)

    def among(share: float, how_many: int) -> tuple[Bools, Ints]:
        return rng.random(n) < share, rng.integers(0, how_many, n)

    claimant = np.where(belongs, person(base + seat), -1)
    witness = np.full((n, MAX_WITNESSES), -1, dtype=np.int64)
    for slot in range(MAX_WITNESSES):
        known = rng.random(n) < recipe.witness
        witness[:, slot] = np.where(known, person(base + (seat + 1 + slot) % window), -1)
    shop = associate(population.shops, 37, recipe.shops, recipe.shop)
    lawyer = associate(population.lawyers, 38, recipe.lawyers, recipe.lawyer)
    doctor = associate(population.doctors, 39, recipe.doctors, recipe.doctor)

    passed_round, car = among(recipe.shared_car, 3)
    owner = person(base + car)
    at_place, which_place = among(recipe.place, 3)
    place = population.places.pick(region, uniform_of(key, group * 8 + which_place + (1 << 41)))
    lodger = uniform_of(key, group * 4_096 + base + seat + (1 << 45))
    at_address, which_address = lodger < recipe.household, (lodger * 2.0 / max(recipe.household, 1e-9)).astype(np.int64)
    address = population.flat_of(person((1 << 10) + which_address))
    shows, which_photo = among(recipe.photo, min(recipe.n_photos, N_POOL))
    told, which_story = among(recipe.story, 3)
    typed = rng.random(n) < recipe.typed
    start = _new_policies(belongs, claimant, day, recipe.new_policy, rng)
    through = ~np.isnan(start) & (uniform_of(key, group * 4_096 + base + seat + (1 << 43)) < recipe.broker)
    broker = (uniform_of(key, group + (1 << 44)) * population.n_brokers).astype(np.int64)
    fraud = kind != plans.HONEST
    return first_group + group, planned(
        n,
        day=day,
        kind=np.full(n, kind, dtype=np.int64),
        decoy=np.full(n, 0 if fraud else plans.CIRCLE, dtype=np.int64),
        ring=first_group + group if fraud else np.full(n, -1, dtype=np.int64),
        region=region,
        claim_type=np.where(typed, _STAGED_TYPES[np.minimum(rng.geometric(0.5, n) - 1, 2)], -1),
        claimant=claimant,
        household=np.where(at_address & belongs, address, -1),
        vehicle=np.where(passed_round & belongs, population.vehicle_of(owner, owner, day), -1),
        shop=shop,
        lawyer=lawyer,
        doctor=doctor,
        broker=np.where(through, broker, -1),
        place=np.where(at_place, place, -1),
        witness=witness,
        photo=np.where(shows, POOL + (first_group + group) * N_POOL + which_photo, -1),
        story=np.where(told, (first_group + group) * 4 + which_story, -1),
        policy_start_day=start,
        uncovered_day=_uncovered_days(day, sizes, rng)[group] if fraud else np.full(n, np.inf),
    )


def _homes(population: Population, sizes: Ints, rng: np.random.Generator) -> Ints:
    """Region of each group, so that no region has more than its share of claims: groups are few, and it would tell."""
    order = rng.permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    place = (ends - rng.random(len(sizes)) * sizes[order]) / ends[-1]
    homes = np.empty(len(sizes), dtype=np.int64)
    homes[order] = np.searchsorted(np.cumsum(population.region_weights)[:-1], place)
    return homes


def _member(population: Population, recipe: Recipe, region: Ints, group: Ints, member: Ints, key: np.uint64) -> Ints:
    """The person behind a member's number. Many come from one village or two, as friends do."""
    at = group * 4_096 + member
    village = uniform_of(key, group * 8 + (uniform_of(key, at + (1 << 33)) < 0.5))
    near = population.persons.pick(region, village) // COMMUNITY * COMMUNITY
    near = near + (uniform_of(key, at + (1 << 34)) * COMMUNITY).astype(np.int64)
    far = population.persons.pick(region, uniform_of(key, at + (1 << 35)))
    chosen = np.where(uniform_of(key, at + (1 << 36)) < recipe.near, near, far)
    return np.minimum(chosen, population.persons.total - 1)


def _days(
    recipe: Recipe, group: Ints, sizes: Ints, total_days: int, key: np.uint64, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Day and episode of each claim. Rings wake for episodes and sleep between them; a shop cheats steadily."""
    n_groups, n = len(sizes), len(group)
    start = ((rng.permutation(n_groups) + rng.random(n_groups)) / n_groups * total_days)[group]
    life = rng.uniform(*recipe.life_days, n_groups)[group]
    if recipe.claims_per_episode == 0.0:
        day, episode = start + life * rng.random(n), np.zeros(n, dtype=np.int64)
    else:
        n_episodes = 1 + (sizes[group] / recipe.claims_per_episode).astype(np.int64)
        episode = rng.integers(0, 1 << 30, n) % n_episodes
        begins = life * uniform_of(key, group * 64 + episode % 64 + (1 << 42))
        day = start + begins + rng.exponential(recipe.episode_days, n)
    # Taken round the end, and evened out, so that no month has more rings than another.
    even = _evened_out(np.mod(day, total_days), total_days)
    return np.clip(even.astype(np.int64), 0, total_days - 1), episode


def _evened_out(day: Floats, total_days: int) -> Floats:
    """Stretch busy and squeeze quiet stretches of the calendar until each has its share; order is kept."""
    knots = np.linspace(0.0, total_days, max(2, min(_STRETCHES, len(day) // 8)) + 1)
    return np.interp(day, np.quantile(np.sort(day), knots / total_days), knots)


def _new_policies(belongs: Bools, claimant: Ints, day: Ints, share: float, rng: np.random.Generator) -> Floats:
    """Some members take out a contract a few weeks before their first claim in the group; the others have one."""
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
    found = rng.random(len(sizes)) < difficulty.UNCOVERED
    return np.where(found, day[reached] + rng.gamma(2.0, 20.0, len(sizes)), np.inf)


def _camouflage(rings: Planned, settings: WorldSettings) -> Planned:
    """Honest claims of people who also belong to a ring, on any day, at any shop."""
    rng = generator_of(settings.seed, "plan/camouflage")
    members = np.flatnonzero(rings.claimant >= 0)
    chosen = rng.choice(members, round(difficulty.CAMOUFLAGE * len(members)))
    n = len(chosen)
    return planned(
        n,
        day=rng.integers(0, settings.total_days, n),
        decoy=np.full(n, plans.CAMOUFLAGE, dtype=np.int64),
        region=rings.region[chosen],
        claimant=rings.claimant[chosen],
    )
