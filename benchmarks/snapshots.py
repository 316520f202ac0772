# SPDX-License-Identifier: Apache-2.0
"""Snapshots at size: how long a restore takes, whether it is exact, and what writing one costs decisions under load.

    python -m benchmarks.snapshots [--entities 2300000] [--workspace DIR]
    python -m benchmarks.snapshots --load [--rate 200] [--seconds 120]

The first replays a simulated insurer until its state holds so many entities, writes a snapshot, restores it (median of
three), and compares the state after restore and tail with that of the unbroken replay. The second serves the same
history while the follower writes a snapshot every ten seconds, and compares latencies of requests that were due while
one was being written with those of the others. Exit code 1 when a restore takes 5 s, when states differ, or when the
99th percentile moves by a tenth.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from benchmarks.load import percentile
from benchmarks.long_replay import prepare as prepare_history
from benchmarks.service import run_load
from benchmarks.subject import ServiceProcess, Subject, free_port, prepare
from ringfence.engine import Catalogue, Engine, write_snapshot
from ringfence.engine.snapshot import SUFFIX, read_snapshot
from ringfence.workspace import Workspace

MOST_RESTORE_S: Final = 5.0
MOST_MOVE: Final = 1.1
CLAIMS_PER_ENTITY: Final = 0.25  # a little more than a simulated history needs
TAIL: Final = 50_000  # records between the snapshot and the end of the unbroken replay
EVERY_S: Final = 10


def restore(workspace: Path, n_entities: int, seed: int) -> bool:
    scenario, ledger = prepare_history(workspace, int(n_entities * CLAIMS_PER_ENTITY), seed)
    catalogue = Catalogue.build(scenario)
    engine = Engine(catalogue)
    for batch in ledger.batches():
        engine.observe(batch)
        if engine.counters["entities"] >= n_entities:
            break
    held = engine.counters
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        path = write_snapshot(engine, Path(folder))
        written_s = time.perf_counter() - began
        took = []
        for _ in range(3):
            began = time.perf_counter()
            restored = read_snapshot(catalogue, path)
            took.append(time.perf_counter() - began)
        n_bytes = path.stat().st_size
    until_seq = min(engine.seq + TAIL, ledger.last_seq)
    for either in (engine, restored):
        for batch in ledger.batches(after_seq=either.seq, until_seq=until_seq):
            either.observe(batch)
    same = engine.state_hash() == restored.state_hash()
    print(f"{held['entities']:,} entities, {held['pairs']:,} pairs")
    print(f"snapshot of {n_bytes / 1e9:.2f} GB written in {written_s:.1f} s")
    print(f"restored in {statistics.median(took):.1f} s (median of {', '.join(f'{each:.1f}' for each in took)})")
    print(f"state after restore and the records up to seq {until_seq:,}: {'equal' if same else 'DIFFERENT'}")
    return same and statistics.median(took) < MOST_RESTORE_S


class Watch:
    """When snapshots were being written, seen from outside: an unfinished file is there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spans: list[tuple[int, int]] = []
        self._before = set(directory.glob("*.unfinished"))  # what a killed process left
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        since = None
        while not self._ended.wait(0.02):
            writing = any(set(self.directory.glob("*.unfinished")) - self._before)
            now = time.perf_counter_ns()
            if writing and since is None:
                since = now
            elif not writing and since is not None:
                self.spans.append((since, now))
                since = None

    def covers(self, when_ns: int) -> bool:
        return any(begin <= when_ns <= end for begin, end in self.spans)


def under_load(subject: Subject, rate: float, seconds: float) -> bool:
    workspace = Workspace(subject.path)
    directory = workspace.state_dir(workspace.scenario().name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        service = ServiceProcess(
            subject, free_port(), folder / "service.log", options=("--snapshot-every", str(EVERY_S))
        )
        try:
            ready_s = service.wait_ready(900.0)
            n = int(rate * seconds)
            events = [("/v1/decisions", event) for event in subject.events(2 * n, f"-{service.process.pid}")]
            deadline = time.monotonic() + 900.0
            while not any(directory.glob(f"*{SUFFIX}")) and time.monotonic() < deadline:
                run_load(subject, service.port, events[:20], 20.0, folder)  # the follower is still catching up
            with Watch(directory) as watch:
                records, _ = run_load(subject, service.port, events[n:], rate, folder)
        finally:
            service.stop()
    writing: list[float] = []
    idle: list[float] = []
    for record in records:
        latency_ms = (record["done_ns"] - record["intended_ns"]) / 1e6
        (writing if watch.covers(record["intended_ns"]) else idle).append(latency_ms)
    errors = sum(record["status"] != 200 for record in records)
    print(
        f"ready after {ready_s:.1f} s; {len(watch.spans)} snapshots in {seconds:.0f} s at {rate:.0f}/s, {errors} errors"
    )
    for name, latencies in (("none being written", sorted(idle)), ("one being written", sorted(writing))):
        if latencies:
            p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
            print(f"{name:<20} {len(latencies):>7,} requests: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    if not writing or not idle:
        return False
    return not errors and percentile(sorted(writing), 0.99) < MOST_MOVE * percentile(sorted(idle), 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=2_300_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the workspace here and reuse it")
    parser.add_argument("--load", action="store_true", help="measure a service beside its follower instead")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as scratch:
        path = options.workspace or Path(scratch) / "workspace"
        if options.load:
            subject = prepare(path, n_events=int(options.entities * CLAIMS_PER_ENTITY), seed=options.seed)
            good = under_load(subject, options.rate, options.seconds)
        else:
            good = restore(path, options.entities, options.seed)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
