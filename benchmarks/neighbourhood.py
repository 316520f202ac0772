# SPDX-License-Identifier: Apache-2.0
"""One live neighbourhood in process: p50 and p99 of the call, beside a large state, on ordinary and crowded events.

    python -m benchmarks.neighbourhood [--events 1000000] [--calls 20000] [--sampled 16] [--json]

A drawn network: claimant, shop, lawyer and up to seven witnesses an event, a twentieth fraud, labels known later.
Timed are single events: `Engine.neighbourhood` (a look), and `Engine.observe_sampled` (row, sample and update), each
with the cost of its Python wrapper. On a busy machine the wall clock's tail is that of waiting for a processor; the
thread's own processor time is told beside it. The state is far larger than any cache, and entities are drawn at random.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.subject import steal_seconds
from ringfence.engine import Catalogue, Engine
from ringfence.engine.layout import DAY_MS
from ringfence.ledger.assembly import slice_batch
from ringfence.scenario.batch import EVENT, LABEL, NO_LABEL, Batch
from ringfence.scenario.spec import Amount, EventType, Role, RoleColumn, Scenario

START_MS = 1_577_836_800_000
STEP_MS = 60_000
CLAIMANT, SHOP, LAWYER, WITNESS = range(4)
MOST_WITNESSES = 7
N_BATCH = 32_768


def scenario_of(hub_cap: int) -> Scenario:
    kinds = (("claimant", "person", False), ("shop", "shop", False), ("lawyer", "lawyer", False))
    roles = tuple(
        Role(name=name, entity_type=entity_type, index=i, many=many, hub_cap=hub_cap)
        for i, (name, entity_type, many) in enumerate((*kinds, ("witness", "person", True)))
    )
    claim = EventType(
        name="claim",
        index=0,
        event_id_column="id",
        event_time_column="time",
        roles=tuple(RoleColumn(role=role.name, column=role.name) for role in roles),
        amount=Amount(column="amount", currency="EUR"),
    )
    windows_ms = tuple(days * DAY_MS for days in (1, 7, 30, 90))
    return Scenario(name="claims", decide="claim", event_types=(claim,), roles=roles, windows_ms=windows_ms)


def drawn_batch(rng: np.random.Generator, after_seq: int, n: int, *, n_people: int, crowded: bool) -> Batch:
    """Draw `n` events that follow `after_seq`, a minute apart; in `crowded` ones every witness seat is full."""
    seq = after_seq + 1 + np.arange(n, dtype=np.int64)
    n_witnesses = np.full(n, MOST_WITNESSES) if crowded else rng.integers(0, 3, n)
    n_links = 3 + n_witnesses
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(n_links)])
    place = np.arange(start[-1]) - np.repeat(start[:-1], n_links)
    role = np.minimum(place, WITNESS).astype(np.uint8)
    people = rng.integers(0, n_people, start[-1])
    shops = (rng.pareto(1.1, start[-1]) * n_people / 200).astype(np.int64) % (n_people // 20)  # a few have most
    number = np.where(role == SHOP, shops, np.where(role == LAWYER, people % (n_people // 50), people))
    kind = np.where(role == WITNESS, CLAIMANT, role).astype(np.uint64)
    lo = (number.astype(np.uint64) * np.uint64(4) + kind) * np.uint64(0x9E3779B97F4A7C15)
    return Batch(
        seq=seq,
        kind=np.full(n, EVENT, np.uint8),
        event_type=np.zeros(n, np.uint8),
        time_ms=START_MS + seq * STEP_MS,
        offset_ms=np.zeros(n, np.int32),
        amount_minor=rng.integers(1_000, 1_000_000, n),
        values=np.zeros((n, 0)),
        link_start=start,
        link_role=role,
        link_lo=lo,
        link_hi=lo ^ np.uint64(1),
        label_event_seq=np.full(n, -1, np.int64),
        label_event_time_ms=np.zeros(n, np.int64),
        label_value=np.full(n, NO_LABEL, np.int8),
        label_replaces=np.full(n, NO_LABEL, np.int8),
        simhash=np.zeros((n, 0), np.uint64),
    )


def labels_of(batch: Batch, after_seq: int, rng: np.random.Generator) -> Batch:
    """Label the events of an earlier batch, to follow `after_seq`; a twentieth are fraud."""
    n = len(batch)
    return Batch(
        seq=after_seq + 1 + np.arange(n, dtype=np.int64),
        kind=np.full(n, LABEL, np.uint8),
        event_type=np.zeros(n, np.uint8),
        time_ms=np.full(n, START_MS + (after_seq + 1) * STEP_MS),
        offset_ms=np.zeros(n, np.int32),
        amount_minor=np.zeros(n, np.int64),
        values=np.zeros((n, 0)),
        link_start=batch.link_start,
        link_role=batch.link_role,
        link_lo=batch.link_lo,
        link_hi=batch.link_hi,
        label_event_seq=batch.seq,
        label_event_time_ms=batch.time_ms,
        label_value=(rng.random(n) < 0.05).astype(np.int8),
        label_replaces=np.full(n, NO_LABEL, np.int8),
        simhash=np.zeros((n, 0), np.uint64),
    )


def timed(call: Callable[[Batch], Any], batches: list[Batch]) -> dict[str, float]:
    """Microseconds a call, by the clock on the wall and by that of this thread's processor time."""
    wall, processor = np.empty(len(batches)), np.empty(len(batches))
    for i, batch in enumerate(batches):
        began_processor, began = time.thread_time_ns(), time.perf_counter_ns()
        call(batch)
        wall[i] = time.perf_counter_ns() - began
        processor[i] = time.thread_time_ns() - began_processor
    clocks = (("", wall), ("processor ", processor))
    return {f"{name}p{q:g}": round(float(np.percentile(ns, q)) / 1e3, 1) for name, ns in clocks for q in (50, 99, 99.9)}


def measured(n_events: int, n_calls: int, n_sampled: int) -> dict[str, Any]:
    """Build up a history, then time `n_calls` single events of each kind; figures by their names."""
    rng = np.random.default_rng(1)
    n_people = max(n_events // 3, 1_000)
    catalogue = Catalogue.build(scenario_of(hub_cap=1_000), neighbourhoods=n_sampled)
    engine = Engine(catalogue)
    nothing = np.zeros(N_BATCH, np.bool_)
    earlier: Batch | None = None
    began = time.perf_counter()
    n_batches = -(-n_events // N_BATCH)
    for number in range(n_batches):
        crowded = number % 8 == 7  # an eighth of history, so that many a stored event is full
        batch = drawn_batch(rng, engine.seq, N_BATCH, n_people=n_people, crowded=crowded)
        engine.observe(batch, nothing)
        if earlier is not None:
            engine.observe(labels_of(earlier, engine.seq, rng))
        earlier = batch
    history_s = time.perf_counter() - began
    steal = steal_seconds()
    gc.freeze()
    found: dict[str, Any] = {
        "events_of_history": n_batches * N_BATCH,
        "labels": engine.counters["labels"],
        "entities": engine.counters["entities"],
        "state_mb": round(engine.nbytes / 1e6),
        "history_s": round(history_s, 1),
        "load_average_1_min": round(os.getloadavg()[0], 1),
        "processors": os.cpu_count(),
    }
    for name, crowded in (("ordinary", False), ("crowded", True)):
        drawn = drawn_batch(rng, engine.seq, n_calls, n_people=n_people, crowded=crowded)
        singles = [slice_batch(drawn, i, i + 1) for i in range(len(drawn))]
        for one in singles[:200]:
            engine.neighbourhood(one)
        found[f"{name}: neighbourhood, µs"] = timed(engine.neighbourhood, singles)
        visited = engine.neighbourhood(drawn).n_visited
        found[f"{name}: entities looked at, mean and most"] = [round(float(visited.mean())), int(visited.max())]
        found[f"{name}: observe_sampled, µs"] = timed(engine.observe_sampled, singles)
    gc.unfreeze()
    found["stolen_s_while_timed"] = round(steal_seconds() - steal, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events of history")
    parser.add_argument("--calls", type=int, default=20_000, help="timed calls of each kind")
    parser.add_argument("--sampled", type=int, default=16, help="events of a seat, 1 to 32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    found = measured(arguments.events, arguments.calls, arguments.sampled)
    if arguments.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:48} {value}")


if __name__ == "__main__":
    main()
