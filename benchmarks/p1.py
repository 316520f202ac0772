# SPDX-License-Identifier: Apache-2.0
"""Card payments, published protocol: import, train and score through the command line, metrics from the scores file.

    python -m benchmarks.p1 [--folds test|validation] [--variants week,all] [--work DIR] [--write] [--json FILE]

Protocol (Fraud Detection Handbook, chapters 3 and 5): examples of one week, labels 7 days late, the week after that is
the test; four folds. Cards known to be compromised at test time are left out: those with a fraud in the training week
and, for test day k, those with a fraud on the days train_start + 7 + j - 1, j = 0..k.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.commands import ROOT, data_folder, ringfence
from benchmarks.written import write_table

DATA = data_folder("card_payments_handbook")
EXAMPLE = ROOT / "examples" / "card-payments-handbook"
FOLDS = {
    "validation": ("2018-06-20", "2018-06-27", "2018-07-04", "2018-07-11"),
    "test": ("2018-07-25", "2018-08-01", "2018-08-08", "2018-08-15"),
}
FIRST_EXAMPLES = {"week": None, "all": "2018-05-01"}
PUBLISHED = (
    ("logistic regression (published)", 0.868, 0.623, 0.297),
    ("random forest (published)", 0.870, 0.678, 0.299),
    ("XGBoost, tuned (published)", 0.869, 0.687, 0.303),
    ("neural network (published)", 0.876, 0.675, 0.303),
    ("balanced bagging (published)", 0.879, 0.680, 0.305),
)


def test_set(payments: pl.DataFrame, train_start: datetime) -> pl.DataFrame:
    """Take the test week and leave out the cards that were known to be compromised on each of its days."""
    day = pl.col("TX_DATETIME").dt.date()
    start = train_start.date()

    def cards(first: int, last: int) -> set[int]:
        span = payments.filter(
            (day >= start + timedelta(days=first)) & (day < start + timedelta(days=last)) & (pl.col("TX_FRAUD") == 1)
        )
        return set(span["CUSTOMER_ID"].to_list())

    known = cards(0, 7)
    days = []
    for k in range(7):
        known |= cards(7 + k - 1, 7 + k)
        today = payments.filter(day == start + timedelta(days=14 + k))
        days.append(today.filter(~pl.col("CUSTOMER_ID").is_in(list(known))))
    return pl.concat(days)


def card_precision(test: pl.DataFrame, top: int = 100) -> float:
    """Rank each day's cards by their highest score, take the first `top`, and drop the detected from later days."""
    detected: set[int] = set()
    precisions = []
    for (_,), today in test.with_columns(day=pl.col("TX_DATETIME").dt.date()).group_by("day", maintain_order=True):
        cards = (
            today.filter(~pl.col("CUSTOMER_ID").is_in(list(detected)))
            .group_by("CUSTOMER_ID")
            .agg(pl.col("score").max(), pl.col("TX_FRAUD").max())
            .sort("score", "CUSTOMER_ID", descending=[True, False])
            .head(top)
        )
        found = cards.filter(pl.col("TX_FRAUD") == 1)["CUSTOMER_ID"].to_list()
        detected |= set(found)
        precisions.append(len(found) / top)
    return float(np.mean(precisions))


def figures(payments: pl.DataFrame, scores: pl.DataFrame, train_start: datetime) -> dict[str, float]:
    test = test_set(payments, train_start)
    scored = test.with_columns(pl.col("TRANSACTION_ID").cast(pl.String).alias("event_id")).join(
        scores.select(pl.col("event_id").cast(pl.String), "score"), on="event_id", how="left"
    )
    missing = scored["score"].null_count()
    if missing:
        raise SystemExit(f"{missing} of {scored.height} test payments have no score")
    y, score = scored["TX_FRAUD"].to_numpy(), scored["score"].to_numpy()
    return {
        "n": float(test.height),
        "n_fraud": float(y.sum()),
        "roc_auc": float(roc_auc_score(y, score)),
        "average_precision": float(average_precision_score(y, score)),
        "card_precision_100": card_precision(scored),
    }


def check_protocol(payments: pl.DataFrame) -> None:
    """Chapter 3's split has published counts; metrics on any other test set would not be comparable."""
    start = datetime(2018, 7, 25)  # noqa: DTZ001 - the data carries no zone
    week = payments.filter((pl.col("TX_DATETIME") >= start) & (pl.col("TX_DATETIME") < start + timedelta(days=7)))
    test = test_set(payments, start)
    counts = (week.height, int(week["TX_FRAUD"].sum()), test.height, int(test["TX_FRAUD"].sum()))
    if counts != (67_240, 598, 58_264, 385):
        raise SystemExit(f"the protocol's counts are 67240, 598, 58264, 385; found {counts}")


def run_fold(
    work: Path, payments: pl.DataFrame, start_text: str, variant: str, trials: int, seed: int
) -> dict[str, float]:
    start = datetime.fromisoformat(start_text)
    cut, end = start + timedelta(days=14), start + timedelta(days=21)
    first = FIRST_EXAMPLES[variant] or start_text
    began = time.perf_counter()
    ringfence(
        "train", "--workspace", str(work), "--examples-from", first, "--until", cut.date().isoformat(),
        "--trials", str(trials), "--seed", str(seed),
    )  # fmt: skip
    trained = time.perf_counter()
    output = work / f"scores-{start_text}-{variant}.parquet"
    ringfence(
        "score", "--workspace", str(work), "--from", cut.date().isoformat(), "--to", end.date().isoformat(),
        "--release", "latest", "--output", str(output),
    )  # fmt: skip
    found = figures(payments, pl.read_parquet(output), start)
    return {**found, "train_s": trained - began, "score_s": time.perf_counter() - trained}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", choices=sorted(FOLDS), default="test")
    parser.add_argument("--variants", default="week,all", help="week: one week of examples; all: from 2018-05-01")
    parser.add_argument("--only", help="a single fold's training start, such as 2018-07-25")
    parser.add_argument("--work", type=Path, help="keep the workspace there, and reuse it when it is filled already")
    parser.add_argument("--trials", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into the example's README")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()

    payments = pl.read_parquet(DATA / "transactions.parquet").drop("TX_FRAUD_SCENARIO", strict=False)
    check_protocol(payments)
    work = arguments.work or Path(tempfile.mkdtemp(prefix="ringfence-p1-"))
    if not (work / "ringfence.yaml").is_file():
        shutil.copytree(EXAMPLE, work, dirs_exist_ok=True)
        began = time.perf_counter()
        ringfence("import", str(DATA / "transactions.parquet"), "--workspace", str(work))
        print(f"imported {payments.height:,} payments in {time.perf_counter() - began:.1f} s", flush=True)

    results = []
    for variant in arguments.variants.split(","):
        for start in FOLDS[arguments.folds]:
            if arguments.only and start != arguments.only:
                continue
            found = run_fold(work, payments, start, variant, arguments.trials, arguments.seed)
            results.append({"variant": variant, "train_start": start, **found})
            print(
                f"{variant:5} {start}  AUC {found['roc_auc']:.3f}  AP {found['average_precision']:.3f}  "
                f"CP@100 {found['card_precision_100']:.3f}  ({found['n']:,.0f} payments, {found['n_fraud']:.0f} fraud; "
                f"train {found['train_s']:.0f} s, score {found['score_s']:.0f} s)",
                flush=True,
            )
    print(f"\n{'mean ± sd of ' + arguments.folds + ' folds':44} {'AUC':>14} {'AP':>14} {'CP@100':>14}")
    table = ["| | ROC-AUC | average precision | card precision@100 |", "|---|---|---|---|"]
    for variant in arguments.variants.split(","):
        rows = [row for row in results if row["variant"] == variant]
        named = "ringfence, one week of labels" if variant == "week" else "ringfence, all labels known by then"
        cells = []
        for metric in ("roc_auc", "average_precision", "card_precision_100"):
            values = [float(row[metric]) for row in rows]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values):.3f}")
        print(f"{named:44} " + " ".join(f"{cell:>14}" for cell in cells))
        table.append(f"| {named} | {' | '.join(cells)} |")
    if arguments.folds == "test":
        for name, auc, precision, cards in PUBLISHED:
            print(f"{name:44} {auc:>14.3f} {precision:>14.3f} {cards:>14.3f}")
            table.append(f"| {name} | {auc:.3f} | {precision:.3f} | {cards:.3f} |")
    if arguments.write:
        which = f"the fold {arguments.only}" if arguments.only else f"the four {arguments.folds} folds"
        head = f"Mean ± standard deviation of {which}. Written by `python -m benchmarks.p1 --write`."
        write_table(EXAMPLE / "README.md", "p1", "\n".join([head, "", *table]))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    if arguments.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
