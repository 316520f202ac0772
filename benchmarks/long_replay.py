# SPDX-License-Identifier: Apache-2.0
"""Replay of a long history under a memory budget: events a second as it grows, who is forgotten, and peak memory.

    python -m benchmarks.long_replay [--claims 8000000] [--workspace DIR] [--memory 4]
    python -m benchmarks.long_replay --all-families --memory 3 [--ticks 182]

The world is simulated and imported first (minutes, and about 3 GB of disk for eight million claims; --workspace keeps
it). One thread; time is processor time of the engine alone, reading the ledger is not in it, and ticks are counted
apart. Exit code 1 below 40,000 events a second or from 6 GB of memory on.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from ringfence.engine import Catalogue, Engine
from ringfence.engine.layout import DAY_MS
from ringfence.engine.replay import in_bulk
from ringfence.engine.stats import FAMILIES
from ringfence.engine.ticks import PreparedTick
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios
from ringfence.scenario.spec import Scenario
from ringfence.simulate import simulate_motor_claims

LEAST_EVENTS_PER_S: Final = 40_000
MOST_MEMORY_GB: Final = 6.0
STEP: Final = 1_000_000  # events between two lines


class TickTime:
    """Computes ticks on the spot and adds up what they take."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self.n = 0

    def __call__(self, work: Callable[[], PreparedTick]) -> Callable[[], PreparedTick]:
        began = time.thread_time()
        found = work()
        self.spent_s += time.thread_time() - began
        self.n += 1
        return lambda: found


def prepare(workspace: Path, n_claims: int, seed: int) -> tuple[Scenario, Ledger]:
    """Simulate and import what is not there yet."""
    fresh = not (workspace / "ringfence.yaml").exists()
    ends_ms = simulate_motor_claims(n_claims, seed, workspace).ends_ms if fresh else None
    scenario = load_scenarios(workspace / "ringfence.yaml")["motor-claims"]
    directory = workspace / "ledger" / scenario.name
    if ends_ms is not None:
        began = time.perf_counter()
        import_files(directory, scenario, workspace, FakeClock(ends_ms))
        print(f"imported in {time.perf_counter() - began:,.0f} s", flush=True)
    return scenario, Ledger.open(directory, scenario)


def replay(scenario: Scenario, ledger: Ledger) -> tuple[float, float]:
    """Return events a processor second and peak memory in GB."""
    catalogue = Catalogue.build(scenario)
    engine, ticks = Engine(catalogue), TickTime()
    engine.compute_ticks_by(ticks)
    room = catalogue.plan.room
    names = len(catalogue.names)
    print(f"{names} features; room for {room.slots:,} entities, {room.pairs:,} pairs, {room.stored:,} events")
    print("| events | events/s so far | in this step | entities | forgotten | pairs | forgotten | state GB | peak GB |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    spent = step_spent = 0.0
    n = step_n = 0
    for batch in in_bulk(engine, ledger.batches()):
        if not n:
            engine.peek(batch)  # compiles
        began, in_ticks = time.thread_time(), ticks.spent_s
        engine.observe(batch)
        spent += time.thread_time() - began - (ticks.spent_s - in_ticks)
        n += int((batch.kind == 0).sum())
        if n - step_n >= STEP:
            _line(engine, n, n / spent, (n - step_n) / (spent - step_spent))
            step_n, step_spent = n, spent
    _line(engine, n, n / spent, (n - step_n) / max(spent - step_spent, 1e-9))
    if ticks.n:
        print(f"{ticks.n} ticks beside that, {ticks.spent_s / ticks.n:.1f} s each")
    return n / spent, _peak_gb()


def _line(engine: Engine, n: int, so_far: float, step: float) -> None:
    counts = engine.counters
    names = ("entities", "entities_forgotten", "pairs", "pairs_forgotten")
    cells = " | ".join(f"{counts[name]:,}" for name in names)
    print(
        f"| {n:,} | {so_far:,.0f} | {step:,.0f} | {cells} | {engine.nbytes / 1e9:.2f} | {_peak_gb():.2f} |", flush=True
    )


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", type=int, default=8_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the world here and reuse it")
    parser.add_argument("--all-families", action="store_true", help="control charts, texts and rings as well")
    parser.add_argument("--memory", type=float, default=4.0, help="budget of the scenario's state, in GiB")
    parser.add_argument("--ticks", type=int, default=182, help="days between two ticks, with --all-families")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as folder:
        scenario, ledger = prepare(options.workspace or Path(folder), options.claims, options.seed)
        scenario = msgspec.structs.replace(scenario, memory_bytes=int(options.memory * 2**30))
        if options.all_families:
            rings = msgspec.structs.replace(scenario.rings, every_ms=options.ticks * DAY_MS)
            scenario = msgspec.structs.replace(scenario, features=dict.fromkeys(FAMILIES, True), rings=rings)
            ledger = Ledger.open(ledger.directory, scenario)  # whose batches carry what these families read
        rate, peak_gb = replay(scenario, ledger)
    sys.exit(0 if rate >= LEAST_EVENTS_PER_S and peak_gb < MOST_MEMORY_GB else 1)


if __name__ == "__main__":
    main()
