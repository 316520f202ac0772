# SPDX-License-Identifier: Apache-2.0
"""How hard is a simulated world? Single columns, what leaks, and LightGBM on attributes and on the engine's features.

    python -m benchmarks.worlds --events 30000 --fraud-rate 0.03 --seeds 1 2 7

Everything is judged by the truth, which the models never see: they train on the labels known when the last fifth of
the history begins, and are tested on that fifth.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario import FakeClock, load_scenarios
from ringfence.simulate import simulate_motor_claims

NUMBERS = ("claim_amount", "policy_age_days", "vehicle_age_years", "reported_after_days")
CATEGORIES = ("vehicle_make", "claim_type", "region", "sex")
IDS = ("repair_shop_id", "lawyer_id", "doctor_id", "broker_id", "claimant_id", "vehicle_id")
TEST_SHARE = 0.2
WARM_UP_SHARE = 0.1  # first claims, whose counts are still empty: not trained on
TREES = {"objective": "binary", "verbose": -1, "num_leaves": 15, "learning_rate": 0.04, "min_data_in_leaf": 30,
         "feature_fraction": 0.4, "lambda_l2": 5.0, "seed": 1}  # fmt: skip


def two_sided_auc(fraud: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    area = float(roc_auc_score(fraud, score))
    return max(area, 1.0 - area)


def rate_elsewhere(values: pl.Series, fraud: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Score each category by its fraud rate in the other four fifths of the rows."""
    code = values.fill_null("?").rank("dense").cast(pl.Int64).to_numpy()
    fold = np.random.default_rng(5).integers(0, 5, len(code))
    score = np.zeros(len(code))
    for part in range(5):
        rest = fold != part
        n = np.bincount(code[rest], minlength=int(code.max()) + 1)
        hits = np.bincount(code[rest], fraud[rest], minlength=int(code.max()) + 1)
        score[~rest] = ((hits + 20.0 * fraud.mean()) / (n + 20.0))[code[~rest]]
    return score


def column_areas(claims: pl.DataFrame, fraud: NDArray[np.bool_]) -> dict[str, float]:
    areas = {name: two_sided_auc(fraud, claims[name].fill_null(-1).to_numpy()) for name in NUMBERS}
    areas["hour"] = two_sided_auc(fraud, claims["claim_time"].dt.hour().to_numpy())
    areas["narrative length"] = two_sided_auc(fraud, claims["narrative"].str.len_chars().to_numpy())
    areas |= {name: two_sided_auc(fraud, rate_elsewhere(claims[name], fraud)) for name in CATEGORIES}
    counts = {name: claims.select(pl.len().over(name)).to_series().to_numpy() for name in IDS}
    return areas | {f"uses of {name}": two_sided_auc(fraud, count) for name, count in counts.items()}


def leak_areas(claims: pl.DataFrame, fraud: NDArray[np.bool_]) -> dict[str, float]:
    """ROC-AUC, on the last fifth, of trees grown on what must say nothing."""
    cents = np.rint(claims["claim_amount"].to_numpy() * 100.0)
    missing = [*IDS, "reported_after_days"]
    columns = {
        "missing values": np.column_stack([claims[name].is_null().to_numpy() for name in missing]),
        "claim id": claims["claim_id"].str.slice(2).cast(pl.Float64).to_numpy()[:, None],
        "cents": np.column_stack([np.mod(cents, 100.0), np.mod(cents, 1_000.0), np.mod(cents, 5_000.0)]),
        "milliseconds": claims["claim_time"].dt.millisecond().to_numpy()[:, None],
    }
    cut = int(len(fraud) * (1.0 - TEST_SHARE))
    return {
        name: float(
            roc_auc_score(fraud[cut:], fitted(rows[:cut].astype(np.float64), fraud[:cut], 60).predict(rows[cut:]))
        )
        for name, rows in columns.items()
    }


def fitted(rows: NDArray[np.float64], fraud: NDArray[np.bool_], n_trees: int) -> lgb.Booster:
    return lgb.train(TREES, lgb.Dataset(rows, fraud), n_trees)


def model_areas(workspace: Path, ends_ms: int) -> dict[str, float]:
    scenario = load_scenarios(workspace / "ringfence.yaml")["motor-claims"]
    directory = workspace / "ledger" / scenario.name
    import_files(directory, scenario, workspace, FakeClock(ends_ms))
    ledger, catalogue = Ledger.open(directory, scenario), Catalogue.build(scenario)
    engine = Engine(catalogue)
    rows = np.concatenate([engine.observe(batch) for batch in ledger.batches()])
    truth = pl.read_parquet(workspace / "truth.parquet")
    claims = (
        ledger.events(0)
        .join(
            truth.select("claim_id", "fraud"),
            left_on="event_id",
            right_on="claim_id",
            how="left",
            maintain_order="left",
        )
        .join(ledger.labels(), left_on="seq", right_on="event_seq", how="left", maintain_order="left")
    )
    cut = int(claims.height * (1.0 - TEST_SHARE))
    known = (claims["known_at_ms"] < claims["event_time_ms"][cut]).fill_null(False).to_numpy()
    known[: int(claims.height * WARM_UP_SHARE)] = False
    known[cut:] = False
    fraud = claims["fraud"].to_numpy()[cut:]
    label = claims["value"].fill_null(0).to_numpy()[known] == 1
    own = [i for i, name in enumerate(catalogue.names) if name.startswith(("event.", "attribute."))]
    areas = {"examples": float(known.sum()), "positive examples": float(label.sum())}
    for name, columns in (("own attributes", own), ("all engine features", list(range(len(catalogue.names))))):
        score = fitted(rows[known][:, columns], label, 200).predict(rows[cut:][:, columns])
        order = np.argsort(-score, kind="stable")
        hits = np.cumsum(fraud[order])
        recall = hits[hits / np.arange(1, len(hits) + 1) >= 0.15]
        areas[f"AP, {name}"] = float(average_precision_score(fraud, score))
        areas[f"ROC-AUC, {name}"] = float(roc_auc_score(fraud, score))
        areas[f"recall at 15 % precision, {name}"] = float(recall.max() / fraud.sum()) if recall.size else 0.0
    return areas


def sheet(n_events: int, fraud_rate: float, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        report = simulate_motor_claims(n_events, seed, Path(folder), fraud_rate=fraud_rate)
        claims = pl.read_parquet(Path(folder) / "claims.parquet")
        fraud = pl.read_parquet(Path(folder) / "truth.parquet")["fraud"].to_numpy()
        lines = {"fraud": report.n_fraud / n_events, "rings": float(report.n_rings)}
        lines |= {f"column: {name}": area for name, area in column_areas(claims, fraud).items()}
        lines |= {f"leak: {name}": area for name, area in leak_areas(claims, fraud).items()}
        return lines | {f"model: {name}": area for name, area in model_areas(Path(folder), report.ends_ms).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--fraud-rate", type=float, default=0.03)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 7])
    arguments = parser.parse_args()
    sheets = [sheet(arguments.events, arguments.fraud_rate, seed) for seed in arguments.seeds]
    print("| | " + " | ".join(f"seed {seed}" for seed in arguments.seeds) + " |")
    print("|---" * (len(sheets) + 1) + "|")
    for name in sheets[0]:
        cells = (f"{one[name]:.0f}" if one[name] > 1.0 else f"{one[name]:.3f}" for one in sheets)
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
