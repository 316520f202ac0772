# SPDX-License-Identifier: Apache-2.0
"""The engine's public face: order, masks, questions about one entity, counters, refusals."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ringfence.engine import (
    BatchShapeError,
    Catalogue,
    Engine,
    RecentEvent,
    SequenceError,
    TooManyWindowsError,
    UnknownFeatureError,
    feature_rows,
    replay,
)
from ringfence.engine.replay import NotDecidedError
from ringfence.scenario.batch import FRAUD, LEGIT
from ringfence.scenario.spec import EventType, Role, RoleColumn
from tests.engine.test_snapshot import ListedLedger
from tests.oracles.streams import (
    CLAIMANT,
    DAY,
    SHOP,
    START,
    WITNESS,
    Happening,
    Truth,
    batch_of,
    cards_scenario,
    claims_scenario,
    cut,
    drawn_records,
    entity_of,
)

SCENARIO = claims_scenario()
CATALOGUE = Catalogue.build(SCENARIO)
BATCH = batch_of(drawn_records(2, 100), SCENARIO)


def test_records_out_of_order_are_refused_and_change_nothing() -> None:
    engine = Engine(CATALOGUE)
    engine.observe(cut(BATCH, 0, 50))
    before = engine.state_hash()
    with pytest.raises(SequenceError, match="up to seq 50, but the next record has seq 41"):
        engine.observe(cut(BATCH, 40, 60))
    swapped = msgspec.structs.replace(cut(BATCH, 50, 60), seq=BATCH.seq[50:60][::-1].copy())
    with pytest.raises(SequenceError):
        engine.observe(swapped)
    with pytest.raises(SequenceError):
        replay(engine, [], from_seq=49, until_seq=60)
    assert engine.state_hash() == before


def test_seqs_may_have_gaps() -> None:
    engine = Engine(CATALOGUE)
    labelled = np.where(BATCH.label_event_seq > 0, BATCH.label_event_seq * 3, -1)
    rows = engine.observe(msgspec.structs.replace(BATCH, seq=BATCH.seq * 3, label_event_seq=labelled))
    assert engine.seq == 300
    assert rows.tobytes() == Engine(CATALOGUE).observe(BATCH).tobytes()


def test_unwanted_rows_are_not_returned_but_folded() -> None:
    every = Engine(CATALOGUE).observe(BATCH)
    decided = (BATCH.kind == 0) & (BATCH.event_type == 0)
    want = np.arange(len(BATCH)) % 3 == 0
    engine = Engine(CATALOGUE)
    assert engine.observe(BATCH, want).tobytes() == every[want[decided]].tobytes()
    assert engine.seq == len(BATCH)


def test_batches_of_another_shape_are_refused() -> None:
    engine = Engine(CATALOGUE)
    with pytest.raises(BatchShapeError, match="values"):
        engine.observe(batch_of([Happening(START, ((0, 1),), 5)], cards_scenario()))
    with pytest.raises(BatchShapeError, match="link_start"):
        engine.observe(msgspec.structs.replace(BATCH, link_start=BATCH.link_start[:-1]))
    with pytest.raises(BatchShapeError, match="want"):
        engine.observe(BATCH, np.zeros(3, np.bool_))


def test_entity_at_equals_the_row_of_an_event_that_names_only_it() -> None:
    engine = Engine(CATALOGUE)
    engine.observe(BATCH)
    lo, hi = entity_of(0, 1)
    as_of_ms = int(BATCH.time_ms.max()) + DAY
    known = engine.entity_at("claimant", lo, hi, as_of_ms)
    lone = batch_of([Happening(as_of_ms, ((CLAIMANT, 1),), None)], SCENARIO)
    row = engine.peek(lone)[0]
    assert known["claimant.n_events"] > 0
    assert set(known) == {feature.name for feature in CATALOGUE.features if feature.role == "claimant"}
    for name, value in known.items():
        assert np.array_equal(value, row[CATALOGUE.index(name)], equal_nan=True)


def test_recent_events_come_newest_first() -> None:
    records = [Happening(START + i * DAY, ((CLAIMANT, 1),), None if i == 1 else 100 * i) for i in range(4)]
    engine = Engine(CATALOGUE)
    engine.observe(batch_of(records, SCENARIO))
    lo, _ = entity_of(0, 1)
    assert engine.recent_at("claimant", lo, START + 2 * DAY) == [
        RecentEvent(START + 2 * DAY, 200),
        RecentEvent(START + DAY, None),
        RecentEvent(START, 0),
    ]
    assert engine.recent_at("claimant", lo, START + 2 * DAY, limit=1) == [RecentEvent(START + 2 * DAY, 200)]
    assert engine.recent_at("shop", lo, START) == []


def test_unknown_names_are_refused() -> None:
    engine = Engine(CATALOGUE)
    with pytest.raises(UnknownFeatureError, match="lawyer"):
        engine.entity_at("lawyer", 1, 2, START)
    with pytest.raises(UnknownFeatureError, match="no_such"):
        CATALOGUE.index("no_such")
    with pytest.raises(UnknownFeatureError, match="graph"):
        Catalogue.build(claims_scenario(features={"graph": False}))
    with pytest.raises(TooManyWindowsError):
        Catalogue.build(claims_scenario(windows_ms=tuple(range(DAY, 10 * DAY, DAY))))


def test_a_shared_low_half_is_counted_and_never_silent() -> None:
    batch = batch_of([Happening(START, ((SHOP, 1),), 5), Happening(START + 1, ((SHOP, 1),), 5)], SCENARIO)
    hi = batch.link_hi.copy()
    hi[1] ^= np.uint64(1)
    engine = Engine(CATALOGUE)
    engine.observe(msgspec.structs.replace(batch, link_hi=hi))
    assert engine.counters["id_collisions"] == 1


def test_late_events_and_labels_of_strangers_are_counted() -> None:
    records = [Happening(START + 9 * DAY, ((SHOP, 1),), 5), Happening(START, ((SHOP, 1),), 5)]
    engine = Engine(CATALOGUE)
    engine.observe(batch_of([*records, Truth(0, START + 9 * DAY, FRAUD)], SCENARIO))
    assert engine.counters["late_events"] == 1
    assert engine.counters["orphan_labels"] == 0
    stranger = batch_of([Happening(START, ((SHOP, 1),), 5), Truth(0, START, LEGIT)], SCENARIO)
    fresh = Engine(CATALOGUE)
    fresh.observe(cut(stranger, 1, 2))
    assert fresh.counters["orphan_labels"] == 1


def test_pairs_of_a_crowd_are_capped_and_counted() -> None:
    crowd = tuple((WITNESS, number) for number in range(40))
    engine = Engine(CATALOGUE)
    rows = engine.observe(batch_of([Happening(START, ((CLAIMANT, 99), *crowd, (SHOP, 1)), 5)] * 2, SCENARIO))
    assert rows[1, CATALOGUE.index("witness.n")] == 40
    assert rows[1, CATALOGUE.index("claimant.partners_witness")] == 32
    assert engine.counters["links_beyond_pair_fan"] == 2 * 2 * 8
    assert engine.nbytes > 0


def test_feature_rows_are_those_of_a_full_replay() -> None:
    decided = BATCH.seq[(BATCH.kind == 0) & (BATCH.event_type == 0)]
    every = Engine(CATALOGUE).observe(BATCH)
    seen: list[tuple[int, int]] = []
    found = feature_rows(ListedLedger(BATCH), CATALOGUE, decided[5:25], progress=lambda at, of: seen.append((at, of)))
    assert found.rows.tobytes() == every[5:25].tobytes()
    assert seen[-1] == (int(decided[24]), int(decided[24]))
    assert feature_rows(ListedLedger(BATCH), CATALOGUE, decided[:0]).rows.shape == (0, len(CATALOGUE.names))
    label = BATCH.seq[BATCH.kind == 1][:1]
    with pytest.raises(NotDecidedError):
        feature_rows(ListedLedger(BATCH), CATALOGUE, label)


def test_replay_hands_each_batch_with_its_rows_to_the_sink() -> None:
    rows: list[bytes] = []
    engine = Engine(CATALOGUE)
    replay(
        engine,
        [cut(BATCH, 0, 30), cut(BATCH, 30, 100)],
        until_seq=100,
        sink=lambda batch, found: rows.append(found.tobytes()),
        progress=lambda at, of: None,
    )
    assert b"".join(rows) == Engine(CATALOGUE).observe(BATCH).tobytes()


def test_catalogue_stays_readable_with_many_roles() -> None:
    roles = tuple(
        Role(name=f"role_{i}", entity_type="person" if i < 3 else f"thing_{i}", index=i, many=i == 1) for i in range(8)
    )
    event = EventType(
        name="claim",
        index=0,
        event_id_column="id",
        event_time_column="time",
        roles=tuple(RoleColumn(role=role.name, column=role.name) for role in roles),
        amount=SCENARIO.decided.amount,
    )
    wide = Catalogue.build(msgspec.structs.replace(cards_scenario(), decide="claim", event_types=(event,), roles=roles))
    assert 60 <= len(wide.features) <= 300
    links = tuple((i, i) for i in range(8))
    records = [Happening(START + i * DAY, links, 100) for i in range(3)]
    rows = Engine(wide).observe(batch_of(records, wide.scenario))
    assert rows[2, wide.index("role_0~role_1.n_events.max")] == 2


def test_two_roles_give_at_least_sixty_features() -> None:
    assert len(Catalogue.build(cards_scenario()).features) >= 60


def test_spec_hash_follows_what_decides_values() -> None:
    base = CATALOGUE.spec_hash
    assert Catalogue.build(claims_scenario()).spec_hash == base
    assert Catalogue.build(claims_scenario(features={"event": False})).spec_hash != base
    assert Catalogue.build(claims_scenario(windows_ms=(DAY,))).spec_hash != base
    assert Catalogue.build(msgspec.structs.replace(SCENARIO, name="other")).spec_hash == base


def test_groups_split_families_by_role() -> None:
    assert "velocity:claimant" in CATALOGUE.groups
    assert "novelty_gaps:claimant~shop" in CATALOGUE.groups
    assert "event" in CATALOGUE.groups


def test_kept_features_have_the_values_they_have_among_all() -> None:
    names = ("claimant.count_1d", "shop.fraud_rate", "claimant~shop.gap_hours", "event.hour")
    few = Catalogue.build(SCENARIO, only=names)
    assert set(few.names) == set(names)
    every = Engine(CATALOGUE).observe(BATCH)[:, [CATALOGUE.index(name) for name in few.names]]
    assert Engine(few).observe(BATCH).tobytes() == every.tobytes()
    assert few.spec_hash != CATALOGUE.spec_hash
    with pytest.raises(UnknownFeatureError, match="no_such"):
        Catalogue.build(SCENARIO, only=["no_such"])
