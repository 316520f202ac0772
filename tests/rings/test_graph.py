# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ringfence.rings import NEVER_MS, LinkShapeError, RingSettingError, RingSettings, freeze
from tests.oracles.rings import slow_graph
from tests.rings.links import DAY, STRONG, drawn_links, frozen, shuffled, told


@pytest.mark.parametrize("seed", range(6))
def test_graph_equals_its_slow_twin(seed: int) -> None:
    links, cap = drawn_links(seed), np.array([3, 3, 4])
    graph = freeze(links, strong=STRONG, hub_cap=cap, as_of_ms=100 * DAY, active_since_ms=40 * DAY)
    slow = slow_graph(links, cap, 40 * DAY)
    pairs = {
        int(graph.event_key[e]): {
            (int(graph.entity_key[graph.link_entity[i]]), int(graph.link_role[i]))
            for i in range(graph.link_start[e], graph.link_start[e + 1])
        }
        for e in range(graph.n_events)
    }
    assert pairs == slow.events
    assert graph.n_links == sum(map(len, slow.events.values()))
    assert {int(key) for key in graph.entity_key[graph.is_hub]} == slow.hubs
    for v, key in enumerate(graph.entity_key.tolist()):
        assert graph.degree[v] == sum(key in {entity for entity, _ in event} for event in slow.events.values())
    assert list(slow.events) == graph.event_key.tolist()
    assert slow.hubs


@pytest.mark.parametrize("seed", range(4))
def test_order_of_rows_changes_no_byte(seed: int) -> None:
    links = drawn_links(seed)
    one, two = frozen(links, cap=7), frozen(shuffled(links, seed + 50), cap=7)
    for name in one.__struct_fields__:
        a, b = getattr(one, name), getattr(two, name)
        assert a.tobytes() == b.tobytes() if isinstance(a, np.ndarray) else a == b, name


@pytest.mark.parametrize("seed", range(4))
def test_a_graph_whose_links_may_be_overwritten_is_the_same(seed: int) -> None:
    drawn = drawn_links(seed)
    # In the order of their keys and all active, as the engine hands them over: then nothing has to be gathered.
    order = np.argsort(drawn.event_key)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_event = np.argsort(place[drawn.link_event], kind="stable")
    links = msgspec.structs.replace(
        drawn,
        **{name: getattr(drawn, name)[order] for name in drawn.__struct_fields__ if not name.startswith("link_")},
        **{name: getattr(drawn, name)[by_event] for name in drawn.__struct_fields__ if name.startswith("link_")},
    )
    links = msgspec.structs.replace(links, link_event=place[drawn.link_event][by_event])
    wanted = {"strong": STRONG, "hub_cap": np.full(3, 7), "as_of_ms": 100 * DAY, "active_since_ms": -1}
    before = links.link_key.copy()
    kept, same = freeze(links, **wanted), frozen(drawn, cap=7)
    assert (links.link_key == before).all()
    consumed = freeze(links, **wanted, consume=True)
    assert (links.link_key != before).any()
    for name in kept.__struct_fields__:
        a, b, c = (getattr(graph, name) for graph in (kept, consumed, same))
        if isinstance(a, np.ndarray):
            assert a.tobytes() == b.tobytes() == c.tobytes(), name


def test_event_at_the_lower_bound_has_expired_and_the_next_has_not() -> None:
    #  day      10   11        20 = T
    #  active       (10 ......... 20]
    graph = frozen(told((10, "ab", -1), (11, "bc", -1)), day=20, since_day=10)
    assert graph.event_key.tolist() == [2]
    assert set(graph.entity_key.tolist()) == {ord("b"), ord("c")}


def test_event_younger_than_the_moment_is_refused() -> None:
    links = told((10, "ab", -1), (11, "bc", -1))
    assert frozen(links, day=11).n_events == 2
    with pytest.raises(LinkShapeError, match="none after T"):
        frozen(links, day=10)


def test_hub_in_one_role_is_a_hub_everywhere_and_the_cap_itself_is_not_above() -> None:
    graph = frozen(told((1, "a1", -1), (2, "a1", -1), (3, "b1", -1)), cap=2)
    assert dict(zip(map(chr, graph.entity_key.tolist()), graph.is_hub.tolist(), strict=True)) == {
        "1": True, "a": False, "b": False,
    }  # fmt: skip


def test_entity_that_no_strong_role_names_was_never_first_seen() -> None:
    graph = frozen(told((3, "a1", -1), (1, "a1", -1)))
    first = dict(zip(map(chr, graph.entity_key.tolist()), graph.first_ms.tolist(), strict=True))
    assert first == {"a": DAY, "1": NEVER_MS}


def test_event_that_names_a_thousand_entities_is_ordered_too() -> None:
    g = np.random.default_rng(1)
    links = told((1, "a", -1))
    links = msgspec.structs.replace(
        links,
        link_event=np.zeros(1_500, np.int64),
        link_key=g.integers(0, 1_000, 1_500).astype(np.uint64),
        link_check=np.zeros(1_500, np.uint64),
        link_role=np.zeros(1_500, np.uint8),
    )
    graph = frozen(links)
    assert graph.entity_key.tolist() == sorted(set(links.link_key.tolist()))


def test_two_checks_under_one_key_are_counted_as_a_collision() -> None:
    links = told((1, "a", -1), (2, "a", -1))
    assert frozen(links).n_collisions == 0
    assert frozen(msgspec.structs.replace(links, link_check=np.array([1, 2], np.uint64))).n_collisions == 1


def test_nothing_at_all_is_an_empty_graph() -> None:
    graph = frozen(told())
    assert (graph.n_events, graph.n_entities, graph.n_links) == (0, 0, 0)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("event_key", np.array([5, 5])),
        ("event_time_ms", np.array([1])),
        ("link_event", np.array([0, 2])),
        ("link_event", np.array([-1, 0])),
        ("link_role", np.array([0, 3], np.uint8)),
        ("link_check", np.zeros(1, np.uint64)),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(field: str, values: np.ndarray) -> None:
    links = msgspec.structs.replace(told((1, "a", -1), (2, "b", -1)), **{field: values})
    with pytest.raises(LinkShapeError, match=field):
        frozen(links)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tick_ms": 0},
        {"hub_cap": 0},
        {"hub_caps": {"shop": 0}},
        {"over_large": 1},
        {"damping": 1.0},
        {"tolerance": 0.0},
        {"recency_half_life_ms": 0},
    ],
)
def test_settings_outside_their_bounds_are_refused(wrong: dict) -> None:
    with pytest.raises(RingSettingError, match=next(iter(wrong))):
        RingSettings(**wrong)
