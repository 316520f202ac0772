# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from ringfence.rings import Graph, Groups, communities, components, split_over_large
from ringfence.scenario.batch import MISSING_AMOUNT
from tests.oracles.rings import slow_components, slow_graph
from tests.rings.links import DAY, STRONG, drawn_links, frozen, keys, shuffled, told


def sorted_sets(graph: Graph, groups: Groups) -> list[tuple[frozenset[int], frozenset[int]]]:
    return [
        (
            frozenset(graph.entity_key[groups.entity_group == g].tolist()),
            frozenset(graph.event_key[groups.event_group == g].tolist()),
        )
        for g in range(len(groups))
    ]


def as_sets(graph: Graph, groups: Groups) -> set[tuple[frozenset[int], frozenset[int]]]:
    return set(sorted_sets(graph, groups))


@pytest.mark.parametrize("seed", range(8))
def test_components_equal_breadth_first_search(seed: int) -> None:
    links = drawn_links(seed, n_entities=160)
    graph = frozen(links, cap=5)
    slow = slow_graph(links, np.full(3, 5), -1)
    assert as_sets(graph, components(graph)) == slow_components(slow, STRONG)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("days", [1, 5, 20])
def test_components_of_short_ties_equal_breadth_first_search(seed: int, days: int) -> None:
    links = drawn_links(seed, n_events=90)
    graph = frozen(links, cap=9)
    slow = slow_graph(links, np.full(3, 9), -1)
    time_ms = dict(zip(links.event_key.tolist(), links.event_time_ms.tolist(), strict=True))
    found = as_sets(graph, components(graph, tie_ms=days * DAY))
    assert found == slow_components(slow, STRONG, time_ms, days * DAY)
    assert found != as_sets(graph, components(graph))


#  day     1    2    32   63
#  persons ab   b    bc   c      30 days: b ties 1, 2 and 32; c acted at 32 and, for itself, at 63
#                         d
def test_tie_ends_after_its_days_and_who_acted_twice_belongs_to_the_larger_group() -> None:
    graph = frozen(told((1, "ab", -1), (2, "b", -1), (32, "bc", -1), (63, "c", -1), (63, "d", -1)))
    assert as_sets(graph, components(graph, tie_ms=30 * DAY)) == {
        (keys("abc"), frozenset({1, 2, 3})), (keys("d"), frozenset({5})),
    }  # fmt: skip
    assert as_sets(graph, components(graph, tie_ms=31 * DAY)) == {
        (keys("abc"), frozenset({1, 2, 3, 4})), (keys("d"), frozenset({5})),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(1, 6))
def test_large_groups_of_short_ties_are_split_and_small_ones_left_alone(seed: int) -> None:
    graph = frozen(drawn_links(seed, n_events=300, n_entities=250), cap=15)
    whole = components(graph, tie_ms=30 * DAY)
    sizes = whole.table["n_events"] + whole.table["n_context"]
    parts = split_over_large(graph, whole, 12)
    assert np.array_equal(parts.entity_group >= 0, whole.entity_group >= 0)
    assert np.array_equal(parts.event_group >= 0, whole.event_group >= 0)
    assert (parts.table["n_entities"] > 0).all()
    small = {pair for pair, size in zip(sorted_sets(graph, whole), sizes, strict=True) if size <= 12}
    assert small <= as_sets(graph, parts)
    assert len(parts) > len(whole)


def test_components_equal_those_of_scipy_on_a_larger_graph() -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = frozen(drawn_links(3, n_events=4_000, n_entities=9_000), cap=20)
    found = components(graph).entity_group
    event = np.repeat(np.arange(graph.n_events), np.diff(graph.link_start))
    tied = STRONG[graph.link_role] & ~graph.is_hub[graph.link_entity]
    n = graph.n_events + graph.n_entities
    edges = (event[tied], graph.n_events + graph.link_entity[tied])
    _, label = connected_components(coo_array((np.ones(tied.sum()), edges), (n, n)), directed=False)
    label = label[graph.n_events :][found >= 0]
    found = found[found >= 0]
    assert len(set(zip(label, found, strict=True))) == len(set(label)) == len(set(found))


def test_shop_of_a_hundred_customers_ties_nobody_and_a_shared_car_does() -> None:
    graph = frozen(told((1, "a1", -1), (2, "b1", -1), (3, "cX1", -1), (4, "dX1", -1)))
    assert as_sets(graph, components(graph)) == {
        (keys("a"), frozenset({1})), (keys("b"), frozenset({2})), (keys("cdX"), frozenset({3, 4})),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_table_adds_up_what_its_events_say(seed: int) -> None:
    graph = frozen(drawn_links(seed), cap=9)
    groups = components(graph)
    for g, row in enumerate(groups.table):
        mine = groups.event_group == g
        decided = mine & graph.event_decided
        amount, label = graph.amount_minor, graph.event_label
        given = decided & (amount != MISSING_AMOUNT)
        members = np.flatnonzero(groups.entity_group == g)
        oldest = min(members, key=lambda v: (graph.first_ms[v], graph.entity_key[v]))
        assert row.tolist() == (
            len(members), decided.sum(), (mine & ~decided).sum(), (decided & (label >= 0)).sum(),
            (decided & (label == 1)).sum(), graph.event_time_ms[mine].min(), graph.event_time_ms[mine].max(),
            amount[given].sum(), amount[given & (label < 0)].sum(), oldest,
        )  # fmt: skip


def two_villages() -> Graph:
    """Two dense groups of persons, tied by one event that names one of each."""
    left = [(i, pair, -1) for i, pair in enumerate(("ab", "bc", "ca", "ad", "db", "cd"), 1)]
    right = [(i, pair, -1) for i, pair in enumerate(("wx", "xy", "yw", "wz", "zx", "yz"), 10)]
    return frozen(told(*left, *right, (20, "dw", -1)))


def test_label_propagation_tells_two_villages_apart() -> None:
    graph = two_villages()
    assert len(components(graph)) == 1
    found = as_sets(graph, communities(graph))
    assert {entities for entities, _ in found} == {keys("abcd"), keys("wxyz")}
    assert sum(len(events) for _, events in found) == 13


def test_only_components_above_the_bound_are_split() -> None:
    graph = two_villages()
    whole = components(graph)
    assert split_over_large(graph, whole, 13) is whole
    parts = split_over_large(graph, whole, 12)
    assert len(parts) == 2
    assert parts.table["n_events"].sum() == 13


@pytest.mark.parametrize("seed", range(5))
def test_communities_part_components_and_do_not_depend_on_the_order_of_rows(seed: int) -> None:
    links = drawn_links(seed, n_events=300, n_entities=250)
    graph, other = frozen(links, cap=15), frozen(shuffled(links, seed + 9), cap=15)
    whole, parts = components(graph), split_over_large(graph, components(graph), 20)
    again = split_over_large(other, components(other), 20)
    assert parts.entity_group.tobytes() == again.entity_group.tobytes()
    assert parts.event_group.tobytes() == again.event_group.tobytes()
    assert np.array_equal(parts.entity_group >= 0, whole.entity_group >= 0)
    assert np.array_equal(parts.event_group >= 0, whole.event_group >= 0)
    inside = {tuple(pair) for pair in np.column_stack((parts.entity_group, whole.entity_group)) if pair[0] >= 0}
    assert len(inside) == len(parts) > len(whole)


@pytest.mark.parametrize("seed", range(5))
def test_settled_labels_are_what_most_neighbours_carry(seed: int) -> None:
    graph = frozen(drawn_links(seed, n_events=200, n_entities=300), cap=15)
    groups = communities(graph, roles=np.ones(3, np.bool_))
    met: dict[int, list[int]] = {v: [] for v in np.flatnonzero(~graph.is_hub).tolist()}
    for e in range(graph.n_events):
        named = set(graph.link_entity[graph.link_start[e] : graph.link_start[e + 1]].tolist()) & met.keys()
        votes = [int(groups.entity_group[v]) for v in named]
        assert not votes or votes.count(int(groups.event_group[e])) == max(map(votes.count, votes))
        for v in named:
            met[v] += [int(groups.entity_group[w]) for w in named - {v}]
    assert max(map(len, met.values())) > 5
    for v, votes in met.items():
        assert not votes or votes.count(int(groups.entity_group[v])) == max(map(votes.count, votes))


def test_lone_entities_and_empty_graphs_have_communities_too() -> None:
    assert len(communities(frozen(told()))) == 0
    assert len(communities(frozen(told((1, "a", -1), (2, "1", -1))))) == 1
