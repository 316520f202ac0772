# SPDX-License-Identifier: Apache-2.0
"""What a graph network is worth beside the trees, and what it costs: hops, K, gated mean and attention.

    python -m benchmarks.gnn claims|insurer [--events 100000] [--world 1] [--seeds 1] [--variants "1 hop;0 hops"]

Each network is cross-fitted in time on the trees' folds (which chooses its epochs), refitted on all training events,
and asked about the test. "Stacked" is a logistic regression of both log-odds, fitted on out-of-fold ones of training;
differences from the trees alone are paired bootstraps over the events of the test. Timed is `Gnn.raw` with its scaling,
on one thread, on neighbourhoods and rows in hand. What is made is kept in --work, so that a run can go on.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from benchmarks.gnn_tasks import Task, TreesAnswer, load, network_examples, trees
from ringfence.models import paired_bootstrap
from ringfence.models.gnn import Gnn
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.metrics import average_precision, recall_at_precision, roc_auc
from ringfence.training.gnn import train_gnn
from ringfence.training.gnn_crossfit import cross_fit_gnn
from ringfence.training.gnn_options import GnnOptions, default_options

FloatArray = NDArray[np.float64]
METRICS = {"AP": average_precision, "ROC-AUC": roc_auc}
RESAMPLES = 1_000


@dataclass(frozen=True)
class Variant:
    changes: dict[str, Any]
    is_residual: bool = False

    def options(self, n_fraud: int) -> GnnOptions:
        return msgspec.structs.replace(default_options(n_fraud), **self.changes)


VARIANTS = {
    "2 hops, K = 16, gated": Variant({}),
    "2 hops, K = 8": Variant({"last": 8}),
    "2 hops, K = 4": Variant({"last": 4}),
    "1 hop": Variant({"hops": 1}),
    "0 hops": Variant({"hops": 0}),
    "2 hops, attention": Variant({"gather": "attention"}),
    "2 hops, no row": Variant({"reads_rows": False}),
    "1 hop, no row": Variant({"hops": 1, "reads_rows": False}),
    "0 hops, no row": Variant({"hops": 0, "reads_rows": False}),
    "2 hops, what trees lack": Variant({}, is_residual=True),
    "2 hops, no row, what trees lack": Variant({"reads_rows": False}, is_residual=True),
}


@dataclass(frozen=True)
class Answer:
    out_of_fold: FloatArray  # (n train,)
    test: FloatArray  # (n test,)
    figures: dict[str, float]


def answered(task: Task, found: TreesAnswer, variant: Variant, seed: int, folder: Path) -> Answer:
    """Cross-fit, refit, ask and time one network; kept in `folder`, by all its options."""
    options = variant.options(int(task.fraud[task.train].sum()))
    named = msgspec.json.encode([options, variant.is_residual, seed], order="deterministic")
    path = folder / f"{blake2b(named, digest_size=8).hexdigest()}.npz"
    if not path.exists():
        answer = _fitted(task, found, options, seed, is_residual=variant.is_residual)
        np.savez(path, oof=answer.out_of_fold, test=answer.test, figures=json.dumps(answer.figures))
    with np.load(path) as kept:
        return Answer(kept["oof"], kept["test"], json.loads(str(kept["figures"])))


def _fitted(task: Task, found: TreesAnswer, options: GnnOptions, seed: int, *, is_residual: bool) -> Answer:
    began = time.perf_counter()
    every, train = network_examples(task, found.encoder), task.train
    offset = _scattered(found.out_of_fold, train, len(task.fraud)) if is_residual else None
    folds = [msgspec.structs.replace(f, fit=train[f.fit], emit=train[f.emit]) for f in found.folds]
    out = cross_fit_gnn(every, task.fraud, folds, offset=offset, options=options, seed=seed, n_threads=1)
    fit = train if offset is None else train[~np.isnan(offset[train])]
    trained = train_gnn(
        every,
        task.fraud,
        task.time_ms,
        fit=fit,
        offset=offset,
        options=options,
        seed=seed,
        n_epochs=out.n_epochs,
        n_threads=1,
    )
    fit_s = time.perf_counter() - began
    taken = every.take(task.test)
    test = trained.gnn.raw(taken.sampled, taken.rows)
    figures = {"fit_s": fit_s, "epochs": out.n_epochs, "parameters": trained.n_parameters}
    figures |= timed(trained.gnn, taken.sampled, taken.rows) | {"kilobytes": len(trained.gnn.to_bytes()) / 1e3}
    return Answer(out.raw[train], test, figures)


def timed(gnn: Gnn, sampled: Any, rows: FloatArray | None) -> dict[str, float]:
    """Microseconds of one event, p50 and p99 of 3,000 calls, and events a second in batches of 64.

    By the processor time of this thread, which does all the work: the clock on the wall also counts waiting for others.
    """
    n = min(sampled.mask.shape[0], 3_000)
    singles, batches = (_cut(sampled, rows, n, size) for size in (1, 64))
    for one in singles[:100]:
        gnn.raw(*one)
    took = np.empty(len(singles))
    for i, one in enumerate(singles):
        began_ns = time.thread_time_ns()
        gnn.raw(*one)
        took[i] = (time.thread_time_ns() - began_ns) / 1e3
    began = time.thread_time()
    for one in batches:
        gnn.raw(*one)
    spent = time.thread_time() - began
    return {"p50_us": float(np.percentile(took, 50)), "p99_us": float(np.percentile(took, 99)), "per_s": n / spent}


def _cut(sampled: Any, rows: FloatArray | None, n: int, size: int) -> list[tuple[Any, Any]]:
    parts = [slice(at, min(at + size, n)) for at in range(0, n, size)]
    return [
        (
            SampledArrays(sampled.events[p].copy(), sampled.mask[p].copy(), sampled.nodes[p].copy()),
            None if rows is None else rows[p].copy(),
        )
        for p in parts
    ]


def stacked(found: TreesAnswer, answer: Answer, fraud: NDArray[np.int8]) -> tuple[FloatArray, FloatArray]:
    """Fit a logistic regression of both out-of-fold log-odds; return log-odds of the test, and the weights."""
    both = np.column_stack([found.out_of_fold, answer.out_of_fold])
    there = ~np.isnan(both).any(axis=1)
    model = LogisticRegression(C=100.0, max_iter=1_000).fit(both[there], fraud[there])
    return model.decision_function(np.column_stack([found.test, answer.test])), model.coef_[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("claims", "insurer"))
    parser.add_argument("--events", type=int, default=100_000, help="claims of the simulated insurer")
    parser.add_argument("--world", type=int, default=1, help="its seed")
    parser.add_argument("--seeds", type=int, default=1, help="of trees and networks; scores of the seeds are averaged")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="with semicolons between")
    parser.add_argument("--work", type=Path, default=Path("build/gnn"), help="what is made is kept there")
    arguments = parser.parse_args()

    task = load(arguments.task, arguments.work, n_events=arguments.events, seed=arguments.world)
    kept = task.files.directory.parent / "answers"
    kept.mkdir(exist_ok=True)
    fraud, truth = task.fraud[task.train], task.fraud[task.test]
    answers = [trees(task, seed, kept) for seed in range(arguments.seeds)]
    seats = ", ".join(seat.name for seat in task.catalogue.seats)
    print(
        f"{len(fraud):,} events to learn from, {int(fraud.sum())} of them fraud; {len(truth):,} of the test, "
        f"{int(truth.sum())} of them fraud; seats {seats}"
    )
    alone = np.mean([one.test for one in answers], axis=0)
    print(HEADER)
    there = ~np.isnan(answers[0].out_of_fold)
    before = average_precision(fraud[there], answers[0].out_of_fold[there])
    print(f"| trees alone | | | {_three(truth, alone)} | {before:.3f} | | | | | |", flush=True)
    scores: dict[str, FloatArray] = {}
    for name in arguments.variants.split(";"):
        variant = VARIANTS[name.strip()]
        found = [answered(task, one, variant, seed, kept) for seed, one in enumerate(answers)]
        print(_line(name.strip(), variant, answers, found, fraud, truth, alone), flush=True)
        pairs = zip(answers, found, strict=True)
        scores[name.strip()] = np.mean([stacked(one, other, fraud)[0] for one, other in pairs], axis=0)
    first, *others = scores
    for name in others:
        gain = paired_bootstrap(METRICS, truth, scores[first], scores[name], seed=0, n_resamples=RESAMPLES)
        cells = [f"{key} {one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})" for key, one in gain.items()]
        print(f"stacked with {first!r} less stacked with {name!r}: {'; '.join(cells)}")


HEADER = (
    "| network | its AP | its ROC-AUC | stacked: AP | ROC-AUC | recall at 15 % precision | AP before the test | "
    "stacked less trees | p50, p99 of one, processor µs | events/s in 64s | fit, s |\n|" + "---|" * 11
)


def _three(truth: NDArray[np.int8], score: FloatArray) -> str:
    recall = recall_at_precision(truth, score, precision=0.15)
    return f"{average_precision(truth, score):.3f} | {roc_auc(truth, score):.3f} | {recall:.3f}"


def _line(
    name: str,
    variant: Variant,
    trees_found: list[TreesAnswer],
    found: list[Answer],
    fraud: NDArray[np.int8],
    truth: NDArray[np.int8],
    alone: FloatArray,
) -> str:
    own = np.mean(
        [a.test + (t.test if variant.is_residual else 0.0) for t, a in zip(trees_found, found, strict=True)], 0
    )
    both = [stacked(t, a, fraud) for t, a in zip(trees_found, found, strict=True)]
    score = np.mean([one[0] for one in both], axis=0)
    gain = paired_bootstrap(METRICS, truth, score, alone, seed=0, n_resamples=RESAMPLES)
    oof = found[0].out_of_fold + (trees_found[0].out_of_fold if variant.is_residual else 0.0)
    there = ~np.isnan(oof)
    figures = {key: float(np.mean([one.figures[key] for one in found])) for key in found[0].figures}
    ap, auc = gain["AP"], gain["ROC-AUC"]
    return (
        f"| {name} | {average_precision(truth, own):.3f} | {roc_auc(truth, own):.3f} | {_three(truth, score)} | "
        f"{average_precision(fraud[there], oof[there]):.3f} | {ap.value:+.3f} ({ap.low:+.3f} to {ap.high:+.3f}); "
        f"AUC {auc.value:+.3f} ({auc.low:+.3f} to {auc.high:+.3f}); weights {both[0][1][0]:.2f}, {both[0][1][1]:.2f} | "
        f"{figures['p50_us']:.0f}, {figures['p99_us']:.0f} | {figures['per_s']:,.0f} | {figures['fit_s']:.0f} "
        f"({figures['epochs']:.0f} epochs) |"
    )


def _scattered(values: FloatArray, at: NDArray[np.int64], n: int) -> FloatArray:
    out = np.full(n, np.nan)
    out[at] = values
    return out


if __name__ == "__main__":
    main()
