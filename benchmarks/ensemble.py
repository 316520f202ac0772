# SPDX-License-Identifier: Apache-2.0
"""What a score costs, features in hand: every branch that takes part, the stack and the calibration, on one thread.

    python -m benchmarks.ensemble [--workspace DIR] [--release ID] [--events 5000] [--claims 80000] [--check] [--json]

Without a workspace an insurer is simulated, imported and trained as `ringfence train` does it. The last decided events
of the ledger are scored by the release one a call, with and without action and reasons, and in batches of 64; branches
that the stack left out cost nothing and are not there. The thread's own processor time is told beside the wall clock.
Last, `ringfence score` goes over the whole ledger, features and all, in a process of its own on all cores.
`--check` ends with exit code 1 where a floor is missed; that of `score` is for two cores.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.commands import ringfence
from benchmarks.subject import prepare, steal_seconds
from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.ledger import Ledger
from ringfence.models.branch import Need
from ringfence.models.seen import Seen
from ringfence.rollout.registry import Registry
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.scorer import Scorer
from ringfence.training.score import shown
from ringfence.workspace import Workspace

BATCH: Final = 64
WARM_CALLS: Final = 200
SCORE: Final = "ringfence score, events/s"
FLOORS: Final = {
    "one event, p50 ms": 0.35,
    "one event, p99 ms": 1.0,
    "in batches of 64, events/s": 5_000.0,
    SCORE: 8_000.0,
}
_QUANTILES: Final = (50, 99, 99.9)


def last_events(ledger: Ledger, release: Release, n: int) -> tuple[list[Seen], list[int | None]]:
    """Return what the release looks at of the last n decided events, a block each, and their amounts in minor units."""
    events = ledger.events(-(2**62), None, ledger.last_seq).sort("seq").tail(n)
    seqs = events["seq"].to_numpy()
    parts, done = [], 0
    for part in shown(ledger, release, seqs):
        texts = event_texts(ledger, seqs[done : done + part.n]) if Need.TEXTS in release.ensemble.needs else ()
        parts.append(part._replace(texts=texts))
        done += part.n
    return parts, events["amount_minor"].to_list()


def cut(parts: Iterable[Seen], size: int) -> list[Seen]:
    """Cut blocks into batches of one size; what is left over of a block is left out."""
    return [part.part(slice(low, low + size)) for part in parts for low in range(0, part.n - size + 1, size)]


def timed(call: Callable[[Seen], Any], batches: list[Seen]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return wall and processor time of each call in ms, the first calls not timed."""
    for seen in batches[:WARM_CALLS]:
        call(seen)
    gc.collect()
    gc.disable()
    wall, processor = np.empty(len(batches)), np.empty(len(batches))
    try:
        for at, seen in enumerate(batches):
            began, began_cpu = time.perf_counter_ns(), time.thread_time_ns()
            call(seen)
            processor[at] = (time.thread_time_ns() - began_cpu) / 1e6
            wall[at] = (time.perf_counter_ns() - began) / 1e6
    finally:
        gc.enable()
    return wall, processor


def measure(release: Release, parts: list[Seen], amounts: list[int | None]) -> dict[str, float]:
    """Time one event and batches of 64, alone and with action and reasons."""
    scorer = Scorer(release)
    scorer.warm_up()
    ones, many = cut(parts, 1), cut(parts, BATCH)
    largest = max((amount for amount in amounts if amount is not None), default=None)
    found = {}
    for name, batches, call in (
        ("one event", ones, scorer.score),
        ("one event with action and reasons", ones, lambda seen: scorer.answer(seen, [largest], reviews_left=None)),
        ("a batch of 64", many, scorer.score),
    ):
        wall, processor = timed(call, batches)
        for quantile in _QUANTILES:
            found[f"{name}, p{quantile:g} ms"] = float(np.percentile(wall, quantile))
            found[f"{name}, p{quantile:g} ms of the processor"] = float(np.percentile(processor, quantile))
        if batches is many:
            found["in batches of 64, events/s"] = 1e3 * BATCH / float(np.mean(wall))
            found["in batches of 64, events per processor second"] = 1e3 * BATCH / float(np.mean(processor))
    return found


def missed(found: dict[str, float]) -> list[str]:
    """Name the floors that were missed."""
    told = []
    for name, floor in FLOORS.items():
        is_met = found[name] >= floor if name.endswith("/s") else found[name] < floor
        if not is_met:
            told.append(f"{name}: {found[name]:,.3g}, the floor is {floor:,g}")
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="of a ledger with a release; else one is made")
    parser.add_argument("--release", help="a release id; the champion by default")
    parser.add_argument("--events", type=int, default=5_000, help="the last decided events, which are scored")
    parser.add_argument("--claims", type=int, default=80_000, help="claims of the simulated insurer")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--check", action="store_true", help="end with exit code 1 where a floor is missed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as scratch:
        path = options.workspace or Path(scratch) / "workspace"
        if options.workspace is None:
            prepare(path, n_events=options.claims, seed=options.seed)
        workspace = Workspace(path)
        scenario = workspace.scenario()
        ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
        release = load_release(workspace.releases_dir / (options.release or Registry.read(ledger).champion() or ""))
        parts, amounts = last_events(ledger, release, options.events)
        stolen = steal_seconds()
        found = measure(release, parts, amounts)
        said = ringfence("score", "-w", str(path), "--release", release.id, "-o", str(Path(scratch) / "scores.parquet"))
        found[SCORE] = said["n_events"] / said["seconds"]
        stolen = steal_seconds() - stolen
    stack = dict(zip(release.stack.members, (round(weight, 3) for weight in release.stack.weights), strict=True))
    facts = {
        "release": release.id,
        "stack": stack,
        "told beside it": sorted(set(release.ensemble.branches) - set(stack)),
        "features": len(release.catalogue.features),
        "load_average_1_min": round(os.getloadavg()[0], 1),
        "stolen_s": round(stolen, 2),
    }
    if options.json:
        print(json.dumps({**facts, **found}, indent=2))
    else:
        print("\n".join(f"{name:48} {value}" for name, value in facts.items()))
        print("\n".join(f"{name:48} {value:,.3f}" for name, value in found.items()))
    told = missed(found)
    print("\n".join(told) or "all floors met", file=sys.stderr)
    return 1 if options.check and told else 0


if __name__ == "__main__":
    sys.exit(main())
