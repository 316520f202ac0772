# SPDX-License-Identifier: Apache-2.0
"""Twenty minutes of constant load with a switch of the release in the middle: is the service the same at the end?

    python -m benchmarks.soak [--minutes 20] [--rate 500] [--snapshot-every 300] [--workspace DIR] [--write]

Latency is counted from the intended send time. Every ten seconds the memory of the service and of the follower beside
it is read, and from the service's metrics the state that it accounts for, of which the follower holds another copy. At
half time another release of the same features goes live. The follower writes snapshots as it always does, at least
every 50,000 records. What is not accounted for, memory less state, may rise by a twentieth and 32 MB from the third
quarter to the last: after the switch the release from before is kept ready beside the new one, so both halves are not
comparable, and in the first one caches fill. Exit code 1 where it rises more, where the 99th percentile of the last
quarter is more than 1.2 times that of the first, on an error or a degraded answer, where the switch failed or no
snapshot was written, and when the generator was late.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.answered import generator_told, latency_ms, percentiles
from benchmarks.load import run_load
from benchmarks.loops import DECISIONS
from benchmarks.snapshots import Watch
from benchmarks.subject import ServiceProcess, Subject, free_port, prepare, steal_seconds
from benchmarks.surroundings import Memory, children, memory
from benchmarks.swap import Switches, of_same_features
from benchmarks.written import write_table
from ringfence.workspace import Workspace

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "serving.md"
MOST_P99_RATIO: Final = 1.2
MOST_RISE: Final = 0.05
MOST_RISE_BYTES: Final = 32 << 20
LOOK_EVERY_S: Final = 10.0
QUARTERS: Final = 4
_STATE: Final = 'what="state_bytes"'


@dataclass(frozen=True)
class Reading:
    """Memory at one moment, in bytes."""

    at_ns: int
    service: Memory
    follower: Memory  # of all processes below the service, added up
    state: int  # that the service's engine accounts for

    @property
    def unaccounted(self) -> tuple[int, int]:
        """What service and follower hold beyond a state each."""
        return self.service.pss - self.state, self.follower.pss - self.state


class Readings(threading.Thread):
    """Reads memory every so many seconds until it is ended."""

    def __init__(self, service: ServiceProcess, token: str, every_s: float) -> None:
        super().__init__(daemon=True)
        self._service, self._token, self._every_s = service, token, every_s
        self._ended = threading.Event()
        self.all: list[Reading] = []

    def run(self) -> None:
        while not self._ended.is_set():
            pid = self._service.process.pid
            below = [memory(child) for child in children(pid)]
            follower = Memory(sum(one.rss for one in below), sum(one.pss for one in below))
            state = state_bytes(metrics(self._service.port, self._token))
            self.all.append(Reading(time.perf_counter_ns(), memory(pid), follower, state))
            self._ended.wait(self._every_s)

    def end(self) -> None:
        self._ended.set()
        self.join()


def metrics(port: int, token: str) -> str:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/metrics", headers={"authorization": f"Bearer {token}"})
        return connection.getresponse().read().decode()


def state_bytes(text: str) -> int:
    """The state that the engines of a service account for, from its metrics."""
    lines = [line for line in text.splitlines() if line.startswith("ringfence_engine_count{") and _STATE in line]
    if not lines:
        raise SystemExit(f"the service's metrics tell no ringfence_engine_count of {_STATE}")
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


@dataclass(frozen=True)
class Quarter:
    """What a quarter of the load came to."""

    n: int
    n_errors: int
    n_degraded: int
    latency_ms: dict[str, float]
    service: Memory  # medians of its readings
    follower: Memory
    state: int
    unaccounted: tuple[int, int]


@dataclass(frozen=True)
class Soak:
    """A soak from beginning to end."""

    minutes: float
    quarters: list[Quarter]
    generator: dict[str, Any]
    switch: dict[str, Any]
    n_snapshots: int
    steal_s: float

    @property
    def missed(self) -> list[str]:
        """Name what is asked and was not reached."""
        first, last = self.quarters[0], self.quarters[-1]
        told = []
        for number, quarter in enumerate(self.quarters, 1):
            if quarter.n_errors or quarter.n_degraded:
                told.append(f"quarter {number}: {quarter.n_errors} errors, {quarter.n_degraded} degraded answers")
        before, after = first.latency_ms.get("p99", 0.0), last.latency_ms.get("p99", float("inf"))
        if after > MOST_P99_RATIO * before:
            told.append(
                f"p99 {after:.2f} ms in the last quarter, {before:.2f} in the first: at most {MOST_P99_RATIO} times"
            )
        for place, name in enumerate(("service", "follower")):
            held, later = self.quarters[-2].unaccounted[place], last.unaccounted[place]
            if later - held > MOST_RISE * held + MOST_RISE_BYTES:
                told.append(
                    f"the {name} holds {later / 1e6:.0f} MB beyond its state in the last quarter, "
                    f"{held / 1e6:.0f} in the third"
                )
        if self.switch.get("step") != "done":
            told.append(f"the switch of the release ended so: {self.switch}")
        if not self.n_snapshots:
            told.append("no snapshot was written")
        if self.generator["late"]:
            told.append(f"the generator was late: {self.generator}")
        return told


def quarters(records: list[dict[str, Any]], readings: list[Reading]) -> list[Quarter]:
    """Cut a load, and the readings beside it, into four of the same time, by when requests were due."""
    start = records[0]["intended_ns"]
    span = (max(record["intended_ns"] for record in records) - start + 1) / QUARTERS
    found = []
    for number in range(QUARTERS):
        low, high = start + number * span, start + (number + 1) * span
        part = [record for record in records if low <= record["intended_ns"] < high]
        answered = [record for record in part if record["status"] == 200]
        middle = (low + high) / 2  # where no reading fell into the quarter, the nearest one stands for it
        beside = [one for one in readings if low <= one.at_ns < high] or [
            min(readings, key=lambda one: abs(one.at_ns - middle))
        ]
        found.append(
            Quarter(
                n=len(part),
                n_errors=len(part) - len(answered),
                n_degraded=sum(bool(record["answer"]) for record in answered),  # of others no answer is kept
                latency_ms=percentiles([latency_ms(record) for record in answered]),
                service=_median([one.service for one in beside]),
                follower=_median([one.follower for one in beside]),
                state=round(statistics.median(one.state for one in beside)),
                unaccounted=(
                    round(statistics.median(one.unaccounted[0] for one in beside)),
                    round(statistics.median(one.unaccounted[1] for one in beside)),
                ),
            )
        )
    return found


def _median(values: list[Memory]) -> Memory:
    return Memory(
        round(statistics.median(one.rss for one in values)), round(statistics.median(one.pss for one in values))
    )


def soak(subject: Subject, options: argparse.Namespace, folder: Path) -> Soak:
    """Load a service for so long, and switch to another release of the same features at half time."""
    # The first two are of the same features; in a workspace that has been soaked before, the second one is live.
    other = next(entry.release for entry in of_same_features(subject.path)[:2] if not entry.is_champion)
    workspace = Workspace(subject.path)
    seconds = 60.0 * options.minutes
    told = ("--snapshot-every", str(options.snapshot_every), "--deadline", str(options.deadline))
    service = ServiceProcess(subject, free_port(), folder / "service.log", options=told)
    try:
        service.wait_ready(900.0)
        drawn = subject.events(sys.maxsize, f"-{service.process.pid}")  # a kept workspace has seen earlier ids
        warm = [(DECISIONS, event) for event in islice(drawn, int(options.rate * options.warm_up))]
        if warm:
            run_load(subject, service.port, warm, options.rate, folder)
        events = ((DECISIONS, event) for event in islice(drawn, int(options.rate * seconds)))
        asked = ("promote, same features", "promote", {"release": other})
        began = threading.Event()
        switches = Switches(service.port, subject.token, [asked], seconds / 2)
        readings = Readings(service, subject.token, options.look_every)
        stolen = steal_seconds()

        def announced() -> Iterator[tuple[str, dict[str, Any]]]:
            yield from events
            began.set()  # the requests are written; the generator starts now

        def start_beside() -> None:
            began.wait()
            readings.start()
            switches.start()

        starter = threading.Thread(target=start_beside, daemon=True)
        starter.start()
        with Watch(workspace.state_dir(workspace.scenario().name)) as watch:
            records, generator = run_load(subject, service.port, announced(), options.rate, folder, keeps_all=False)
        starter.join()
        switches.join()
        readings.end()
    finally:
        service.stop()
    return Soak(
        minutes=options.minutes,
        quarters=quarters(records, readings.all),
        generator=generator_told(records, generator["seconds"], options.rate),
        switch=switches.made[0],
        n_snapshots=len(watch.spans),
        steal_s=round(steal_seconds() - stolen, 1),
    )


def table(found: Soak) -> str:
    """A row of Markdown a quarter, and a line on what happened meanwhile."""
    lines = [
        "| quarter | requests | errors, degraded | p50, p99, p99.9 ms | state MB | service: RSS, PSS, beyond its state "
        "| follower: RSS, PSS, beyond its state |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, one in enumerate(found.quarters, 1):
        told = ", ".join(f"{one.latency_ms[name]:.1f}" for name in ("p50", "p99", "p99.9")) if one.latency_ms else "–"
        held = [
            f"{memory.rss / 1e6:,.0f}, {memory.pss / 1e6:,.0f}, {beyond / 1e6:,.0f}"
            for memory, beyond in zip((one.service, one.follower), one.unaccounted, strict=True)
        ]
        lines.append(
            f"| {number} | {one.n:,} | {one.n_errors}, {one.n_degraded} | {told} | {one.state / 1e6:,.0f} "
            f"| {' | '.join(held)} |"
        )
    seconds = (found.switch["ended_ns"] - found.switch["began_ns"]) / 1e9
    lines += [
        "",
        f"{found.minutes:g} minutes at {found.generator['asked_per_s']:g} requests a second; {found.n_snapshots} "
        f"snapshots; the switch was {found.switch.get('step')} after {seconds:.1f} s; the generator's lag has "
        f"p99 {found.generator['lag_ms'].get('p99', float('nan')):.2f} ms; {found.steal_s} s stolen by the hypervisor.",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds of load before")
    parser.add_argument("--look-every", type=float, default=LOOK_EVERY_S, help="seconds between two readings of memory")
    parser.add_argument("--snapshot-every", type=float, default=300.0, help="seconds; 50,000 records force one")
    parser.add_argument("--deadline", type=int, default=50, help="ms in which the service has to decide")
    parser.add_argument("--events", type=int, default=60_000, help="claims in the simulated history")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the workspace here and reuse it")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ringfence-soak-") as scratch:
        folder = Path(scratch)
        subject = prepare(options.workspace or folder / "workspace", n_events=options.events, seed=options.seed)
        found = soak(subject, options, folder)
    print(table(found))
    if options.write:
        write_table(PAGE, "soak", table(found))
    told = found.missed
    print("\n".join(told) or "all reached", file=sys.stderr)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
