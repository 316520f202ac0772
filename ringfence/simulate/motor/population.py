# SPDX-License-Identifier: Apache-2.0
"""Who and what there is in the motor-claims world, where they live, and what they are like.

Everything is a function of an index. Regions own ranges of persons, providers and places; four neighbours in the person
index are a family and sixty-four a village, so families and villages share addresses, vehicles, shops and doctors
honestly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ringfence.simulate.motor import difficulty
from ringfence.simulate.motor.settings import WorldSettings
from ringfence.simulate.traits import Bools, Floats, Ints, key_of, uniform_of

REGIONS: Final = tuple(f"DE-{area:02d}" for area in range(1, 98, 5))
MAKES: Final = (
    "Volkswagen", "Mercedes", "BMW", "Audi", "Opel", "Ford", "Skoda", "Renault", "Toyota", "Fiat", "Seat", "Hyundai",
)  # fmt: skip
_MAKE_SHARES: Final = (0.21, 0.1, 0.09, 0.09, 0.1, 0.09, 0.08, 0.06, 0.06, 0.04, 0.04, 0.04)
MAKE_COST: Final = np.array([1.0, 1.35, 1.3, 1.2, 0.95, 0.95, 0.95, 0.9, 0.95, 0.85, 0.92, 0.9])

FAMILY: Final = 4
COMMUNITY: Final = 64
CARS_PER_FAMILY: Final = 4
DRIVERS_PER_FLEET: Final = 16  # and as many cars
_PERSONS_PER_FLEET: Final = 800
_LIVES_APART: Final = 0.45  # of a family's fourth member: has a flat
_LODGES: Final = 0.02  # lives at the village's home for students or the old
_MOVES_A_YEAR: Final = 0.05
_TRADED: Final = 0.25  # of car pairs: one is sold to the other's owner at some point
_USUAL_PLACES: Final = 6
_CONTRACTS: Final = 32  # of a person, one after the other, are more than the longest world has


@dataclass(frozen=True)
class Ranges:
    """A kind of entity laid out by region: region r owns start[r] : start[r] + size[r]."""

    start: Ints  # (n_regions,)
    size: Ints  # (n_regions,), each >= 1

    def pick(self, region: Ints, uniform: Floats) -> Ints:
        """Choose an entity of each region, shape (n,), by a uniform number in [0, 1)."""
        return self.start[region] + (uniform * self.size[region]).astype(np.int64)

    @property
    def total(self) -> int:
        return int(self.size.sum())


class Population:
    """The entities of one world. Holds ranges and keys only; its size does not depend on the number of claims."""

    def __init__(self, settings: WorldSettings) -> None:
        n = settings.n_events
        self._seed, self._total_days = settings.seed, settings.total_days
        self._keys: dict[str, np.uint64] = {}
        weights = 1.0 / (3.0 + np.arange(len(REGIONS)))
        self.region_weights: Floats = weights / weights.sum()
        self.persons = self._ranges(max(2_000, int(0.9 * n)), COMMUNITY)
        self.shops = self._ranges(max(100, n // 110), 4)
        self.lawyers = self._ranges(max(120, n // 250), 5)
        self.doctors = self._ranges(max(120, n // 250), 5)
        self.places = self._ranges(max(400, n // 12), 20)
        fleets = np.maximum(self.persons.size // _PERSONS_PER_FLEET, 1)
        self.fleets = Ranges(np.cumsum(fleets) - fleets, fleets)
        self.n_brokers = max(40, n // 600)
        self._n_families = self.persons.total // FAMILY + 1
        self._n_slots = self._n_families * CARS_PER_FAMILY

    def _ranges(self, total: int, least: int) -> Ranges:
        size = np.maximum(least, np.rint(self.region_weights * total)).astype(np.int64)
        return Ranges(np.cumsum(size) - size, size)

    def trait(self, name: str, index: Ints) -> Floats:
        """A property of each index, in [0, 1): always the same for the same world, name and index."""
        if name not in self._keys:
            self._keys[name] = key_of(self._seed, "trait/" + name)
        return uniform_of(self._keys[name], index)

    # --- Persons and where they live

    def is_female(self, person: Ints) -> Bools:
        return self.trait("sex", person) < 0.47

    def flat_of(self, person: Ints) -> Ints:
        """The address at which a person lives who has moved out of the family's."""
        return self._n_families + person

    def move_day_of(self, person: Ints) -> Floats:
        """Day on which each person moves; inf: stays."""
        years = self._total_days / 365.25
        moves = self.trait("moves", person)
        share = _MOVES_A_YEAR * years
        return np.where(moves < share, moves / share * self._total_days, np.inf)

    def household_of(self, person: Ints, day: Floats | Ints) -> Ints:
        """Address of each person on a day. Families share one, some lodge together, some live alone; people move."""
        apart = (person % FAMILY == FAMILY - 1) & (self.trait("apart", person) < _LIVES_APART)
        home = np.where(apart, self.flat_of(person), person // FAMILY)
        lodges = self.trait("lodges", person) < _LODGES
        home = np.where(lodges, self.flat_of(person // COMMUNITY * COMMUNITY), home)
        # To a flat that others have lived in, or live in still.
        vacated = self.flat_of((self.trait("destination", person) * self.persons.total).astype(np.int64))
        return np.where(self.move_day_of(person) <= day, vacated, home)

    def broker_of(self, person: Ints, day: Floats | Ints) -> Ints:
        """Broker of each person on a day, or -1. A community tends to share one; people go to another at times."""
        local = self.trait("own_broker", person) < 0.55
        by = np.where(local, person // COMMUNITY, person + (1 << 32))
        contract = np.floor(day / self.policy_term_of(person) + self.trait("phase", person) + 1e-9).astype(np.int64)
        last_change = np.zeros(len(person), dtype=np.int64)
        for turn in range(1, int(contract.max(initial=0)) + 1):
            changes = self.trait("new_broker", person * _CONTRACTS + turn) < difficulty.NEW_CONTRACT_NEW_BROKER
            last_change[changes & (turn <= contract)] = turn
        share = difficulty.CHANGES_BROKER_A_YEAR * self._total_days / 365.25
        leaves = self.trait("leaves_broker", person)
        left = (leaves < share) & (leaves / share * self._total_days <= day)
        choice = last_change * 2 + left
        by = np.where(choice > 0, person * 2 * _CONTRACTS + choice + (1 << 40), by)
        broker = (self.trait("broker", by) ** 1.6 * self.n_brokers).astype(np.int64)
        return np.where(self.trait("has_broker", person) < 0.6, broker, -1)

    def policy_age_at(self, person: Ints, day: Floats) -> Floats:
        """Days since the person's contract began. Contracts are renewed every `term` days, known for each person."""
        term = self.policy_term_of(person)
        return np.mod(day + self.trait("phase", person) * term, term)

    def policy_term_of(self, person: Ints) -> Floats:
        return 300.0 + 2_400.0 * self.trait("term", person)

    # --- Vehicles

    def vehicle_of(self, person: Ints, seat: Ints, day: Floats | Ints) -> Ints:
        """The car that stands at a family's seat on a day.

        Seats are paired across families of a village: at some point the one sells its car to the other and buys new.
        """
        slot = person // FAMILY * CARS_PER_FAMILY + seat % FAMILY % CARS_PER_FAMILY
        seller = slot & ~np.int64(64)
        traded = (self.trait("traded", seller) < _TRADED) & (self.trait("sale", seller) * self._total_days <= day)
        return np.where(traded, np.where(slot == seller, self._n_slots + slot, seller), slot)

    def make_of(self, vehicle: Ints) -> Ints:
        return np.searchsorted(np.cumsum(_MAKE_SHARES)[:-1], self.trait("make", vehicle)).astype(np.int64)

    def built_day_of(self, vehicle: Ints) -> Floats:
        """Day on which a vehicle was built, relative to the first day of the world; never after it."""
        return -np.floor(365.25 * 16.0 * self.trait("built", vehicle) ** 1.4)

    # --- Fleets: taxi and delivery firms

    def driver_of(self, region: Ints, fleet: Ints, seat: Ints) -> Ints:
        """A driver of each fleet, every other of a village. Two in a hundred persons drive for a living."""
        place = (fleet - self.fleets.start[region]) * _PERSONS_PER_FLEET + 2 * seat
        driver: Ints = self.persons.start[region] + np.minimum(place, self.persons.size[region] - 1)
        return driver

    def fleet_vehicle(self, fleet: Ints, car: Ints) -> Ints:
        return 2 * self._n_slots + 64 + fleet * DRIVERS_PER_FLEET + car

    # --- Who goes where

    def local_choice(self, name: str, ranges: Ranges, person: Ints, region: Ints) -> Ints:
        """The shop, lawyer or doctor that a village goes to by habit."""
        return ranges.pick(region, self.trait(name, person // COMMUNITY) ** 1.3)

    def usual_place(self, person: Ints, region: Ints, which: Ints) -> Ints:
        """One of the places that a village drives through every day."""
        return self.places.pick(region, self.trait("place", person // COMMUNITY * _USUAL_PLACES + which))

    def referral_of(self, lawyer: Ints, region: Ints) -> Ints:
        """The doctor to whom a lawyer sends clients: an honest pair that looks like a ring."""
        return self.doctors.pick(region, self.trait("referral", lawyer))

    def tower_of(self, place: Ints, region: Ints) -> Ints:
        """The shop with the towing contract of a place: a few of each region's."""
        contractors = 1 + self.shops.size[region] // 12
        return self.shops.start[region] + (self.trait("towing", place) * contractors).astype(np.int64)
