# SPDX-License-Identifier: Apache-2.0
"""An event read again without its entities: equal to an event that never named them, and nothing is changed by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ringfence.engine import AlreadyFoldedError, BatchShapeError, Catalogue, Engine
from ringfence.engine.without import read_without_each, without_entities
from ringfence.scenario.batch import EVENT, Batch
from ringfence.scenario.spec import Scenario
from tests.engine.test_rings_equal_twin import ringed
from tests.oracles.streams import (
    CHANGE,
    CLAIM,
    CLAIMANT,
    DAY,
    SHOP,
    START,
    WITNESS,
    Happening,
    batch_of,
    claims_scenario,
    cut,
    drawn_records,
    entity_of,
)

pytestmark = pytest.mark.compiled  # an engine of its own for every event and every entity left out

SCENARIO = claims_scenario()
CATALOGUE = Catalogue.build(SCENARIO, neighbourhoods=4)
PERSON, STALL = 0, 1  # entity types, in the order of the scenario's roles


def digest(entity_type: int, number: int) -> tuple[int, int]:
    lo, hi = entity_of(entity_type, number)
    return hi, lo


@pytest.mark.parametrize("scenario", [SCENARIO, ringed()], ids=["plain", "with ticks"])
def test_every_reading_equals_that_of_an_event_that_never_named_the_entity(scenario: Scenario) -> None:
    catalogue = Catalogue.build(scenario, neighbourhoods=4)
    records = drawn_records(4, 130)
    batch = batch_of(records, scenario)
    kinds = {CLAIMANT: PERSON, WITNESS: PERSON, SHOP: STALL}
    n_read = 0
    for i in range(60, 130, 5):
        record = records[i]
        if not (isinstance(record, Happening) and record.kind == CLAIM):
            continue
        engine = Engine(catalogue)
        engine.observe(cut(batch, 0, i))
        before = engine.state_hash()
        found = read_without_each(engine, cut(batch, i, i + 1))
        assert engine.state_hash() == before
        named = list(dict.fromkeys((kinds[role], number) for role, number in record.links))
        assert found.entities == tuple(digest(*entity) for entity in named)
        assert found.n_entities == len(named)
        assert found.neighbourhoods is not None
        for at, entity in enumerate([None, *named]):
            links = tuple(link for link in record.links if (kinds[link[0]], link[1]) != entity)
            changed = batch_of([*records[:i], replace(record, links=links)], scenario)
            twin = Engine(catalogue)
            twin.observe(cut(changed, 0, i))
            rows, near = twin.observe_sampled(cut(changed, i, i + 1))
            assert found.rows[at].tobytes() == rows[0].tobytes()
            for name in ("events", "mask", "nodes", "event_seq", "event_time_ms"):
                assert getattr(found.neighbourhoods, name)[at].tobytes() == getattr(near, name)[0].tobytes()
            n_read += 1
        engine.observe(cut(batch, i, i + 1))  # goes on as if nothing had been asked
        assert engine.state_hash() == twin_hash(catalogue, batch, i + 1)
    assert n_read > 20


def twin_hash(catalogue: Catalogue, batch: Batch, end: int) -> str:
    twin = Engine(catalogue)
    twin.observe(cut(batch, 0, end))
    return twin.state_hash()


def test_an_entity_named_in_two_roles_is_left_out_of_both() -> None:
    records = [
        Happening(START, ((CLAIMANT, 1), (SHOP, 2)), 500),
        Happening(START + DAY, ((CLAIMANT, 1), (WITNESS, 1), (WITNESS, 3), (SHOP, 2)), 900),
    ]
    batch = batch_of(records, SCENARIO)
    engine = Engine(CATALOGUE)
    engine.observe(cut(batch, 0, 1))
    found = read_without_each(engine, cut(batch, 1, 2))
    assert found.entities == (digest(PERSON, 1), digest(PERSON, 3), digest(STALL, 2))
    assert found.roles == ((CLAIMANT, WITNESS), (WITNESS,), (SHOP,))
    column = CATALOGUE.index("claimant.is_new")
    assert found.rows[0, column] == 0.0
    assert np.isnan(found.rows[1, column])
    assert found.neighbourhoods is not None
    assert found.neighbourhoods.mask[:, 0].any(axis=1).tolist() == [True, False, True, True]


def test_only_as_many_entities_are_left_out_as_are_asked_for_and_an_event_may_name_nobody() -> None:
    crowd = tuple((WITNESS, number) for number in range(40))
    batch = batch_of([Happening(START, crowd), Happening(START, ())], SCENARIO)
    engine = Engine(Catalogue.build(SCENARIO))
    found = read_without_each(engine, cut(batch, 0, 1), most=5)
    assert (len(found.entities), found.n_entities, found.rows.shape[0]) == (5, 40, 6)
    assert found.neighbourhoods is None
    nobody = read_without_each(engine, cut(batch, 1, 2))
    assert (nobody.entities, nobody.n_entities, nobody.rows.shape[0]) == ((), 0, 1)


def test_several_entities_are_left_out_at_once() -> None:
    event = batch_of([Happening(START, ((CLAIMANT, 1), (WITNESS, 2), (SHOP, 3)))], SCENARIO)
    left = without_entities(event, (digest(PERSON, 1), digest(STALL, 3)))
    assert (left.link_role.tolist(), left.link_start.tolist()) == ([WITNESS], [0, 1])
    assert left.kind.tolist() == [EVENT]
    assert without_entities(event, ()).link_lo.tobytes() == event.link_lo.tobytes()


def test_what_is_folded_or_no_single_decided_event_is_refused() -> None:
    batch = batch_of([Happening(START, ((CLAIMANT, 1),)), Happening(START, ((CLAIMANT, 1),), None, CHANGE)], SCENARIO)
    engine = Engine(CATALOGUE)
    for wrong in (batch, cut(batch, 1, 2), cut(batch, 0, 0)):
        with pytest.raises(BatchShapeError):
            read_without_each(engine, wrong)
    engine.observe(batch)
    with pytest.raises(AlreadyFoldedError):
        read_without_each(engine, cut(batch, 0, 1))
