# SPDX-License-Identifier: Apache-2.0
"""A tick from its beginning to its effect: what is copied, what is laid out, who is forgotten and restored between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine, write_snapshot
from ringfence.engine import layout as at
from ringfence.engine.errors import TickMismatchError
from ringfence.engine.follower import run_follower
from ringfence.engine.snapshot import list_snapshots, read_snapshot
from ringfence.engine.ticks import PreparedTick, TickEffect, first_young_event, frozen_events, links_of, prepared
from ringfence.rings import ENTITY, RING, Tick
from ringfence.scenario.batch import Batch
from ringfence.scenario.spec import RingTicks, Scenario
from tests.oracles.streams import (
    CLAIMANT,
    DAY,
    HOUR,
    MINUTE,
    SHOP,
    START,
    WITNESS,
    Happening,
    Record,
    batch_of,
    claims_scenario,
    cut,
    drawn_records,
    with_room,
)
from tests.oracles.tick_twin import slow_links, slow_node_rings


def ringed() -> Scenario:
    """Claimants and witnesses tie; a tick every second day, read from five hours later."""
    scenario = claims_scenario(features={"rings": True})
    roles = tuple(msgspec.structs.replace(role, strong=role.entity_type == "person") for role in scenario.roles)
    ticks = RingTicks(every_ms=2 * DAY, active_ms=20 * DAY, tie_ms=30 * DAY, hub_cap=8, lag_ms=5 * HOUR)
    return msgspec.structs.replace(scenario, roles=roles, rings=ticks)


CATALOGUE = Catalogue.build(ringed())
SMALL = with_room(CATALOGUE, slots=90, stored=32)
BATCH = batch_of(drawn_records(35, 220, n_people=60, n_shops=6), ringed())


def is_between(engine: Engine) -> bool:
    """Whether a tick has begun that features do not read yet."""
    return int(engine.state.meta[at.EFFECT_MS]) != at.NEVER


def n_forgotten_in_rings(engine: Engine) -> int:
    """Count the slots in rings of the tick in effect whose entity is another's now."""
    state = engine.state
    rows = state.node_rings[: engine.counters["entities"]]
    return int(((rows["ring"] > 0) & (rows["life"] != state.nodes["lives"][: len(rows)])).sum())


def drawn_tick(rng: np.random.Generator, n_slots: int) -> Tick:
    """Draw rings of nonsense, with entities in any life and some outside rings."""
    slots = np.flatnonzero(rng.random(n_slots) < 0.6).astype(np.uint64)
    entities, rings = np.zeros(len(slots), ENTITY), np.zeros(9, RING)
    entities["key"] = np.sort(slots | rng.integers(0, 3, len(slots)).astype(np.uint64) << np.uint64(27))
    entities["risk"], entities["ring"] = rng.random(len(slots)), rng.integers(-1, len(rings), len(slots))
    for name in RING.names or ():
        rings[name] = rng.integers(0, 1_000, len(rings))
    rings["risk"] = rng.random(len(rings))
    return Tick(as_of_ms=START, entities=entities, rings=rings)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_tick_is_laid_out_as_its_readings_say_also_where_another_lay(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = drawn_tick(rng, 60), drawn_tick(rng, 80)
    before = prepared(first, 100)
    assert before.node_rings.tobytes() == slow_node_rings(first, 100).tobytes()
    after = prepared(second, 100, before.node_rings, 60)
    assert after.node_rings is before.node_rings
    assert after.node_rings.tobytes() == slow_node_rings(second, 100).tobytes()


@pytest.mark.parametrize("catalogue", [CATALOGUE, SMALL])
@pytest.mark.parametrize("at_record", [0, 60, 219])
def test_links_of_young_events_equal_a_look_at_all_events(catalogue: Catalogue, at_record: int) -> None:
    engine = Engine(catalogue)
    engine.observe(cut(BATCH, 0, at_record))
    state = engine.state
    times = np.sort(BATCH.time_ms[:at_record])
    last = 0
    for after_ms in [at.NEVER, *times[:: max(len(times) // 5, 1)].tolist()]:
        last = first_young_event(state, last, after_ms)
        assert last == first_young_event(state, 0, after_ms)
        links = links_of(frozen_events(state, last, after_ms))
        named: list[list[tuple[int, int]]] = [[] for _ in links.event_key]
        for of, key, role in zip(links.link_event, links.link_key, links.link_role, strict=True):
            named[of].append((int(key), int(role)))
        found = zip(links.event_key, links.event_time_ms, links.event_label, links.amount_minor, named, strict=True)
        assert list(found) == slow_links(state, after_ms)
    if catalogue is SMALL and at_record == 219:
        assert engine.counters["entities_forgotten"] > 50
        assert int(state.meta[at.N_STORED]) > 2 * len(state.stored)


def test_what_was_copied_does_not_change_with_the_store() -> None:
    engine = Engine(SMALL)
    engine.observe(cut(BATCH, 0, 110))
    frozen = frozen_events(engine.state, first_young_event(engine.state, 0, at.NEVER), at.NEVER)
    before = slow_links(engine.state, at.NEVER)
    engine.observe(cut(BATCH, 110, 220))
    links = links_of(frozen)
    assert slow_links(engine.state, at.NEVER) != before
    assert links.event_key.tolist() == [seq for seq, *_ in before]
    assert links.event_label.tolist() == [label for _, _, label, _, _ in before]
    assert links.link_key.tolist() == [key for *_, named in before for key, _ in named]


#   h  44         48 tick                53 effect    54
#      1─2, 2─3   (begins at 48:01)                   everybody who has the slots of 1, 2, 3 now; 1 again
#      a ring     80 newcomers take all slots
def ring_and_newcomers() -> list[Record]:
    ring = [
        Happening(START + 44 * HOUR, ((CLAIMANT, 1), (WITNESS, 2), (SHOP, 0))),
        Happening(START + 44 * HOUR + 1, ((CLAIMANT, 2), (WITNESS, 3), (SHOP, 0))),
    ]
    newcomers = [Happening(START + 48 * HOUR + i * MINUTE, ((CLAIMANT, 100 + i),)) for i in range(1, 81)]
    again = [Happening(START + 54 * HOUR + i, ((CLAIMANT, who),)) for i, who in enumerate([180, 179, 178, 1])]
    return [*ring, *newcomers, *again]


@pytest.mark.parametrize("slots", [24, 10_000])
def test_entities_forgotten_between_tick_and_effect_read_as_outside_rings(slots: int) -> None:
    records = ring_and_newcomers()
    batch = batch_of(records, ringed())
    catalogue = with_room(CATALOGUE, slots=slots)
    engine = Engine(catalogue)
    engine.observe(cut(batch, 0, 82))
    assert is_between(engine)
    rows = engine.observe(cut(batch, 82, 86))
    assert not is_between(engine)
    rings = rows[:, [catalogue.index(name) for name in ("event.rings", "claimant.ring_events", "event.ring_entities")]]
    assert (rings[:3] == 0.0).all()
    if slots == 24:
        assert n_forgotten_in_rings(engine) >= 3
        assert rings[3].tolist() == [0.0, 0.0, 0.0]
    else:
        assert n_forgotten_in_rings(engine) == 0
        assert rings[3].tolist() == [1.0, 2.0, 3.0]


def test_whoever_lives_in_a_forgotten_entitys_slot_reads_as_outside_rings() -> None:
    engine = Engine(with_room(CATALOGUE, slots=24))
    batch = batch_of(ring_and_newcomers(), ringed())
    engine.observe(cut(batch, 0, 83))  # the tick is in effect
    assert n_forgotten_in_rings(engine) >= 3
    everybody = [Happening(START + 55 * HOUR, ((CLAIMANT, who),)) for who in (*range(1, 4), *range(101, 181))]
    rows = engine.peek(batch_of(list(everybody), ringed(), first_seq=100))
    known = rows[:, CATALOGUE.index("claimant.is_new")] == 0.0
    assert known.sum() >= 10  # among them the three who live in the slots of the ring
    assert (rows[:, CATALOGUE.index("event.rings")] == 0.0).all()
    assert (rows[:, CATALOGUE.index("event.risk")] == 0.0).all()


@pytest.mark.parametrize("catalogue", [CATALOGUE, SMALL])
def test_a_restore_at_any_record_between_tick_and_effect_changes_nothing(tmp_path: Path, catalogue: Catalogue) -> None:
    whole, engine = Engine(catalogue), Engine(catalogue)
    rows = whole.observe(BATCH)
    n_rows, n_between = 0, 0
    for i in range(len(BATCH)):
        if is_between(engine):
            n_between += 1
            if n_between % 4 == 0:
                engine = read_snapshot(catalogue, write_snapshot(engine, tmp_path))
        found = engine.observe(cut(BATCH, i, i + 1))
        assert found.tobytes() == rows[n_rows : n_rows + len(found)].tobytes()
        n_rows += len(found)
    assert n_between >= 20
    assert engine.state_hash() == whole.state_hash()
    assert (whole.counters["entities_forgotten"] > 50) == (catalogue is SMALL)


def test_what_a_restored_engine_reports_of_a_tick_is_what_the_other_would(tmp_path: Path) -> None:
    engine = Engine(CATALOGUE)
    i = 0
    while not is_between(engine):
        engine.observe(cut(BATCH, i, i + 1))
        i += 1
    engine.take_effects()
    restored = read_snapshot(CATALOGUE, write_snapshot(engine, tmp_path))
    for each in (engine, restored):
        each.observe(cut(BATCH, i, len(BATCH)))
    assert restored.take_effects() == engine.take_effects() != []
    assert restored.nbytes == engine.nbytes
    in_use = engine.counters["entities"] * at.NODE_RING.itemsize
    assert engine.nbytes == engine.state.nbytes + in_use  # the array that takes turns is paid for


@pytest.mark.compiled  # the setting that lets 64-bit numbers wrap around in plain Python is one of the main thread
def test_ticks_computed_beside_a_small_room_have_the_same_values() -> None:
    alone = Engine(SMALL)
    rows = alone.observe(BATCH)
    with ThreadPoolExecutor(1) as pool:
        beside = Engine(SMALL, compute=lambda work: pool.submit(work).result)
        found = [beside.observe(cut(BATCH, i, min(i + 3, len(BATCH)))) for i in range(0, len(BATCH), 3)]
        assert np.concatenate(found).tobytes() == rows.tobytes()
        assert beside.state_hash() == alone.state_hash()


def test_an_effect_takes_over_the_array_that_was_prepared_and_the_next_tick_the_one_before() -> None:
    arrays: list[NDArray[np.void]] = []

    def noted(work: Callable[[], PreparedTick]) -> Callable[[], PreparedTick]:
        found = work()
        arrays.append(found.node_rings)
        return lambda: found

    engine = Engine(CATALOGUE, compute=noted)
    was_read = [engine.state.node_rings]
    for i in range(len(BATCH)):
        engine.observe(cut(BATCH, i, i + 1))
        if engine.state.node_rings is not was_read[-1]:
            assert engine.state.node_rings is arrays[-1]
            was_read.append(engine.state.node_rings)
    assert len(was_read) > 4
    assert all(one is was_read[i % 2] for i, one in enumerate(was_read))


class TickedLedger:
    """The drawn records and what a service put on record of their ticks, read a few records at a time."""

    def __init__(self, ticks: list[TickEffect]) -> None:
        self.recorded = ticks
        self.last_seq = 40

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]:
        yield cut(BATCH, after_seq, self.last_seq)

    def ticks(self, spec: str, after_seq: int = 0) -> list[TickEffect]:
        assert spec == CATALOGUE.spec_hash
        return [tick for tick in self.recorded if tick.effect_seq > after_seq]

    def grow(self) -> bool:
        """Let time pass, and say whether the follower is to stop."""
        has_ended = self.last_seq == len(BATCH)
        self.last_seq = min(self.last_seq + 30, len(BATCH))
        return has_ended


def followed(ledger: TickedLedger, directory: Path) -> tuple[int, list[TickMismatchError]]:
    told: list[TickMismatchError] = []
    written_seq = run_follower(
        ledger, CATALOGUE, directory, every_records=1, every_seconds=1e9, stop=ledger.grow, poll_seconds=0.0,
        differs=told.append,
    )  # fmt: skip
    return written_seq, told


def test_a_follower_writes_no_snapshot_after_a_tick_that_differs(tmp_path: Path) -> None:
    engine = Engine(CATALOGUE)
    engine.observe(BATCH)
    effects = engine.take_effects()
    assert followed(TickedLedger(effects), tmp_path / "equal") == (190, [])
    wrong = next(i for i, effect in enumerate(effects) if effect.effect_seq > 100)
    changed = [*effects[:wrong], msgspec.structs.replace(effects[wrong], digest=bytes(16)), *effects[wrong + 1 :]]
    written_seq, told = followed(TickedLedger(changed), tmp_path / "changed")
    assert 40 < written_seq < effects[wrong].effect_seq
    assert [error.effect_seq for error in told] == [effects[wrong].effect_seq]
    assert int(list_snapshots(tmp_path / "changed")[0].stem) == written_seq
    again = TickedLedger(changed)
    again.last_seq = 160
    written_seq, told_again = followed(again, tmp_path / "changed")  # begins before the tick, and comes by it again
    assert (written_seq, list(map(str, told_again))) == (0, list(map(str, told)))
