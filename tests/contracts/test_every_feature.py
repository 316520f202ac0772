# SPDX-License-Identifier: Apache-2.0
"""What every registered feature keeps, whatever it computes."""

from __future__ import annotations

import dataclasses
import re
from functools import cache

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine
from ringfence.engine.stats import FAMILIES
from ringfence.scenario.spec import Scenario
from tests.oracles.streams import (
    CLAIMANT,
    DAY,
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
    travelling,
    travelling_scenario,
)

CLAIMS, CARDS = Catalogue.build(claims_scenario()), Catalogue.build(cards_scenario())
SEGMENTED = Catalogue.build(msgspec.structs.replace(claims_scenario(segments=("make",)), name="segmented"))
TRAVELLING = Catalogue.build(msgspec.structs.replace(travelling_scenario(), name="travelling"))
BY_NAME = {catalogue.scenario.name: catalogue for catalogue in (CLAIMS, CARDS, SEGMENTED, TRAVELLING)}
EVERY = [(CLAIMS, name) for name in CLAIMS.names] + [(CARDS, name) for name in CARDS.names]
EVERY += [
    (SEGMENTED, name) for name in SEGMENTED.names if "segment" in SEGMENTED.features[SEGMENTED.index(name)].sentence
]
EVERY += [(SEGMENTED, name) for name in SEGMENTED.names if name.startswith("segment.")]
EVERY += [(TRAVELLING, name) for name in TRAVELLING.names if ".travel_" in name]
IDS = [f"{catalogue.scenario.name}-{name}" for catalogue, name in EVERY]
N = 220


def records_of(scenario: Scenario, seed: int = 5) -> list[Record]:
    records = drawn_records(seed, N)
    if scenario.name == "travelling":
        return travelling(records, seed)
    if scenario.name != "cards":
        return records
    kept: list[Record] = []
    place: dict[int, int] = {}
    for i, record in enumerate(records):  # claimant and shop become customer and terminal
        if isinstance(record, Truth):
            if record.of in place:
                kept.append(dataclasses.replace(record, of=place[record.of]))
        elif record.kind == 0:
            place[i] = len(kept)
            links = tuple((min(role, 1), number) for role, number in record.links if role in (CLAIMANT, SHOP))
            kept.append(dataclasses.replace(record, links=links))
    return kept


def shifted(records: list[Record], by_ms: int) -> list[Record]:
    return [
        dataclasses.replace(record, known_at_ms=record.known_at_ms + by_ms)
        if isinstance(record, Truth)
        else dataclasses.replace(record, time_ms=record.time_ms + by_ms)
        for record in records
    ]


@cache
def rows_of(name: str, variant: str) -> NDArray[np.float64]:
    catalogue = BY_NAME[name]
    records = records_of(catalogue.scenario)
    batch = batch_of(records, catalogue.scenario)
    engine = Engine(catalogue)
    if variant == "first half":
        return engine.observe(cut(batch, 0, len(records) // 2))
    if variant == "shifted":
        return engine.observe(batch_of(shifted(records, 52 * 7 * DAY), catalogue.scenario))
    if variant == "strangers":  # after each record one about entities that nobody else names
        mixed: list[Record] = []
        place: dict[int, int] = {}
        for i, record in enumerate(records):
            moved = dataclasses.replace(record, of=place[record.of]) if isinstance(record, Truth) else record
            place[i] = len(mixed)
            mixed.append(moved)
            if isinstance(record, Happening):
                links = tuple((role, number + 1000) for role, number in record.links)
                other_text = record.text ^ 0xFFFF0000FFFF0000 if record.text else 0
                mixed.append(dataclasses.replace(record, links=links, amount=77, text=other_text))
        found = engine.observe(batch_of(mixed, catalogue.scenario))
        own = [i for i, r in enumerate(r for r in mixed if isinstance(r, Happening) and r.kind == 0) if not _strange(r)]
        return found[own]
    if variant == "peeked":  # every record is also peeked at, twice, before it is observed
        parts = []
        for i in range(len(batch)):
            one = cut(batch, i, i + 1)
            assert engine.peek(one).tobytes() == engine.peek(one).tobytes()
            parts.append(engine.observe(one))
        return np.concatenate(parts)
    return engine.observe(batch)


def _strange(event: Happening) -> bool:
    return any(number >= 1000 for _, number in event.links) or (not event.links and event.amount == 77)


@pytest.mark.parametrize(("catalogue", "name"), EVERY, ids=IDS)
def test_future_event_does_not_change_past_row(catalogue: Catalogue, name: str) -> None:
    column = catalogue.index(name)
    past = rows_of(catalogue.scenario.name, "first half")[:, column]
    assert past.tobytes() == rows_of(catalogue.scenario.name, "all")[: len(past), column].tobytes()


@pytest.mark.parametrize(("catalogue", "name"), EVERY, ids=IDS)
def test_events_of_other_entities_change_nothing(catalogue: Catalogue, name: str) -> None:
    column = catalogue.index(name)
    alone = rows_of(catalogue.scenario.name, "all")[:, column]
    assert rows_of(catalogue.scenario.name, "strangers")[:, column].tobytes() == alone.tobytes()


# A shift by weeks keeps hour and weekday; the day of the month is the one thing it changes.
SHIFTABLE = [(catalogue, name) for catalogue, name in EVERY if name != "event.month_day"]


@pytest.mark.parametrize(("catalogue", "name"), SHIFTABLE)
def test_shifting_all_times_changes_nothing_but_the_calendar(catalogue: Catalogue, name: str) -> None:
    column = catalogue.index(name)
    unmoved = rows_of(catalogue.scenario.name, "all")[:, column]
    assert rows_of(catalogue.scenario.name, "shifted")[:, column].tobytes() == unmoved.tobytes()


@pytest.mark.parametrize(("catalogue", "name"), EVERY, ids=IDS)
def test_reading_writes_nothing(catalogue: Catalogue, name: str) -> None:
    column = catalogue.index(name)
    unread = rows_of(catalogue.scenario.name, "all")[:, column]
    assert rows_of(catalogue.scenario.name, "peeked")[:, column].tobytes() == unread.tobytes()


@pytest.mark.parametrize(("catalogue", "name"), EVERY, ids=IDS)
def test_missing_inputs_have_the_stated_value(catalogue: Catalogue, name: str) -> None:
    feature = catalogue.features[catalogue.index(name)]
    empty = Happening(START, (), None)
    value = Engine(catalogue).observe(batch_of([empty], catalogue.scenario))[0, catalogue.index(name)]
    assert np.isnan(value) == (feature.missing != "never")


@pytest.mark.parametrize(("catalogue", "name"), EVERY, ids=IDS)
def test_feature_explains_itself(catalogue: Catalogue, name: str) -> None:
    feature = catalogue.features[catalogue.index(name)]
    assert re.fullmatch(r"[a-z0-9_]+(~[a-z0-9_]+)?(\.[a-z0-9_]+)+", name)
    assert feature.family in FAMILIES
    assert feature.sentence
    assert not re.search(r"[{}]", feature.sentence)
    assert feature.unit
    assert feature.missing
    assert f"`{name}`" in catalogue.markdown()


def test_names_are_unique() -> None:
    for catalogue in BY_NAME.values():
        assert len(set(catalogue.names)) == len(catalogue.names)


def test_peek_leaves_state_as_it_is() -> None:
    batch = batch_of(records_of(CLAIMS.scenario), CLAIMS.scenario)
    engine = Engine(CLAIMS)
    engine.observe(cut(batch, 0, 100))
    before = engine.state_hash()
    engine.peek(cut(batch, 100, 200))
    engine.entity_at("claimant", 1, 2, START)
    assert engine.state_hash() == before
    assert engine.seq == 100


def test_a_witness_is_seen_as_claimant_in_any_role() -> None:
    first = Happening(START, ((WITNESS, 4), (SHOP, 1)), 100)
    second = Happening(START + DAY, ((CLAIMANT, 4), (SHOP, 2)), 100)
    row = Engine(CLAIMS).observe(batch_of([first, second], CLAIMS.scenario))[1]
    assert row[CLAIMS.index("claimant.is_new")] == 1.0
    assert row[CLAIMS.index("claimant.any_role.is_new")] == 0.0
