# SPDX-License-Identifier: Apache-2.0
"""Rules, regression, trees, networks and the ensemble on simulated insurers, judged by the truth.

    python -m benchmarks.insurer [--worlds 1 2 7] [--seeds 1 2 3] [--events 200000] [--contenders rules logistic …]
                                 [--work DIR] [--write] [--check]

Worlds are those of the difficulty sheet (`python -m benchmarks.worlds`), at their frozen settings; each has a seed, and
each contender that has one is trained with every model seed. All learn from the labels known when the last fifth of the
history begins, and score that fifth. Results are kept in --work, one JSON file each: a run that was stopped goes on,
and a file that is deleted is measured again. `--write` puts tables and plots into docs/insurer.md. `--check` ends with
status 1 where a floor is missed. GraphSAGE takes torch_geometric: `--contenders graphsage` runs it alone from another
Python.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.commands import ROOT
from benchmarks.insurer.contenders import BY_KEY, FULL, Left, Result, measured
from benchmarks.insurer.page import floors, texts, write_page
from benchmarks.insurer.rungs import measured_rungs
from benchmarks.insurer.runs import runs_of
from benchmarks.insurer.topology import measured_pairs
from benchmarks.insurer.unseen import measured_unseen, measured_without_release
from benchmarks.insurer.work import Work
from benchmarks.insurer.worlds import base_world
from ringfence.simulate import WORLD_VERSION

BESIDE = ("rungs", "unseen", "topology")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 7], help="seeds of the simulated insurers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the models")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--fraud-rate", type=float, default=0.0056)
    parser.add_argument("--contenders", nargs="+", choices=list(BY_KEY), default=list(BY_KEY))
    parser.add_argument("--beside", nargs="*", choices=BESIDE, default=list(BESIDE), help="what else is measured")
    parser.add_argument("--work", type=Path, default=Path("build/insurer"), help="what is measured is kept there")
    parser.add_argument("--pause-while", type=Path, metavar="FILE", help="begin no step while FILE exists")
    parser.add_argument("--only-kept", action="store_true", help="measure nothing: tables of what --work holds")
    parser.add_argument("--write", action="store_true", help="put tables and plots into docs/insurer.md")
    parser.add_argument("--check", action="store_true", help="end with status 1 where a floor is missed")
    arguments = parser.parse_args()
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{(time.monotonic() - began) / 60.0:6.1f} min  {what}", file=sys.stderr, flush=True)

    settings = {"events": arguments.events, "fraud_rate": arguments.fraud_rate, "world_version": WORLD_VERSION}
    work = Work.open(arguments.work.resolve(), settings, tell, arguments.pause_while)
    if not arguments.only_kept:
        for number in arguments.worlds:
            measure_world(work, number, arguments)
        if "topology" in arguments.beside and FULL in arguments.contenders:
            for seed in arguments.seeds:
                pairs = measured_pairs(work, seed)
                tell(f"  ring first in {pairs.right['full']:.1%} of {pairs.n} pairs")
    runs = runs_of(work, arguments.worlds, arguments.seeds)
    print("\n\n".join(texts(runs).values()))
    if arguments.write:
        write_page(runs, ROOT / "docs")
    missed = [told for told, is_met in floors(runs) if not is_met]
    for told, is_met in floors(runs):
        print(f"{'met   ' if is_met else 'MISSED'} {told}")
    return int(arguments.check and bool(missed))


def measure_world(work: Work, number: int, arguments: argparse.Namespace) -> None:
    """Measure all that is asked for of one world."""
    bench = base_world(work, number, n_events=arguments.events, fraud_rate=arguments.fraud_rate)
    for seed in arguments.seeds:
        for key in arguments.contenders:
            contender = BY_KEY[key]
            if not contender.is_seeded and seed != arguments.seeds[0]:
                continue
            found: Result | Left = measured(work, bench, contender, seed)
            if isinstance(found, Result):
                told = ", ".join(f"{name} {value:.3f}" for name, value in found.figures.values.items())
                work.tell(f"  {key}: {told}; {found.seconds:.0f} s")
        if FULL in arguments.contenders and "rungs" in arguments.beside:
            measured_rungs(work, bench, seed)
        if FULL in arguments.contenders and "unseen" in arguments.beside:
            measured_unseen(work, bench, seed)
    if "unseen" in arguments.beside:
        measured_without_release(work, bench)


if __name__ == "__main__":
    sys.exit(main())
