# SPDX-License-Identifier: Apache-2.0
"""What rows read of rings against breadth-first search and dense systems, tick by tick."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ringfence.engine import Catalogue, Engine, restore_newest, write_snapshot
from ringfence.scenario.spec import RingTicks, Scenario
from tests.oracles.ring_twin import RingTwin
from tests.oracles.streams import DAY, HOUR, Record, batch_of, claims_scenario, cut, drawn_records, with_room


def ringed(hub_cap: int = 8, every_ms: int = 2 * DAY, active_ms: int = 20 * DAY, tie_ms: int = 30 * DAY) -> Scenario:
    """Claimants and witnesses tie, shops do not."""
    scenario = claims_scenario()
    roles = tuple(msgspec.structs.replace(role, strong=role.entity_type == "person") for role in scenario.roles)
    ticks = RingTicks(every_ms=every_ms, active_ms=active_ms, tie_ms=tie_ms, hub_cap=hub_cap, lag_ms=5 * HOUR)
    features = scenario.features | {"rings": True}
    return msgspec.structs.replace(scenario, roles=roles, rings=ticks, features=features)


CATALOGUE = Catalogue.build(ringed())
RECORDS = drawn_records(31, 220, n_people=40, n_shops=6)


def assert_rings_equal_twin(records: list[Record], scenario: Scenario, **room: int) -> None:
    catalogue = with_room(Catalogue.build(scenario), **room)
    columns = [i for i, feature in enumerate(catalogue.features) if feature.family == "rings"]
    rows = Engine(catalogue).observe(batch_of(records, scenario))
    twin = RingTwin(catalogue)
    expected = [row for row in map(twin.observe, records) if row is not None]
    assert sorted(catalogue.names[i] for i in columns) == sorted(expected[0])
    for i, row in enumerate(expected):
        for column in columns:
            name = catalogue.names[column]
            assert np.isclose(rows[i, column], row[name], rtol=1e-8, atol=1e-8, equal_nan=True), (
                f"row {i}, {name}: {rows[i, column]}, the twin says {row[name]}"
            )
    assert np.nanmax(rows[:, catalogue.index("event.ring_events")]) > 2.0
    assert np.nanmax(rows[:, catalogue.index("event.risk")]) > 0.0


@pytest.mark.parametrize("seed", [31, 32])
def test_rings_of_rough_streams_equal_twin(seed: int) -> None:
    assert_rings_equal_twin(drawn_records(seed, 220, n_people=40, n_shops=6), ringed())


def test_rings_that_expire_and_split_equal_twin() -> None:
    assert_rings_equal_twin(drawn_records(33, 220, n_people=25), ringed(hub_cap=5, every_ms=DAY, active_ms=3 * DAY))


def test_rings_of_entities_that_are_forgotten_equal_twin() -> None:
    assert_rings_equal_twin(drawn_records(34, 220, n_people=60, n_shops=6), ringed(), slots=90)


def test_rings_of_short_ties_equal_twin() -> None:
    assert_rings_equal_twin(RECORDS, ringed(tie_ms=DAY))


def test_rings_observed_one_by_one_equal_rings_in_bulk() -> None:
    batch = batch_of(RECORDS, CATALOGUE.scenario)
    bulk, engine = Engine(CATALOGUE), Engine(CATALOGUE)
    rows = bulk.observe(batch).tobytes()
    assert b"".join(engine.observe(cut(batch, i, i + 1)).tobytes() for i in range(len(batch))) == rows
    assert engine.state_hash() == bulk.state_hash()


@pytest.mark.compiled  # the setting that lets 64-bit numbers wrap around in plain Python is one of the main thread
def test_rings_computed_beside_the_engine_have_the_same_values() -> None:
    batch = batch_of(RECORDS, CATALOGUE.scenario)
    alone = Engine(CATALOGUE)
    with ThreadPoolExecutor(1) as pool:
        beside = Engine(CATALOGUE, compute=lambda work: pool.submit(work).result)
        assert beside.observe(batch).tobytes() == alone.observe(batch).tobytes()
        assert beside.state_hash() == alone.state_hash()


@pytest.mark.parametrize("at", [40, 111, 180])
def test_a_snapshot_between_tick_and_effect_changes_nothing(tmp_path: Path, at: int) -> None:
    batch = batch_of(RECORDS, CATALOGUE.scenario)
    whole, engine = Engine(CATALOGUE), Engine(CATALOGUE)
    rows = whole.observe(batch).tobytes()
    before = engine.observe(cut(batch, 0, at)).tobytes()
    write_snapshot(engine, tmp_path)
    restored = restore_newest(CATALOGUE, tmp_path)
    assert restored is not None
    assert before + restored.observe(cut(batch, at, len(batch))).tobytes() == rows
    assert restored.state_hash() == whole.state_hash()


def test_a_tick_is_read_from_a_lag_after_it() -> None:
    batch = batch_of(RECORDS, CATALOGUE.scenario)
    rows = Engine(CATALOGUE).observe(batch)
    events = batch.time_ms[(batch.kind == 0) & (batch.event_type == 0)]
    start_ms = int(batch.time_ms[0])
    first_effect_ms = (start_ms // (2 * DAY) + 1) * 2 * DAY + 5 * HOUR
    risky = rows[:, CATALOGUE.index("event.ring_events")] > 0
    assert not risky[np.maximum.accumulate(events) < first_effect_ms].any()


def test_peeking_never_turns_the_clock() -> None:
    batch = batch_of(RECORDS, CATALOGUE.scenario)
    engine = Engine(CATALOGUE)
    engine.observe(cut(batch, 0, 100))
    before = engine.state_hash()
    engine.peek(cut(batch, 100, len(batch)))
    assert engine.state_hash() == before
