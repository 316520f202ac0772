# SPDX-License-Identifier: Apache-2.0
"""How far and how fast entities come from where they were last: by hand, against the twin, and as bytes."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.engine import Catalogue, Engine, restore_newest, write_snapshot
from ringfence.engine._kernels_places import km_between
from ringfence.engine.state import used
from ringfence.scenario.derivations import distance_km
from ringfence.scenario.spec import Travel
from tests.engine.test_features_equal_twin import assert_rows_equal_twin
from tests.oracles.streams import (
    CHANGE,
    CLAIMANT,
    HOUR,
    MINUTE,
    SHOP,
    START,
    Happening,
    Record,
    batch_of,
    claims_scenario,
    cut,
    drawn_records,
    travelling,
    travelling_scenario,
)

SCENARIO = travelling_scenario()
BERLIN, MADRID, OSLO, NOWHERE = (52.52, 13.405), (40.4168, -3.7038), (59.9139, 10.7522), (math.nan, math.nan)
TO_MADRID, TO_OSLO = distance_km(*BERLIN, *MADRID), distance_km(*BERLIN, *OSLO)


def claim(at_ms: int, place: tuple[float, float], claimant: int = 1, shop: int | None = None) -> Happening:
    links = ((CLAIMANT, claimant),) if shop is None else ((CLAIMANT, claimant), (SHOP, shop))
    return Happening(START + at_ms, links, 100, values=(1.0, 1.0, *place))


def journeys(records: list[Record]) -> list[tuple[float, float]]:
    catalogue = Catalogue.build(SCENARIO)
    rows = Engine(catalogue).observe(batch_of(records, SCENARIO))
    km, kmh = (rows[:, catalogue.index(f"claimant.{name}")] for name in ("travel_km", "travel_kmh"))
    return list(zip(km.tolist(), kmh.tolist(), strict=True))


def test_two_thousand_kilometres_in_forty_minutes_are_told_as_such() -> None:
    first, second = journeys([claim(0, BERLIN), claim(40 * MINUTE, MADRID)])
    assert all(map(math.isnan, first))
    assert second == pytest.approx((TO_MADRID, TO_MADRID * 1.5), rel=1e-12)
    assert 1867 < TO_MADRID < 1871


def test_less_than_a_minute_counts_as_one() -> None:
    for gap_ms in (0, 1, MINUTE - 1, MINUTE):
        assert journeys([claim(0, BERLIN), claim(gap_ms, OSLO)])[1][1] == pytest.approx(TO_OSLO * 60, rel=1e-12)
    assert journeys([claim(0, BERLIN), claim(2 * MINUTE, OSLO)])[1][1] == pytest.approx(TO_OSLO * 30, rel=1e-12)


def test_an_event_without_a_place_reads_nothing_and_moves_nobody() -> None:
    for nowhere in (NOWHERE, (40.0, math.nan), (90.1, 0.0), (0.0, 180.1)):
        _, between, last = journeys([claim(0, BERLIN), claim(HOUR, nowhere), claim(2 * HOUR, MADRID)])
        assert all(map(math.isnan, between))
        assert last == pytest.approx((TO_MADRID, TO_MADRID / 2), rel=1e-12)


def test_a_late_event_is_held_against_the_newest_place_and_does_not_become_it() -> None:
    #  t (h)    0        1        2        3
    #  claim    Berlin            Madrid   Madrid
    #                    Oslo, told after Madrid at 2: it reads Madrid an hour apart, and the claim at 3 reads Madrid
    told = [claim(0, BERLIN), claim(2 * HOUR, MADRID), claim(HOUR, OSLO), claim(3 * HOUR, MADRID)]
    found = journeys(told)
    from_madrid = distance_km(*MADRID, *OSLO)
    assert found[2] == pytest.approx((from_madrid, from_madrid), rel=1e-12)
    assert found[3] == (0.0, 0.0)


def test_of_two_places_at_one_time_the_one_told_later_counts() -> None:
    found = journeys([claim(0, BERLIN), claim(0, MADRID), claim(HOUR, MADRID)])
    assert found[2] == (0.0, 0.0)


def test_context_and_other_entities_move_nobody() -> None:
    change = Happening(START + HOUR, ((CLAIMANT, 1),), None, CHANGE)
    found = journeys([claim(0, BERLIN), change, claim(HOUR, OSLO, claimant=2), claim(2 * HOUR, MADRID)])
    assert found[-1] == pytest.approx((TO_MADRID, TO_MADRID / 2), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_rows_with_places_equal_twin(seed: int) -> None:
    assert_rows_equal_twin(travelling(drawn_records(seed, 130), seed), SCENARIO)


def test_rows_with_places_equal_twin_when_entities_are_forgotten() -> None:
    records = travelling(drawn_records(25, 160, n_people=30, n_shops=6), 25)
    twin = assert_rows_equal_twin(records, travelling_scenario(("claimant", "shop")), slots=40, pairs=35, stored=64)
    assert twin.features.links.memory.n_forgotten > 40


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180))
def test_the_kernel_measures_as_the_door_does(a: float, b: float, c: float, d: float) -> None:
    assert km_between(a, b, c, d) == pytest.approx(distance_km(a, b, c, d), rel=1e-12, abs=1e-9)


def test_rows_with_places_are_the_same_bytes_live_in_bulk_and_across_a_restore(tmp_path: Path) -> None:
    catalogue = Catalogue.build(SCENARIO)
    batch = batch_of(travelling(drawn_records(3, 400, n_people=40, n_shops=9), 3), SCENARIO)
    bulk, single = Engine(catalogue), Engine(catalogue)
    expected = bulk.observe(batch).tobytes()
    assert b"".join(single.observe(cut(batch, i, i + 1)).tobytes() for i in range(len(batch))) == expected
    assert single.state_hash() == bulk.state_hash()
    engine, parts = Engine(catalogue), []
    for begin, end in itertools.pairwise([0, 1, 170, len(batch)]):
        parts.append(engine.observe(cut(batch, begin, end)).tobytes())
        write_snapshot(engine, tmp_path)
        restored = restore_newest(catalogue, tmp_path)
        assert restored is not None
        engine = restored
    assert b"".join(parts) == expected
    assert engine.state_hash() == bulk.state_hash()


def test_journeys_change_no_other_feature_and_cost_nothing_where_nobody_asks() -> None:
    records = travelling(drawn_records(4, 200), 4)
    without = msgspec.structs.replace(SCENARIO, travel=None)
    with_room = Catalogue.build(SCENARIO).plan.room
    assert Catalogue.build(without).plan.room.slots > with_room.slots
    assert Catalogue.build(without).spec_hash != Catalogue.build(SCENARIO).spec_hash
    rows, plain = (Engine(Catalogue.build(s)).observe(batch_of(records, s)) for s in (SCENARIO, without))
    names = Catalogue.build(SCENARIO).names
    kept = [i for i, name in enumerate(names) if ".travel_" not in name]
    assert len(names) - len(kept) == 6  # two of the claimant; two each of the witnesses' largest and mean
    assert rows[:, kept].tobytes() == plain.tobytes()
    assert used(Engine(Catalogue.build(claims_scenario())).state)["places"].nbytes == 0
    few = Engine(Catalogue.build(SCENARIO, only=("claimant.n_events",)))
    few.observe(batch_of(records, SCENARIO))
    assert used(few.state)["places"].nbytes == 0


def test_spec_hash_tells_whose_journeys_and_which_place_apart() -> None:
    swapped = msgspec.structs.replace(SCENARIO, travel=Travel(latitude="lon", longitude="lat", roles=("claimant",)))
    of_one = msgspec.structs.replace(SCENARIO, travel=Travel(latitude="lat", longitude="lon", roles=("claimant",)))
    hashes = {Catalogue.build(s, only=["event.hour"]).spec_hash for s in (SCENARIO, swapped, of_one)}
    assert len(hashes) == 3


def test_a_missing_place_is_missing_and_never_zero() -> None:
    rows = np.array(journeys([claim(0, NOWHERE), claim(HOUR, BERLIN), claim(2 * HOUR, NOWHERE)]))
    assert np.isnan(rows).all()
