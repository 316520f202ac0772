# SPDX-License-Identifier: Apache-2.0
"""A world to which something happens.

Every shock has generators of its own and changes only what it names, so a claim that no shock touches is the same, bit
for bit, as in the world without shocks, before the onset and after it. Two touch more than they name: a holiday moves
the days of all later claims, and a label backlog what is known later of earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from ringfence.simulate import shocks as names
from ringfence.simulate.calendar import DAY_MS, Span
from ringfence.simulate.motor.broken_fields import broken
from ringfence.simulate.motor.claims import Claims, ShockedClaims
from ringfence.simulate.motor.photos import N_POOL
from ringfence.simulate.motor.plans import CAMOUFLAGE, FIRST_SHOCK_RING, HONEST, Planned, together
from ringfence.simulate.motor.planted import PlantedPairs
from ringfence.simulate.motor.rings import ring_plans
from ringfence.simulate.motor.settings import WorldSettings
from ringfence.simulate.motor.storage_yards import Yard, added, billed, storage_yards
from ringfence.simulate.motor.world import World
from ringfence.simulate.shocks import Shock
from ringfence.simulate.surges import with_holiday, with_plans, without_plans
from ringfence.simulate.traits import Bools, Floats, Ints, generator_of, key_of, scrambled, uniform_of

_LARGEST_MINOR: Final = 45_000_000  # as for every claim
_HOLIDAY_HOURS: Final = np.array(
    [14, 10, 8, 5, 3, 2, 3, 6, 12, 22, 38, 52, 58, 56, 54, 54, 52, 50, 48, 46, 42, 36, 28, 20], dtype=np.float64
)
_AT_LEISURE: Final = 0.8  # honest claims of a holiday at its own hours, not at those of every day


@dataclass(frozen=True)
class _Rows:
    """Where the claims of a block come from, in the order of its claims."""

    row: Ints  # (k,) number in the span
    day: Ints  # (k,) of the world
    plan: Ints  # (k,) the plan that each follows, or -1
    turned_honest: Ints | None  # rows of the span that lost their plan to a lower base rate


class ShockedWorld(World):
    """A world with the shocks and planted pairs that its settings ask for; without any, the world itself."""

    def __init__(self, settings: WorldSettings) -> None:
        super().__init__(settings)
        self.pairs: PlantedPairs | None = None
        if settings.planted_pairs:
            # Before anything happens: no shock changes a planted claim.
            template = super().claims(self.history, 0)
            self.pairs = PlantedPairs(settings, self.population, self.day_start_ms, template)
        self.shocks = {shock.name: shock for shock in settings.shocks}
        self._onset = {name: settings.onset_day(shock) for name, shock in self.shocks.items()}
        self._turned_honest: dict[str, Ints] = {}
        self._first_extra_plan = len(self.planned.day)
        self._yard: Yard | None = None
        if names.HOLIDAY in self.shocks:
            self._keep_holiday(self.shocks[names.HOLIDAY])
        if names.BASE_RATE in self.shocks:
            self._change_base_rate(self.shocks[names.BASE_RATE])
        if names.NEW_PATTERN in self.shocks:
            self._open_yards(self.shocks[names.NEW_PATTERN])

    @property
    def n_claims(self) -> int:
        """Claims of the history, the planted ones included."""
        return self.history.n + (len(self.pairs) if self.pairs is not None else 0)

    def told_shocks(self) -> tuple[dict[str, Any], ...]:
        """Each shock as the judge is told: its name, size, and the moment of its onset."""
        return tuple(shock.as_dict() | self._begins(self._onset[shock.name]) for shock in self.settings.shocks)

    def _begins(self, day: int) -> dict[str, Any]:
        first = self.settings.ends - timedelta(days=self.settings.days)
        return {"begins": (first + timedelta(days=day)).isoformat(), "onset_ms": int(self.day_start_ms[day])}

    # --- Before the claims are drawn: which rows there are, and which of them are planned

    def _keep_holiday(self, shock: Shock) -> None:
        rng = generator_of(self.settings.seed, "shock/holiday/calendar")
        onset = self._onset[shock.name]
        if onset < self.settings.days:
            self.history = with_holiday(self.history, onset, shock.length, shock.magnitude, rng)
        else:
            self.live = with_holiday(self.live, onset, shock.length, shock.magnitude, rng)

    def _change_base_rate(self, shock: Shock) -> None:
        onset = self._onset[shock.name]
        if shock.magnitude >= 1.0:
            self._add_plans(_further_rings(self, onset, shock.magnitude - 1.0), "shock/base_rate/rows")
            return
        dropped = _rings_that_stop(self, onset, 1.0 - shock.magnitude)
        self.history, self._turned_honest["history"] = without_plans(self.history, dropped)
        self.live, self._turned_honest["live"] = without_plans(self.live, dropped)

    def _open_yards(self, shock: Shock) -> None:
        settings, onset = self.settings, self._onset[shock.name]
        n_history = int(self.history.first_row[-1] - self.history.first_row[min(onset, settings.days)])
        n_live = int(self.live.first_row[-1] - self.live.first_row[max(onset - settings.days, 0)])
        plans, self._yard = storage_yards(
            settings, self.population, onset_day=onset, n_claims=max(5, round(shock.magnitude * (n_history + n_live))),
            first_plan=len(self.planned.day),
        )  # fmt: skip
        self._add_plans(plans, "shock/new_pattern/rows")

    def _add_plans(self, plans: Planned, stream: str) -> None:
        plan = len(self.planned.day) + np.arange(len(plans.day))
        self.planned = together([self.planned, plans])
        self.history = with_plans(self.history, plan, plans.day, generator_of(self.settings.seed, stream, 0))
        self.live = with_plans(self.live, plan, plans.day, generator_of(self.settings.seed, stream, 1))

    # --- After they are drawn

    def claims(self, span: Span, block: int) -> Claims:
        claims = super().claims(span, block)
        if self.shocks:
            claims = self._shocked(claims, span)
        if self.pairs is not None and span is self.history:
            claims = self.pairs.among(claims, span, block)
        if self.shocks or self.pairs is not None:
            claims = claims.in_order(np.lexsort((scrambled(self._claim_key, claims.number), claims.time_ms)))
        return claims

    def _shocked(self, claims: Claims, span: Span) -> ShockedClaims:
        row = claims.number - (0 if span is self.history else self.settings.n_events)
        rows = _Rows(row, span.day_of(row), span.plan_of(row), self._turned_honest.get(span.name))
        mask = np.zeros(len(claims), dtype=np.int64)
        for name, happens in (
            (names.BASE_RATE, self._more_or_less_fraud),
            (names.NEW_PATTERN, self._towed),
            (names.HOLIDAY, self._at_leisure),
            (names.AMOUNTS, self._dearer),
            (names.LABEL_BACKLOG, self._known_later),
            (names.BROKEN_FIELD, self._broken),
        ):
            shock = self.shocks.get(name)
            if shock is not None:
                claims, hit = happens(claims, rows, shock)
                mask |= shock.bit * hit
        return ShockedClaims(**vars(claims), shock=mask)

    # Each of these returns the claims after its shock, and which of them it touched.

    def _more_or_less_fraud(self, claims: Claims, rows: _Rows, shock: Shock) -> tuple[Claims, Bools]:
        more = rows.plan >= self._first_extra_plan
        if self._yard is not None:
            more &= rows.plan < self._yard.first_plan
        return claims, more if rows.turned_honest is None else more | np.isin(rows.row, rows.turned_honest)

    def _towed(self, claims: Claims, rows: _Rows, shock: Shock) -> tuple[Claims, Bools]:
        assert self._yard is not None  # planned with the shock
        hit = rows.plan >= self._yard.first_plan
        at = np.flatnonzero(hit)
        return billed(claims, at, rows.plan[at], self._yard, self.settings, rows.day), hit

    def _dearer(self, claims: Claims, rows: _Rows, shock: Shock) -> tuple[Claims, Bools]:
        hit = (rows.day >= self._onset[shock.name]) & (claims.kind == HONEST)
        more = claims.amount_minor * shock.magnitude
        amount = np.minimum(added(claims.amount_minor, more), _LARGEST_MINOR)
        return replace(claims, amount_minor=np.where(hit, amount, claims.amount_minor)), hit

    def _known_later(self, claims: Claims, rows: _Rows, shock: Shock) -> tuple[Claims, Bools]:
        begins = self.day_start_ms[self._onset[shock.name]]
        waits = (claims.label >= 0) & (claims.known_ms >= begins) & (claims.known_ms < begins + shock.length * DAY_MS)
        return replace(claims, known_ms=claims.known_ms + waits * int(shock.magnitude * DAY_MS)), waits

    def _broken(self, claims: Claims, rows: _Rows, shock: Shock) -> tuple[Claims, Bools]:
        """Only says which claims are hit: what breaks is the insurer's view, not the claim; see `shocked_table`."""
        chosen = uniform_of(key_of(self.settings.seed, "shock/broken_field"), claims.number) < shock.magnitude
        return claims, chosen & (rows.day >= self._onset[shock.name])

    def _at_leisure(self, claims: Claims, rows: _Rows, shock: Shock) -> tuple[Claims, Bools]:
        """Give honest claims of a holiday its hours; what is known of them is known as many days later as before."""
        first = self._onset[shock.name]
        during = (rows.day >= first) & (rows.day < first + shock.length)
        key = key_of(self.settings.seed, "shock/holiday/hour")
        share = np.cumsum(_HOLIDAY_HOURS) / _HOLIDAY_HOURS.sum()
        hour = np.searchsorted(share, uniform_of(key, claims.number * 2), side="right")
        moves = during & (claims.kind == HONEST) & (uniform_of(key, claims.number * 2 + 1) < _AT_LEISURE)
        then_ms = self.day_start_ms[rows.day] + hour * 3_600_000 + claims.time_ms % 3_600_000
        time_ms = np.where(moves, then_ms, claims.time_ms)
        known_ms = np.where(claims.label >= 0, claims.known_ms + time_ms - claims.time_ms, claims.known_ms)
        return replace(claims, time_ms=time_ms, known_ms=known_ms), during


def shocked_table(table: pl.DataFrame, claims: Claims, settings: WorldSettings) -> pl.DataFrame:
    """Break the field that breaks, in the insurer's view of a block of claims."""
    for shock in settings.shocks:
        if shock.name == names.BROKEN_FIELD and isinstance(claims, ShockedClaims):
            return broken(table, (claims.shock & shock.bit) > 0, shock)
    return table


def _further_rings(world: World, onset: int, share: float) -> Planned:
    """Rings of another world with the same people, `share` times as many; only what follows the onset is seen."""
    settings = world.settings
    rate = settings.fraud_rate * share
    planned_rate = float(np.clip(rate, 0.001, 0.2))
    seed = int(key_of(settings.seed, "shock/base_rate") >> np.uint64(1))
    other = replace(settings, seed=seed, fraud_rate=planned_rate, shocks=(), planted_pairs=0)
    theirs = together(ring_plans(other, world.population))
    drawn = uniform_of(key_of(seed, "kept"), np.maximum(theirs.ring, 0)) < rate / planned_rate
    kept = (theirs.kind != HONEST) & (theirs.day >= onset) & drawn
    members = theirs.claimant[kept & (theirs.claimant >= 0)]
    kept |= (theirs.decoy == CAMOUFLAGE) & (theirs.day >= onset) & np.isin(theirs.claimant, members)
    columns = {name: column[kept] for name, column in vars(theirs).items()}

    def renumbered(name: str, a_ring: int) -> Ints:
        return np.where(columns[name] >= 0, columns[name] + FIRST_SHOCK_RING * a_ring, -1)

    # A contract taken out before the onset would be a row before the onset.
    start = np.where(columns["policy_start_day"] < onset, np.nan, columns["policy_start_day"])
    own = {"ring": renumbered("ring", 1), "story": renumbered("story", 4), "photo": renumbered("photo", N_POOL)}
    return Planned(**(columns | own | {"policy_start_day": start}))


def _rings_that_stop(world: World, onset: int, share: float) -> Bools:
    """Choose rings that stop at the onset until `share` of the fraud planned for later is gone. Shape (P,)."""
    later = (world.planned.kind != HONEST) & (world.planned.day >= onset)
    rings, n_claims = np.unique(world.planned.ring[later], return_counts=True)
    order: Floats = uniform_of(key_of(world.settings.seed, "shock/base_rate/stops"), rings)
    by = np.argsort(order)
    gone = np.cumsum(n_claims[by]) - n_claims[by] / 2.0 <= share * n_claims.sum()
    stopped: Bools = later & np.isin(world.planned.ring, rings[by][gone])
    return stopped
