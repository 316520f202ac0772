# SPDX-License-Identifier: Apache-2.0
"""What each feature family is worth on the simulated insurer: one replay, then trees with and without its columns.

    python -m benchmarks.families [--events 200000] [--seeds 1 2] [--fraud-rate 0.0056]
    python -m benchmarks.families --cost        # instead: what replaying own entities, links and rings costs

Trees train on the labels known when the last fifth of the history begins, and are judged by the truth on that fifth.
Each line is the mean of several fits, because one fit differs from the next by as much as a family is worth;
differences are paired bootstraps over the claims of the test. Trees only: no calibration, no ensemble.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final

import lightgbm as lgb
import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine
from ringfence.engine.stats import FAMILIES, OFF_UNLESS_ASKED
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.models import paired_bootstrap
from ringfence.models.metrics import average_precision, recall_at_precision, roc_auc
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios
from ringfence.simulate import simulate_motor_claims

TREES: Final = {
    "objective": "binary", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 40, "feature_fraction": 0.3,
    "bagging_fraction": 0.8, "bagging_freq": 1, "num_threads": 2, "deterministic": True, "verbose": -1,
}  # fmt: skip
N_TREES, N_FITS = 250, 5
TEST_SHARE, WARM_UP_SHARE = 0.2, 0.1
METRICS: Final = {"AP": average_precision, "ROC-AUC": roc_auc}
LINKED: Final = ("one_hop", "neighbour_risk", "rings")
Rows = NDArray[np.float64]


def cost(n_events: int, seed: int, fraud_rate: float) -> None:
    """Print events a CPU second of replays with more and more families."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        report = simulate_motor_claims(n_events, seed, workspace, fraud_rate=fraud_rate)
        scenario = load_scenarios(workspace / "ringfence.yaml")["motor-claims"]
        directory = workspace / "ledger" / scenario.name
        import_files(directory, scenario, workspace, FakeClock(report.ends_ms))
        batches = list(Ledger.open(directory, scenario).batches())
    n_records = sum(int((batch.kind == 0).sum()) for batch in batches)
    print("| families | features | events a CPU second |\n|---|---|---|")
    own = {"one_hop": False, "neighbour_risk": False}
    for name, features in (("own entities only", own), ("and links (default)", {}), ("and rings", {"rings": True})):
        catalogue = Catalogue.build(msgspec.structs.replace(scenario, features=features))
        Engine(catalogue).peek(batches[0])  # compiles
        engine, began = Engine(catalogue), time.process_time()
        for batch in batches:
            engine.observe(batch)
        spent = time.process_time() - began
        print(f"| {name} | {len(catalogue.names)} | {n_records / spent:,.0f} |", flush=True)


def judged(n_events: int, seed: int, fraud_rate: float) -> tuple[Catalogue, Rows, NDArray[np.int64], NDArray[np.bool_]]:
    """Rows of all claims, the label known at the cut (-1 none), the truth; of a world made, imported and replayed."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        report = simulate_motor_claims(n_events, seed, workspace, fraud_rate=fraud_rate)
        scenario = load_scenarios(workspace / "ringfence.yaml")["motor-claims"]
        scenario = msgspec.structs.replace(scenario, features=dict.fromkeys(FAMILIES, True))
        directory = workspace / "ledger" / scenario.name
        import_files(directory, scenario, workspace, FakeClock(report.ends_ms))
        ledger, catalogue = Ledger.open(directory, scenario), Catalogue.build(scenario)
        engine, began = Engine(catalogue), time.process_time()
        rows = np.concatenate([engine.observe(batch) for batch in ledger.batches()])
        spent = time.process_time() - began
        print(
            f"seed {seed}: {n_events:,} claims, {len(catalogue.names)} features, state {engine.nbytes / 1e6:,.0f} MB, "
            f"{n_events / spent:,.0f} claims per CPU second, ticks included"
        )
        label, truth = known_and_true(ledger, workspace / "truth.parquet")
    return catalogue, rows, label, truth


def known_and_true(ledger: Ledger, truth_file: Path) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of each claim in order of seq, the label known when the test begins (-1 none), and whether it is a fraud."""
    truth = pl.read_parquet(truth_file).select(event_id="claim_id", fraud="fraud")
    claims = (
        ledger.events(0)
        .join(truth, on="event_id", how="left", maintain_order="left")
        .join(ledger.labels(), left_on="seq", right_on="event_seq", how="left", maintain_order="left")
    )
    cut = int(claims.height * (1.0 - TEST_SHARE))
    known = (claims["known_at_ms"] < claims["event_time_ms"][cut]).fill_null(False).to_numpy()
    label = np.where(known, claims["value"].fill_null(-1).to_numpy(), -1).astype(np.int64)
    return label, claims["fraud"].to_numpy()


def score(rows: Rows, label: NDArray[np.int64], columns: list[int], cut: int) -> Rows:
    examples = np.flatnonzero(
        (label >= 0) & (np.arange(len(label)) < cut) & (np.arange(len(label)) > cut * WARM_UP_SHARE)
    )
    kept, truth, tested = rows[examples][:, columns], label[examples], rows[cut:][:, columns]
    total = np.zeros(len(tested))
    for seed in range(N_FITS):
        trees = lgb.train(TREES | {"seed": seed}, lgb.Dataset(kept, truth), N_TREES)
        total += np.asarray(trees.predict(tested, raw_score=True))
    return total / N_FITS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--fraud-rate", type=float, default=0.0056)
    parser.add_argument("--cost", action="store_true")
    arguments = parser.parse_args()
    if arguments.cost:
        cost(arguments.events, arguments.seeds[0], arguments.fraud_rate)
        return
    for seed in arguments.seeds:
        catalogue, rows, label, fraud = judged(arguments.events, seed, arguments.fraud_rate)
        cut = int(len(fraud) * (1.0 - TEST_SHARE))
        family = np.array([feature.family for feature in catalogue.features])
        usual = ~np.isin(family, list(OFF_UNLESS_ASKED))
        variants = {"families that are on by default": usual}
        for name in catalogue.families:
            if name in OFF_UNLESS_ASKED:
                variants[f"and {name}"] = usual | (family == name)
            else:
                variants[f"without {name}"] = usual & (family != name)
        variants["without any that walks links"] = usual & ~np.isin(family, LINKED)
        variants["event alone"] = family == "event"
        scores = {name: score(rows, label, np.flatnonzero(kept).tolist(), cut) for name, kept in variants.items()}
        full, truth = scores["families that are on by default"], fraud[cut:].astype(np.int64)
        print(f"{int(truth.sum())} frauds among {len(truth):,} claims of the test")
        print("| | features | AP | ROC-AUC | recall at 15 % precision | AP against the first line, paired 95 % |")
        print("|---|---|---|---|---|---|")
        for name, found in scores.items():
            gain = paired_bootstrap(METRICS, truth, found, full, seed=0, n_resamples=500)["AP"]
            cells = [
                name,
                str(int(variants[name].sum())),
                f"{average_precision(truth, found):.3f}",
                f"{roc_auc(truth, found):.3f}",
                f"{recall_at_precision(truth, found, precision=0.15):.3f}",
                f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
