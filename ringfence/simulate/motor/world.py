# SPDX-License-Identifier: Apache-2.0
"""The motor-claims world: its plans, its calendar, and the claims of any block of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from ringfence.simulate.calendar import DAY_MS, Span, span_of
from ringfence.simulate.motor import difficulty, parties, plans
from ringfence.simulate.motor.claims import Claims
from ringfence.simulate.motor.damages import TYPE_SHARES, amounts_minor, day_weights, time_of_day_ms
from ringfence.simulate.motor.labels import investigate
from ringfence.simulate.motor.narratives import CLAIM_TYPES
from ringfence.simulate.motor.parties import Draw
from ringfence.simulate.motor.photos import photos
from ringfence.simulate.motor.plans import Planned
from ringfence.simulate.motor.population import Population
from ringfence.simulate.motor.rings import ring_plans
from ringfence.simulate.motor.settings import WorldSettings
from ringfence.simulate.motor.storms import storm_plans
from ringfence.simulate.traits import Floats, Ints, generator_of, key_of, scrambled, uniform_of

_RESENT_DAYS: Final = 4.0  # mean time after which a claim is sent once more
_SENT_AGAIN: Final = (
    "region", "claim_type", "amount_minor", "claimant", "household", "vehicle", "shop", "lawyer", "doctor", "broker",
    "place", "witness", "photo", "policy_age_days", "vehicle_age_years",
)  # fmt: skip


class World:
    """One simulated insurer. `history` and `live` share every entity and ring."""

    def __init__(self, settings: WorldSettings) -> None:
        self.settings = settings
        self.population = Population(settings)
        self.planned: Planned = plans.together(
            [*ring_plans(settings, self.population), storm_plans(settings, self.population)]
        )
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
        days = np.arange(self.settings.total_days)
        weekday = (days + (self.settings.ends.toordinal() - self.settings.days - 1)) % 7
        weights = day_weights(weekday)[first_day:end_day]
        rng = generator_of(self.settings.seed, f"calendar/{name}")
        return span_of(name, first_day, weights, n, self.planned.day, rng)

    def blocks(self, span: Span) -> Iterator[Claims]:
        for block in range(span.n_blocks):
            yield self.claims(span, block)

    def claims(self, span: Span, block: int) -> Claims:
        """Make the claims of one block; a pure function of the settings, the span and the block's number."""
        rng = generator_of(self.settings.seed, f"claims/{span.name}", block)
        row = span.rows(block)
        k, day = len(row), span.day_of(row)
        at, plan = span.planned_in(row)
        draw = Draw(rng, self.population, self.planned, day, at, plan)
        nobody = np.full(k, -1, dtype=np.int64)
        kind = draw.given("kind", np.zeros(k, dtype=np.int64))
        number = row + (0 if span is self.history else self.settings.n_events)
        accident = parties.accidents(draw)
        shop, lawyer, doctor = parties.providers(draw, kind, accident)
        claim_type = draw.given("claim_type", rng.choice(len(CLAIM_TYPES), k, p=TYPE_SHARES))
        vehicle_age = np.floor((day - self.population.built_day_of(accident.vehicle)) / 365.25).astype(np.int64)
        reported = np.where(draw.chance(0.03), -1, np.minimum(rng.geometric(0.35, k) - 1, 60))
        claims = Claims(
            number=number,
            time_ms=self.day_start_ms[day] + time_of_day_ms(rng, kind),
            kind=kind,
            ring=draw.given("ring", nobody),
            storm=draw.given("storm", nobody),
            decoy=draw.given("decoy", np.where(accident.fleet >= 0, plans.FLEET, 0)),
            region=accident.region,
            claim_type=claim_type,
            amount_minor=amounts_minor(rng, kind, claim_type, self.population.make_of(accident.vehicle), vehicle_age),
            claimant=accident.claimant,
            household=accident.household,
            vehicle=accident.vehicle,
            shop=shop,
            lawyer=lawyer,
            doctor=doctor,
            broker=draw.given("broker", self.population.broker_of(accident.claimant, day)),
            place=accident.place,
            witness=parties.witnesses(draw, accident),
            photo=photos(rng, number, accident.vehicle, shop, draw.given("photo", nobody)),
            policy_age_days=self._policy_age(draw, accident.claimant),
            vehicle_age_years=vehicle_age,
            reported_after_days=reported,
            text=self._text(draw),
            label=nobody,
            known_ms=np.zeros(k, dtype=np.int64),
        )
        claims = self._labelled(self._sent_again(claims, draw, span.n / (len(span.first_row) - 1)), draw)
        return claims.in_order(np.lexsort((scrambled(self._claim_key, claims.number), claims.time_ms)))

    def _policy_age(self, draw: Draw, claimant: Ints) -> Ints:
        start = np.full(len(claimant), np.nan)
        start[draw.at] = draw.plans.policy_start_day[draw.plan]
        usual = self.population.policy_age_at(claimant, draw.day.astype(np.float64))
        return np.maximum(np.floor(np.where(np.isnan(start), usual, draw.day - start)), 0.0).astype(np.int64)

    def _sent_again(self, claims: Claims, draw: Draw, rows_a_day: float) -> Claims:
        """Some honest claims come twice: by letter and by mail, or because nobody answered. Within a block only."""
        k = len(claims)
        ordinary = (claims.kind == plans.HONEST) & (claims.storm < 0)
        ordinary[draw.at] = False
        back = 1 + draw.rng.exponential(_RESENT_DAYS * rows_a_day, k).astype(np.int64)
        first = np.arange(k) - back
        again = draw.chance(difficulty.RESENT) & ordinary & (first >= 0)
        again &= ordinary[np.maximum(first, 0)]
        again[again] = ~again[first[again]]  # of a first letter only
        copy, source = np.flatnonzero(again), first[again]
        changed = {name: getattr(claims, name).copy() for name in (*_SENT_AGAIN, "decoy", "text")}
        for name in _SENT_AGAIN:
            changed[name][copy] = changed[name][source]
        changed["text"][:, copy] = changed["text"][:, source]
        changed["decoy"][copy] = plans.RESENT
        changed["policy_age_days"][copy] += draw.day[copy] - draw.day[source]
        return replace(claims, **changed)

    def _labelled(self, claims: Claims, draw: Draw) -> Claims:
        uncovered = np.full(len(claims), np.inf)
        uncovered[draw.at] = draw.plans.uncovered_day[draw.plan]
        label, known_day = investigate(
            draw.rng, kind=claims.kind, amount=claims.amount_minor / 100.0, policy_age_days=claims.policy_age_days,
            day=draw.day.astype(np.float64), has_lawyer=claims.lawyer >= 0, uncovered_day=uncovered,
            by_chance=self.settings.investigated,
        )  # fmt: skip
        # Never before the claim itself, whatever the hour.
        known_ms = claims.time_ms + ((known_day - draw.day) * DAY_MS).astype(np.int64)
        return replace(claims, label=label, known_ms=np.where(label >= 0, known_ms, 0))

    def _text(self, draw: Draw) -> Floats:
        text = draw.rng.random((6, len(draw.day)))
        story = draw.plans.story[draw.plan]
        told = draw.at[story >= 0]
        for part in (0, 2, 3, 4):  # the place differs from claim to claim
            text[part, told] = uniform_of(self._story_key, story[story >= 0] * 8 + part)
        return text
