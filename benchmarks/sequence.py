# SPDX-License-Identifier: Apache-2.0
"""What a sequence model is worth on card payments (P1), beside lag features for trees, and beside the product's trees.

    python -m benchmarks.sequence [--weeks 1] [--seeds 1] [--variants "recurrent, with row;lags"] [--work DIR]

The published protocol's first test fold: payments of the week before the labels' delay train (`--weeks` of them), the
week after the delay tests, without cards known to be compromised by then. Everything is cross-fitted in time on the
folds of the product's trees, refitted on all that trains, and asked about the test; no setting was chosen by the test.
"Stacked" is a logistic regression of two log-odds, fitted on out-of-fold ones. Intervals are paired bootstraps over
cards: all payments of a card are drawn together. What is made is kept in --work, so that a run can go on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.gnn import Answer, Variant, answered, stacked
from benchmarks.gnn_tasks import Task, TreesAnswer, load, trees, trees_on
from benchmarks.p1 import card_precision
from ringfence.models import paired_bootstrap
from ringfence.models.metrics import average_precision, roc_auc
from ringfence.training.gnn_options import GnnOptions
from ringfence.training.sequence import sequence_options

FloatArray = NDArray[np.float64]
ROLE = "customer"
LAGGED = ("amount_log", "gap_log", "is_known", "is_fraud", "amount_ratio")  # of each of the last events
RESAMPLES = 1_000
MOST_CARDS = 100


class Sequence(Variant):
    """A network over the last payments of the card."""

    def options(self, n_fraud: int) -> GnnOptions:
        return msgspec.structs.replace(sequence_options(n_fraud, (ROLE,)), **self.changes)


NETWORKS = {
    "recurrent": Sequence({"reads_rows": False}),
    "recurrent, with row": Sequence({}),
    "recurrent, K = 8": Sequence({"reads_rows": False, "last": 8}),
    "attention": Sequence({"reads_rows": False, "gather": "attention"}),
    "attention, with row": Sequence({"gather": "attention"}),
    "gated": Sequence({"reads_rows": False, "gather": "gated"}),
    "no events, with row": Sequence({"hops": 0}),
}
LAGS = {"lags": False, "lags, with row": True}  # whether the product's row stands beside them
HEADER = (
    "| model | AP | ROC-AUC | CP@100 | AP before the test | AP less trees | CP@100 less trees | stacked: AP | CP@100 | "
    "AP less trees | CP@100 less trees | p50, p99 of one, processor µs | fit, s |\n|" + "---|" * 13
)


def lagged(task: Task) -> FloatArray:
    """Lay the card's last payments side by side, shape (n, K x columns + 1): NaN where there were fewer; the amount."""
    names = task.files.manifest.event_columns
    columns = [names.index(name) for name in LAGGED]
    seat = [one.name for one in task.catalogue.seats].index(ROLE)
    found = []
    for chunk in task.files:
        events = np.asarray(chunk.neighbourhoods.events[:, seat][..., columns], np.float64)
        events[~np.asarray(chunk.neighbourhoods.mask[:, seat])] = np.nan
        found.append(events.reshape(events.shape[0], -1))
    amount = [feature.name for feature in task.catalogue.features].index("event.amount")
    return np.column_stack([np.concatenate(found), task.rows()[:, amount]])


class Cards:
    """Payments of the test by card and day, for card precision and for resamples of cards."""

    def __init__(self, test: pl.DataFrame, event_id: pl.Series) -> None:
        named = test.with_columns(pl.col("TRANSACTION_ID").cast(pl.String).alias("event_id"))
        self.payments = event_id.to_frame("event_id").join(named, on="event_id", how="left", maintain_order="left")
        self.card = np.unique(self.payments["CUSTOMER_ID"].to_numpy(), return_inverse=True)[1]
        self.day = np.unique(self.payments["TX_DATETIME"].dt.date().to_numpy(), return_inverse=True)[1]
        self._fraud = self._most(self.payments["TX_FRAUD"].to_numpy().astype(np.float64))

    def _most(self, values: FloatArray) -> FloatArray:
        most = np.full((int(self.card.max()) + 1, int(self.day.max()) + 1), -np.inf)
        np.maximum.at(most, (self.card, self.day), values)
        return most

    def precision(self, score: FloatArray) -> float:
        return card_precision(self.payments.with_columns(score=pl.Series(score)), MOST_CARDS)

    def difference(self, first: FloatArray, second: FloatArray, seed: int) -> str:
        """Return the difference of card precision with an interval over cards."""
        rng, best = np.random.default_rng(seed), [self._most(score) for score in (first, second)]
        n = self._fraud.shape[0]
        drawn = [rng.integers(0, n, n) for _ in range(RESAMPLES)]
        gaps = [_precision(best[0][at], self._fraud[at]) - _precision(best[1][at], self._fraud[at]) for at in drawn]
        low, high = np.quantile(gaps, [0.025, 0.975])
        return _interval(self.precision(first) - self.precision(second), float(low), float(high))


def _precision(best: FloatArray, fraud: FloatArray) -> float:
    detected = np.zeros(best.shape[0], np.bool_)
    found = 0
    for day in range(best.shape[1]):
        score = np.where(detected, -np.inf, best[:, day])
        top = np.argpartition(-score, MOST_CARDS)[:MOST_CARDS]
        hit = top[(fraud[top, day] == 1.0) & ~detected[top]]
        detected[hit] = True
        found += hit.shape[0]
    return found / (MOST_CARDS * best.shape[1])


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


class Judge:
    """Figures of scores of the test, and of their differences."""

    def __init__(self, task: Task, cards: Cards) -> None:
        self.truth, self.fraud, self.cards = task.fraud[task.test], task.fraud[task.train], cards

    def alone(self, score: FloatArray, out_of_fold: FloatArray) -> str:
        there = ~np.isnan(out_of_fold)
        return (
            f"{average_precision(self.truth, score):.3f} | {roc_auc(self.truth, score):.3f} | "
            f"{self.cards.precision(score):.3f} | {average_precision(self.fraud[there], out_of_fold[there]):.3f}"
        )

    def less(self, first: FloatArray, second: FloatArray) -> str:
        gap = paired_bootstrap(
            {"AP": average_precision}, self.truth, first, second, seed=0, n_resamples=RESAMPLES, groups=self.cards.card
        )["AP"]
        return f"{_interval(gap.value, gap.low, gap.high)} | {self.cards.difference(first, second, 0)}"

    def line(self, name: str, backbone: TreesAnswer, answer: Answer) -> str:
        both, weights = stacked(backbone, answer, self.fraud)
        print(f"weights of trees and {name}: {weights[0]:.2f}, {weights[1]:.2f}", flush=True)
        cost = answer.figures
        told = f"{cost['p50_us']:.0f}, {cost['p99_us']:.0f} | {cost['fit_s']:.0f}" if cost else " | "
        return (
            f"| {name} | {self.alone(answer.test, answer.out_of_fold)} | {self.less(answer.test, backbone.test)} | "
            f"{average_precision(self.truth, both):.3f} | {self.cards.precision(both):.3f} | "
            f"{self.less(both, backbone.test)} | {told} |"
        )


def averaged(answers: list[Answer]) -> Answer:
    """Average the log-odds of several seeds."""
    figures = {key: float(np.mean([one.figures[key] for one in answers])) for key in answers[0].figures}
    return Answer(
        np.mean([one.out_of_fold for one in answers], axis=0), np.mean([one.test for one in answers], axis=0), figures
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weeks", type=int, default=1, help="of examples, before the labels' delay")
    parser.add_argument("--seeds", type=int, default=1, help="of the networks, whose log-odds are averaged")
    parser.add_argument("--variants", default=";".join([*LAGS, *NETWORKS]), help="with semicolons between")
    parser.add_argument("--work", type=Path, default=Path("build/sequence"), help="what is made is kept there")
    arguments = parser.parse_args()

    task = load("payments", arguments.work, n_weeks=arguments.weeks)
    kept = task.files.directory.parent / "answers"
    kept.mkdir(exist_ok=True)
    backbone = trees(task, 0, kept)
    test = pl.read_parquet(task.files.directory.parent / "test.parquet")
    judge = Judge(task, Cards(test, task.events["event_id"].gather(task.test)))
    print(
        f"{len(task.train):,} payments to learn from, {int(judge.fraud.sum())} of them fraud; {len(task.test):,} of "
        f"the test, {int(judge.truth.sum())} of them fraud"
    )
    print(HEADER)
    print(f"| trees | {judge.alone(backbone.test, backbone.out_of_fold)} | | | | | | | | |", flush=True)
    for name in (one.strip() for one in arguments.variants.split(";")):
        if name in LAGS:
            columns = [lagged(task)] + ([task.rows()] if LAGS[name] else [])
            wide = np.column_stack(columns)
            is_category = [False] * columns[0].shape[1] + (task.is_category if LAGS[name] else [])
            found = trees_on(task, wide, is_category, 0, kept / f"{name}.msgpack")
            answer = Answer(found.out_of_fold, found.test, {})
        else:
            seeds = range(arguments.seeds)
            answer = averaged([answered(task, backbone, NETWORKS[name], seed, kept) for seed in seeds])
        print(judge.line(name, backbone, answer), flush=True)


if __name__ == "__main__":
    main()
