# SPDX-License-Identifier: Apache-2.0
"""What a tick of the rings costs on a large drawn graph, step by step, on one thread.

    python -m benchmarks.rings_speed                                  # 2.3 million nodes, 12 million links
    python -m benchmarks.rings_speed --size 8e6 2.3e6 1.2e7           # events, entities, links

Each step runs `--repeats` times; the table has the median, by the wall clock and in CPU seconds, since other work may
share the machine. Compiling is done before.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from ringfence.rings import (
    Links,
    RingSettings,
    birank,
    components,
    fraud_seeds,
    freeze,
    personalised_pagerank,
    split_over_large,
    survey,
)


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


def time_steps(links: Links, n_repeats: int) -> tuple[list[tuple[str, float, float]], str]:
    """(step, seconds, CPU seconds) for each step of a tick, medians; and what the graph is like."""
    rows = []

    def timed(what: str, step: Callable[[], Any]) -> Any:
        walls, cpus = [], []
        for _ in range(n_repeats):
            began, cpu = time.perf_counter(), time.process_time()
            result = step()
            walls.append(time.perf_counter() - began)
            cpus.append(time.process_time() - cpu)
        rows.append((what, median(walls), median(cpus)))
        return result

    settings = RingSettings()
    bounds = {"as_of_ms": len(links.event_key), "active_since_ms": -1}
    graph = timed("freeze the graph", lambda: freeze(links, strong=np.arange(8) < 2, hub_cap=np.full(8, 100), **bounds))
    groups = timed("components", lambda: components(graph, tie_ms=settings.tie_ms))
    seeds = fraud_seeds(graph)
    ranked = timed("BiRank", lambda: birank(graph, seeds))
    walked = timed("personalised PageRank", lambda: personalised_pagerank(graph, seeds))
    timed("communities of over-large components", lambda: split_over_large(graph, groups, settings.over_large))
    timed("all of a tick but freezing", lambda: survey(graph, settings).tick.digest)
    said = (
        f"{graph.n_events + graph.n_entities:,} nodes ({graph.n_events:,} events), {graph.n_links:,} links; "
        f"largest component {groups.table['n_events'].max():,} events; "
        f"{ranked.n_iterations} and {walked.n_iterations} iterations"
    )
    return rows, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", type=float, nargs=3, default=(1.5e6, 8e5, 1.2e7), metavar=("EVENTS", "ENTITIES", "LINKS")
    )
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    time_steps(drawn_links(1_000, 500, 5_000), 1)  # compiles
    rows, said = time_steps(drawn_links(*(int(number) for number in arguments.size)), arguments.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{said}; one thread, median of {arguments.repeats}; peak memory {peak:.1f} GB with the input\n")
    print("| step | s | CPU s |\n|---|---|---|")
    for what, wall, cpu in rows:
        print(f"| {what} | {wall:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
