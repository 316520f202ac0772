# SPDX-License-Identifier: Apache-2.0
"""Is the service as fast after eight million events as after a hundred thousand?

    python -m benchmarks.service_growth [--sizes 100000 8000000] [--rate 500] [--seconds 60] [--repeat 3]
                                        [--workspace DIR]

Each history is simulated and imported in a workspace of its own, replayed once, and left there as a snapshot, so that
every start restores it; for eight million events that takes some ten minutes and 4 GB of disk, and `--workspace`
keeps it. One release, trained on the smallest history, decides in all. Services take turns, one up at a time, every
second round in the opposite order; the follower and its snapshots, which grow with the history, are beside. Exit code
1 where the median 99th percentile of the largest history is more than 1.3 times that of the smallest, where service and
follower hold 8 GB together, on an error, and when the generator was late.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.load import run_load
from benchmarks.loops import DECISIONS, Target, open_loop
from benchmarks.subject import FRAUD_RATE, ServiceProcess, Subject, free_port, prepare
from benchmarks.surroundings import children, memory
from ringfence.engine import Engine, write_snapshot
from ringfence.engine.replay import in_bulk
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.batch import EVENT
from ringfence.serving.recovery import champion_of
from ringfence.workspace import Workspace

MOST_RATIO: Final = 1.3
MOST_MEMORY_GB: Final = 8.0
EVENTS_PER_CLAIM: Final = 1.9  # of a simulated history: contracts start, change and lapse as well
READY_S: Final = 900.0
_NOTES: Final = "history.json"


@dataclass(frozen=True)
class History:
    """A workspace to serve from, and how long its history is."""

    subject: Subject
    n_events: int
    n_entities: int
    state_bytes: int


def make_histories(folder: Path, sizes: list[int], seed: int, fraud_rate: float) -> list[History]:
    """Make a history of about so many events each, or take those of an earlier run; ascending."""
    made: list[History] = []
    for size in sorted(sizes):
        path = folder / f"history-{size}"
        subject = prepare(
            path,
            n_events=round(size / EVENTS_PER_CLAIM),
            seed=seed,
            fraud_rate=fraud_rate,
            release_of=made[0].subject.path if made else None,
        )
        notes = path / _NOTES
        if not notes.exists():
            notes.write_text(json.dumps(replayed(Workspace(path))))
        made.append(History(subject, **json.loads(notes.read_text())))
        print(f"{made[-1].n_events:,} events, {made[-1].n_entities:,} entities at hand", file=sys.stderr, flush=True)
    return made


def replayed(workspace: Workspace) -> dict[str, int]:
    """Replay a ledger and leave the state as a snapshot; return what it counts."""
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    release = champion_of(ledger, workspace.releases_dir)
    engine, n_events = Engine(release.catalogue), 0
    for batch in in_bulk(engine, Ledger.open(ledger.directory, release.scenario).batches()):
        engine.observe(batch)
        n_events += int((batch.kind == EVENT).sum())
    write_snapshot(engine, workspace.state_dir(scenario))
    return {"n_events": n_events, "n_entities": engine.counters["entities"], "state_bytes": engine.nbytes}


def run_once(history: History, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start a service on a history, load it, end it."""
    subject, rate = history.subject, options.rate
    deadline = ("--deadline", str(options.deadline))
    service = ServiceProcess(subject, free_port(), folder / "service.log", options=deadline)
    try:
        ready_s = service.wait_ready(READY_S)
        drawn = subject.events(sys.maxsize, f"-{service.process.pid}")  # a kept workspace has seen earlier ids
        warm = [(DECISIONS, event) for event in islice(drawn, int(rate * options.warm_up))]
        if warm:
            run_load(subject, service.port, warm, rate, folder)
        target = Target(subject.token, service.port, (service.process.pid,))
        found = open_loop(target, islice(drawn, int(rate * options.seconds)), rate, folder)
        held = [memory(pid).pss for pid in (service.process.pid, *children(service.process.pid))]
    finally:
        service.stop()
    return {"n_events": history.n_events, "ready_s": round(ready_s, 1), "memory_gb": round(sum(held) / 1e9, 3), **found}


def measure(histories: list[History], options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """All runs in the order in which they were made."""
    runs = []
    for number in range(options.repeat):
        for history in histories if number % 2 == 0 else histories[::-1]:
            runs.append(run_once(history, options, folder))
            print(line(runs[-1]), flush=True)
    return runs


def line(run: dict[str, Any]) -> str:
    latency = run["latency_ms"]
    return (
        f"| {run['n_events']:,} | {latency.get('p50')} | {latency.get('p99')} | {latency.get('p99.9')} | "
        f"{run['errors']} | {run['degraded']} | {run['memory_gb']:.2f} | {run['ready_s']} | {run['steal_s']} | "
        f"{run['load_average']:.1f} |"
    )


HEADER: Final = (
    "| events | p50 ms | p99 ms | p99.9 ms | errors | degraded | GB held | ready after s | stolen s | load |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def medians_of_p99(runs: list[dict[str, Any]]) -> dict[int, float]:
    """The median 99th percentile of each history, in ms; infinite where a run has no answers."""
    found: dict[int, list[float]] = {}
    for run in runs:
        found.setdefault(run["n_events"], []).append(run["latency_ms"].get("p99", float("inf")))
    return {n_events: statistics.median(values) for n_events, values in sorted(found.items())}


def missed(runs: list[dict[str, Any]]) -> list[str]:
    """Name what is asked and was not reached."""
    p99 = medians_of_p99(runs)
    least, most = min(p99), max(p99)
    told = []
    if p99[most] > MOST_RATIO * p99[least]:
        told.append(
            f"p99 {p99[most]:.2f} ms after {most:,} events, {p99[least]:.2f} after {least:,}: "
            f"{p99[most] / p99[least]:.2f} times, at most {MOST_RATIO}"
        )
    for number, run in enumerate(runs, 1):
        if run["errors"]:
            told.append(f"run {number}: {run['errors']} errors")
        if run["generator"]["late"]:
            told.append(f"run {number}: the generator was late: {run['generator']}")
        if run["memory_gb"] >= MOST_MEMORY_GB:
            told.append(f"run {number}: {run['memory_gb']} GB held, less than {MOST_MEMORY_GB}")
    return told


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 8_000_000], help="events of each history")
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds of load before each")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each history")
    parser.add_argument("--deadline", type=int, default=50, help="ms in which the service has to decide")
    parser.add_argument("--fraud-rate", type=float, default=FRAUD_RATE, help="of the worlds")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the histories here and reuse them")
    options = parser.parse_args(arguments)
    if len(set(options.sizes)) < 2:
        parser.error("--sizes takes two different sizes or more")
    with tempfile.TemporaryDirectory(prefix="ringfence-growth-") as scratch:
        folder = Path(scratch)
        histories = make_histories(options.workspace or folder, options.sizes, options.seed, options.fraud_rate)
        print(HEADER)
        runs = measure(histories, options, folder)
    p99 = medians_of_p99(runs)
    print(f"medians of p99: {', '.join(f'{n:,} events {value:.2f} ms' for n, value in p99.items())}; ", end="")
    print(f"ratio {p99[max(p99)] / p99[min(p99)]:.2f}")
    told = missed(runs)
    print("\n".join(told) or "all reached", file=sys.stderr)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
