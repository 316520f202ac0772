# SPDX-License-Identifier: Apache-2.0
"""Rings: how many planted ones are found in time, how pure they are, and what a tick costs.

    python -m benchmarks.rings --events 200000 --seed 1      # a simulated insurer, one tick a week
    python -m benchmarks.rings --speed                       # 2.3 million nodes, 12 million links, one thread

A staged ring is found when, at a tick within 14 days of its third claim, one group holds at least half of its claims so
far; for BiRank, when at least half of them are among the top 1 % of active claims. Purity of a group: the ring's share
of its claims; of BiRank: the share of fraud among the top 1 %.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.links import KnownLinks, links_known_at
from ringfence.rings import (
    Graph,
    Groups,
    Links,
    RingSettings,
    birank,
    communities,
    components,
    fraud_seeds,
    freeze,
    freeze_for,
    personalised_pagerank,
    split_over_large,
    survey,
    top_rings,
)
from ringfence.scenario.clock import SystemClock
from ringfence.scenario.spec import Scenario
from ringfence.simulate import simulate_motor_claims
from ringfence.workspace import Workspace

DAY_MS = 86_400_000
WITHIN_MS = 14 * DAY_MS
TOP_SHARE = 0.01
KIND = "staged_accident"
LISTED = 20


class World(msgspec.Struct):
    """A simulated insurer's links, when each label became known, and the truth."""

    scenario: Scenario
    known: KnownLinks
    label_known_ms: np.ndarray  # (n,) of the label in `known`
    fraud: np.ndarray  # (n,) the truth
    rings: dict[str, np.ndarray]  # staged ring -> seqs of its claims, by time


def load_world(folder: Path, n_events: int, seed: int) -> World:
    """Simulate, import, and join the truth to the ledger's seqs."""
    simulate_motor_claims(n_events, seed, folder)
    here = Workspace(folder)
    scenario = here.scenario()
    import_files(here.ledger_dir(scenario), scenario, here.path, SystemClock())
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    began = time.perf_counter()
    known = links_known_at(ledger, ledger.watermark_ms, -(2**62))
    print(
        f"{len(known.seq):,} events and {len(known.link_event):,} links read from the ledger in "
        f"{time.perf_counter() - began:.1f} s"
    )
    truth = pl.read_parquet(folder / "truth.parquet").join(
        ledger.events(-(2**62)), left_on="claim_id", right_on="event_id", how="inner"
    )
    staged = truth.filter(pl.col("kind") == KIND).sort("event_time_ms", "seq")
    fraud = np.zeros(len(known.seq), np.bool_)
    fraud[np.searchsorted(known.seq, truth.filter("fraud")["seq"].to_numpy())] = True
    labels = ledger.labels()
    known_ms = np.full(len(known.seq), np.iinfo(np.int64).max)
    known_ms[np.searchsorted(known.seq, labels["event_seq"].to_numpy())] = labels["known_at_ms"].to_numpy()
    return World(
        scenario=scenario,
        known=known,
        label_known_ms=known_ms,
        fraud=fraud,
        rings={str(ring): part["seq"].to_numpy() for (ring,), part in staged.group_by("ring_id", maintain_order=True)},
    )


def links_at(world: World, as_of_ms: int) -> Links:
    """What was known then. Imported events are in order of time, so the first n are those up to T."""
    known = world.known
    n = int(np.searchsorted(known.time_ms, as_of_ms, side="right"))
    m = int(np.searchsorted(known.link_event, n))
    return Links(
        event_key=known.seq[:n],
        event_time_ms=known.time_ms[:n],
        event_label=np.where(world.label_known_ms[:n] <= as_of_ms, known.label[:n], np.int8(-1)),
        event_decided=known.event_type[:n] == world.scenario.decided.index,
        amount_minor=known.amount_minor[:n],
        link_event=known.link_event[:m],
        link_key=known.link_lo[:m],
        link_check=known.link_hi[:m],
        link_role=known.link_role[:m],
    )


class Tally:
    """What one method found, over all ticks."""

    def __init__(self) -> None:
        self.purity: dict[str, float] = {}  # ring -> purity where it was found, the best of its ticks
        self.seconds: list[float] = []
        self.sizes: list[int] = []  # of the largest group, or of the top 1 %

    def see(self, ring: str, purity: float) -> None:
        self.purity[ring] = max(purity, self.purity.get(ring, 0.0))


def judge_groups(tally: Tally, graph: Graph, groups: Groups, due: dict[str, np.ndarray]) -> None:
    for ring, seqs in due.items():
        group = groups.event_group[np.searchsorted(graph.event_key, seqs)]
        counts = np.bincount(group[group >= 0], minlength=1)
        if 2 * counts.max() >= len(seqs):
            # Of groups with equally many of the ring's claims, the smaller.
            best = min(np.flatnonzero(counts == counts.max()), key=lambda g: groups.table["n_events"][g])
            tally.see(ring, counts[best] / groups.table["n_events"][best])
    tally.sizes.append(int(groups.table["n_events"].max()))


def judge_scores(tally: Tally, graph: Graph, score: np.ndarray, fraud: np.ndarray, due: dict[str, np.ndarray]) -> None:
    claims = np.flatnonzero(graph.event_decided)
    top = np.zeros(graph.n_events, np.bool_)
    chosen = claims[np.argsort(-score[claims], kind="stable")[: max(1, int(TOP_SHARE * len(claims)))]]
    top[chosen[score[chosen] > 0.0]] = True
    for ring, seqs in due.items():
        if 2 * top[np.searchsorted(graph.event_key, seqs)].sum() >= len(seqs):
            tally.see(ring, float(fraud[top].mean()))
    tally.sizes.append(int(top.sum()))


def planted(n_events: int, seed: int, extra_strong: list[str]) -> None:
    """Print the table of planted rings."""
    with tempfile.TemporaryDirectory(prefix="ringfence-rings-") as folder:
        world = load_world(Path(folder) / "insurer", n_events, seed)
    settings, scenario = RingSettings(), world.scenario
    strong = [role.name for role in scenario.roles if role.strong]
    extra = [name for name in extra_strong if name in {role.name for role in scenario.roles} and name not in strong]
    wider = np.array([role.strong or role.name in extra for role in scenario.roles], np.bool_)
    everything = np.ones(len(scenario.roles), np.bool_)
    third = {
        ring: int(world.known.time_ms[np.searchsorted(world.known.seq, seqs[2])])
        for ring, seqs in world.rings.items()
        if len(seqs) > 2
    }
    last_ms = int(world.known.time_ms[-1])
    third = {ring: at for ring, at in third.items() if at + WITHIN_MS <= last_ms}
    methods: dict[str, Callable[[Graph], Groups]] = {
        f"components by {', '.join(strong)}": components,
        "rings: those, over-large ones split": lambda graph: split_over_large(
            graph, components(graph), settings.over_large
        ),
    }
    if extra:
        methods |= {
            f"components, {', '.join(extra)} strong too": lambda graph: components(
                msgspec.structs.replace(graph, strong=wider)
            ),
            "rings: those too, over-large ones split": lambda graph: split_over_large(
                widened := msgspec.structs.replace(graph, strong=wider), components(widened), settings.over_large
            ),
        }
    methods["label propagation over all links"] = lambda graph: communities(graph, roles=everything)
    tallies = {name: Tally() for name in (*methods, "BiRank, top 1 %")}
    build: list[float] = []
    n_ticks, graph = 0, None
    for as_of_ms in range(int(world.known.time_ms[0]) + settings.tick_ms, last_ms, settings.tick_ms):
        n_ticks += 1
        links = links_at(world, as_of_ms)
        began = time.perf_counter()
        graph = freeze_for(scenario, links, settings, as_of_ms)
        build.append(time.perf_counter() - began)
        due = {}
        for ring, at in third.items():
            if at <= as_of_ms <= at + WITHIN_MS:
                seqs = world.rings[ring]
                seqs = seqs[seqs <= links.event_key[-1]]
                due[ring] = seqs[np.isin(seqs, graph.event_key)]
        for name, method in methods.items():
            began = time.perf_counter()
            groups = method(graph)
            tallies[name].seconds.append(time.perf_counter() - began)
            judge_groups(tallies[name], graph, groups, due)
        began = time.perf_counter()
        scores = birank(graph, fraud_seeds(graph))
        tally = tallies["BiRank, top 1 %"]
        tally.seconds.append(time.perf_counter() - began)
        judge_scores(tally, graph, scores.event, world.fraud[np.searchsorted(world.known.seq, graph.event_key)], due)
    if graph is None:
        raise SystemExit("no tick falls into so short a world; ask for more events")
    print(
        f"{n_events:,} claims, seed {seed}: {n_ticks} weekly ticks, {len(third)} staged rings with a third claim in "
        f"time; at the end {graph.n_events:,} active events, {graph.n_entities:,} entities, {graph.n_links:,} links; "
        f"freezing a graph {1000 * np.mean(build):.0f} ms a tick\n"
    )
    columns = ("method", "found", "and pure (>= half)", "median purity", "largest", "ms a tick")
    rows = [[name, *row_of(tally, third)] for name, tally in tallies.items()]
    either = Tally()
    for name in (list(methods)[1], "BiRank, top 1 %"):
        for ring, purity in tallies[name].purity.items():
            either.see(ring, purity)
    rows.append(["rings or BiRank", *row_of(either, third)])
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    found = survey(graph, settings)
    listed = top_rings(found, top=LISTED).tolist()
    truth = world.fraud[np.searchsorted(world.known.seq, graph.event_key)] & graph.event_decided
    shares = [truth[found.groups.event_group == row].sum() / found.tick.rings["n_events"][row] for row in listed]
    print(
        f"\nof the {len(listed)} rings that `ringfence rings` lists first at the end, {sum(s >= 0.5 for s in shares)} "
        f"are at least half fraud; mean share of fraud {np.mean(shares):.2f}, of all claims {world.fraud.mean():.4f}"
    )


def row_of(tally: Tally, third: dict[str, int]) -> list[str]:
    purity = list(tally.purity.values())
    return [
        f"{len(purity)} of {len(third)} ({len(purity) / max(len(third), 1):.0%})",
        f"{sum(p >= 0.5 for p in purity)}",
        f"{np.median(purity):.2f}" if purity else "-",
        f"{max(tally.sizes):,}" if tally.sizes else "",
        f"{1000 * np.mean(tally.seconds):.0f}" if tally.seconds else "",
    ]


def drawn_links(n_events: int, n_entities: int, n_links: int, seed: int = 1) -> Links:
    """Links without any locality, entities of uneven degree: the worst case for memory."""
    g = np.random.default_rng(seed)
    key = g.integers(0, 2**63, n_entities).astype(np.uint64)
    entity = (n_entities * g.random(n_links) ** 1.5).astype(np.int64)
    known = g.random(n_events)
    return Links(
        event_key=np.arange(1, n_events + 1),
        event_time_ms=np.arange(n_events),
        event_label=np.where(known < 0.003, 1, np.where(known < 0.3, 0, -1)).astype(np.int8),
        event_decided=np.ones(n_events, np.bool_),
        amount_minor=np.full(n_events, 100, np.int64),
        link_event=np.sort(g.integers(0, n_events, n_links)),
        link_key=key[entity],
        link_check=np.zeros(n_links, np.uint64),
        link_role=(np.arange(n_links) % 8).astype(np.uint8),
    )


def speed(n_events: int, n_entities: int, n_links: int) -> None:
    """Print the time of each step: wall clock, and CPU time where other work shares the machine."""
    time_steps(drawn_links(1_000, 500, 5_000))  # compiles
    rows, said = time_steps(drawn_links(n_events, n_entities, n_links))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{said}; one thread; peak memory {peak:.1f} GB\n\n| step | s | CPU s |\n|---|---|---|")
    for what, wall, cpu in rows:
        print(f"| {what} | {wall:.2f} | {cpu:.2f} |")


def time_steps(links: Links) -> tuple[list[tuple[str, float, float]], str]:
    """(step, seconds, CPU seconds) for each step of a tick, and what the graph is like."""
    rows = []

    def timed(what: str, step: Callable[[], Any]) -> Any:
        began, cpu = time.perf_counter(), time.process_time()
        result = step()
        rows.append((what, time.perf_counter() - began, time.process_time() - cpu))
        return result

    bounds = {"as_of_ms": len(links.event_key), "active_since_ms": -1}
    graph = timed("freeze", lambda: freeze(links, strong=np.arange(8) < 2, hub_cap=np.full(8, 100), **bounds))
    groups = timed("components", lambda: components(graph))
    seeds = fraud_seeds(graph)
    ranked = timed("BiRank, tolerance 1e-10", lambda: birank(graph, seeds))
    walked = timed("personalised PageRank, tolerance 1e-10", lambda: personalised_pagerank(graph, seeds))
    timed("communities of over-large components", lambda: split_over_large(graph, groups, 200))
    found = timed("survey: all of a tick but freezing", lambda: survey(graph, RingSettings()))
    timed("digest", lambda: found.tick.digest)
    said = (
        f"{graph.n_events + graph.n_entities:,} nodes ({graph.n_events:,} events), {graph.n_links:,} links; "
        f"largest component {groups.table['n_events'].max():,} events; "
        f"{ranked.n_iterations} and {walked.n_iterations} iterations"
    )
    return rows, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="claims of the simulated insurer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strong", nargs="*", default=["witness"], help="roles to try as strong besides")
    parser.add_argument("--speed", action="store_true", help="time a large drawn graph instead")
    parser.add_argument(
        "--size", type=float, nargs=3, default=(1.5e6, 8e5, 1.2e7), metavar=("EVENTS", "ENTITIES", "LINKS")
    )
    arguments = parser.parse_args()
    if arguments.speed:
        speed(*(int(number) for number in arguments.size))
    else:
        planted(arguments.events, arguments.seed, arguments.strong)


if __name__ == "__main__":
    main()
