# SPDX-License-Identifier: Apache-2.0
"""Time the engine beside snapml, DuckDB, River and pandas on the same drawn transfers, in one run.

    python -m benchmarks.engine [--quick] [--write]           # needs the extra: pip install 'ringfence[bench]'
    python -m benchmarks.engine --libraries ringfence duckdb  # without it

Each trial runs in a process of its own, one thread unless said otherwise. Values are compared first. The full run takes
the better part of an hour; `--quick` takes a few minutes and says nothing about growth.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.commands import ROOT
from benchmarks.engine.agree import compare, largest_share
from benchmarks.engine.contender import library
from benchmarks.engine.machine import machine_facts
from benchmarks.engine.page import Report, page_text, write_page
from benchmarks.engine.programme import LIBRARIES, RINGFENCE, Programme, Table
from benchmarks.engine.stream import Graph, Stream
from benchmarks.engine.trial import run_apart

QUICK_SIZES = (10_000, 100_000)


def measured_report(programme: Programme, n_compared: int, command: str) -> Report:
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s: {what}", file=sys.stderr, flush=True)

    before = machine_facts(programme.libraries)
    said = compare(programme.libraries, n_compared, run_apart)
    for sentence in said:
        tell(sentence)
    hubs = Stream(graph=Graph.HUBS, n_events=programme.history).whole()
    found = programme.run(run_apart, tell)
    return Report(
        command=command,
        programme=programme,
        machine=before,
        load_at_end=machine_facts(()).load,
        minutes=(time.monotonic() - began) / 60.0,
        hub_share=largest_share(hubs),
        agreement=tuple(said),
        found=tuple(found),
    )


def _told(arguments: list[str]) -> list[str]:
    """What was asked for, but for where the results go."""
    places = {i + 1 for i, argument in enumerate(arguments) if argument in ("--output", "--results")}
    return [
        argument
        for i, argument in enumerate(arguments)
        if i not in places and not argument.startswith(("--write", "--output", "--results"))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SIZES[0]:,} and {QUICK_SIZES[1]:,} events, once")
    parser.add_argument("--sizes", type=float, nargs="+", help="events, ascending; default 1e5 1e6 1e7")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    parser.add_argument("--tables", nargs="+", type=Table, choices=tuple(Table), default=tuple(Table))
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--cap", type=float, help="timed seconds after which a rival stops; default 120")
    parser.add_argument("--write", action="store_true", help="write docs/engine-speed.md and its plots; else print")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of the page and its plots")
    parser.add_argument("--results", type=Path, help="keep what was measured in this JSON file")
    parser.add_argument("--page-of", type=Path, help="measure nothing: make the page of such a file")
    arguments = parser.parse_args()
    if arguments.page_of is not None:
        report = msgspec.json.decode(arguments.page_of.read_bytes(), type=Report)
    else:
        for name in arguments.libraries:
            if name != RINGFENCE and importlib.util.find_spec(name) is None:
                library(name)  # says what to do
        sizes = tuple(int(n) for n in arguments.sizes) if arguments.sizes else ()
        programme = Programme(
            sizes=sizes or (QUICK_SIZES if arguments.quick else Programme().sizes),
            libraries=tuple(arguments.libraries),
            tables=tuple(arguments.tables),
            repeats=arguments.repeats or (1 if arguments.quick else 3),
            cap_s=arguments.cap or (10.0 if arguments.quick else 120.0),
        )
        command = " ".join(["python -m benchmarks.engine", *_told(sys.argv[1:])])
        report = measured_report(programme, 2_000 if arguments.quick else 20_000, command)
    if arguments.results is not None:
        arguments.results.write_bytes(msgspec.json.encode(report))
    if arguments.write:
        print(f"written: {write_page(report, arguments.output)}")
    else:
        print(page_text(report))


if __name__ == "__main__":
    main()
