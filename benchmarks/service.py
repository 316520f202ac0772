# SPDX-License-Identifier: Apache-2.0
"""The service under load: latency at a constant rate, the most it decides, batches; everything on, durable.

    python -m benchmarks.service --rate 1000 --seconds 120 --repeat 3    # open loop, from the intended send time
    python -m benchmarks.service --closed 64                             # the most that 64 connections get decided
    python -m benchmarks.service --batch 64                              # the same by batches of 64 lines
    python -m benchmarks.service --peer --rate 200 --repeat 3            # beside FastAPI, Redis and LightGBM

A real service process on a simulated insurer, a generator process beside it on the same machine. All runs are told,
and the medians of several. Exit code 1 when a run misses the target (99th percentile, batches per second), when a
request found an error or a flagged answer had no reasons, and when the generator itself was late: then the run says
nothing about the service. `--peer` has no target. It needs the extra `bench` and redis-server.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.answered import MOST_LAG_MS, medians
from benchmarks.load import run_load
from benchmarks.loops import DECISIONS, Event, Target, batches, closed_loop, open_loop
from benchmarks.subject import ServiceProcess, Subject, free_port, prepare

MOST_P99_MS: Final = 10.0
LEAST_BATCH_PER_S: Final = 3_000.0
AIM_BATCH_PER_S: Final = 6_000.0


def missed(found: dict[str, Any]) -> list[str]:
    """Name what a run misses of what is asked."""
    told = []
    if found["errors"]:
        told.append(f"{found['errors']} errors")
    if "generator" in found:
        generator = found["generator"]
        if generator["late"]:
            told.append(
                f"the generator was late: it turned to {generator['turned_to_per_s']} requests/s of "
                f"{generator['asked_per_s']}, lag {generator['lag_ms']} ms, p99 at most {MOST_LAG_MS}"
            )
        if found["latency_ms"].get("p99", float("inf")) >= MOST_P99_MS:
            told.append(f"p99 {found['latency_ms'].get('p99')} ms, not below {MOST_P99_MS}")
        if found["explained_share"] < 1.0:
            told.append(f"{100 * (1 - found['explained_share']):.2f} % of flagged answers without three reasons")
    if "lines" in found and found["decisions_per_s"] < LEAST_BATCH_PER_S:
        told.append(
            f"{found['decisions_per_s']} decisions/s in batches, at least {LEAST_BATCH_PER_S} (aim {AIM_BATCH_PER_S})"
        )
    return told


def run_once(target: Target, drawn: Iterator[Event], options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    if options.closed:
        return closed_loop(target, islice(drawn, options.requests), options.closed, folder)
    if options.batch:
        return batches(target, islice(drawn, options.requests), options.batch, folder)
    return open_loop(target, islice(drawn, int(options.rate * options.seconds)), options.rate, folder)


def measure(subject: Subject, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Warm a service up and ask it as often as wanted; `runs`, and their `medians`."""
    deadline = ("--deadline", str(options.deadline))
    service = ServiceProcess(subject, free_port(), folder / "service.log", options=deadline)
    try:
        ready_s = service.wait_ready()
        target = Target(subject.token, service.port, (service.process.pid,))
        drawn = subject.events(sys.maxsize, f"-{service.process.pid}")  # a reused workspace has seen earlier ids
        warm = [(DECISIONS, event) for event in islice(drawn, int(options.rate * options.warm_up))]
        if warm:
            run_load(subject, service.port, warm, options.rate, folder)
        runs = [run_once(target, drawn, options, folder) for _ in range(options.repeat)]
    finally:
        service.stop()
    return {"ready_s": round(ready_s, 2), "runs": runs, "medians": medians(runs)}


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each open loop")
    parser.add_argument("--repeat", type=int, default=1, help="how often; all are told, and medians")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds of load before the measurement")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--closed", type=int, metavar="N", help="closed loop of N connections instead")
    way.add_argument("--batch", type=int, metavar="LINES", help="the batch endpoint instead, so many lines a request")
    way.add_argument("--peer", action="store_true", help="both loops, in turns with a service as people write it")
    parser.add_argument("--requests", type=int, default=20_000, help="decisions asked for, closed and in batches")
    parser.add_argument("--deadline", type=int, default=50, help="ms in which the service has to decide")
    parser.add_argument("--events", type=int, default=60_000, help="claims in the simulated history")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the workspace here and reuse it")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as scratch:
        folder = Path(scratch)
        subject = prepare(options.workspace or folder / "workspace", n_events=options.events, seed=options.seed)
        if options.peer:
            from benchmarks.peer.turns import in_turns

            print(json.dumps(in_turns(subject, options, folder), indent=None if options.json else 2))
            return 0
        found = measure(subject, options, folder)
    print(json.dumps(found, indent=None if options.json else 2))
    told = [f"run {number}: {one}" for number, run in enumerate(found["runs"], 1) for one in missed(run)]
    print("\n".join(told) or "all reached", file=sys.stderr)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
