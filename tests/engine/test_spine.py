# SPDX-License-Identifier: Apache-2.0
"""Questions between the records of one replay against a slow twin: a replay for each, that ends with the event."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.errors import SpineOrderError
from ringfence.engine.spine import spine_rows
from ringfence.scenario.batch import EVENT, Batch
from ringfence.scenario.spec import RingTicks, Scenario
from tests.oracles.streams import DAY, HOUR, START, Happening, batch_of, claims_scenario, cut, drawn_records, with_room


def ringed() -> Scenario:
    scenario = claims_scenario(segments=("make",))
    roles = tuple(msgspec.structs.replace(role, strong=role.entity_type == "person") for role in scenario.roles)
    ticks = RingTicks(every_ms=2 * DAY, active_ms=20 * DAY, tie_ms=30 * DAY, hub_cap=8, lag_ms=5 * HOUR)
    return msgspec.structs.replace(scenario, roles=roles, rings=ticks, features=scenario.features | {"rings": True})


CATALOGUES = {
    "plain": Catalogue.build(claims_scenario()),
    "rings": Catalogue.build(ringed()),
    "forgetting": with_room(Catalogue.build(claims_scenario()), slots=60, pairs=40, stored=64),
}
N = 160


class Records:
    """A batch as a source, in parts of 37 records."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 37) -> Iterator[Batch]:
        until = int(self.batch.seq[-1]) if until_seq is None else until_seq
        begin, end = (int(np.searchsorted(self.batch.seq, seq, side="right")) for seq in (after_seq, until))
        for low in range(begin, end, size):
            yield cut(self.batch, low, min(low + size, end))


@cache
def records_of(name: str) -> Batch:
    return batch_of(drawn_records(11, N, n_people=25, n_shops=5), CATALOGUES[name].scenario)


def events_at(batch: Batch, places: list[int], times_ms: list[int]) -> Batch:
    """The events at some places of a batch, at other times."""
    parts = [cut(batch, place, place + 1) for place in places]
    joined = {
        field: np.concatenate([getattr(part, field) for part in parts])
        for field in Batch.__struct_fields__
        if field != "link_start"
    }
    counts = [int(part.link_start[1]) for part in parts]
    joined["link_start"] = np.concatenate(([0], np.cumsum(np.array(counts, np.int64)))).astype(np.int64)
    return Batch(**joined | {"time_ms": np.array(times_ms, np.int64)})


def row_of_twin(catalogue: Catalogue, batch: Batch, asked: Batch, i: int, seen: int) -> NDArray[np.float64]:
    engine = Engine(catalogue)
    engine.observe(cut(batch, 0, seen))
    question = cut(asked, i, i + 1)
    return engine.observe(msgspec.structs.replace(question, seq=np.array([seen + 1], np.int64)))[0]


@pytest.mark.parametrize("name", CATALOGUES)
def test_asking_for_each_event_before_it_comes_equals_its_row(name: str) -> None:
    catalogue, batch = CATALOGUES[name], records_of(name)
    places = np.flatnonzero((batch.kind == EVENT) & (batch.event_type == catalogue.plan.decided))
    asked = events_at(batch, places.tolist(), batch.time_ms[places].tolist())
    rows = spine_rows(Records(batch), catalogue, asked, batch.seq[places] - 1)
    assert rows.tobytes() == Engine(catalogue).observe(batch).tobytes()


QUESTIONS = st.lists(
    st.tuples(
        st.integers(0, N - 1),  # whose entities
        st.integers(0, N),  # how many records it sees
        st.sampled_from([0, 1, HOUR, 5 * HOUR, 2 * DAY, 9 * DAY]),  # later than the last of them
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("name", CATALOGUES)
@settings(max_examples=8)
@given(questions=QUESTIONS)
def test_rows_of_any_questions_equal_a_replay_for_each(name: str, questions: list[tuple[int, int, int]]) -> None:
    catalogue, batch = CATALOGUES[name], records_of(name)
    decided = np.flatnonzero((batch.kind == EVENT) & (batch.event_type == catalogue.plan.decided))
    watermarks = np.concatenate(([START], np.maximum.accumulate(batch.time_ms)))
    asked_at = sorted((seen, int(watermarks[seen]) + later, whose) for whose, seen, later in questions)
    places = [int(decided[whose % len(decided)]) for _, _, whose in asked_at]
    asked = events_at(batch, places, [time_ms for _, time_ms, _ in asked_at])
    seen = np.array([n_seen for n_seen, _, _ in asked_at], np.int64)
    rows = spine_rows(Records(batch), catalogue, asked, seen)
    for i in range(len(asked_at)):
        assert rows[i].tobytes() == row_of_twin(catalogue, batch, asked, i, int(seen[i])).tobytes()


def test_ticks_that_only_a_question_reaches_are_read_and_taken_back() -> None:
    catalogue, batch = CATALOGUES["rings"], records_of("rings")
    seen = N // 2
    times = [int(batch.time_ms[:seen].max()) + later for later in (0, 2 * DAY, 3 * DAY, 30 * DAY)]
    place = int(np.flatnonzero((batch.kind == EVENT) & (batch.event_type == 0) & (batch.seq > seen))[0])
    asked = events_at(batch, [place] * 4 + [place], [*times, int(batch.time_ms[place])])
    at = np.array([seen] * 4 + [place], np.int64)
    rows = spine_rows(Records(batch), catalogue, asked, at)
    expected = [row_of_twin(catalogue, batch, asked, i, int(at[i])) for i in range(5)]
    assert rows.tobytes() == np.array(expected).tobytes()
    family = [i for i, feature in enumerate(catalogue.features) if feature.family == "rings"]
    assert rows[0, family].tobytes() != rows[1, family].tobytes()  # or nothing would have been tried


def test_nothing_is_known_before_the_first_record() -> None:
    catalogue = CATALOGUES["plain"]
    asked = batch_of([Happening(START, ((0, 1), (2, 1)))], catalogue.scenario)
    rows = spine_rows(Records(records_of("plain")), catalogue, asked, np.zeros(1, np.int64))
    assert rows.tobytes() == Engine(catalogue).observe(asked).tobytes()


def test_no_question_has_no_row() -> None:
    batch = records_of("plain")
    rows = spine_rows(Records(batch), CATALOGUES["plain"], cut(batch, 0, 0), np.zeros(0, np.int64))
    assert rows.shape == (0, len(CATALOGUES["plain"].features))


@pytest.mark.parametrize(("seen", "later_ms"), [([3, 2], 0), ([3, 3], -1)])
def test_questions_out_of_order_are_refused(seen: list[int], later_ms: int) -> None:
    asked = batch_of([Happening(START, ((0, 1),)), Happening(START + later_ms, ((0, 2),))], claims_scenario())
    with pytest.raises(SpineOrderError, match="row 1"):
        spine_rows(Records(records_of("plain")), CATALOGUES["plain"], asked, np.array(seen, np.int64))
