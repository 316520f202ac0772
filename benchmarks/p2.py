# SPDX-License-Identifier: Apache-2.0
"""Motor claims network: import, train and score through the command line, metrics from the scores file.

    python -m benchmarks.p2 [--seeds 5] [--trials N] [--variants full,...] [--write] [--json FILE]

First 60 % of the claims by time train, labels known 90 days after the claim and by the cut; the rest is the test.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from benchmarks.commands import ROOT, data_folder, ringfence
from benchmarks.written import write_table
from ringfence.models import bootstrap, paired_bootstrap
from ringfence.models.gnn_branch import GNN
from ringfence.models.metrics import average_precision, roc_auc

DATA = data_folder("motor_claims_network")
METRICS = {"roc_auc": roc_auc, "average_precision": average_precision}
RESAMPLES = 2_000
EXAMPLE = ROOT / "examples" / "motor-claims-network"
WITHOUT_LINKS = {"one_hop": False, "neighbour_risk": False}
VARIANTS: dict[str, dict[str, bool] | None] = {
    "full": None,
    "without neighbours' risk": {"neighbour_risk": False},
    "without links": WITHOUT_LINKS,
    "without entity history": {"novelty_gaps": False, "velocity": False, "label_risk": False, **WITHOUT_LINKS},
}
BASELINES = (
    ("attributes only: logistic · LightGBM", ".786 / .209 · .768 / .148"),
    ("+ neighbour counts and known fraud, 1 and 2 hops", ".849 / .330 · .856 / .311"),
    ("their mean", ".858 / .334"),
)


def split() -> tuple[pl.DataFrame, pl.DataFrame, str]:
    """Return all claims, those of the test with `event_id`, `fraud` and `at`, and when the test begins."""
    claims = pl.read_parquet(DATA / "claims.parquet").sort("claim_time_derived")
    test = claims[int(0.6 * claims.height) :].select(event_id="ClaimID", fraud="Fraud", at="claim_time_derived")
    return claims, test, test["at"][0].isoformat(timespec="milliseconds")


def workspace(folder: Path, features: dict[str, bool] | None) -> Path:
    """Copy the example beside the data, with feature families switched off where asked, and import."""
    shutil.copytree(EXAMPLE, folder)
    if features is not None:
        switches = ", ".join(f"{family}: {str(on).lower()}" for family, on in features.items())
        text = (folder / "ringfence.yaml").read_text()
        (folder / "ringfence.yaml").write_text(
            text.replace("    time_zone: UTC\n", f"    time_zone: UTC\n    features: {{{switches}}}\n", 1)
        )
    for name in ("claims.parquet", "claim_parties.parquet"):
        shutil.copy(DATA / name, folder / name)
    ringfence("import", "--workspace", str(folder))
    return folder


def scores_of(
    folder: Path, cut: str, seed: int, trials: int, features: dict[str, bool] | None, *, network: bool = True
) -> pl.DataFrame:
    # The network reads links by itself: what is to do without them does without it.
    beside = () if network and (features is None or features.get("one_hop", True)) else ("--without", GNN)
    ringfence(
        "train", "--workspace", str(folder), "--until", cut, "--seed", str(seed), "--trials", str(trials), *beside
    )
    output = folder / f"scores-{seed}.parquet"
    ringfence("score", "--workspace", str(folder), "--from", cut, "--release", "latest", "--output", str(output))
    return pl.read_parquet(output).select(pl.col("event_id").cast(pl.String), "score")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=0)
    parser.add_argument(
        "--variants", default=",".join(VARIANTS), help="with commas between; the first is compared with"
    )
    parser.add_argument("--write", action="store_true", help="put the table into the example's README")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    variants = {name: VARIANTS[name] for name in arguments.variants.split(",")}

    claims, test, cut = split()
    y = test["fraud"].to_numpy()
    print(f"{claims.height - test.height:,} claims before {cut}, {test.height:,} after, {int(y.sum())} of them fraud")

    temporary = tempfile.TemporaryDirectory(prefix="ringfence-p2-")  # removed at exit, whatever happens
    work = Path(temporary.name)
    mean_scores = {}
    report: dict[str, Any] = {"cut": cut}
    table = ["| | ROC-AUC | average precision |", "|---|---|---|"]
    for name, features in variants.items():
        folder = workspace(work / name.replace(" ", "-").replace("'", ""), features)
        rows = []
        for seed in range(arguments.seeds):
            joined = test.join(scores_of(folder, cut, seed, arguments.trials, features), on="event_id", how="left")
            if joined["score"].null_count():
                raise SystemExit(f"{joined['score'].null_count()} test claims have no score")
            score = joined["score"].to_numpy()
            rows.append((score, roc_auc(y, score), average_precision(y, score)))
            print(f"{name:26} seed {seed}  ROC-AUC {rows[-1][1]:.3f}  AP {rows[-1][2]:.3f}", flush=True)
        mean_scores[name] = np.mean([row[0] for row in rows], axis=0)
        aucs, precisions = [row[1] for row in rows], [row[2] for row in rows]
        intervals = bootstrap(METRICS, y, rows[0][0], seed=0, n_resamples=RESAMPLES)
        report[name] = {"roc_auc": aucs, "average_precision": precisions, "seed_0": msgspec.to_builtins(intervals)}
        roc, ap = intervals["roc_auc"], intervals["average_precision"]
        table.append(
            f"| ringfence, {name} | {np.mean(aucs):.3f} ± {np.std(aucs):.3f} ({roc.low:.3f} to {roc.high:.3f}) | "
            f"{np.mean(precisions):.3f} ± {np.std(precisions):.3f} ({ap.low:.3f} to {ap.high:.3f}) |"
        )
        print(
            f"{name:26} mean ± sd of seeds: ROC-AUC {np.mean(aucs):.3f} ± {np.std(aucs):.3f}, "
            f"AP {np.mean(precisions):.3f} ± {np.std(precisions):.3f}; seed 0, 95 %: "
            f"ROC-AUC {intervals['roc_auc'].low:.3f} to {intervals['roc_auc'].high:.3f}, "
            f"AP {intervals['average_precision'].low:.3f} to {intervals['average_precision'].high:.3f}\n"
        )
    first = next(iter(variants))
    for name in list(variants)[1:]:
        gain = paired_bootstrap(METRICS, y, mean_scores[first], mean_scores[name], seed=0, n_resamples=RESAMPLES)
        report[f"gain over {name}"] = msgspec.to_builtins(gain)
        for metric, found in gain.items():
            bounds = f"paired 95 %: {found.low:+.3f} to {found.high:+.3f}"
            print(f"gain over {name:26} {metric:18} {found.value:+.3f}  ({bounds})")
        cells = [f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})" for found in gain.values()]
        table.append(f"| gain of {first} over {name}, paired | {' | '.join(cells)} |")
    print("\nquick baselines on the same split, ROC-AUC / AP, 90-day label delay")
    for name, figures in BASELINES:
        print(f"  {name:50} {figures}")
    if arguments.write:
        head = (
            f"{y.shape[0]:,} test claims, {int(y.sum())} frauds, labels 90 days late; mean ± standard deviation of "
            f"{arguments.seeds} seeds, 95 % intervals over claims. Written by `python -m benchmarks.p2 --write`."
        )
        rivals = [f"| quick baselines, {name} | {figures} | |" for name, figures in BASELINES]
        write_table(EXAMPLE / "README.md", "p2", "\n".join([head, "", *table, *rivals]))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
