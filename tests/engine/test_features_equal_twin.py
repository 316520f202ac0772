# SPDX-License-Identifier: Apache-2.0
"""The compiled fold against its brute-force twin, on drawn streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.stats import FAMILIES
from ringfence.scenario.spec import Scenario
from tests.oracles.complete_twin import CompleteTwin
from tests.oracles.streams import (
    DAY,
    HOUR,
    MINUTE,
    START,
    Happening,
    Record,
    Truth,
    batch_of,
    cards_scenario,
    claims_scenario,
    drawn_records,
    with_room,
)


def assert_rows_equal_twin(records: list[Record], scenario: Scenario, **room: int) -> CompleteTwin:
    catalogue = with_room(Catalogue.build(scenario), **room)
    rows = Engine(catalogue).observe(batch_of(records, scenario))
    twin = CompleteTwin(catalogue)
    expected = [row for row in map(twin.observe, records) if row is not None]
    assert rows.shape == (len(expected), len(catalogue.features))
    for i, row in enumerate(expected):
        for column, name in enumerate(catalogue.names):
            found, wanted = rows[i, column], row[name]
            assert np.isclose(found, wanted, rtol=1e-9, atol=1e-9, equal_nan=True), (
                f"row {i}, {name}: {found}, the twin says {wanted}"
            )
    return twin


@pytest.mark.parametrize("seed", range(6))
def test_rows_of_rough_streams_equal_twin(seed: int) -> None:
    assert_rows_equal_twin(drawn_records(seed, 120), claims_scenario())


@pytest.mark.parametrize("seed", range(3))
def test_rows_with_single_roles_in_full_detail_equal_twin(seed: int) -> None:
    claims = drawn_records(seed, 150, n_people=4)
    # Claimant and first witness stand in for customer and terminal, so that two single roles always meet.
    records: list[Record] = []
    moved: dict[int, int] = {}
    for i, record in enumerate(claims):
        if isinstance(record, Truth):
            if record.of in moved:
                records.append(Truth(moved[record.of], record.known_at_ms, record.value))
        elif record.kind == 0:
            moved[i] = len(records)
            first = dict(reversed(record.links))
            links = tuple((role, first[role]) for role in (0, 1) if role in first)
            records.append(Happening(record.time_ms, links, record.amount))
    assert_rows_equal_twin(records, cards_scenario())


def test_rows_of_a_hub_with_more_events_than_the_newest_32_equal_twin() -> None:
    rng = np.random.default_rng(7)
    records: list[Record] = []
    for i in range(220):
        amount = int(rng.integers(1, 900)) if i % 9 else 90_000
        records.append(Happening(START + i * 40 * MINUTE, ((0, int(rng.integers(9))), (2, 0)), amount))
    assert_rows_equal_twin(records, claims_scenario())


def test_rows_beside_hubs_equal_twin() -> None:
    assert_rows_equal_twin(drawn_records(21, 140), claims_scenario(hub_cap=12))


def test_rows_equal_twin_when_the_store_has_forgotten_events() -> None:
    # Few shops, many people: a person's references outlive the events they point to.
    assert_rows_equal_twin(drawn_records(22, 160, n_people=9), claims_scenario(), stored=16)


@pytest.mark.parametrize("seed", range(24, 28))
def test_rows_equal_twin_when_entities_and_pairs_are_forgotten(seed: int) -> None:
    records = drawn_records(seed, 160, n_people=30, n_shops=6)
    twin = assert_rows_equal_twin(records, claims_scenario(), slots=40, pairs=35, stored=64)
    assert twin.features.links.memory.n_forgotten > 40
    assert twin.features.pair_memory.n_forgotten > 40


def test_rows_of_crowded_events_equal_twin() -> None:
    # More entities than an event keeps, then more than take part at all.
    rng = np.random.default_rng(8)
    records: list[Record] = []
    for i in range(60):
        crowd = rng.choice(30, size=int(rng.integers(1, 21)), replace=False)
        links = ((0, int(crowd[0])), *((1, int(who)) for who in crowd), (2, int(rng.integers(3))))
        records.append(Happening(START + i * HOUR, links, int(rng.integers(100, 1000))))
        if i % 3 == 2:
            records.append(Truth(len(records) - 2, START + i * HOUR + 1, int(rng.integers(2))))
    assert_rows_equal_twin(records, claims_scenario())


@pytest.mark.parametrize("amount", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_without_a_family_or_amounts_equal_twin(family: str, amount: bool) -> None:
    scenario = claims_scenario(amount=amount, features={family: False})
    assert family not in Catalogue.build(scenario).families
    assert_rows_equal_twin(drawn_records(11, 60), scenario)


@st.composite
def streams(draw: st.DrawFn) -> list[Record]:
    records: list[Record] = []
    events: list[int] = []
    now = START
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.sampled_from([0, 1, 999, 1000, MINUTE, 30 * MINUTE, HOUR, DAY, 7 * DAY, 8 * DAY]))
        late = draw(st.sampled_from([0, 0, 0, 1, MINUTE, DAY, 9 * DAY]))
        if events and draw(st.booleans()):
            records.append(Truth(draw(st.sampled_from(events)), now - late, draw(st.integers(0, 1))))
            continue
        witnesses = draw(st.lists(st.integers(0, 2), unique=True, max_size=3))
        links = [(0, who) for who in draw(st.lists(st.integers(0, 2), max_size=1))]
        links += [(1, who) for who in witnesses]
        links += [(2, shop) for shop in draw(st.lists(st.integers(0, 1), max_size=1))]
        amount = draw(st.one_of(st.none(), st.integers(0, 10**6)))
        events.append(len(records))
        text = draw(st.sampled_from([0, 1, 0b1001, 0b1_1111, 2**63 | 0b1011, 2**20, 2**64 - 1]))
        records.append(Happening(now - late, tuple(links), amount, text=text))
    return records


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(streams())
def test_rows_of_any_stream_equal_twin(records: list[Record]) -> None:
    assert_rows_equal_twin(records, claims_scenario())
