# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib
from typing import Any

import msgspec
import numpy as np
import pytest

from ringfence.rings import (
    Graph,
    LinkShapeError,
    NotConvergedError,
    RingSettingError,
    Scores,
    birank,
    fraud_seeds,
    personalised_pagerank,
)
from tests.oracles.rings import SlowGraph, adjacency, slow_birank, slow_graph, slow_pagerank
from tests.rings.links import DAY, drawn_links, frozen, shuffled, told

CAP = 8


def both(seed: int) -> tuple[Graph, SlowGraph]:
    links = drawn_links(seed)
    return frozen(links, cap=CAP), slow_graph(links, np.full(3, CAP), -1)


def by_key(graph: Graph, scores: Scores, entities: list[int]) -> np.ndarray:
    place = {key: v for v, key in enumerate(graph.entity_key.tolist())}
    return scores.entity[[place[key] for key in entities]]


@pytest.mark.parametrize("damping", [0.5, 0.85, 0.97])
@pytest.mark.parametrize("seed", range(5))
def test_birank_is_the_fixpoint_of_its_equations(seed: int, damping: float) -> None:
    graph, slow = both(seed)
    seeds = fraud_seeds(graph)
    w, entities = adjacency(slow)
    p, u = slow_birank(w, seeds, damping)
    found = birank(graph, seeds, damping=damping, tolerance=1e-13)
    np.testing.assert_allclose(found.event, p, rtol=0, atol=1e-10)
    np.testing.assert_allclose(by_key(graph, found, entities), u, rtol=0, atol=1e-10)
    assert p.max() > 0.0
    assert not found.entity[graph.is_hub].any()


@pytest.mark.parametrize("damping", [0.5, 0.85, 0.97])
@pytest.mark.parametrize("seed", range(5))
def test_pagerank_is_the_fixpoint_of_its_equations_and_sums_to_one(seed: int, damping: float) -> None:
    graph, slow = both(seed)
    seeds = fraud_seeds(graph, half_life_ms=50 * DAY)
    w, entities = adjacency(slow)
    assert (w.sum(1) == 0).any()  # some events dangle
    expected = slow_pagerank(w, seeds, damping)
    found = personalised_pagerank(graph, seeds, damping=damping)
    at_once = np.concatenate((found.event, by_key(graph, found, entities)))
    np.testing.assert_allclose(at_once, expected, rtol=0, atol=1e-8)
    assert found.event.sum() + found.entity.sum() == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_pagerank_equals_networkx(seed: int) -> None:
    networkx: Any = importlib.import_module("networkx")  # it has no types
    graph, slow = both(seed)
    _, entities = adjacency(slow)
    drawn = networkx.Graph()
    drawn.add_nodes_from(("event", key) for key in slow.events)
    drawn.add_edges_from((("event", e), ("entity", v)) for e in slow.events for v in slow.entities_of(e))
    seeds = fraud_seeds(graph)
    query = {("event", int(key)): float(seed) for key, seed in zip(graph.event_key, seeds, strict=True)}
    expected = networkx.pagerank(drawn, alpha=0.85, personalization=query, tol=1e-14, max_iter=1_000)
    found = personalised_pagerank(graph, seeds)
    events = [expected["event", int(key)] for key in graph.event_key]
    np.testing.assert_allclose(found.event, events, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        by_key(graph, found, entities), [expected["entity", v] for v in entities], rtol=0, atol=1e-8
    )


def test_risk_falls_with_distance_and_does_not_pass_a_hub() -> None:
    #  1 fraud - a - 2 - B - 3        1 - hub "9" - 4
    graph = frozen(told((1, "a9", 1), (2, "aB9", -1), (3, "B9", -1), (4, "d9", -1)), cap=3)
    event = birank(graph, fraud_seeds(graph)).event
    assert event[0] > event[1] > event[2] > 0.0
    assert event[3] == 0.0


def test_scores_are_linear_in_the_seeds_so_that_fraud_elsewhere_changes_none() -> None:
    near = told((1, "aB", 1), (2, "aC", -1))
    both_rings = told((1, "aB", 1), (2, "aC", -1), (3, "xY", 1), (4, "xZ", -1))
    one, two = frozen(near), frozen(both_rings)
    np.testing.assert_allclose(birank(one, fraud_seeds(one)).event, birank(two, fraud_seeds(two)).event[:2], rtol=1e-12)


def test_old_fraud_seeds_less() -> None:
    graph = frozen(told((100, "a", 1), (70, "b", 1), (40, "c", 1), (99, "d", 0)), day=100)
    assert fraud_seeds(graph).tolist() == [1.0, 1.0, 1.0, 0.0]
    assert fraud_seeds(graph, half_life_ms=30 * DAY).tolist() == [1.0, 0.5, 0.25, 0.0]


@pytest.mark.parametrize("spread", [birank, personalised_pagerank])
def test_without_known_fraud_nobody_is_risky(spread: type) -> None:
    graph = frozen(told((1, "ab", 0), (2, "bc", -1)))
    found = spread(graph, fraud_seeds(graph))
    assert not found.event.any()
    assert not found.entity.any()


def test_walk_from_an_event_that_names_nobody_restarts() -> None:
    graph = frozen(told((1, "", 1), (2, "a", 0)))
    assert personalised_pagerank(graph, fraud_seeds(graph)).event.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("spread", [birank, personalised_pagerank])
def test_order_of_rows_changes_no_score(spread: type) -> None:
    links = drawn_links(4, n_events=300)
    one, two = frozen(links, cap=CAP), frozen(shuffled(links, 1), cap=CAP)
    a, b = spread(one, fraud_seeds(one)), spread(two, fraud_seeds(two))
    assert a.event.tobytes() == b.event.tobytes()
    assert a.entity.tobytes() == b.entity.tobytes()


def test_too_few_iterations_are_refused() -> None:
    graph, _ = both(0)
    with pytest.raises(NotConvergedError, match="after 3 iterations"):
        birank(graph, fraud_seeds(graph), max_iterations=3)


def test_wrong_damping_tolerance_and_seeds_are_refused() -> None:
    graph, _ = both(0)
    with pytest.raises(RingSettingError, match="damping"):
        birank(graph, fraud_seeds(graph), damping=1.0)
    with pytest.raises(RingSettingError, match="tolerance"):
        birank(graph, fraud_seeds(graph), tolerance=0.0)
    with pytest.raises(LinkShapeError, match="seeds"):
        birank(graph, np.ones(3))


@pytest.mark.compiled
def test_larger_graph_meets_its_equations_to_the_tolerance() -> None:
    links = drawn_links(11, n_events=5_000, n_entities=4_000)
    graph = frozen(msgspec.structs.replace(links, event_decided=np.ones(5_000, np.bool_)), cap=60)
    seeds = fraud_seeds(graph)
    coarse, fine = birank(graph, seeds), birank(graph, seeds, tolerance=1e-14)
    assert np.abs(coarse.event - fine.event).sum() < 4e-10 * seeds.sum()
    assert 10 < coarse.n_iterations < 25
