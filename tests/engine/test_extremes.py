# SPDX-License-Identifier: Apache-2.0
"""The engine at its extremes, all families on: what time can do to it, and what an event can ask for."""

from __future__ import annotations

import dataclasses
import time

import msgspec
import numpy as np
import pytest

from ringfence.engine import BatchShapeError, Catalogue, Engine, SequenceError
from ringfence.engine import layout as at
from ringfence.engine.stats import RINGS, TEXT
from ringfence.ledger.assembly import slice_batch
from ringfence.scenario.batch import EVENT, FRAUD, LEGIT, NO_LABEL, Batch
from ringfence.scenario.errors import BatchFormError
from tests.engine.test_any_stream import everything
from tests.oracles.complete_twin import CompleteTwin
from tests.oracles.every_twin import assert_equals_every_twin
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
    cut,
    drawn_records,
)

YEAR = 365 * DAY
YEAR_2200_MS = 7_258_118_399_000  # the last second that a door would take for a time
SCENARIO = everything()
CATALOGUE = Catalogue.build(SCENARIO)


def moved(record: Record, by_ms: int) -> Record:
    if isinstance(record, Truth):
        return dataclasses.replace(record, known_at_ms=record.known_at_ms + by_ms)
    return dataclasses.replace(record, time_ms=record.time_ms + by_ms)


# -- time -------------------------------------------------------------------------------------------------------------


def test_rows_equal_every_twin_when_all_times_are_equal() -> None:
    still = [moved(record, START - at_ms_of(record)) for record in drawn_records(41, 90)]
    assert_equals_every_twin(still, SCENARIO)


def at_ms_of(record: Record) -> int:
    return record.known_at_ms if isinstance(record, Truth) else record.time_ms


@pytest.mark.parametrize("back_ms", [7 * MINUTE, 3 * DAY, 5 * YEAR], ids=["minutes", "days", "years"])
def test_rows_equal_every_twin_when_the_clock_jumps_back(back_ms: int) -> None:
    records = drawn_records(42, 120)
    jumping = [moved(record, -back_ms if i >= 60 else 0) for i, record in enumerate(records)]
    engine = assert_equals_every_twin(jumping, SCENARIO)
    if back_ms == 5 * YEAR:
        n_after = sum(isinstance(record, Happening) and record.kind == 0 for record in records[60:])
        assert engine.counters["late_events"] >= n_after


#  seq   1 .. 59            60                     61 .. 120
#  time  START + days       2200, of others        START + days: late, by two centuries
FAR = Happening(YEAR_2200_MS, ((CLAIMANT, 500), (WITNESS, 501), (SHOP, 502)), 100, text=0b1001)


def with_far_event(seed: int = 43) -> tuple[list[Record], list[Record]]:
    """A stream, and the same with an event of other entities in 2200 in its middle."""
    records = drawn_records(seed, 120)
    later = [
        dataclasses.replace(r, of=r.of + (r.of >= 60)) if isinstance(r, Truth) else dataclasses.replace(r)
        for r in records[60:]
    ]
    return records, [*records[:60], FAR, *later]


def test_an_event_in_2200_equals_every_twin() -> None:
    # The door, import and service refuse it. Fed to the engine itself it does what the definitions say, at once.
    engine = assert_equals_every_twin(with_far_event()[1], SCENARIO)
    ticks = SCENARIO.rings
    assert int(engine.state.meta[at.TICK_MS]) == YEAR_2200_MS // ticks.every_ms * ticks.every_ms
    assert engine.counters["late_events"] > 30


def test_an_event_in_2200_changes_only_what_all_events_share_a_clock_for() -> None:
    plain, far = with_far_event()
    n_before = sum(isinstance(record, Happening) and record.kind == 0 for record in plain[:60])
    rows = Engine(CATALOGUE).observe(batch_of(plain, SCENARIO))
    found = np.delete(Engine(CATALOGUE).observe(batch_of(far, SCENARIO)), n_before, axis=0)
    changed = {
        feature.family
        for column, feature in enumerate(CATALOGUE.features)
        if found[:, column].tobytes() != rows[:, column].tobytes()
    }
    assert changed == {RINGS, TEXT}


def test_an_entity_that_was_seen_in_2200_keeps_its_counts_and_loses_its_windows() -> None:
    own = ((CLAIMANT, 1), (SHOP, 1))
    times = [START, START + HOUR, YEAR_2200_MS, START + 2 * HOUR, START + 3 * HOUR]
    row = Engine(CATALOGUE).observe(batch_of([Happening(time_ms, own, 100) for time_ms in times], SCENARIO))[-1]
    assert row[CATALOGUE.index("shop.n_events")] == 4.0
    assert row[CATALOGUE.index("shop.count_7d")] == 0.0
    assert row[CATALOGUE.index("claimant.others")] == 1.0


# -- what an event can ask for ----------------------------------------------------------------------------------------


def test_events_that_name_nobody_equal_every_twin() -> None:
    records: list[Record] = []
    for i, record in enumerate(drawn_records(44, 80)):
        lonely = isinstance(record, Happening) and i % 2 == 0
        records.append(dataclasses.replace(record, links=()) if lonely else record)
    assert_equals_every_twin(records, SCENARIO)
    nobody: list[Record] = [Happening(START + i * HOUR, (), None, text=i % 2) for i in range(20)]
    engine = assert_equals_every_twin([*nobody, Truth(3, START + DAY, FRAUD)], SCENARIO)
    assert engine.counters["entities"] == 0


def crowded(n_witnesses: int) -> list[Record]:
    rng = np.random.default_rng(45)
    records: list[Record] = []
    for i in range(8):
        crowd = rng.choice(260, size=198, replace=False)[:n_witnesses]
        links = ((CLAIMANT, int(i % 3)), *((WITNESS, int(who)) for who in crowd), (SHOP, i % 2))
        records.append(Happening(START + i * HOUR, links, 100 * i))
        if i % 4 == 3:
            records.append(Truth(len(records) - 2, START + i * HOUR + 1, FRAUD))
    return records


def test_rows_of_events_with_200_links_equal_twin() -> None:
    # At most 32 entities of a role take part in pairs: those columns are what they would be without the others.
    engine = Engine(CATALOGUE)
    rows = engine.observe(batch_of(crowded(198), SCENARIO))
    whole, few = CompleteTwin(CATALOGUE), CompleteTwin(CATALOGUE)
    expected = [row for row in map(whole.observe, crowded(198)) if row is not None]
    of_pairs = [row for row in map(few.observe, crowded(32)) if row is not None]
    for column, feature in enumerate(CATALOGUE.features):
        if feature.family == RINGS or (feature.role == "witness" and "partners" in feature.name):
            continue  # a witness beyond the 32 counts no partner, and the twin averages over those it is given
        pairs = "~" in feature.name or "partners" in feature.name
        wanted = [row[feature.name] for row in (of_pairs if pairs else expected)]
        assert np.allclose(rows[:, column], wanted, rtol=1e-9, atol=1e-9, equal_nan=True), feature.name
    assert engine.counters["links_beyond_pair_fan"] > 0


def test_events_with_200_links_are_the_same_one_by_one_and_in_bulk() -> None:
    batch = batch_of(crowded(198), SCENARIO)
    bulk, single = Engine(CATALOGUE), Engine(CATALOGUE)
    rows = bulk.observe(batch).tobytes()
    assert b"".join(single.observe(cut(batch, i, i + 1)).tobytes() for i in range(len(batch))) == rows
    assert single.state_hash() == bulk.state_hash()


# -- labels -----------------------------------------------------------------------------------------------------------


def test_labels_given_twice_and_revised_equal_every_twin() -> None:
    records = drawn_records(46, 80, label_share=0.2)
    events = [i for i, record in enumerate(records) if isinstance(record, Happening) and record.kind == 0][:12]
    newest = max(at_ms_of(record) for record in records)
    for n, value in enumerate([FRAUD, FRAUD, LEGIT, LEGIT, FRAUD]):
        records += [Truth(event, newest + n * HOUR, value) for event in events]
        records.append(Happening(newest + n * HOUR, ((CLAIMANT, 1), (WITNESS, 2), (SHOP, 0)), 100))
    assert_equals_every_twin(records, SCENARIO)


def test_labels_of_events_never_seen_move_the_prior_and_nothing_else() -> None:
    # The ledger refuses them; an engine that is fed one counts its entities and remembers none of them.
    stranger = batch_of(
        [Happening(START, ((CLAIMANT, 70), (WITNESS, 71), (SHOP, 72)), 5), Truth(0, START, FRAUD)], SCENARIO
    )
    label = cut(stranger, 1, 2)
    records = drawn_records(47, 60)
    batch = batch_of(records, SCENARIO, first_seq=3)
    engine, plain = Engine(CATALOGUE), Engine(CATALOGUE)
    engine.observe(label)
    assert engine.counters["orphan_labels"] == 3
    assert engine.counters["entities"] == 0
    found, rows = engine.observe(batch), plain.observe(batch)
    assert int(engine.state.meta[at.ALL_FRAUD]) == int(plain.state.meta[at.ALL_FRAUD]) + 1
    for column, feature in enumerate(CATALOGUE.features):
        if "rate" not in feature.name:
            assert found[:, column].tobytes() == rows[:, column].tobytes(), feature.name


# -- batches ----------------------------------------------------------------------------------------------------------


def test_arrays_of_another_type_or_layout_give_the_same_rows() -> None:
    batch = batch_of(drawn_records(48, 60), SCENARIO)
    odd = {}
    for name in Batch.__struct_fields__:
        array = getattr(batch, name)
        strided = np.repeat(array, 2, axis=0)[::2]
        strided.flags.writeable = name == "seq"
        odd[name] = strided.astype(np.int64) if name in ("kind", "event_type", "link_role") else strided
    assert Engine(CATALOGUE).observe(Batch(**odd)).tobytes() == Engine(CATALOGUE).observe(batch).tobytes()


def test_arrays_of_other_dimensions_are_refused_before_they_reach_compiled_code() -> None:
    batch = batch_of(drawn_records(48, 60), SCENARIO)
    with pytest.raises(BatchFormError, match="time_ms: found an array of shape"):
        msgspec.structs.replace(batch, time_ms=batch.time_ms.reshape(-1, 1))


def test_a_lone_record_of_another_scenario_or_out_of_order_is_refused_as_a_batch_is() -> None:
    batch = slice_batch(batch_of(drawn_records(48, 60), SCENARIO), 0, 1)
    engine = Engine(CATALOGUE)
    for name, shape in (("values", (1, 99)), ("simhash", (1, 7)), ("link_start", (3,))):
        with pytest.raises(BatchShapeError, match=name):
            engine.observe(msgspec.structs.replace(batch, **{name: np.zeros(shape)}))
    assert engine.seq == 0
    engine.observe(batch)
    with pytest.raises(SequenceError):
        engine.observe(batch)


def test_more_links_in_a_lone_record_than_ever_before_are_read_as_in_a_batch() -> None:
    batch = batch_of(drawn_records(48, 60), SCENARIO)
    n, many = 40, np.arange(40, dtype=np.uint64) + np.uint64(7)
    crowd = msgspec.structs.replace(
        slice_batch(batch, 0, 1), link_start=np.array([0, n]), link_role=np.full(n, WITNESS), link_lo=many, link_hi=many
    )
    rest = slice_batch(batch, 1, 60)
    joined = Engine(CATALOGUE)
    first, rows = joined.observe(crowd, np.ones(1, np.bool_)), joined.observe(rest)
    alone = Engine(CATALOGUE)
    assert alone.observe(crowd).tobytes() == first.tobytes()
    found = [alone.observe(slice_batch(rest, i, i + 1)) for i in range(len(rest))]
    assert np.concatenate(found).tobytes() == rows.tobytes()


# -- a million events of one entity -----------------------------------------------------------------------------------


def payments_at_one_terminal(first: int, n: int) -> Batch:
    """Payments a second apart, all at one terminal: no window but the shortest ever forgets one of them."""
    rng = np.random.default_rng(first)
    seq = first + np.arange(n, dtype=np.int64)
    lo = np.stack([rng.integers(1, 5_000, n).astype(np.uint64), np.full(n, 2**40, np.uint64)], axis=1).reshape(-1)
    lo *= np.uint64(0x9E3779B97F4A7C15)
    return Batch(
        seq=seq,
        kind=np.full(n, EVENT, np.uint8),
        event_type=np.zeros(n, np.uint8),
        time_ms=START + seq * 1_000,
        offset_ms=np.zeros(n, np.int32),
        amount_minor=rng.integers(1, 10_000, n),
        values=np.zeros((n, 0)),
        link_start=np.arange(0, 2 * n + 1, 2),
        link_role=np.tile(np.array([0, 1], np.uint8), n),
        link_lo=lo,
        link_hi=lo,
        label_event_seq=np.full(n, -1, np.int64),
        label_event_time_ms=np.zeros(n, np.int64),
        label_value=np.full(n, NO_LABEL, np.int8),
        label_replaces=np.full(n, NO_LABEL, np.int8),
        simhash=np.zeros((n, 0), np.uint64),
    )


@pytest.mark.compiled
def test_the_millionth_event_of_an_entity_costs_what_the_first_ones_did() -> None:
    n_parts, n = 40, 25_000
    catalogue = Catalogue.build(cards_scenario())
    engine = Engine(catalogue)
    want = np.arange(n) % 10 == 0
    spent, row = np.zeros(n_parts), np.zeros(0)
    for part in range(n_parts):
        batch = payments_at_one_terminal(1 + part * n, n)
        began = time.thread_time()  # the processor's time of this thread: others may be busy
        row = engine.observe(batch, want)[-1]
        spent[part] = time.thread_time() - began
    # Where state grew, its copy is in the time as well: medians of the first and of the last tenths.
    assert np.median(spent[-8:]) < 3.0 * np.median(spent[1:9])
    assert row[catalogue.index("terminal.n_events")] == 999_990.0
    assert row[catalogue.index("terminal.count_30d")] == 999_990.0
    assert row[catalogue.index("terminal.count_1d")] == 24 * 3_600.0 + 30.0  # from the full minute on
