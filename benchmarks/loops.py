# SPDX-License-Identifier: Apache-2.0
"""Three ways of asking a service, each measured: at a constant rate, as fast as it answers, and in batches.

All take (path, body) pairs or events from the caller, send them from another process and return one flat description.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.answered import from_sent_ms, percentiles, summary
from benchmarks.load import AT_ONCE, run_load
from benchmarks.subject import steal_seconds
from benchmarks.surroundings import Surroundings, cpu_by_process, cpu_of, with_fronts

DECISIONS: Final = "/v1/decisions"
BATCHES: Final = "/v1/decisions/batch"
# The service holds four batches at once, and refuses a fifth.
BATCH_CONNECTIONS: Final = 3

Event = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """Who is asked."""

    token: str
    port: int
    pids: tuple[int, ...]  # whose processor time, with that of all processes below, is what answers cost


def open_loop(target: Target, events: Iterable[Event], rate: float, folder: Path) -> dict[str, Any]:
    """Ask at `rate` per second, whatever comes back."""
    before, stolen = cpu_by_process(target.pids), steal_seconds()
    with Surroundings() as around:
        records, generator = run_load(target, target.port, ((DECISIONS, event) for event in events), rate, folder)
        after, fronts = cpu_by_process(target.pids), with_fronts(target.pids)
    spent = {pid: seconds - before.get(pid, 0.0) for pid, seconds in after.items()}
    service = sum(spent.get(pid, 0.0) for pid in fronts)
    found = summary(records, generator, rate, around)
    return {
        **found,
        "service_cpu_cores": round(service / generator["seconds"], 3),
        "all_processes_cpu_cores": round(sum(spent.values()) / generator["seconds"], 3),
        "generator_cpu_cores": round(generator["cpu_seconds"] / generator["seconds"], 3),
        "generator_in": generator["generator"],
        "cpu_ms_per_decision": round(1e3 * sum(spent.values()) / max(found["answered"], 1), 3),
        "steal_s": round(steal_seconds() - stolen, 2),
        "load_average": os.getloadavg()[0],
    }


def closed_loop(target: Target, events: Iterable[Event], n_connections: int, folder: Path) -> dict[str, Any]:
    """Ask on so many connections, on each as soon as it has its answer; latency is from the moment of sending."""
    before, stolen = cpu_of(target.pids), steal_seconds()
    records, _ = run_load(
        target, target.port, ((DECISIONS, event) for event in events), AT_ONCE, folder, n_connections=n_connections
    )
    spent = cpu_of(target.pids) - before
    answered = [record for record in records if record["status"] == 200]
    return {
        "connections": n_connections,
        "requests": len(records),
        "errors": len(records) - len(answered),
        "decisions_per_s": per_second(answered, len(answered)),
        "latency_ms": percentiles([from_sent_ms(record) for record in answered]),
        "degraded": sum(bool(json.loads(record["answer"]).get("degraded")) for record in answered),
        "cpu_ms_per_decision": round(1e3 * spent / max(len(answered), 1), 3),
        "steal_s": round(steal_seconds() - stolen, 2),
        "load_average": os.getloadavg()[0],
    }


def batches(target: Target, events: Iterable[Event], n_lines: int, folder: Path) -> dict[str, Any]:
    """Ask in batches of so many lines, on three connections as fast as answers come; latency is that of a batch."""
    before, stolen = cpu_of(target.pids), steal_seconds()
    asked = ((BATCHES, lines) for lines in cut(events, n_lines))
    records, _ = run_load(target, target.port, asked, AT_ONCE, folder, n_connections=BATCH_CONNECTIONS)
    spent = cpu_of(target.pids) - before
    answered = [record for record in records if record["status"] == 200]
    lines = [json.loads(line) for record in answered for line in record["answer"].splitlines()]
    decided = [line for line in lines if "action" in line]
    return {
        "lines": n_lines,
        "requests": len(records),
        "errors": len(records) - len(answered) + len(lines) - len(decided),
        "decisions": len(decided),
        "decisions_per_s": per_second(answered, len(decided)),
        "latency_ms": percentiles([from_sent_ms(record) for record in answered]),
        "degraded": sum(line["degraded"] for line in decided),
        "cpu_ms_per_decision": round(1e3 * spent / max(len(decided), 1), 3),
        "steal_s": round(steal_seconds() - stolen, 2),
        "load_average": os.getloadavg()[0],
    }


def cut(events: Iterable[Event], size: int) -> Iterator[list[Event]]:
    """Cut events into lists of `size`, the last one shorter."""
    rest = iter(events)
    while part := list(islice(rest, size)):
        yield part


def per_second(answered: list[dict[str, Any]], n: int) -> float:
    """Decisions per second between the first that was sent and the last that was answered; 0 where none was."""
    if not answered:
        return 0.0
    began, ended = min(record["sent_ns"] for record in answered), max(record["done_ns"] for record in answered)
    return round(n / ((ended - began) / 1e9), 1)
