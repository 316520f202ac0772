# SPDX-License-Identifier: Apache-2.0
"""Contracts that start, change and lapse: context events, which teach and are never decided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from ringfence.simulate.calendar import DAY_MS
from ringfence.simulate.motor.plans import FIRST_SHOCK_RING
from ringfence.simulate.motor.tables import Printer
from ringfence.simulate.motor.world import World
from ringfence.simulate.traits import Bools, Floats, Ints, generator_of

_BLOCK: Final = 65_536  # persons
_CHANGES: Final = ("address", "vehicle", "payment", "cover")
_NOT_RENEWED: Final = 0.2  # share of contract starts that follow a lapse somewhat earlier


def policy_change_tables(world: World, printer: Printer) -> Iterator[pl.DataFrame]:
    """Yield the contract events of the history, block of persons by block of persons."""
    population, settings = world.population, world.settings
    members, starts, brokers = _ring_contracts(world, world.planned.ring < FIRST_SHOCK_RING)
    number = 0
    for block in range(-(-population.persons.total // _BLOCK)):
        rng = generator_of(settings.seed, "policy_changes", block)
        person = np.arange(block * _BLOCK, min(population.persons.total, (block + 1) * _BLOCK))
        term = population.policy_term_of(person)
        since = population.policy_age_at(person, np.zeros(len(person)))
        who: list[Ints] = []
        day: list[Floats] = []
        change: list[Ints] = []
        for turn in range(1, int(settings.days / 300.0) + 2):
            start = turn * term - since
            inside = start < settings.days
            lapsed = inside & (rng.random(len(person)) < _NOT_RENEWED)
            who += [person[inside], person[lapsed]]
            day += [start[inside], start[lapsed] - rng.uniform(0.0, 20.0, int(lapsed.sum()))]
            change += [np.zeros(int(inside.sum()), dtype=np.int64), np.ones(int(lapsed.sum()), dtype=np.int64)]
        low, high = np.searchsorted(members, [person[0], person[-1] + 1])
        who.append(members[low:high])
        day.append(starts[low:high])
        change.append(np.zeros(high - low, dtype=np.int64))
        through = np.full(sum(len(part) for part in who), -1, dtype=np.int64)
        through[len(through) - (high - low) :] = brokers[low:high]
        moved = population.move_day_of(person)
        moves = moved < settings.days
        who.append(person[moves])
        day.append(moved[moves] + rng.uniform(0.0, 1.0, int(moves.sum())))
        change.append(np.full(int(moves.sum()), 2, dtype=np.int64))
        changed = person[rng.random(len(person)) < 0.05 * settings.days / 365.0]
        who.append(changed)
        day.append(rng.uniform(0.0, settings.days, len(changed)))
        change.append(rng.integers(3, 2 + len(_CHANGES), len(changed)))
        everyone = np.concatenate(who)
        through = np.concatenate([through, np.full(len(everyone) - len(through), -1, dtype=np.int64)])
        yield _table(world, printer, everyone, np.concatenate(day), np.concatenate(change), through, number)
        number += len(everyone)
    # Last, so that the rows of a world with a shock begin like those of the world without.
    members, starts, brokers = _ring_contracts(world, world.planned.ring >= FIRST_SHOCK_RING)
    if len(members):
        yield _table(world, printer, members, starts, np.zeros(len(members), dtype=np.int64), brokers, number)


def _ring_contracts(world: World, of: Bools) -> tuple[Ints, Floats, Ints]:
    """Contracts that members take out for a group: persons ascending, the day, and the group's broker or -1."""
    planned = world.planned
    has = np.flatnonzero(~np.isnan(planned.policy_start_day) & of)
    contracts = np.stack([planned.claimant[has], planned.policy_start_day[has]])
    pairs, which = np.unique(contracts, axis=1, return_inverse=True)
    broker = np.full(pairs.shape[1], -1, dtype=np.int64)
    np.maximum.at(broker, which.ravel(), planned.broker[has])
    inside = (pairs[1] >= 0.0) & (pairs[1] < world.settings.days)
    return pairs[0, inside].astype(np.int64), pairs[1, inside], broker[inside]


def _table(
    world: World, printer: Printer, person: Ints, day: Floats, change: Ints, through: Ints, number: int
) -> pl.DataFrame:
    """Print contract events; `through` is the broker of those that do not come through the person's own, else -1."""
    inside = (day >= 0.0) & (day < world.settings.days)
    index = number + np.arange(len(person))
    midnight = world.day_start_ms[np.clip(np.floor(day).astype(np.int64), 0, world.settings.days - 1)]
    time_ms = midnight + 25_200_000 + (np.mod(day, 1.0) * 0.45 * DAY_MS).astype(np.int64)  # in office hours
    order = np.flatnonzero(inside)
    order = order[np.lexsort((index[order], time_ms[order]))]
    own = world.population.broker_of(person[order], day[order])
    return pl.DataFrame(
        {
            "change_id": printer.ids("change", index[order]),
            "changed_at": pl.Series(time_ms[order]).cast(pl.Datetime("ms", "UTC")),
            "person_id": printer.ids("person", person[order]),
            "household_id": printer.ids("household", world.population.household_of(person[order], day[order])),
            "broker_id": printer.ids("broker", np.where(through[order] >= 0, through[order], own)),
            "change": pl.Series(("start", "lapse", *_CHANGES)).gather(change[order]),
        }
    )
