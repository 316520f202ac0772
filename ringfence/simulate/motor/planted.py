# SPDX-License-Identifier: Apache-2.0
"""Planted pairs: two claims that differ in nothing but the wiring of the claims behind them.

One lies in a small ring that closes on itself, the other among honest strangers; everything that a column shows and
everything that can be counted about the entities they name is equal. See `ringfence.simulate.gadgets` for how. The
claims behind them come at the same milliseconds, with the same amounts, in both wirings; their people, cars, shops,
lawyers and doctors occur nowhere else; nobody ever looks at them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from ringfence.simulate.calendar import BLOCK, Span
from ringfence.simulate.gadgets import N_CLAIMS, ROLES, SIZE, closed, opened
from ringfence.simulate.motor.claims import Claims, ShockedClaims
from ringfence.simulate.motor.photos import MAX_PHOTOS
from ringfence.simulate.motor.plans import FIRST_PLANTED_RING, HONEST, MAX_WITNESSES, PLANTED
from ringfence.simulate.motor.population import CARS_PER_FAMILY, FAMILY, Population
from ringfence.simulate.motor.settings import WorldSettings
from ringfence.simulate.traits import Ints, generator_of

COPIES: Final = 16  # of an open wiring; pairs come in schedules of as many
_FRESH: Final = 1 << 32  # entities of planted claims are numbered from here; no world has as many of its own
_SPREAD_DAYS: Final = (90.0, 360.0)  # between the first claim of a gadget and its probe
_CLAIMANT, _WITNESS, _SHOP, _LAWYER, _DOCTOR = range(len(ROLES))


class PlantedPairs:
    """All planted claims of a world, in order of time, and which of them are pairs.

    Parameters
    ----------
    template : honest claims of the same world, after which types, amounts, hours and delays are drawn.
    """

    def __init__(self, settings: WorldSettings, population: Population, day_start_ms: Ints, template: Claims) -> None:
        self._settings, self._population = settings, population
        self._day_start_ms, self._template = day_start_ms, template
        n = settings.planted_pairs
        n_schedules = -(-n // COPIES)
        self._persons = _look_alikes(population, n_schedules * SIZE, 2 * COPIES)
        parts, pairs, first = [], [], 0
        for schedule in range(n_schedules):
            n_rings = min(COPIES, n - schedule * COPIES)
            claims, probes = self._schedule(schedule, n_rings)
            parts.append(claims)
            pairs.append(first + probes)
            first += len(claims)
        # Numbers are given last, and in no order that a wiring could show. Photos are new, and nobody else's.
        number = settings.n_events + settings.n_live + generator_of(settings.seed, "planted/numbers").permutation(first)
        self._pairs: Ints = number[np.concatenate(pairs)]
        claims = _one_after_the_other(parts)
        photo = np.where(claims.photo >= 0, number[:, None] * MAX_PHOTOS + np.arange(MAX_PHOTOS), -1)
        claims = replace(claims, number=number, photo=photo)
        self._claims = claims.in_order(np.argsort(claims.time_ms, kind="stable"))

    def __len__(self) -> int:
        return len(self._claims)

    @property
    def pairs(self) -> Ints:
        """Numbers of the ring's and of the honest claim of each pair, shape (n, 2)."""
        return self._pairs

    def among(self, claims: Claims, span: Span, block: int) -> Claims:
        """Put the planted claims of a block's days behind its claims; no shock touches them.

        A day belongs to the block of its first row.
        """
        block_of_day = np.minimum(span.first_row[:-1] // BLOCK, span.n_blocks - 1)
        days = np.flatnonzero(block_of_day == block) + span.first_day
        if not len(days):
            return claims
        begins, ends = self._day_start_ms[days[0]], self._day_start_ms[days[-1] + 1]
        low, high = np.searchsorted(self._claims.time_ms, [begins, ends])
        planted = self._claims.in_order(np.arange(low, high))
        if isinstance(claims, ShockedClaims):
            planted = ShockedClaims(**vars(planted), shock=np.zeros(high - low, dtype=np.int64))
        return _one_after_the_other([claims, planted])

    def _schedule(self, schedule: int, n_rings: int) -> tuple[Claims, Ints]:
        """The claims of up to COPIES rings and of COPIES open copies, on one schedule.

        Returns the claims, and the places of the probes of each pair, shape (n_rings, 2).
        """
        rng = generator_of(self._settings.seed, "planted", schedule)
        order = rng.permutation(N_CLAIMS)
        ring, honest = closed(n_rings, order), opened(COPIES, order, rng)
        ordinary = np.flatnonzero(
            (self._template.kind == HONEST) & (self._template.storm < 0) & (self._template.decoy == 0)
        )
        like = rng.choice(ordinary, N_CLAIMS)
        day, time_ms = self._times(rng, like)
        # Copy by copy, first the rings'. Entities of a schedule, of both wirings, are numbered one after the other.
        n_copies = n_rings + COPIES
        entity = np.concatenate([ring.entity, honest.entity + COPIES * SIZE])
        fresh = _FRESH + schedule * 2 * COPIES * SIZE + entity
        person = self._persons[schedule * SIZE + entity % SIZE, entity // SIZE]
        claimant = person[:, :, _CLAIMANT].ravel()
        slot = entity[:, :, _CLAIMANT] % SIZE
        person_start = rng.uniform(30.0, 2_000.0, SIZE)
        built = 365.25 * rng.uniform(0.0, 14.0, SIZE)
        is_ring = np.repeat(np.arange(n_copies) < n_rings, N_CLAIMS)
        rings = FIRST_PLANTED_RING + schedule * COPIES + np.repeat(np.arange(n_copies), N_CLAIMS)
        n = n_copies * N_CLAIMS
        nothing = np.full(n, -1)

        def as_template(name: str) -> Ints:
            column: Ints = getattr(self._template, name)[like]
            return np.tile(column, (n_copies,) + (1,) * (column.ndim - 1))

        claims = Claims(
            number=nothing,
            time_ms=np.tile(time_ms, n_copies),
            kind=np.where(is_ring, PLANTED, HONEST),
            ring=np.where(is_ring, rings, -1),
            storm=nothing,
            decoy=np.zeros(n, dtype=np.int64),
            region=np.full(n, rng.integers(0, len(self._population.region_weights))),
            claim_type=as_template("claim_type"),
            amount_minor=as_template("amount_minor"),
            claimant=claimant,
            household=claimant,  # an address of their own
            vehicle=_car_of(claimant),
            shop=fresh[:, :, _SHOP].ravel(),
            lawyer=fresh[:, :, _LAWYER].ravel(),
            doctor=fresh[:, :, _DOCTOR].ravel(),
            broker=nothing,
            place=_FRESH + schedule * 2 * COPIES * N_CLAIMS + np.arange(n),
            witness=_only(person[:, :, _WITNESS].ravel(), MAX_WITNESSES),
            photo=as_template("photo"),  # how many; which, when the claims have numbers
            policy_age_days=np.floor(day - day[0] + person_start[slot]).astype(np.int64).ravel(),
            vehicle_age_years=np.floor((day - day[0] + built[slot]) / 365.25).astype(np.int64).ravel(),
            reported_after_days=as_template("reported_after_days"),
            text=np.tile(rng.random((6, N_CLAIMS)), n_copies),
            label=nothing,
            known_ms=np.zeros(n, dtype=np.int64),
        )
        probe = np.arange(n_rings) * N_CLAIMS + N_CLAIMS - 1
        return claims, np.stack([probe, n_rings * N_CLAIMS + probe], axis=1)

    def _times(self, rng: np.random.Generator, like: Ints) -> tuple[Ints, Ints]:
        """Day and moment of each claim of a schedule, ascending; hours as in the template."""
        days = self._settings.days
        length = min(float(rng.uniform(*_SPREAD_DAYS)), days - 2.0)
        first = rng.uniform(0.0, days - 1.0 - length)
        day = np.floor(first + length * np.sort(rng.random(N_CLAIMS))).astype(np.int64)
        midnight = self._day_start_ms[np.searchsorted(self._day_start_ms, self._template.time_ms[like], "right") - 1]
        time_ms = self._day_start_ms[day] + self._template.time_ms[like] - midnight
        time_ms.sort()
        # Never two claims of a gadget in one moment.
        time_ms += np.arange(N_CLAIMS)
        return day, time_ms


def _one_after_the_other(parts: list[Claims]) -> Claims:
    return type(parts[0])(
        **{
            name: np.concatenate([getattr(part, name) for part in parts], axis=1 if name == "text" else 0)
            for name in vars(parts[0])
        }
    )


def _look_alikes(population: Population, n_slots: int, n_alike: int) -> Ints:
    """Persons of whom those of a slot have the same sex and drive the same make. Shape (n_slots, n_alike).

    No two are of one household, so no two share an address or a car.
    """
    n = 4 * n_slots * n_alike + 4_096
    while True:
        person = _FRESH + FAMILY * np.arange(n)
        make = population.make_of(_car_of(person))
        look = make * 2 + population.is_female(person)
        order = np.argsort(look, kind="stable")
        counts = np.bincount(look)
        begins = np.cumsum(counts) - counts
        runs = [
            order[first + n_alike * run : first + n_alike * (run + 1)]
            for first, count in zip(begins, counts, strict=True)
            for run in range(count // n_alike)
        ]
        if len(runs) >= n_slots:
            break
        n *= 2
    # The runs are in order of look: take them evenly, so that looks are as frequent as among everybody.
    chosen = (np.arange(n_slots) * len(runs)) // n_slots
    step = next(step for step in range(max(1, int(0.6 * n_slots)), n_slots + 1) if np.gcd(step, n_slots) == 1)
    return person[np.stack(runs)[chosen][(np.arange(n_slots) * step) % n_slots]]


def _car_of(person: Ints) -> Ints:
    """The one car of a fresh person's family."""
    return person // FAMILY * CARS_PER_FAMILY


def _only(entity: Ints, seats: int) -> Ints:
    """Columns of several seats, shape (n, seats), of which the first is taken."""
    return np.concatenate([entity[:, None], np.full((len(entity), seats - 1), -1)], axis=1)
