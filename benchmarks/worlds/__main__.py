# SPDX-License-Identifier: Apache-2.0
"""Write docs/worlds-difficulty.md: how hard the simulated insurers are, held against the ranges that were fixed.

    python -m benchmarks.worlds [--seeds 1 2 7] [--events 300000] [--fraud-rate 0.0056] [--check] [--output DIR]

Everything is judged by the truth, which the models never see: they train on the labels known when the last fifth of
the history begins, and are tested on that fifth. `--check` ends with status 1 where a range is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.commands import ROOT
from benchmarks.worlds.judged import Judged
from benchmarks.worlds.page import write_page
from benchmarks.worlds.sheet import Sheet, measure
from benchmarks.worlds.verdicts import verdicts
from ringfence.simulate import simulate_motor_claims


def sheet_of(seed: int, n_events: int, fraud_rate: float, quick: bool) -> Sheet:
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"seed {seed}, {time.monotonic() - began:5.0f} s: {what}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        tell("world")
        report = simulate_motor_claims(n_events, seed, Path(folder), fraud_rate=fraud_rate)
        world = Judged.load(Path(folder))
        sheet = measure(world, Path(folder), seed=seed, ends_ms=report.ends_ms, tell=tell, quick=quick)
        tell("done")
        return sheet


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--fraud-rate", type=float, default=0.0056)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 7])
    parser.add_argument("--check", action="store_true", help="end with status 1 where a range is missed")
    parser.add_argument("--quick", action="store_true", help="no trees, no leak hunt, no page: the verdicts alone")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of the page and its plots")
    arguments = parser.parse_args()
    sheets: list[Sheet] = []
    for seed in arguments.seeds:
        sheets.append(sheet_of(seed, arguments.events, arguments.fraud_rate, arguments.quick))
        if not arguments.quick:  # after each world, so that stopping early leaves the page of those that are done
            page = write_page(sheets, arguments.output, n_events=arguments.events, fraud_rate=arguments.fraud_rate)
            print(f"written: {page}", file=sys.stderr, flush=True)
    found = verdicts(sheets)
    if arguments.quick:  # judge what was measured
        found = [verdict for verdict in found if not any(value != value for value in verdict.values)]
    for verdict in found:
        values = "  ".join(f"{verdict.range.text(value):>8}" for value in verdict.values)
        print(f"{'met   ' if verdict.is_met else 'MISSED'} {verdict.range.name:52} {verdict.range.bounds:20} {values}")
    if arguments.quick:
        for sheet in sheets:
            for name, one in sheet.rules.items():
                print(f"seed {sheet.seed}: {name:30} flags {one.flagged:7.2%}  catches {one.caught:6.1%}")
            for name, area in list(sheet.columns.items())[:5]:
                print(f"seed {sheet.seed}: {name:30} ROC-AUC {area:.3f}")
    return int(arguments.check and not all(verdict.is_met for verdict in found))


if __name__ == "__main__":
    sys.exit(main())
