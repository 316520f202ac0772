# SPDX-License-Identifier: Apache-2.0
"""Losses and samples for few frauds beside plain log-loss: one table at a fixed precision, calibration before, after.

    python -m benchmarks.imbalance [--data payments,insurer] [--runs 3] [--claims 200000] [--work DIR] [--write]

Every method gets the same engine rows (`benchmarks.imbalance_tasks`), the settings that `train` begins with, and its
own number of trees (`benchmarks.imbalance_methods`). Calibrator, number of trees and threshold come from the
validation, which lies before the test; nothing is tuned. What is in --work already is not computed again, so that a run
that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.commands import ROOT
from benchmarks.imbalance_methods import DEFAULT, METHODS, SHIFTED, Answer, Bench, Inflated, moved, smote_before_split
from benchmarks.imbalance_tasks import TEST, VALIDATION, FloatArray, Task, insurer, payments
from benchmarks.written import write_table
from ringfence.models.calibration import fit_calibrator, sigmoid
from ringfence.models.metrics import average_precision, brier, ece_equal_mass, recall_at_precision, roc_auc

PAGE: Final = ROOT / "docs" / "imbalance.md"
PRECISION: Final = 0.15
RESAMPLES: Final = 500
BEFORE_SPLIT: Final = "smote-before-split"
Labels = NDArray[np.int64]


class Run(NamedTuple):
    """What all methods answered on one task."""

    validation: Labels
    test: Labels
    amount: FloatArray  # of the test
    answers: dict[str, Answer]
    inflated: Inflated


class Judged(NamedTuple):
    """A method's figures on one run."""

    recall: float  # at the precision, read off the test's own order
    reached: float  # recall at the threshold that the validation names
    precision: float  # there
    amount: float  # share of the frauds' amount, there
    average_precision: float
    roc_auc: float
    brier: tuple[float, float]  # before and after calibration
    ece: tuple[float, float]
    n_trees: int


def answers_of(task: Task, seed: int, kept: Path) -> Run:
    """Let every method answer, or take what an earlier run kept of it."""
    kept.mkdir(parents=True, exist_ok=True)
    bench = Bench(task, seed)
    answers = {}
    for place, (name, method) in enumerate(METHODS.items()):
        path = kept / f"{name.replace(':', ' to ')}.npz"
        if not path.exists():
            began = time.perf_counter()
            made = method(bench)
            np.savez(path, validation=made.validation, test=made.test, n_trees=made.n_trees)
            spent = time.perf_counter() - began
            print(f"{task.name}: {place + 1}/{len(METHODS)} {name}, {made.n_trees} trees, {spent:.0f} s", flush=True)
        with np.load(path) as found:
            answers[name] = Answer(found["validation"], found["test"], int(found["n_trees"]))
    for name, (other, by) in SHIFTED.items():  # each below what it shifts
        names = list(answers)
        names.insert(names.index(other) + 1, name)
        answers[name] = moved(answers[other], by(bench))
        answers = {one: answers[one] for one in names}
    path = kept / f"{BEFORE_SPLIT}.npz"
    if not path.exists():
        inflated = smote_before_split(bench, answers[DEFAULT].n_trees)
        np.savez(path, **inflated.__dict__)
    with np.load(path) as found:
        inflated = Inflated(found["fraud"], found["own"], found["later"])
    test = task.at(TEST)
    return Run(
        validation=task.fraud[task.at(VALIDATION)].astype(np.int64),
        test=task.fraud[test].astype(np.int64),
        amount=task.amount[test],
        answers=answers,
        inflated=inflated,
    )


def judged(run: Run, answer: Answer) -> Judged:
    y = run.test
    calibrated = fit_calibrator(answer.validation, run.validation).apply(answer.test)
    flagged = answer.test >= threshold(run.validation, answer.validation)
    caught = flagged & (y == 1)
    plain = sigmoid(answer.test)
    return Judged(
        recall=recall_at_precision(y, answer.test, precision=PRECISION),
        reached=float(caught.sum() / y.sum()),
        precision=float(caught.sum() / max(int(flagged.sum()), 1)),
        amount=float(run.amount[caught].sum() / run.amount[y == 1].sum()),
        average_precision=average_precision(y, answer.test),
        roc_auc=roc_auc(y, answer.test),
        brier=(brier(y, plain), brier(y, calibrated)),
        ece=(ece_equal_mass(y, plain), ece_equal_mass(y, calibrated)),
        n_trees=answer.n_trees,
    )


def threshold(fraud: Labels, raw: FloatArray) -> float:
    """Return the lowest score from which on alerts are at least `PRECISION` fraud; infinity where none is."""
    order = np.argsort(-raw, kind="stable")
    last = np.append(raw[order][1:] != raw[order][:-1], True)  # of events with one score, all are flagged or none
    good = last & (np.cumsum(fraud[order]) >= PRECISION * np.arange(1, fraud.shape[0] + 1))
    return float(raw[order][np.flatnonzero(good)[-1]]) if good.any() else float("inf")


def intervals(runs: list[Run]) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Return for each method the 95 % interval of recall and of average precision, less those of log-loss.

    Paired: all methods see the same resamples of the test's events; the mean over runs is taken resample by resample,
    so the interval is of the mean over these runs, and tells nothing of other weeks or worlds.
    """
    names = list(runs[0].answers)
    drawn = np.zeros((RESAMPLES, len(names), 2))
    for place, run in enumerate(runs):
        orders = [_ordered(run.answers[name].test, run.test) for name in names]
        rng, n = np.random.default_rng(place), run.test.shape[0]
        for at in range(RESAMPLES):
            weight = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
            frauds = weight * run.test
            for method, (order, ends) in enumerate(orders):
                drawn[at, method] += _recall_and_precision(
                    np.cumsum(frauds[order])[ends], np.cumsum(weight[order])[ends]
                )
    drawn = (drawn - drawn[:, [names.index(DEFAULT)]]) / len(runs)
    bounds = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {name: (bounds[:, method, 0], bounds[:, method, 1]) for method, name in enumerate(names)}


def _ordered(score: FloatArray, fraud: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of falling scores, and where in it those groups of one score end that hold a fraud."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(score[order][1:] != score[order][:-1], True))
    return order, ends[np.diff(np.cumsum(fraud[order])[ends], prepend=0) > 0]


def _recall_and_precision(caught: FloatArray, flagged: FloatArray) -> tuple[float, float]:
    """Return recall at `PRECISION` and average precision; groups without fraud change neither."""
    gained = np.diff(caught, prepend=0.0)
    precision = np.divide(caught, flagged, out=np.zeros_like(caught), where=flagged > 0)
    good = (precision >= PRECISION) & (caught > 0)
    return float(caught[good].max(initial=0.0) / caught[-1]), float((precision * gained).sum() / caught[-1])


def table(runs: list[Run]) -> list[str]:
    """Write one data set's table: means over runs, differences to log-loss with their paired intervals."""
    found = {name: [judged(run, run.answers[name]) for run in runs] for name in runs[0].answers}
    bounds = intervals(runs)
    base = found[DEFAULT]
    lines = [
        "| | recall at 15 % precision | against log-loss, paired 95 % "
        "| recall (precision) at the validation's threshold | fraud amount found there "
        "| AP | against log-loss, paired 95 % | ROC-AUC "
        "| Brier × 1000, before → after | ECE × 1000, before → after | trees |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in found.items():
        recall, precision = (mean(each, field) for field in ("recall", "average_precision"))
        more = (recall - mean(base, "recall"), precision - mean(base, "average_precision"))
        cells = [
            name,
            f"{recall:.3f}",
            "" if name == DEFAULT else _difference(more[0], bounds[name][0]),
            f"{mean(each, 'reached'):.3f} ({mean(each, 'precision'):.3f})",
            f"{mean(each, 'amount'):.3f}",
            f"{precision:.3f}",
            "" if name == DEFAULT else _difference(more[1], bounds[name][1]),
            f"{mean(each, 'roc_auc'):.3f}",
            _before_after([one.brier for one in each]),
            _before_after([one.ece for one in each]),
            f"{mean(each, 'n_trees'):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def claims_and_truth(runs: list[Run]) -> list[str]:
    """Write what models with frauds made up before the split claim, and what they are worth."""
    lines = [
        "| SMOTE before the split | recall at 15 % precision | AP | ROC-AUC | Brier × 1000 | ECE × 1000 |",
        "|---|---|---|---|---|---|",
    ]
    for name, pairs in (
        ("as it claims: its own random test", [(one.inflated.fraud, one.inflated.own) for one in runs]),
        ("as it is: the later test", [(one.test, one.inflated.later) for one in runs]),
    ):
        rows = []
        for fraud, raw in pairs:
            y, score = fraud.astype(np.int64), sigmoid(raw)
            rows.append(
                (
                    recall_at_precision(y, raw, precision=PRECISION), average_precision(y, raw), roc_auc(y, raw),
                    1e3 * brier(y, score), 1e3 * ece_equal_mass(y, score),
                )
            )  # fmt: skip
        recall, precision, area, brier_score, ece = np.mean(rows, axis=0)
        lines.append(f"| {name} | {recall:.3f} | {precision:.3f} | {area:.3f} | {brier_score:.2f} | {ece:.2f} |")
    return lines


def mean(each: list[Judged], field: str) -> float:
    return float(np.mean([getattr(one, field) for one in each]))


def _difference(value: float, bounds: FloatArray) -> str:
    return f"{value:+.3f} ({bounds[0]:+.3f} to {bounds[1]:+.3f})"


def _before_after(pairs: list[tuple[float, float]]) -> str:
    before, after = 1e3 * np.mean(pairs, axis=0)
    return f"{before:.2f} → {after:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="payments,insurer")
    parser.add_argument("--runs", type=int, default=3, help="weeks of payments, and insurers; 1 to 3")
    parser.add_argument("--claims", type=int, default=200_000)
    parser.add_argument("--work", type=Path, help="keep rows and answers there, and go on from them")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/imbalance.md")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="ringfence-imbalance-"))
    for data in arguments.data.split(","):
        runs = []
        for run in range(arguments.runs):
            task = payments(work, run) if data == "payments" else insurer(work, run, arguments.claims)
            runs.append(answers_of(task, run, work / f"answers-{task.name}"))
        tested = ", ".join(f"{run.test.shape[0]:,} events with {int(run.test.sum())} frauds" for run in runs)
        what = "weeks of payments" if data == "payments" else f"insurers of {arguments.claims:,} claims"
        head = f"Mean over {what}, {len(runs)} in all; tested on {tested}."
        text = "\n".join([head, "", *table(runs), "", *claims_and_truth(runs)])
        print(f"\n{data}\n{text}", flush=True)
        if arguments.write:
            write_table(PAGE, data, text)


if __name__ == "__main__":
    main()
