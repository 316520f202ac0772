# SPDX-License-Identifier: Apache-2.0
"""More load than there is capacity: what is answered in time, how soon the rest is refused, how soon it is over.

    python -m benchmarks.overload [--times 3] [--seconds 60] [--workspace DIR] [--check]

First the capacity: 64 connections that each send again as soon as they have an answer. Then a multiple of it, open
loop, and then half of it. The generator runs on the same cores, and takes more of them the more it sends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.load import percentile
from benchmarks.service import run_load
from benchmarks.subject import ServiceProcess, free_port, prepare

DEADLINE_MS: Final = 50.0
REFUSED_MS: Final = 20.0
RECOVERED_S: Final = 5.0
_AT_ONCE: Final = 1e9  # requests per second: each connection sends when it is free
_WINDOW_S: Final = 0.5


def from_sent_ms(records: list[dict[str, Any]]) -> list[float]:
    """Latencies from the moment of sending, ascending: what the generator was late by is not the service's."""
    return sorted((record["done_ns"] - record["sent_ns"]) / 1e6 for record in records)


def capacity(records: list[dict[str, Any]]) -> float:
    """Answers per second of a closed loop."""
    done = [record["done_ns"] for record in records if record["status"] == 200]
    return (len(done) - 1) / ((max(done) - min(done)) / 1e9)


def recovered_s(records: list[dict[str, Any]]) -> float | None:
    """Seconds until half a second of requests was answered in full, each before its deadline; None: never."""
    start, sound_from = records[0]["intended_ns"], None
    for record in records:
        latency_ms = (record["done_ns"] - record["sent_ns"]) / 1e6
        if record["status"] != 200 or latency_ms > DEADLINE_MS or json.loads(record["answer"])["rung"] != "full":
            sound_from = None
        elif sound_from is None:
            sound_from = record["intended_ns"]
        elif record["intended_ns"] - sound_from >= _WINDOW_S * 1e9:
            return float(sound_from - start) / 1e9
    return None


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    subject = prepare(options.workspace or folder / "workspace", n_events=options.events, seed=options.seed)
    service = ServiceProcess(subject, free_port(), folder / "service.log")
    try:
        service.wait_ready()
        drawn = (("/v1/decisions", event) for event in subject.events(10_000_000, f"-{service.process.pid}"))
        run_load(subject, service.port, list(islice(drawn, 2_000)), 400.0, folder)
        closed, _ = run_load(subject, service.port, list(islice(drawn, options.closed)), _AT_ONCE, folder)
        most = capacity(closed)
        rate = options.times * most
        over, generator = run_load(
            subject, service.port, list(islice(drawn, int(rate * options.seconds))), rate, folder, n_connections=512
        )
        after, _ = run_load(subject, service.port, list(islice(drawn, int(5 * most))), most / 2, folder)
    finally:
        service.stop()
    answered = [record for record in over if record["status"] == 200]
    refused = [record for record in over if record["status"] == 429]
    in_time, soon = from_sent_ms(answered), from_sent_ms(refused)
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {
        "capacity_per_s": round(most, 1),
        "sent_per_s": round(len(over) / generator["seconds"], 1),
        "statuses": dict(Counter(str(record["status"]) for record in over)),
        "answered_per_s": round(len(answered) / generator["seconds"], 1),
        "answered_ms": {name: round(percentile(in_time, share), 1) for name, share in shares.items()},
        "answered_late_share": round(sum(one > DEADLINE_MS for one in in_time) / len(in_time), 4),
        "refused_ms": {name: round(percentile(soon, share), 1) for name, share in shares.items()} if soon else {},
        "rungs": dict(Counter(json.loads(record["answer"])["rung"] for record in answered)),
        "recovered_s": recovered_s(after),
        "load_average": round(os.getloadavg()[0], 1),
    }


def missed(found: dict[str, Any]) -> list[str]:
    """Name what is asked and was not reached."""
    told = []
    others = {status: n for status, n in found["statuses"].items() if status not in ("200", "429")}
    if others:
        told.append(f"neither answered nor refused: {others}")
    if found["answered_ms"]["p99"] > DEADLINE_MS:
        told.append(f"answers after the deadline: p99 {found['answered_ms']['p99']} ms, at most {DEADLINE_MS:.0f}")
    if found["refused_ms"] and found["refused_ms"]["p99"] > REFUSED_MS:
        told.append(f"refusals: p99 {found['refused_ms']['p99']} ms, at most {REFUSED_MS:.0f}")
    if found["recovered_s"] is None or found["recovered_s"] > RECOVERED_S:
        told.append(f"recovered after {found['recovered_s']} s, at most {RECOVERED_S:.0f}")
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=float, default=3.0, help="the capacity")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    parser.add_argument("--closed", type=int, default=15_000, help="requests of the closed loop")
    parser.add_argument("--events", type=int, default=40_000, help="claims in the simulated history")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the workspace here and reuse it")
    parser.add_argument("--check", action="store_true", help="end with exit code 1 where something is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-overload-") as scratch:
        found = measure(options, Path(scratch))
    print(json.dumps(found, indent=2))
    told = missed(found)
    print("\n".join(told) or "all reached", file=sys.stderr)
    return 1 if options.check and told else 0


if __name__ == "__main__":
    sys.exit(main())
