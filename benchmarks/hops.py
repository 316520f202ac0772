# SPDX-License-Identifier: Apache-2.0
"""How far and how long ago a graph network should look: hops 0, 1, 2 and K 4 to 32, with latency beside quality.

    python -m benchmarks.hops claims|insurer [--events 60000] [--world 1] [--only "2 32;0 16"] [--write]

One sample of 32 events a seat, of which each network reads its K newest; trees, folds, fit and stack as in
`benchmarks.gnn`, one seed. Latency of the network is processor time of `Gnn.raw`, that of sampling of
`Engine.neighbourhood` on the drawn network of `benchmarks.neighbourhood`, beside a state of 200,000 events. What is
made is kept in --work, so that a run can go on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.commands import ROOT
from benchmarks.gnn import METRICS, RESAMPLES, Answer, Variant, answered, stacked
from benchmarks.gnn_tasks import Task, load, trees
from benchmarks.neighbourhood import measured
from benchmarks.written import write_table
from ringfence.models import paired_bootstrap
from ringfence.models.metrics import average_precision, roc_auc

PAGE = ROOT / "docs" / "gnn.md"
MOST = 32
DEFAULT = (2, 16)
STEPS = ((0, 16), *((hops, last) for hops in (1, 2) for last in (4, 8, 16, MOST)))  # no hop reads no event: one K
HISTORY, CALLS = 200_000, 3_000
HEADER = (
    "| hops, K | AP alone | ROC-AUC alone | AP stacked | ROC-AUC stacked | AP stacked less 2 hops, K = 16 | "
    "network p50, p99 of one, µs | events/s in 64s | fit, s |\n|" + "---|" * 9
)


def variant(hops: int, last: int) -> Variant:
    return Variant({"hops": hops, "last": last})


def named(hops: int, last: int) -> str:
    return f"{hops} hops" if not hops else f"{hops} {'hop' if hops == 1 else 'hops'}, K = {last}"


def asked(only: str) -> tuple[tuple[int, int], ...]:
    found = []
    for part in only.split(";"):
        hops, last = (int(number) for number in part.split())
        if (hops, last) not in STEPS:
            raise SystemExit(f"no step {part!r}; there are: {'; '.join(f'{h} {k}' for h, k in STEPS)}")
        found.append((hops, last))
    if DEFAULT not in found:
        raise SystemExit("2 16 must be among them: the others are compared with it")
    return tuple(found)


def full_seats(task: Task) -> str:
    """Say how many seats of the test that name somebody hold more than 16 earlier events."""
    named_seats = deeper = 0
    is_test = task.events["is_test"].to_numpy()
    at = 0
    for chunk in task.files:
        mask = np.asarray(chunk.neighbourhoods.mask)
        n = mask.shape[0]
        mask = mask[is_test[at : at + n]]
        named_seats += int(mask.any(axis=2).sum())
        deeper += int((mask.sum(axis=2) > DEFAULT[1]).sum())
        at += n
    return f"{100 * deeper / max(named_seats, 1):.1f} % of the {named_seats:,} seats of the test with any earlier event"


def sampling(work: Path, last: int) -> dict[str, Any]:
    """Time the sampling of `last` events a seat; kept in `work`."""
    path = work / f"sampling-{last}.json"
    if not path.exists():
        path.write_bytes(msgspec.json.encode(measured(HISTORY, CALLS, last)))
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("claims", "insurer"))
    parser.add_argument("--events", type=int, default=60_000, help="claims of the simulated insurer")
    parser.add_argument("--world", type=int, default=1, help="its seed")
    parser.add_argument("--only", help="hops and K, with semicolons between; 2 16 among them")
    parser.add_argument("--work", type=Path, default=Path("build/gnn"), help="what is made is kept there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/gnn.md")
    arguments = parser.parse_args()

    task = load(arguments.task, arguments.work, n_events=arguments.events, seed=arguments.world, last=MOST)
    kept = task.files.directory.parent / "answers"
    kept.mkdir(exist_ok=True)
    found = trees(task, 0, kept)
    steps = STEPS if arguments.only is None else asked(arguments.only)
    fraud, truth = task.fraud[task.train], task.fraud[task.test]
    answers: dict[tuple[int, int], Answer] = {}
    for step in steps:
        answers[step] = answered(task, found, variant(*step), 0, kept)
        print(f"made: {named(*step)}", flush=True)
    scores = {step: stacked(found, answer, fraud)[0] for step, answer in answers.items()}
    lines = [f"| trees | {average_precision(truth, found.test):.3f} | {roc_auc(truth, found.test):.3f} |" + " |" * 6]
    for step, answer in answers.items():
        gain = paired_bootstrap(METRICS, truth, scores[step], scores[DEFAULT], seed=0, n_resamples=RESAMPLES)["AP"]
        less = "" if step == DEFAULT else f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        took = answer.figures
        lines.append(
            f"| {named(*step)} | {average_precision(truth, answer.test):.3f} | {roc_auc(truth, answer.test):.3f} | "
            f"{average_precision(truth, scores[step]):.3f} | {roc_auc(truth, scores[step]):.3f} | {less} | "
            f"{took['p50_us']:.0f}, {took['p99_us']:.0f} | {took['per_s']:,.0f} | {took['fit_s']:.0f} |"
        )
    head = (
        f"{fraud.shape[0]:,} events to learn from, {int(fraud.sum())} of them fraud; {truth.shape[0]:,} of the test, "
        f"{int(truth.sum())} of them fraud. More than 16 earlier events have {full_seats(task)}. One seed; intervals "
        f"are paired, over the events of the test. Written by `{command(arguments)}`."
    )
    timed = ["| sampling, K | ordinary p50, p99, µs | crowded p50, p99, µs |", "|---|---|---|"]
    for last in (4, 8, 16, MOST):
        one = sampling(arguments.work, last)
        cells = [one[f"{kind}: neighbourhood, µs"] for kind in ("ordinary", "crowded")]
        both = " | ".join(f"{cell['processor p50']:.0f}, {cell['processor p99']:.0f}" for cell in cells)
        timed.append(f"| {last} | {both} |")
    text = "\n".join([head, "", HEADER, *lines, "", *timed])
    print(text)
    if arguments.write:
        write_table(PAGE, f"hops {arguments.task}", text)


def command(arguments: argparse.Namespace) -> str:
    of = "" if arguments.task == "claims" else f" --events {arguments.events} --world {arguments.world}"
    part = "" if arguments.only is None else f' --only "{arguments.only}"'
    return f"python -m benchmarks.hops {arguments.task}{of}{part} --write"


if __name__ == "__main__":
    main()
