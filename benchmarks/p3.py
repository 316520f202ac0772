# SPDX-License-Identifier: Apache-2.0
"""Real vehicle claims: train on 1994, test on 1995, through the command line, metrics from the scores file.

    python -m benchmarks.p3 [--seeds 3] [--write] [--json FILE]

Beside it, on the same columns and rows: a logistic regression and LightGBM with its defaults. --write puts the
tables into examples/vehicle-claims/README.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.commands import ROOT, data_folder, ringfence
from benchmarks.tabular import FIGURES, HEADER, RESAMPLES, rivals, table_row
from benchmarks.written import write_table
from ringfence.models import paired_bootstrap
from ringfence.models.metrics import average_precision, roc_auc
from ringfence.scenario.load import load_scenarios

DATA = data_folder("vehicle_claims_real") / "claims.parquet"
EXAMPLE = ROOT / "examples" / "vehicle-claims"
LABEL, TIME = "FraudFound_P", "accident_date_derived"
CUT, END = "1995-01-01", "1996-01-01"
UNTIL = "1994-12-31T23:59:59"
FLOORS = "ROC-AUC .74 · AP .115 · Brier skill > 0 · ECE .015 at most · slope .8 to 1.2"


def learned_columns() -> list[str]:
    """The columns that the example learns from: the rivals get the same."""
    scenario = next(iter(load_scenarios(EXAMPLE / "ringfence.yaml").values()))
    return [attribute.column for attribute in scenario.decided.attributes if attribute.is_feature]


def workspace(folder: Path) -> Path:
    """Copy the example beside the data and import."""
    shutil.copytree(EXAMPLE, folder)
    shutil.copy(DATA, folder / "claims.parquet")
    ringfence("import", "--workspace", str(folder))
    return folder


def scores_of(work: Path, seed: int, claims: pl.DataFrame, *beside: str) -> pl.DataFrame:
    ringfence("train", "--workspace", str(work), "--until", UNTIL, "--seed", str(seed), *beside)
    output = work / f"scores-{seed}.parquet"
    ringfence("score", "-w", str(work), "--from", CUT, "--to", END, "--release", "latest", "--output", str(output))
    scores = pl.read_parquet(output).select(row=pl.col("event_id").cast(pl.Int64), score="score")
    return claims.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)).join(scores, on="row", how="inner")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the tables into the example's README")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()

    claims = pl.read_parquet(DATA)
    learned = claims.filter(pl.col("Year") == 1994)
    with tempfile.TemporaryDirectory(prefix="ringfence-p3-") as temporary:
        work = workspace(Path(temporary) / "vehicle-claims")
        runs = [scores_of(work, seed, claims) for seed in range(arguments.seeds)]
    test = runs[0]
    wanted = claims.filter(pl.col("Year") == 1995)
    if test.height != wanted.height or not test["Year"].eq(1995).all():
        raise SystemExit(f"{wanted.height} claims of 1995 should have a score; {test.height} have")
    y = test[LABEL].to_numpy()
    columns = [*learned_columns(), LABEL]
    others = rivals(learned.select(columns), test.select(columns), LABEL)
    rate = float(learned[LABEL].to_numpy().mean())

    lines, report = [], {}
    for seed, run in enumerate(runs):
        line, report[f"seed {seed}"] = table_row(f"ringfence, seed {seed}", y, run["score"].to_numpy())
        lines.append(line)
    for name, score in others.items():
        line, report[name] = table_row(name, y, score)
        lines.append(line)
    gains = []
    metrics = {"ROC-AUC": roc_auc, "average precision": average_precision}
    for name in list(others)[:2]:
        found = paired_bootstrap(metrics, y, runs[0]["score"].to_numpy(), others[name], seed=0, n_resamples=RESAMPLES)
        said = ", ".join(f"{m} {d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})" for m, d in found.items())
        gains.append(f"- seed 0 over {name}: {said}")
    months = (
        pl.concat([learned.with_columns(score=pl.lit(None, pl.Float64)), test.select([*learned.columns, "score"])])
        .group_by(month=pl.col(TIME).dt.strftime("%Y-%m"))
        .agg(n=pl.len(), rate=pl.col(LABEL).mean(), score=pl.col("score").mean())
        .sort("month")
    )
    by_month = ["| accidents of | claims | fraud | mean score |", "|---|---|---|---|"]
    for month, n, found_rate, score in months.iter_rows():
        by_month.append(
            f"| {month} | {n} | {100 * found_rate:.1f} % | {'' if score is None else f'{100 * score:.1f} %'} |"
        )
    text = "\n".join(
        [
            f"Trained on {learned.height:,} claims of 1994 ({learned[LABEL].sum()} frauds, {100 * rate:.1f} %), tested "
            f"on {y.shape[0]:,} of 1995 ({int(y.sum())} frauds, {100 * y.mean():.1f} %); 95 % intervals over claims, "
            f"ECE over ten bins of equal mass. Written by `python -m benchmarks.p3 --seeds {arguments.seeds} --write`.",
            "",
            HEADER,
            *lines,
            "",
            "Paired, on the same resamples:",
            "",
            *gains,
            "",
            *by_month,
        ]
    )
    print(text)
    print(f"\nfloors: {FLOORS}")
    if arguments.write:
        write_table(EXAMPLE / "README.md", "p3", text)
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": list(FIGURES), **report}, indent=1))


if __name__ == "__main__":
    main()
