# SPDX-License-Identifier: Apache-2.0
"""Who takes part in a claim: whom people name by habit, by contract, by recommendation, or because a ring says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ringfence.simulate.motor import difficulty
from ringfence.simulate.motor.plans import MAX_WITNESSES, Planned
from ringfence.simulate.motor.population import DRIVERS_PER_FLEET, FAMILY, Population
from ringfence.simulate.traits import Bools, Floats, Ints

_WITNESS_SHARES: Final = np.array([0.62, 0.24, 0.10, 0.04])
_NO_PLACE: Final = 0.06
_ON_USUAL_WAYS: Final = 0.35
_ADVERTISING_LAWYERS: Final = 5


@dataclass(frozen=True)
class Draw:
    """One block on its way to become claims: its rows, its generator, and the plans that some rows follow."""

    rng: np.random.Generator
    population: Population
    plans: Planned
    day: Ints  # (k,)
    at: Ints  # (p,) planned rows of the block
    plan: Ints  # (p,) the plan each follows

    def given(self, name: str, otherwise: Ints) -> Ints:
        """The planned value where there is one, else the ordinary draw."""
        values = otherwise.copy()
        field: Ints = getattr(self.plans, name)[self.plan]
        values[self.at] = np.where(field >= 0, field, otherwise[self.at])
        return values

    def chance(self, share: float | Floats) -> Bools:
        return self.rng.random(len(self.day)) < share


@dataclass(frozen=True)
class Accident:
    """Who had it, in which car, and where."""

    region: Ints  # of the accident
    home: Ints  # region of the claimant
    claimant: Ints
    household: Ints
    vehicle: Ints
    fleet: Ints  # -1: private
    place: Ints


def accidents(draw: Draw) -> Accident:
    rng, population, k = draw.rng, draw.population, len(draw.day)
    n_regions = len(population.region_weights)
    home = draw.given("region", rng.choice(n_regions, k, p=population.region_weights))
    claimant = population.persons.pick(home, rng.random(k) ** 1.2)
    fleet = population.fleets.pick(home, rng.random(k))
    seat = (rng.random(k) ** 1.2 * DRIVERS_PER_FLEET).astype(np.int64)
    drives_for_a_living = draw.chance(difficulty.FLEET_SHARE)
    claimant = np.where(drives_for_a_living, population.driver_of(home, fleet, seat), claimant)
    planned_claimant = draw.given("claimant", np.full(k, -1, dtype=np.int64))
    claimant = np.where(planned_claimant >= 0, planned_claimant, claimant)
    fleet = np.where(drives_for_a_living & (planned_claimant < 0), fleet, -1)

    seat_of_car = np.where(draw.chance(difficulty.FAMILY_CAR), rng.integers(0, FAMILY, k), claimant % FAMILY)
    car = np.where(draw.chance(difficulty.FLEET_OTHER_CAR), rng.integers(0, DRIVERS_PER_FLEET, k), seat)
    own = population.vehicle_of(claimant, seat_of_car, draw.day)
    vehicle = draw.given("vehicle", np.where(fleet >= 0, population.fleet_vehicle(fleet, car), own))

    # As often in a ring as elsewhere, or a doctor who was never seen in the region would mark it.
    region = np.where(draw.chance(difficulty.AWAY), rng.integers(0, n_regions, k), home)
    region = np.where(draw.given("storm", np.full(k, -1, dtype=np.int64)) >= 0, home, region)
    usual = population.usual_place(claimant, region, rng.integers(0, 6, k))
    blackspot = population.places.pick(region, rng.random(k) ** 2.4)
    place = np.where(draw.chance(_ON_USUAL_WAYS), usual, blackspot)
    place = np.where(region == home, draw.given("place", place), place)  # a group's places are in its own region
    return Accident(
        region=region,
        home=home,
        claimant=claimant,
        household=draw.given("household", population.household_of(claimant, draw.day)),
        vehicle=vehicle,
        fleet=fleet,
        place=np.where(draw.chance(_NO_PLACE), -1, place),
    )


def providers(draw: Draw, kind: Ints, accident: Accident) -> tuple[Ints, Ints, Ints]:
    """Shop, lawyer and doctor of each claim, -1 where it names none."""
    rng, population, k = draw.rng, draw.population, len(draw.day)
    claimant, fleet = accident.claimant, accident.fleet
    in_fleet = fleet >= 0
    village = draw.chance(difficulty.VILLAGE)
    near = np.where(draw.chance(difficulty.BACK_HOME), accident.home, accident.region)

    def there(far: float) -> Ints:
        """The region that each claim goes to for a provider."""
        return np.where(draw.chance(far), rng.integers(0, len(population.region_weights), k), near)

    def locally(name: str, share: float, region: Ints) -> tuple[Bools, Ints]:
        ranges = {"shop": population.shops, "lawyer": population.lawyers, "doctor": population.doctors}[name]
        by_fleet = in_fleet & draw.chance(share)
        fleets = ranges.pick(region, population.trait(f"fleet/{name}", fleet))
        local = population.local_choice(name, ranges, claimant, region)
        return village | by_fleet | draw.chance(difficulty.HABIT), np.where(by_fleet, fleets, local)

    shop = population.shops.pick(there(difficulty.FAR_SHOP), rng.random(k) ** 1.6)
    by_habit, local = locally("shop", difficulty.FLEET_SHOP, near)
    shop = np.where(by_habit, local, shop)
    towed = draw.chance(difficulty.TOWED) & (accident.place >= 0)
    shop = np.where(towed, population.tower_of(np.maximum(accident.place, 0), accident.region), shop)

    region = there(difficulty.FAR_PROVIDER)
    lawyer = population.lawyers.pick(region, rng.random(k) ** 1.9)
    advertised = rng.integers(0, _ADVERTISING_LAWYERS, k) * (population.lawyers.total // _ADVERTISING_LAWYERS)
    lawyer = np.where(draw.chance(difficulty.NATIONWIDE), advertised, lawyer)
    by_habit, local = locally("lawyer", difficulty.FLEET_LAWYER, region)
    lawyer = draw.given("lawyer", np.where(by_habit, local, lawyer))

    has_lawyer, has_doctor = _named(draw, kind)
    region = there(difficulty.FAR_PROVIDER)
    doctor = population.doctors.pick(region, rng.random(k) ** 1.6)
    by_habit, local = locally("doctor", difficulty.FLEET_DOCTOR, region)
    doctor = np.where(by_habit, local, doctor)
    referred = draw.chance(difficulty.REFERRED) & has_lawyer
    doctor = np.where(referred, population.referral_of(lawyer, region), doctor)
    has_shop = rng.random(k) < np.array(shop_shares())[kind]
    return (
        np.where(has_shop, draw.given("shop", shop), -1),
        np.where(has_lawyer, lawyer, -1),
        np.where(has_doctor, draw.given("doctor", doctor), -1),
    )


def _named(draw: Draw, kind: Ints) -> tuple[Bools, Bools]:
    """Whether each claim names a lawyer, and a doctor. Both usually come with an injury, so they come together."""
    shares = np.cumsum(np.array(party_shares()), axis=1)[kind]
    uniform = draw.rng.random(len(kind))
    both, with_lawyer, with_either = (uniform < shares[:, i] for i in range(3))
    return with_lawyer, both | (with_either & ~with_lawyer)


def party_shares() -> list[tuple[float, ...]]:
    """By kind: chance of both, lawyer alone, doctor alone. Over all fraud it is that of honest claims."""
    d = difficulty
    rest = zip(d.PARTIES_HONEST, d.PARTIES_COLLUSION, d.PARTIES_GHOST, strict=True)
    staged = tuple((h - d.COLLUSION_SHARE * c - d.GHOST_SHARE * g) / d.STAGED_SHARE for h, c, g in rest)
    return [d.PARTIES_HONEST, staged, d.PARTIES_COLLUSION, d.PARTIES_GHOST]


def shop_shares() -> list[float]:
    d = difficulty
    others = (d.SHOP_HONEST - d.COLLUSION_SHARE * d.SHOP_COLLUSION) / (1.0 - d.COLLUSION_SHARE)
    return [d.SHOP_HONEST, others, d.SHOP_COLLUSION, others]


def witnesses(draw: Draw, accident: Accident) -> Ints:
    """Family, colleagues, neighbours or passers-by; no one twice in a claim, and never the claimant."""
    rng, population, claimant, k = draw.rng, draw.population, accident.claimant, len(draw.day)
    n_witnesses = rng.choice(MAX_WITNESSES + 1, k, p=_WITNESS_SHARES)
    near = difficulty.FAMILY_WITNESS + difficulty.NEIGHBOUR_WITNESS
    fleet_region = np.searchsorted(population.persons.start, claimant, side="right") - 1
    witness = np.empty((k, MAX_WITNESSES), dtype=np.int64)
    for slot in range(MAX_WITNESSES):
        habit = rng.random(k)
        family = claimant // FAMILY * FAMILY + (claimant + 1 + slot) % FAMILY
        neighbour = np.maximum(claimant - 1 - rng.integers(4, 60, k), 0)
        passer_by = population.persons.pick(accident.region, rng.random(k))
        who = np.where(habit < difficulty.FAMILY_WITNESS, family, np.where(habit < near, neighbour, passer_by))
        colleague = population.driver_of(
            fleet_region, np.maximum(accident.fleet, 0), rng.integers(0, DRIVERS_PER_FLEET, k)
        )
        who = np.where((accident.fleet >= 0) & draw.chance(difficulty.FLEET_WITNESS), colleague, who)
        planned: Ints = draw.plans.witness[draw.plan, slot]
        who[draw.at] = np.where(planned >= 0, planned, who[draw.at])
        repeated: Bools = who == claimant
        for earlier in range(slot):
            repeated |= who == witness[:, earlier]
        witness[:, slot] = np.where((slot < n_witnesses) & ~repeated & (who < population.persons.total), who, -1)
    return witness
