# SPDX-License-Identifier: Apache-2.0
"""What an event may see of the exported graph: equal to a slow twin, and nothing of the future, labels included."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.pyg_graph import UNKNOWN, EventGraph, Sampled, event_graph, sample

N, N_ENTITIES = 120, 25


def drawn(seed: int) -> EventGraph:
    """Events with one to four links to a few entities, some twice in one event; labels late, some changed later."""
    rng = np.random.default_rng(seed)
    seq = np.cumsum(rng.integers(1, 4, N))
    counts = rng.integers(0, 5, N)
    link_event = np.repeat(np.arange(N), counts)
    m = link_event.shape[0]
    told = [(int(seq[e] + rng.integers(1, 60)), e, int(rng.random() < 0.4)) for e in range(N) for _ in range(2)]
    said = pl.DataFrame(told, schema={"seq": pl.Int64, "event": pl.Int64, "label": pl.Int8}, orient="row")
    said = said.unique("seq", keep="first").sort("seq")
    cut = int(seq[80])
    at_cut = {row["event"]: row["label"] for row in said.filter(pl.col("seq") <= cut).to_dicts()}
    events = pl.DataFrame(
        {
            "seq": seq,
            "event_time": pl.Series(seq * 3_600_000 - rng.integers(0, 9_000_000, N)).cast(pl.Datetime("ms", "UTC")),
            "part": ["test" if s > cut else "train" if e in at_cut else "unlabelled" for e, s in enumerate(seq)],
            "label": pl.Series([at_cut.get(e) if seq[e] <= cut else None for e in range(N)], dtype=pl.Int8),
        }
    )
    return event_graph(
        events,
        roles=("a", "b"),
        entity_type=rng.integers(0, 2, N_ENTITIES),
        link_event=link_event,
        link_entity=rng.integers(0, N_ENTITIES, m),
        link_role=rng.integers(0, 2, m),
        said=said,
        last_seq=int(max(seq[-1], said["seq"].max())),
    )


def walked(graph: EventGraph, seed: int, last: int, layers: int) -> tuple[set[int], set[int], set[int]]:
    """Events, entities and links that a seed may see, found by looking at every link."""
    links = list(zip(graph.link_event.tolist(), graph.link_entity.tolist(), strict=True))
    events, entities, taken = {seed}, set(), set()
    fresh_events, fresh_entities = {seed}, set()
    for step in range(layers):
        if step % 2 == 0:
            here = {at for at, (event, _) in enumerate(links) if event in fresh_events}
            fresh_entities = {links[at][1] for at in here} - entities
            entities |= fresh_entities
        else:
            here = set()
            for entity in fresh_entities:
                earlier = [at for at, (event, of) in enumerate(links) if of == entity and event < seed]
                here |= set(sorted(earlier, key=lambda at: (links[at][0], at))[-last:])
            fresh_events = {links[at][0] for at in here} - events
            events |= fresh_events
        taken |= here
    return events, entities, taken


def mine_of(found: Sampled, mine: np.ndarray) -> list[tuple[int, int, int]]:
    """Links of one seed as (event, entity, role)."""
    event, entity = found.event[found.link_event[mine]], found.entity[found.link_entity[mine]]
    return sorted(zip(event.tolist(), entity.tolist(), found.link_role[mine].tolist(), strict=True))


@pytest.mark.parametrize(("last", "layers"), [(3, 2), (1, 4), (50, 3), (2, 1)])
def test_what_a_seed_sees_is_what_a_slow_twin_finds(last: int, layers: int) -> None:
    for world in range(3):
        graph = drawn(world)
        seeds = np.random.default_rng(world).permutation(N)[:40]
        found = sample(graph, seeds, last=last, layers=layers)
        assert found.event[: found.n_seeds].tolist() == seeds.tolist()
        for at, seed in enumerate(seeds.tolist()):
            events, entities, links = walked(graph, seed, last, layers)
            assert sorted(found.event[found.seed == at].tolist()) == sorted(events)
            assert sorted(found.entity[found.entity_seed == at].tolist()) == sorted(entities)
            mine = found.seed[found.link_event] == at
            assert (found.entity_seed[found.link_entity[mine]] == at).all()
            nodes = mine_of(found, mine)
            expected = zip(
                *(one[sorted(links)] for one in (graph.link_event, graph.link_entity, graph.link_role)), strict=True
            )
            assert nodes == sorted((int(e), int(v), int(r)) for e, v, r in expected)


def seen_labels(graph: EventGraph, found: Sampled, seeds: np.ndarray) -> None:
    for node in range(found.event.shape[0]):
        event, before = int(found.event[node]), int(graph.seq[seeds[found.seed[node]]])
        said = graph.label_key // (graph.last_seq + 1) == event
        earlier = said & (graph.label_key % (graph.last_seq + 1) < before)
        expected = graph.label_value[earlier][-1] if earlier.any() and node >= found.n_seeds else UNKNOWN
        assert found.label[node] == expected


def test_labels_are_those_that_were_told_before_the_seed() -> None:
    graph, seeds = drawn(5), np.arange(N)
    found = sample(graph, seeds, last=8)
    seen_labels(graph, found, seeds)
    assert {UNKNOWN, 0, 1} == set(found.label.tolist())
    assert (found.label[: found.n_seeds] == UNKNOWN).all()


def test_nothing_that_comes_later_changes_what_an_event_sees() -> None:
    graph = drawn(7)
    half = N // 2
    kept, links = graph.events[:half], graph.link_event < half
    width = graph.last_seq + 1
    said = pl.DataFrame({"seq": graph.label_key % width, "event": graph.label_key // width, "label": graph.label_value})
    short = event_graph(
        kept,
        roles=graph.roles,
        entity_type=graph.entity_type,
        link_event=graph.link_event[links],
        link_entity=graph.link_entity[links],
        link_role=graph.link_role[links],
        said=said.filter((pl.col("event") < half) & (pl.col("seq") < int(graph.seq[half - 1]))),
        last_seq=graph.last_seq,
    )
    seeds = np.arange(half)
    whole, part = (sample(one, seeds, last=4, layers=4) for one in (graph, short))
    for name in ("seed", "event", "label", "gap_ms", "entity", "n_events", "link_event", "link_entity", "link_role"):
        assert getattr(whole, name).tolist() == getattr(part, name).tolist()


def test_entities_tell_how_many_links_the_seed_may_see() -> None:
    graph, seeds = drawn(3), np.arange(N)
    for layers in (1, 2):
        found = sample(graph, seeds, last=2, layers=layers)
        for at in range(found.entity.shape[0]):
            earlier = (graph.link_entity == found.entity[at]) & (graph.link_event < found.entity_seed[at])
            assert found.n_events[at] == earlier.sum()


def test_looking_ahead_is_a_cheat_that_can_be_seen() -> None:
    graph, seeds = drawn(4), np.arange(N)
    honest, cheat = (sample(graph, seeds, last=6, looks_ahead=ahead) for ahead in (False, True))
    assert (honest.event <= seeds[honest.seed]).all()
    assert (cheat.event > seeds[cheat.seed]).any()
    told_later = (cheat.label != UNKNOWN) & (graph.known_label(cheat.event, graph.seq[seeds][cheat.seed]) == UNKNOWN)
    assert told_later.any()
    assert (cheat.label[: cheat.n_seeds] == UNKNOWN).all()
