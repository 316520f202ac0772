# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ringfence.rings import (
    ENTITY,
    NEVER_MS,
    READING,
    RING,
    Links,
    LinkShapeError,
    RingSettings,
    Survey,
    UnknownRingError,
    describe,
    find_ring,
    outline,
    readings,
    ring_name,
    survey,
    top_rings,
)
from tests.oracles.rings import slow_graph
from tests.rings.links import DAY, STRONG, drawn_links, frozen, shuffled, told

SETTINGS = RingSettings()

#  day     1    2    3    4    5
#  persons ab   bc   cd        xy      fraud: the first
#  car          V    V
TOLD = told((1, "ab1", 1), (2, "bcV1", -1), (3, "cdV2", 0), (4, "e2", -1), (5, "xy1", -1))


def ring_of(found: Survey, letter: str) -> int:
    row = found.tick.find(np.array([ord(letter)], np.uint64))[0]
    return int(found.tick.entities["ring"][row])


def until(links: Links, day: int) -> Links:
    """What was there on that day."""
    old = links.event_time_ms <= day * DAY
    place = np.cumsum(old) - 1
    kept = old[links.link_event]
    events = {name: getattr(links, name)[old] for name in links.__struct_fields__ if not name.startswith("link_")}
    rows = {name: getattr(links, name)[kept] for name in ("link_key", "link_check", "link_role")}
    return Links(**events, **rows, link_event=place[links.link_event[kept]])


def test_tick_says_of_each_entity_which_ring_it_is_in_and_what_the_ring_amounts_to() -> None:
    found = survey(frozen(TOLD, day=10), SETTINGS)
    ring = found.tick.rings[ring_of(found, "a")]
    assert {name: int(ring[name]) for name in RING.names or () if name != "risk"} == {
        "ring_id": ord("a"), "founded_ms": DAY, "first_ms": DAY, "last_ms": 3 * DAY, "n_entities": 5, "n_events": 3,
        "n_context": 0, "n_known": 2, "n_fraud": 1, "amount_minor": 3_000, "unlabelled_minor": 1_000,
        "grown_entities": 5, "grown_events": 3,
    }  # fmt: skip
    assert ring["risk"] == found.scores.event[:3].mean()
    shop = found.tick.entities[found.tick.find(np.array([ord("1")], np.uint64))[0]]
    assert (int(shop["ring"]), int(shop["degree"]), bool(shop["is_hub"])) == (-1, 3, False)
    assert found.tick.find(np.array([1, ord("c")], np.uint64)).tolist()[0] == -1


def test_growth_counts_from_the_tick_before() -> None:
    first = survey(frozen(until(TOLD, 2), day=2), SETTINGS)
    second = survey(frozen(TOLD, day=9), SETTINGS, first.tick)
    ring = second.tick.rings[ring_of(second, "d")]
    assert (int(ring["ring_id"]), int(ring["grown_entities"]), int(ring["grown_events"])) == (ord("a"), 1, 1)
    new = second.tick.rings[ring_of(second, "x")]
    assert (int(new["grown_entities"]), int(new["grown_events"])) == (2, 1)


def test_expired_ring_shrinks_keeps_its_id_and_its_age() -> None:
    first = survey(frozen(TOLD, day=5), SETTINGS)
    second = survey(frozen(TOLD, day=12, since_day=1), SETTINGS, first.tick)
    ring = second.tick.rings[ring_of(second, "c")]
    assert int(ring["ring_id"]) == ord("a")
    assert (int(ring["founded_ms"]), int(ring["first_ms"])) == (DAY, 2 * DAY)
    assert int(ring["grown_entities"]) == -1


@pytest.mark.parametrize("seed", range(3))
def test_equal_links_give_equal_digests_and_one_label_more_another(seed: int) -> None:
    links = drawn_links(seed, n_events=200)
    settings = RingSettings(over_large=20)
    previous = survey(frozen(until(links, 60), day=60, cap=12), settings).tick
    one = survey(frozen(links, cap=12), settings, previous).tick
    two = survey(frozen(shuffled(links, 5), cap=12), settings, previous).tick
    assert one.digest == two.digest
    label = links.event_label.copy()
    named = np.unique(links.link_event)
    label[named[label[named] == -1][0]] = 1
    changed = msgspec.structs.replace(links, event_label=label)
    assert survey(frozen(changed, cap=12), settings, previous).tick.digest != one.digest
    assert survey(frozen(links, cap=12), settings).tick.digest != one.digest


@pytest.mark.parametrize("seed", range(3))
def test_tick_holds_every_active_entity_once_by_key(seed: int) -> None:
    links = drawn_links(seed)
    tick = survey(frozen(links, cap=4, since_day=50), SETTINGS).tick
    slow = slow_graph(links, np.full(3, 4), 50 * DAY)
    named = {entity for pairs in slow.events.values() for entity, _ in pairs}
    assert tick.entities["key"].tolist() == sorted(named)
    assert set(tick.entities["key"][tick.entities["is_hub"]].tolist()) == slow.hubs
    assert (tick.entities["ring"][tick.entities["is_hub"]] == -1).all()
    rows = tick.find(tick.entities["key"][::-1])
    assert rows.tolist() == list(range(len(tick.entities)))[::-1]


def test_reading_says_of_an_entity_what_its_ring_is_like_and_of_a_lone_shop_nothing() -> None:
    found = survey(frozen(TOLD, day=10), SETTINGS)
    rows = {chr(int(row["key"])): row for row in readings(found.tick)}
    assert set(rows) == set("abcdeVxy12")
    figures = ("n_entities", "n_events", "n_known", "n_fraud", "grown_events", "founded_ms", "degree")
    assert [int(rows["c"][name]) for name in figures] == [5, 3, 2, 1, 3, DAY, 2]
    assert [int(rows["1"][name]) for name in figures] == [0, 0, 0, 0, 0, NEVER_MS, 3]
    assert rows["c"]["ring_risk"] == found.scores.event[:3].mean()
    assert rows["a"]["risk"] > rows["c"]["risk"] > 0.0


def test_tables_have_no_padding_whose_bytes_could_differ() -> None:
    for table in (ENTITY, READING, RING):
        assert table.itemsize == sum(table[name].itemsize for name in table.names or ())


def test_tick_before_must_be_older() -> None:
    found = survey(frozen(TOLD, day=10), SETTINGS)
    with pytest.raises(LinkShapeError, match="previous tick"):
        survey(frozen(TOLD, day=10), SETTINGS, found.tick)


def test_survey_of_nothing_is_an_empty_tick() -> None:
    found = survey(frozen(told()), SETTINGS)
    later = survey(frozen(told(), day=200), SETTINGS, found.tick)
    assert (len(later.tick.entities), len(later.tick.rings)) == (0, 0)
    assert later.tick.find(np.array([5], np.uint64)).tolist() == [-1]


def test_ring_shows_members_associates_events_and_the_evidence() -> None:
    found = survey(frozen(TOLD, day=10), SETTINGS)
    row = ring_of(found, "a")
    ring = describe(found, row)
    letters = {chr(int.from_bytes(member.digest[8:], "big")): member for member in (*ring.members, *ring.associates)}
    assert {letter for letter, member in letters.items() if member.is_member} == set("abcdV")
    assert {letter for letter, member in letters.items() if not member.is_member} == {"1"}  # 2 serves one of its events
    assert (letters["1"].n_events, letters["1"].n_elsewhere, letters["b"].n_fraud) == (2, 1, 1)
    assert [(event.key, event.label) for event in ring.events] == [(1, 1), (2, -1), (3, 0)]
    assert (ring.exposure_minor, ring.unlabelled_minor, ring.fraud_share) == (3_000, 1_000, 0.5)
    told_by = [(piece.event, piece.other, chr(int(found.graph.entity_key[piece.entity]))) for piece in ring.evidence]
    assert told_by == [(0, 1, "b"), (1, 2, "V")]  # c says the same as V, and its key is larger


def test_rarest_tie_is_the_first_evidence() -> None:
    #  a takes part in four events, V in two: V ties 1 and 2, so a need not
    found = survey(frozen(told((1, "aV", -1), (2, "aV", -1), (3, "a", -1), (4, "a", -1)), day=9), SETTINGS)
    ring = describe(found, ring_of(found, "a"))
    told_by = [(chr(int(found.graph.entity_key[piece.entity])), piece.n_sharing) for piece in ring.evidence]
    assert told_by == [("V", 2), ("a", 4), ("a", 4)]


@pytest.mark.parametrize("seed", range(4))
def test_evidence_spans_each_component_with_one_piece_less_than_events(seed: int) -> None:
    found = survey(frozen(drawn_links(seed, n_events=120), cap=10), SETTINGS)
    for row in top_rings(found, min_events=2).tolist():
        ring = describe(found, row)
        assert len(ring.evidence) == len(ring.events) - 1
        for piece in ring.evidence:
            assert STRONG[piece.role]
            assert not found.graph.is_hub[piece.entity]


def test_rings_are_listed_by_risk_and_only_from_the_size_asked_for() -> None:
    found = survey(frozen(TOLD, day=10), SETTINGS)
    assert [outline(found, row).n_events for row in top_rings(found, min_events=1).tolist()] == [3, 1]
    assert top_rings(found, min_events=4).tolist() == []
    assert top_rings(found, min_events=1, top=1).tolist() == [ring_of(found, "a")]


def test_ring_is_found_by_the_beginning_of_its_id() -> None:
    found = survey(frozen(drawn_links(1), day=100), SETTINGS)
    for row in range(3):
        name = ring_name(int(found.tick.rings["ring_id"][row]))
        assert find_ring(found, name) == row
        assert find_ring(found, name[:12].lower()) == row
    with pytest.raises(UnknownRingError, match="no ring"):
        find_ring(found, "R-00000000deadbeef")
    with pytest.raises(UnknownRingError, match="no ring"):
        find_ring(found, "nonsense")
