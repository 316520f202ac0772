# SPDX-License-Identifier: Apache-2.0
"""Sampled neighbourhoods against their brute-force twin, and what they keep whatever they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.engine import (
    AlreadyFoldedError,
    BatchShapeError,
    Catalogue,
    Engine,
    Neighbourhoods,
    NoSamplingError,
    SampleSizeError,
    SequenceError,
    restore_newest,
    write_snapshot,
)
from ringfence.engine import layout as at
from ringfence.scenario.batch import Batch
from ringfence.scenario.spec import Scenario
from tests.engine.test_rings_equal_twin import ringed
from tests.oracles.sample_twin import SampleTwin
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
    Truth,
    batch_of,
    cards_scenario,
    claims_scenario,
    cut,
    drawn_records,
    with_room,
)

# Families that walk links are off: what is sampled must not need them.
SCENARIO = claims_scenario(features={"one_hop": False, "neighbour_risk": False, "velocity": False, "label_risk": False})
CATALOGUE = Catalogue.build(SCENARIO, neighbourhoods=16)
IN_ORDER = claims_scenario(features=SCENARIO.features, sequence=True)
ARRAYS = tuple(name for name in Neighbourhoods.__struct_fields__)


def as_bytes(found: Neighbourhoods, begin: int = 0, end: int | None = None) -> bytes:
    return b"".join(np.ascontiguousarray(getattr(found, name)[begin:end]).tobytes() for name in ARRAYS)


def observed(catalogue: Catalogue, batch: Batch) -> Neighbourhoods:
    return Engine(catalogue).observe_sampled(batch)[1]


def assert_samples_equal_twin(
    records: list[Record], scenario: Scenario, *, n_sampled: int = 16, **room: int
) -> Neighbourhoods:
    catalogue = with_room(Catalogue.build(scenario, neighbourhoods=n_sampled), **room)
    found = observed(catalogue, batch_of(records, scenario))
    bounds = catalogue.plan.room
    twin = SampleTwin(scenario, n_sampled, most_stored=bounds.stored, room=bounds.slots)
    expected = [sample for sample in map(twin.observe, records) if sample is not None]
    assert found.events.shape == (len(expected), len(catalogue.seats), n_sampled, len(catalogue.sample_features))
    assert found.nodes.shape == (len(expected), len(catalogue.seats), len(catalogue.seat_features))
    for i, sample in enumerate(expected):
        assert int(found.n_visited[i]) == sample.n_visited
        for s, seat in enumerate(catalogue.seats):
            for feature in catalogue.seat_features:
                value, wanted = found.nodes[i, s, feature.column], sample.seats[seat.name][feature.name]
                assert np.isclose(value, wanted, rtol=1e-5), (
                    f"sample {i}, {seat.name} {feature.name}: {value}, {wanted}"
                )
            events = sample.events[seat.name]
            assert found.mask[i, s].tolist() == [True] * len(events) + [False] * (n_sampled - len(events))
            assert not found.events[i, s, len(events) :].any()
            for back, event in enumerate(events):
                seq, time_ms = sample.places[seat.name][back]
                assert (int(found.event_seq[i, s, back]) - 1, int(found.event_time_ms[i, s, back])) == (seq, time_ms)
                for feature in catalogue.sample_features:
                    value, wanted = found.events[i, s, back, feature.column], event[feature.name]
                    assert np.isclose(value, wanted, rtol=1e-5, atol=1e-6), (
                        f"sample {i}, {seat.name} event {back} {feature.name}: {value}, the twin says {wanted}"
                    )
    return found


@pytest.mark.parametrize("seed", range(3))
def test_samples_of_rough_streams_equal_twin(seed: int) -> None:
    found = assert_samples_equal_twin(drawn_records(seed, 130), SCENARIO)
    assert found.mask.any(axis=0).all()  # every seat was filled to the last slot somewhere


@pytest.mark.parametrize("seed", range(2))
def test_events_of_other_types_stand_among_those_of_a_sequence(seed: int) -> None:
    found = assert_samples_equal_twin(drawn_records(30 + seed, 130), IN_ORDER)
    types = found.events[..., at.SAMPLE_TYPE]
    assert set(np.unique(types[found.mask])) == {0.0, 1.0}
    assert not types[:, 1:].any()  # the claimant's seat alone is one


def test_samples_of_a_sequence_equal_twin_when_events_are_forgotten() -> None:
    assert_samples_equal_twin(drawn_records(33, 160, n_people=9), IN_ORDER, stored=16)
    assert_samples_equal_twin(drawn_records(34, 160, n_people=30), IN_ORDER, slots=40)
    assert_samples_equal_twin(drawn_records(35, 100), IN_ORDER, n_sampled=3)


def test_other_features_do_not_change_with_a_sequence() -> None:
    records = drawn_records(36, 120)
    rows = [
        Engine(Catalogue.build(scenario, neighbourhoods=4)).observe(batch_of(records, scenario))
        for scenario in (claims_scenario(), claims_scenario(sequence=True))
    ]
    assert rows[0].tobytes() == rows[1].tobytes()


def test_rows_do_not_depend_on_whether_a_sequence_is_sampled() -> None:
    scenario = claims_scenario(sequence=True)
    batch = batch_of(drawn_records(37, 160, n_people=9), scenario)
    rows = [
        Engine(with_room(Catalogue.build(scenario, neighbourhoods=n_sampled), stored=16)).observe(batch)
        for n_sampled in (None, 4)
    ]
    assert rows[0].tobytes() == rows[1].tobytes()


@pytest.mark.parametrize("n_sampled", [17, 32])
def test_samples_of_more_events_than_features_read_equal_twin(n_sampled: int) -> None:
    found = assert_samples_equal_twin(drawn_records(38, 260, n_people=4), SCENARIO, n_sampled=n_sampled)
    assert found.mask.all(axis=2).any()  # somebody has as many
    assert_samples_equal_twin(drawn_records(39, 260, n_people=4), IN_ORDER, n_sampled=n_sampled)
    assert_samples_equal_twin(drawn_records(40, 260, n_people=9), SCENARIO, n_sampled=n_sampled, stored=16)
    assert_samples_equal_twin(drawn_records(41, 260, n_people=30), SCENARIO, n_sampled=n_sampled, slots=40)


def test_rows_and_newest_events_are_the_same_however_many_are_sampled() -> None:
    batch = batch_of(drawn_records(42, 260, n_people=4), SCENARIO)
    rows, few = Engine(with_room(CATALOGUE)).observe_sampled(batch)
    same, many = Engine(with_room(Catalogue.build(SCENARIO, neighbourhoods=32))).observe_sampled(batch)
    assert rows.tobytes() == same.tobytes()
    assert many.mask[:, :, 16:].any()
    assert np.array_equal(few.events, many.events[:, :, :16])
    assert np.array_equal(few.nodes, many.nodes)


def test_samples_of_few_events_equal_twin() -> None:
    assert_samples_equal_twin(drawn_records(4, 100), claims_scenario(), n_sampled=3)


def test_samples_beside_hubs_equal_twin() -> None:
    scenario = claims_scenario(hub_cap=12, features=SCENARIO.features)
    found = assert_samples_equal_twin(drawn_records(21, 140), scenario)
    assert set(np.unique(found.nodes[:, :, at.SEAT_IS_HUB])) == {0.0, 1.0}


def test_samples_equal_twin_when_the_store_has_forgotten_events() -> None:
    assert_samples_equal_twin(drawn_records(22, 160, n_people=9), SCENARIO, stored=16)
    assert_samples_equal_twin(drawn_records(23, 160, n_people=30), SCENARIO, slots=40)


def test_samples_without_amounts_equal_twin() -> None:
    records = [
        Happening(record.time_ms, record.links, None, record.kind) if isinstance(record, Happening) else record
        for record in drawn_records(5, 80)
    ]
    found = assert_samples_equal_twin(records, claims_scenario(amount=False, features=SCENARIO.features))
    assert not found.events[..., [at.SAMPLE_AMOUNT, at.SAMPLE_HAS_AMOUNT, at.SAMPLE_AMOUNT_RATIO]].any()


def test_samples_of_single_roles_equal_twin() -> None:
    rng = np.random.default_rng(3)
    records: list[Record] = []
    for i in range(60):
        links = ((0, int(rng.integers(4))), (1, int(rng.integers(3))))
        records.append(Happening(START + i * HOUR, links, int(rng.integers(-500, 900))))
        if i % 4 == 3:
            records.append(Truth(len(records) - 2, START + i * HOUR + 1, int(rng.integers(2))))
    assert_samples_equal_twin(records, cards_scenario())


def crowded_records(n: int) -> list[Record]:
    # More entities than an event keeps, then more than take part at all.
    rng = np.random.default_rng(8)
    records: list[Record] = []
    for i in range(n):
        crowd = rng.choice(30, size=int(rng.integers(9, 21)), replace=False)
        links = ((CLAIMANT, int(crowd[0])), *((WITNESS, int(who)) for who in crowd), (SHOP, int(rng.integers(3))))
        records.append(Happening(START + i * HOUR, links, int(rng.integers(100, 1000))))
        if i % 3 == 2:
            records.append(Truth(len(records) - 2, START + i * HOUR + 1, int(rng.integers(2))))
    return records


def test_samples_of_crowds_equal_twin_within_the_stated_bound() -> None:
    # Counted, not timed: seats x K events, and nine entities of each, are reached and never exceeded.
    found = assert_samples_equal_twin(crowded_records(50), SCENARIO)
    n_seats, n_sampled = found.mask.shape[1:]
    most = n_seats * n_sampled * at.STORED_LINKS
    assert int(found.n_visited.max()) > most * 3 // 4  # the shop is beyond the 16 that take part
    assert int(found.n_visited.max()) <= most


@st.composite
def streams(draw: st.DrawFn) -> list[Record]:
    records: list[Record] = []
    events: list[int] = []
    now = START
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.sampled_from([0, 1, 999, MINUTE, HOUR, DAY, 8 * DAY]))
        late = draw(st.sampled_from([0, 0, 0, 1, MINUTE, DAY, 9 * DAY]))
        if events and draw(st.booleans()):
            records.append(Truth(draw(st.sampled_from(events)), now - late, draw(st.integers(0, 1))))
            continue
        links = [(CLAIMANT, who) for who in draw(st.lists(st.integers(0, 2), max_size=1))]
        links += [(WITNESS, who) for who in draw(st.lists(st.integers(0, 2), unique=True, max_size=3))]
        links += [(SHOP, shop) for shop in draw(st.lists(st.integers(0, 1), max_size=1))]
        events.append(len(records))
        amount = draw(st.one_of(st.none(), st.integers(0, 10**6)))
        records.append(Happening(now - late, tuple(links), amount))
    return records


@pytest.mark.compiled
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(streams(), st.sampled_from([1, 5, 16, 32]))
def test_samples_of_any_stream_equal_twin(records: list[Record], n_sampled: int) -> None:
    assert_samples_equal_twin(records, SCENARIO, n_sampled=n_sampled)


# -- contracts --------------------------------------------------------------------------------------------------------

RECORDS = drawn_records(6, 200)
BATCH = batch_of(RECORDS, SCENARIO)


def test_future_event_changes_no_past_sample() -> None:
    past, every = observed(CATALOGUE, cut(BATCH, 0, 100)), observed(CATALOGUE, BATCH)
    assert len(past) < len(every)
    assert as_bytes(past) == as_bytes(every, 0, len(past))


@pytest.mark.compiled
def test_strangers_change_no_sample() -> None:
    mixed: list[Record] = []
    place: dict[int, int] = {}
    own: list[int] = []
    for i, record in enumerate(RECORDS):
        place[i] = len(mixed)
        if isinstance(record, Truth):
            mixed.append(Truth(place[record.of], record.known_at_ms, record.value))
            continue
        own += [len(mixed) + 1] * (record.kind == 0)
        mixed.append(record)
        if record.links:
            mixed.append(Happening(record.time_ms, tuple((role, who + 1000) for role, who in record.links), 77))
    alone, found = observed(CATALOGUE, BATCH), observed(CATALOGUE, batch_of(mixed, SCENARIO))
    kept = np.isin(found.seq, own)
    for name in ("events", "mask", "nodes", "event_time_ms", "n_visited"):
        assert getattr(found, name)[kept].tobytes() == getattr(alone, name).tobytes()


def test_peek_equals_observe_and_changes_nothing() -> None:
    engine = Engine(CATALOGUE)
    engine.observe(cut(BATCH, 0, 150))
    before = engine.state_hash()
    for i in range(150, 200):
        one = cut(BATCH, i, i + 1)
        peeked = engine.neighbourhood(one)
        assert engine.state_hash() == before
        assert as_bytes(peeked) == as_bytes(engine.observe_sampled(one)[1])
        before = engine.state_hash()


def test_one_by_one_equals_bulk_and_rows_equal_those_of_observe() -> None:
    engine = Engine(CATALOGUE)
    rows, bulk = engine.observe_sampled(BATCH)
    single = Engine(CATALOGUE)
    found = [single.observe_sampled(cut(BATCH, i, i + 1)) for i in range(len(BATCH))]
    assert b"".join(one.tobytes() for one, _ in found) == rows.tobytes() == Engine(CATALOGUE).observe(BATCH).tobytes()
    for name in ARRAYS:
        assert b"".join(getattr(one, name).tobytes() for _, one in found) == getattr(bulk, name).tobytes()
    assert single.state_hash() == engine.state_hash()


def test_snapshot_and_restore_in_the_middle_change_nothing(tmp_path: Path) -> None:
    engine = Engine(CATALOGUE)
    before = engine.observe_sampled(cut(BATCH, 0, 90))[1]
    write_snapshot(engine, tmp_path)
    restored = restore_newest(CATALOGUE, tmp_path)
    assert restored is not None
    after = restored.observe_sampled(cut(BATCH, 90, 200))[1]
    bulk = observed(CATALOGUE, BATCH)
    assert as_bytes(before) == as_bytes(bulk, 0, len(before))
    assert as_bytes(after) == as_bytes(bulk, len(before))


@pytest.mark.compiled
def test_rows_are_the_same_with_and_without_sampling() -> None:
    for scenario in (SCENARIO, claims_scenario()):
        plain, sampling = Catalogue.build(scenario), Catalogue.build(scenario, neighbourhoods=4)
        assert Engine(plain).observe(BATCH).tobytes() == Engine(sampling).observe(BATCH).tobytes()


def test_ticks_in_the_middle_of_a_batch_change_no_sample() -> None:
    scenario = ringed()
    batch = batch_of(drawn_records(31, 150, n_people=20, n_shops=6), scenario)
    engine, single = (Engine(Catalogue.build(scenario, neighbourhoods=4)) for _ in range(2))
    rows, bulk = engine.observe_sampled(batch)
    assert int(engine.state.meta[at.TICK_MS]) != at.NEVER
    found = [single.observe_sampled(cut(batch, i, i + 1)) for i in range(len(batch))]
    assert b"".join(one.tobytes() for one, _ in found) == rows.tobytes()
    assert b"".join(one.events.tobytes() for _, one in found) == bulk.events.tobytes()
    without = observed(Catalogue.build(scenario, only=(), neighbourhoods=4), batch)
    assert as_bytes(without) == as_bytes(bulk)


def test_masks_choose_rows_and_samples_apart() -> None:
    rows, every = Engine(CATALOGUE).observe_sampled(BATCH)
    want, sampled = np.arange(200) % 3 == 0, np.arange(200) % 4 == 0
    some_rows, some = Engine(CATALOGUE).observe_sampled(BATCH, want, sampled)
    decided = (BATCH.kind == 0) & (BATCH.event_type == 0)
    assert some_rows.tobytes() == rows[want[decided]].tobytes()
    assert some.seq.tolist() == BATCH.seq[decided & sampled].tolist()
    assert some.events.tobytes() == every.events[sampled[decided]].tobytes()


def test_samples_are_finite() -> None:
    found = observed(CATALOGUE, BATCH)
    assert np.isfinite(found.events).all()
    assert np.isfinite(found.nodes).all()


# -- catalogue and refusals -------------------------------------------------------------------------------------------


def test_columns_and_seats_explain_themselves() -> None:
    assert [seat.name for seat in CATALOGUE.seats] == ["claimant", "witness.1", "witness.2", "shop"]
    assert Catalogue.build(SCENARIO).seats == ()
    for features, n in ((CATALOGUE.sample_features, at.N_SAMPLE), (CATALOGUE.seat_features, at.N_SEAT)):
        assert [feature.column for feature in features] == list(range(n))
        assert len({feature.name for feature in features}) == n
        assert all(feature.sentence and feature.unit and feature.missing for feature in features)


def test_spec_hash_follows_the_sampling() -> None:
    hashes = [Catalogue.build(SCENARIO, neighbourhoods=n).spec_hash for n in (None, 1, 8, 16, 17, 32)]
    assert len(set(hashes)) == 6


@pytest.mark.parametrize("n", [0, 33, -1, "a", "16", 4.0, True])
def test_sizes_beyond_what_an_entity_refers_to_are_refused(n: Any) -> None:
    with pytest.raises(SampleSizeError, match=f"of {n!r} events per seat.*from 1 to 32"):
        Catalogue.build(SCENARIO, neighbourhoods=n)


def test_size_may_be_a_number_of_numpy() -> None:
    found: Any = np.int64(4)
    built = Catalogue.build(SCENARIO, neighbourhoods=found)
    assert (built.spec_hash, built.neighbourhoods) == (Catalogue.build(SCENARIO, neighbourhoods=4).spec_hash, 4)


def test_neighbourhood_of_what_is_folded_is_refused_and_changes_nothing() -> None:
    engine = Engine(CATALOGUE)
    engine.observe(cut(BATCH, 0, 100))
    before = engine.state_hash()
    with pytest.raises(AlreadyFoldedError, match=r"up to seq 100.*would see itself.*observe_sampled"):
        engine.neighbourhood(cut(BATCH, 90, 120))
    assert engine.state_hash() == before
    assert issubclass(AlreadyFoldedError, SequenceError)
    assert engine.neighbourhood(cut(BATCH, 100, 120)).mask.any()
    assert not Engine(CATALOGUE).neighbourhood(BATCH).mask.any()  # no event of a batch sees another


def test_engine_without_sampling_says_so() -> None:
    engine = Engine(Catalogue.build(SCENARIO))
    with pytest.raises(NoSamplingError, match="neighbourhoods=16"):
        engine.neighbourhood(BATCH)
    with pytest.raises(NoSamplingError):
        engine.observe_sampled(BATCH)
    assert engine.seq == 0


def test_refused_batches_change_nothing() -> None:
    engine = Engine(CATALOGUE)
    engine.observe(cut(BATCH, 0, 50))
    before = engine.state_hash()
    with pytest.raises(SequenceError):
        engine.observe_sampled(cut(BATCH, 40, 60))
    with pytest.raises(BatchShapeError, match="want"):
        engine.observe_sampled(cut(BATCH, 50, 60), None, np.ones(3, np.bool_))
    assert engine.state_hash() == before
