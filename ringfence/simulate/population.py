# SPDX-License-Identifier: Apache-2.0
"""Who lives in the motor-claims world: persons, vehicles, shops, lawyers, doctors, brokers, and what they are like.

Everything is a function of an index. Regions own ranges of persons and providers; four neighbours in the person index
are a household and sixty-four a community, so families and villages share vehicles, shops and doctors honestly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ringfence.simulate.settings import WorldSettings
from ringfence.simulate.traits import Bools, Floats, Ints, key_of, uniform_of

REGIONS: Final = tuple(f"DE-{area:02d}" for area in range(1, 98, 5))
MAKES: Final = (
    "Volkswagen",
    "Mercedes",
    "BMW",
    "Audi",
    "Opel",
    "Ford",
    "Skoda",
    "Renault",
    "Toyota",
    "Fiat",
    "Seat",
    "Hyundai",
)
_MAKE_SHARES: Final = (0.21, 0.1, 0.09, 0.09, 0.1, 0.09, 0.08, 0.06, 0.06, 0.04, 0.04, 0.04)
MAKE_COST: Final = np.array([1.0, 1.35, 1.3, 1.2, 0.95, 0.95, 0.95, 0.9, 0.95, 0.85, 0.92, 0.9])

HOUSEHOLD: Final = 4
COMMUNITY: Final = 64
VEHICLES_PER_HOUSEHOLD: Final = 3


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
        n, seed = settings.n_events, settings.seed
        weights = 1.0 / (3.0 + np.arange(len(REGIONS)))
        self.region_weights: Floats = weights / weights.sum()
        self.persons = self._ranges(max(2_000, int(0.9 * n)), COMMUNITY)
        self.shops = self._ranges(max(100, n // 110), 4)
        self.lawyers = self._ranges(max(120, n // 250), 5)
        self.doctors = self._ranges(max(120, n // 250), 5)
        self.n_brokers = max(40, n // 600)
        self._keys = {
            name: key_of(seed, "trait/" + name)
            for name in (
                "sex",
                "broker",
                "has_broker",
                "own_broker",
                "make",
                "built",
                "shop",
                "lawyer",
                "doctor",
                "referral",
                "phase",
                "term",
            )
        }

    def _ranges(self, total: int, least: int) -> Ranges:
        size = np.maximum(least, np.rint(self.region_weights * total)).astype(np.int64)
        return Ranges(np.cumsum(size) - size, size)

    def trait(self, name: str, index: Ints) -> Floats:
        return uniform_of(self._keys[name], index)

    def frequent_driver(self, region: Ints, uniform: Floats) -> Ints:
        """One of the few persons of a region who drive for a living: one in fifty, every other of a community."""
        first = self.persons.start[region]
        n_drivers = np.maximum(self.persons.size[region] // 50, 1)
        driver = (uniform * n_drivers).astype(np.int64)
        place: Ints = np.minimum(driver // 16 * 800 + driver % 16 * 2, self.persons.size[region] - 1)
        return first + place

    def is_female(self, person: Ints) -> Bools:
        return self.trait("sex", person) < 0.47

    def broker_of(self, person: Ints) -> Ints:
        """Broker of each person, or -1. A community tends to share one."""
        local = self.trait("own_broker", person) < 0.55
        by = np.where(local, person // COMMUNITY, person + (1 << 32))
        broker = (self.trait("broker", by) ** 1.6 * self.n_brokers).astype(np.int64)
        return np.where(self.trait("has_broker", person) < 0.6, broker, -1)

    def make_of(self, vehicle: Ints) -> Ints:
        return np.searchsorted(np.cumsum(_MAKE_SHARES)[:-1], self.trait("make", vehicle)).astype(np.int64)

    def built_day_of(self, vehicle: Ints) -> Floats:
        """Day on which a vehicle was built, relative to the first day of the world; never after it."""
        return -np.floor(365.25 * 16.0 * self.trait("built", vehicle) ** 1.4)

    def local_choice(self, name: str, ranges: Ranges, person: Ints, region: Ints) -> Ints:
        """The shop, lawyer or doctor that a community goes to by habit."""
        return ranges.pick(region, self.trait(name, person // COMMUNITY) ** 1.3)

    def referral_of(self, lawyer: Ints, region: Ints) -> Ints:
        """The doctor to whom a lawyer sends clients: an honest pair that looks like a ring."""
        return self.doctors.pick(region, self.trait("referral", lawyer))

    def policy_age_at(self, person: Ints, day: Floats) -> Floats:
        """Days since the person's contract began. Contracts are renewed every `term` days, known for each person."""
        term = self.policy_term_of(person)
        return np.mod(day + self.trait("phase", person) * term, term)

    def policy_term_of(self, person: Ints) -> Floats:
        return 300.0 + 2_400.0 * self.trait("term", person)
