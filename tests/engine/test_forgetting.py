# SPDX-License-Identifier: Apache-2.0
"""Bounded memory: what fits into a budget, whom it makes the engine forget, and that nothing else depends on it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ringfence.engine import Catalogue, Engine
from ringfence.engine import layout as at
from ringfence.engine.engine import empty_state
from ringfence.engine.id_table import BYTES_PER_ROW
from ringfence.engine.memory import BYTES_PER_TEXT, Kept, bytes_per_slot, room_for
from tests.oracles.streams import (
    HOUR,
    MINUTE,
    START,
    Happening,
    Record,
    batch_of,
    claims_scenario,
    cut,
    drawn_records,
    with_room,
)

EVERYTHING = Kept(partner_columns=8, pairs=True, links=True, charts=True, rings=True, texts=True, places=True)
NOTHING = Kept(partner_columns=0, pairs=False, links=False, charts=False, rings=False, texts=False)


@pytest.mark.parametrize("memory_bytes", [64 << 20, 100 << 20, 1 << 30, 4 << 30, 33 << 30])
@pytest.mark.parametrize("kept", [EVERYTHING, NOTHING])
def test_room_fits_into_its_budget_and_wastes_next_to_nothing(memory_bytes: int, kept: Kept) -> None:
    room = room_for(memory_bytes, kept)
    slots = room.slots * (bytes_per_slot(kept) + BYTES_PER_ROW)
    pairs = room.pairs * (at.PAIR.itemsize + BYTES_PER_ROW)
    total = slots + pairs + room.stored * at.STORED.itemsize + room.texts * BYTES_PER_TEXT
    assert total <= memory_bytes
    assert total > memory_bytes - 1_000 or room.slots == at.MOST_SLOTS
    assert room.stored & (room.stored - 1) == room.texts & (room.texts - 1) == 0
    assert (room.pairs > 0, room.stored > 0, room.texts > 0) == (kept.pairs, kept.links, kept.texts)


def test_entities_that_come_often_stay_while_passers_by_are_forgotten() -> None:
    catalogue = with_room(Catalogue.build(claims_scenario()), slots=120)
    records: list[Record] = [Happening(START + i * MINUTE, ((0, 1_000 + i), (2, i % 3)), 1_000) for i in range(2_000)]
    engine = Engine(catalogue)
    rows = engine.observe(batch_of(records, claims_scenario()))
    assert engine.counters["entities"] == 120
    assert engine.counters["entities_forgotten"] > 3_000
    assert rows[-1, catalogue.index("shop.n_events")] == 666.0
    assert rows[-1, catalogue.index("claimant.is_new")] == 1.0


def test_state_under_pressure_is_the_same_in_bulk_one_by_one_and_after_a_restore() -> None:
    scenario = claims_scenario()
    catalogue = with_room(Catalogue.build(scenario), slots=60, pairs=50, stored=32)
    batch = batch_of(drawn_records(9, 400, n_people=60, n_shops=9), scenario)
    bulk, single = Engine(catalogue), Engine(catalogue, state=empty_state(catalogue, bucket_entries=16, first_log=2))
    expected = bulk.observe(batch)
    found = np.concatenate([single.observe(cut(batch, i, i + 1)) for i in range(len(batch))])
    assert bulk.counters["entities_forgotten"] > 100
    assert bulk.counters["pairs_forgotten"] > 100
    assert found.tobytes() == expected.tobytes()
    assert bulk.state_hash() == single.state_hash()


def test_features_differ_in_hash_under_another_budget() -> None:
    scenario = claims_scenario()
    smaller = msgspec.structs.replace(scenario, memory_bytes=64 << 20)
    assert Catalogue.build(scenario).spec_hash != Catalogue.build(smaller).spec_hash


def test_a_release_that_reads_few_features_forgets_whom_its_training_forgot() -> None:
    scenario = claims_scenario()
    whole = with_room(Catalogue.build(scenario), slots=60, pairs=50, stored=32)
    few = Catalogue.build(scenario, only=("shop.n_events", "claimant.count_1d"))
    assert few.plan.room == Catalogue.build(scenario).plan.room
    few = with_room(few, slots=60, pairs=50, stored=32)
    batch = batch_of(drawn_records(10, 300, n_people=60, n_shops=9), scenario)
    rows, fewer = Engine(whole).observe(batch), Engine(few).observe(batch)
    assert fewer.tobytes() == rows[:, [whole.index(name) for name in few.names]].copy().tobytes()


def test_a_silent_hour_is_no_reason_to_forget_while_there_is_room() -> None:
    catalogue = with_room(Catalogue.build(claims_scenario()), slots=120)
    records: list[Record] = [Happening(START + i * 1_000 * HOUR, ((0, i), (2, 0)), 1_000) for i in range(30)]
    engine = Engine(catalogue)
    engine.observe(batch_of(records, claims_scenario()))
    assert engine.counters["entities_forgotten"] == 0
