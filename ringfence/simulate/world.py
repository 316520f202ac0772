# SPDX-License-Identifier: Apache-2.0
"""The motor-claims world: its calendar, and the claims of any block of it.

Rows are numbered by day. A block is BLOCK consecutive numbers and has a generator of its own, so any block can be made
alone, and a reader may take as many at a time as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ringfence.simulate.labels import investigate
from ringfence.simulate.narratives import CLAIM_TYPES
from ringfence.simulate.population import HOUSEHOLD, MAKE_COST, VEHICLES_PER_HOUSEHOLD, Population
from ringfence.simulate.rings import COLLUSION, GHOST, HONEST, MAX_WITNESSES, Planned, planned_claims
from ringfence.simulate.settings import DAY_MS, WorldSettings
from ringfence.simulate.traits import Bools, Floats, Ints, generator_of, key_of, scrambled, uniform_of

BLOCK: Final = 8_192

_TYPE_SHARES: Final = np.array([0.2, 0.15, 0.08, 0.18, 0.13, 0.03, 0.08, 0.05, 0.1])
_TYPE_MEDIAN: Final = np.array([4_100.0, 5_200.0, 3_900.0, 1_900.0, 750.0, 2_700.0, 6_500.0, 2_900.0, 5_600.0])
_TYPE_LARGE: Final = np.array([0.11, 0.15, 0.10, 0.012, 0.0, 0.012, 0.18, 0.03, 0.16])  # chance of a large loss
_WITNESS_SHARES: Final = np.array([0.62, 0.24, 0.10, 0.04])
_HOUR_SHARES: Final = np.array(
    [4, 3, 2, 2, 3, 8, 20, 45, 60, 55, 50, 48, 50, 48, 50, 56, 62, 60, 45, 30, 20, 14, 10, 6], dtype=np.float64
)
_OFTEN_SHARE: Final = 0.08
_WEEKDAY: Final = np.array([1.15, 1.08, 1.05, 1.05, 1.12, 0.85, 0.7])
# The chance that a claim names a shop, a lawyer, a doctor: by kind, and level over the kinds, so that what is missing
# says next to nothing.
_HAS_SHOP: Final = np.array([0.88, 0.88, 0.97, 0.72])
_HAS_LAWYER: Final = np.array([0.32, 0.33, 0.29, 0.38])
_HAS_DOCTOR: Final = np.array([0.28, 0.25, 0.20, 0.66])
_COST_OF_KIND: Final = np.array([1.0, 1.18, 1.6, 1.2])
_LARGE_OF_KIND: Final = np.array([1.0, 1.45, 1.45, 1.45])


@dataclass(frozen=True)
class Span:
    """A run of days and the numbers of their claims."""

    name: str
    first_day: int
    first_row: Ints  # (days + 1,) claims of day d are first_row[d] .. first_row[d + 1] - 1
    planned_row: Ints  # (p,) ascending rows that are planned claims
    planned: Ints  # (p,) which one

    @property
    def n(self) -> int:
        return int(self.first_row[-1])

    @property
    def n_blocks(self) -> int:
        return -(-self.n // BLOCK)


@dataclass(frozen=True)
class Claims:
    """k claims in order of time; entities are indices, -1 where there is none."""

    number: Ints  # (k,) unique in the world; printed scrambled
    time_ms: Ints
    kind: Ints
    ring: Ints
    storm: Ints
    region: Ints
    claim_type: Ints
    amount_minor: Ints
    claimant: Ints
    vehicle: Ints
    shop: Ints
    lawyer: Ints
    doctor: Ints
    broker: Ints
    witness: Ints  # (k, MAX_WITNESSES)
    policy_age_days: Ints
    vehicle_age_years: Ints
    reported_after_days: Ints  # -1 where not given
    text: Floats  # (6, k) what the narrative is made of
    label: Ints  # 1 fraud, 0 legit, -1 never known
    known_ms: Ints  # when the label is known; 0 where there is none

    def __len__(self) -> int:
        return int(self.number.shape[0])


class World:
    """One simulated insurer. `history` and `live` share every entity and ring."""

    def __init__(self, settings: WorldSettings) -> None:
        self.settings = settings
        self.population = Population(settings)
        self.planned: Planned = planned_claims(settings, self.population)
        self.day_start_ms = settings.day_start_ms()
        self._story_key = key_of(settings.seed, "story")
        self._claim_key = key_of(settings.seed, "id/claim")
        self.history = self._span("history", 0, settings.days, settings.n_events)
        self.live = self._span("live", settings.days, settings.total_days, settings.n_live)

    @property
    def starts_ms(self) -> int:
        return int(self.day_start_ms[0])

    @property
    def ends_ms(self) -> int:
        """First moment after the history."""
        return int(self.day_start_ms[self.settings.days])

    def _span(self, name: str, first_day: int, end_day: int, n: int) -> Span:
        rng = generator_of(self.settings.seed, f"calendar/{name}")
        inside = np.flatnonzero((self.planned.day >= first_day) & (self.planned.day < end_day))
        inside = inside[: n // 2] if len(inside) > n // 2 else inside
        inside = inside[np.lexsort((rng.random(len(inside)), self.planned.day[inside]))]
        day = self.planned.day[inside] - first_day
        per_day = np.bincount(day, minlength=end_day - first_day)
        weights = self._day_weights()[first_day:end_day]
        counts = per_day + rng.multinomial(n - len(inside), weights / weights.sum())
        first_row = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        # k planned claims among the m of a day: one in each of k equal strata, at a random place of it.
        turn = np.arange(len(inside)) - (np.cumsum(per_day) - per_day)[day]
        place = (turn + rng.random(len(inside))) * counts[day] / per_day[day]
        return Span(name, first_day, first_row, first_row[day] + place.astype(np.int64), inside)

    def _day_weights(self) -> Floats:
        days = np.arange(self.settings.total_days)
        weekday = (days + (self.settings.ends.toordinal() - self.settings.days - 1)) % 7
        season = 1.0 + 0.12 * np.cos(2.0 * np.pi * (days / 365.25))
        return _WEEKDAY[weekday] * season * (1.0 + 0.05 * days / 365.25)

    def blocks(self, span: Span) -> Iterator[Claims]:
        for block in range(span.n_blocks):
            yield self.claims(span, block)

    def claims(self, span: Span, block: int) -> Claims:
        """Make the claims of one block; a pure function of the settings, the span and the block's number."""
        rng = generator_of(self.settings.seed, f"claims/{span.name}", block)
        population, planned = self.population, self.planned
        row = np.arange(block * BLOCK, min(span.n, (block + 1) * BLOCK))
        k = len(row)
        day = span.first_day + np.searchsorted(span.first_row, row, side="right") - 1
        low, high = np.searchsorted(span.planned_row, [row[0], row[-1] + 1])
        at, plan = span.planned_row[low:high] - row[0], span.planned[low:high]

        def given(field: Ints, otherwise: Ints) -> Ints:
            """The planned value where there is one, else the ordinary draw."""
            values = otherwise.copy()
            values[at] = np.where(field[plan] >= 0, field[plan], otherwise[at])
            return values

        nobody = np.full(k, -1, dtype=np.int64)
        kind = given(planned.kind, np.zeros(k, dtype=np.int64))
        ring, storm = given(planned.ring, nobody), given(planned.storm, nobody)
        time_ms = self.day_start_ms[day] + _time_of_day_ms(rng, kind)
        region = given(planned.region, rng.choice(len(population.region_weights), k, p=population.region_weights))
        claimant = population.persons.pick(region, rng.random(k) ** 1.2)
        # Taxi and delivery drivers: few, honest, and in one accident after another.
        often = rng.random(k) < _OFTEN_SHARE
        claimant = np.where(often, population.frequent_driver(region, rng.random(k)), claimant)
        claimant = given(planned.claimant, claimant)
        region = np.where(
            rng.random(k) < np.where(kind == HONEST, 0.06, 0.22),
            rng.integers(0, len(population.region_weights), k),
            region,
        )
        region = np.where(storm >= 0, given(planned.region, region), region)
        claim_type = given(planned.claim_type, rng.choice(len(CLAIM_TYPES), k, p=_TYPE_SHARES))

        seat = np.where(rng.random(k) < 0.8, claimant % HOUSEHOLD, rng.integers(0, HOUSEHOLD, k))
        own_vehicle = claimant // HOUSEHOLD * VEHICLES_PER_HOUSEHOLD + seat % VEHICLES_PER_HOUSEHOLD
        vehicle = given(planned.vehicle, own_vehicle)

        habit, skew = rng.random(k), rng.random(k)
        away = np.where(habit < 0.08, rng.integers(0, len(population.region_weights), k), region)
        shop = population.shops.pick(away, np.where(habit > 0.9, 0.0, skew**1.7))  # the towing contract's shop is first
        local = population.local_choice("shop", population.shops, claimant, region)
        shop = given(planned.shop, np.where((habit > 0.5) & (habit < 0.9), local, shop))
        shop = np.where(rng.random(k) < _HAS_SHOP[kind], shop, -1)

        lawyer = population.lawyers.pick(region, rng.random(k) ** 1.9)
        local = population.local_choice("lawyer", population.lawyers, claimant, region)
        lawyer = given(planned.lawyer, np.where(rng.random(k) < 0.25, local, lawyer))
        has_lawyer = rng.random(k) < _HAS_LAWYER[kind]

        habit = rng.random(k)
        doctor = population.doctors.pick(region, rng.random(k) ** 1.6)
        local = population.local_choice("doctor", population.doctors, claimant, region)
        doctor = np.where(habit < 0.35, local, doctor)
        doctor = np.where((habit > 0.6) & has_lawyer, population.referral_of(lawyer, region), doctor)
        doctor = given(planned.doctor, doctor)
        doctor = np.where(rng.random(k) < _HAS_DOCTOR[kind], doctor, -1)
        lawyer = np.where(has_lawyer, lawyer, -1)

        vehicle_age = np.floor((day - population.built_day_of(vehicle)) / 365.25).astype(np.int64)
        start = np.full(k, np.nan)
        start[at] = planned.policy_start_day[plan]
        policy_age = np.floor(
            np.where(np.isnan(start), population.policy_age_at(claimant, day.astype(np.float64)), day - start)
        ).astype(np.int64)
        amount = _amounts(rng, kind, claim_type, population.make_of(vehicle), vehicle_age)
        uncovered = np.full(k, np.inf)
        uncovered[at] = planned.uncovered_day[plan]
        label, known_day = investigate(
            rng, kind=kind, amount=amount / 100.0, policy_age_days=policy_age, day=day.astype(np.float64),
            has_lawyer=has_lawyer, uncovered_day=uncovered, by_chance=self.settings.investigated,
        )  # fmt: skip
        # Never before the claim itself, whatever the hour.
        known_ms = np.where(label >= 0, time_ms + ((known_day - day) * DAY_MS).astype(np.int64), 0)
        reported = np.minimum(rng.geometric(0.35, k) - 1, 60)
        reported = np.where(rng.random(k) < 0.03, -1, reported)
        columns = Claims(
            number=row + (0 if span is self.history else self.settings.n_events),
            time_ms=time_ms,
            kind=kind,
            ring=ring,
            storm=storm,
            region=region,
            claim_type=claim_type,
            amount_minor=amount,
            claimant=claimant,
            vehicle=vehicle,
            shop=shop,
            lawyer=lawyer,
            doctor=doctor,
            broker=population.broker_of(claimant),
            witness=self._witnesses(rng, region, claimant, at, plan),
            policy_age_days=np.maximum(policy_age, 0),
            vehicle_age_years=vehicle_age,
            reported_after_days=reported,
            text=self._text(rng, k, at, plan),
            label=label,
            known_ms=known_ms,
        )
        return _in_order(columns, np.lexsort((scrambled(self._claim_key, columns.number), time_ms)))

    def _witnesses(self, rng: np.random.Generator, region: Ints, claimant: Ints, at: Ints, plan: Ints) -> Ints:
        """Family, neighbours or passers-by; no one twice in a claim, and never the claimant."""
        k = len(claimant)
        n_witnesses = rng.choice(MAX_WITNESSES + 1, k, p=_WITNESS_SHARES)
        persons = self.population.persons
        witness = np.empty((k, MAX_WITNESSES), dtype=np.int64)
        for slot in range(MAX_WITNESSES):
            habit = rng.random(k)
            family = claimant // HOUSEHOLD * HOUSEHOLD + (claimant + 1 + slot) % HOUSEHOLD
            neighbour = np.maximum(claimant - 1 - rng.integers(4, 60, k), 0)
            passer_by = persons.pick(region, rng.random(k))
            who = np.where(habit < 0.35, family, np.where(habit < 0.6, neighbour, passer_by))
            who[at] = np.where(self.planned.witness[plan, slot] >= 0, self.planned.witness[plan, slot], who[at])
            repeated: Bools = who == claimant
            for earlier in range(slot):
                repeated |= who == witness[:, earlier]
            witness[:, slot] = np.where((slot < n_witnesses) & ~repeated & (who < persons.total), who, -1)
        return witness

    def _text(self, rng: np.random.Generator, k: int, at: Ints, plan: Ints) -> Floats:
        text = rng.random((6, k))
        story = self.planned.story[plan]
        told = at[story >= 0]
        base = (self.planned.ring[plan] * 1_024 + story)[story >= 0] * 8
        for part in (0, 2, 3, 4):  # the place differs from claim to claim
            text[part, told] = uniform_of(self._story_key, base + part)
        return text


def _time_of_day_ms(rng: np.random.Generator, kind: Ints) -> Ints:
    k = len(kind)
    hour = rng.choice(24, k, p=_HOUR_SHARES / _HOUR_SHARES.sum())
    evening = (kind != HONEST) & (kind != COLLUSION) & (rng.random(k) < 0.15)
    hour = np.where(evening, rng.integers(18, 24, k), hour)
    milliseconds: Ints = hour * 3_600_000 + rng.integers(0, 3_600_000, k)
    return milliseconds


def _amounts(rng: np.random.Generator, kind: Ints, claim_type: Ints, make: Ints, vehicle_age: Ints) -> Ints:
    """Claimed amounts in cents: a lognormal body, a Pareto tail from 20,000 EUR, a third rounded as people round."""
    k = len(kind)
    wear = 1.0 / (1.0 + 0.03 * np.minimum(vehicle_age, 15))
    body = _TYPE_MEDIAN[claim_type] * MAKE_COST[make] * wear * _COST_OF_KIND[kind] * rng.lognormal(0.0, 0.85, k)
    large = rng.random(k) < _TYPE_LARGE[claim_type] * _LARGE_OF_KIND[kind] * np.where(kind == GHOST, 1.2, 1.0)
    tail = 22_000.0 * (1.0 - rng.random(k)) ** (-1.0 / 1.6)
    euros = np.minimum(np.maximum(np.where(large, tail, body), 60.0), 450_000.0)
    rounding = rng.random(k)
    cents = np.where(rounding < 0.15, np.rint(euros / 50.0) * 5_000.0, np.rint(euros * 100.0))
    cents = np.where((rounding >= 0.15) & (rounding < 0.33), np.rint(euros / 10.0) * 1_000.0, cents)
    return cents.astype(np.int64)


def _in_order(claims: Claims, order: Ints) -> Claims:
    return Claims(
        **{name: column[:, order] if name == "text" else column[order] for name, column in vars(claims).items()}
    )
