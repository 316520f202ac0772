# SPDX-License-Identifier: Apache-2.0
"""Planted pairs: does a GBDT on engine features rank the claim inside a ring before its equal beside strangers?

    python -m benchmarks.planted [--events 20000] [--pairs 400] [--seed 3]

Both claims of a pair are equal in every column and every count of their own entities. Trees learn on the earlier half
of the pairs and rank the later half; the ring's claim must come first.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from ringfence.engine import Catalogue, feature_rows
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.load import load_scenarios
from ringfence.simulate import simulate_motor_claims

LINKED = ("one_hop", "neighbour_risk", "rings")
TREES = {"objective": "binary", "num_leaves": 7, "min_data_in_leaf": 10, "verbose": -1, "seed": 1, "num_threads": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        report = simulate_motor_claims(arguments.events, arguments.seed, workspace, planted_pairs=arguments.pairs)
        scenario = load_scenarios(workspace / "ringfence.yaml")["motor-claims"]
        directory = workspace / "ledger" / scenario.name
        import_files(directory, scenario, workspace, FakeClock(report.ends_ms))
        ledger, catalogue = Ledger.open(directory, scenario), Catalogue.build(scenario)
        pairs = pl.read_parquet(workspace / "planted_pairs.parquet")
        seq_of = dict(ledger.events(0).select("event_id", "seq").iter_rows())
        ring = np.array([seq_of[claim] for claim in pairs["ring_claim_id"]])
        honest = np.array([seq_of[claim] for claim in pairs["honest_claim_id"]])
        order = np.argsort(ring)
        ring, honest = ring[order], honest[order]
        seqs = np.unique(np.concatenate([ring, honest]))
        rows = feature_rows(ledger, catalogue, seqs).rows
    in_ring, beside = rows[np.searchsorted(seqs, ring)], rows[np.searchsorted(seqs, honest)]
    half = len(ring) // 2
    walks = np.array([feature.family in LINKED for feature in catalogue.features])
    print(f"{len(ring)} pairs, {half} to learn from")
    for name, kept in (("all features", walks | True), ("features that walk links", walks), ("all others", ~walks)):
        learn = np.concatenate([in_ring[:half], beside[:half]])[:, kept]
        trees = lgb.train(TREES, lgb.Dataset(learn, np.repeat([1, 0], half)), 100)
        first, second = (np.asarray(trees.predict(part[half:][:, kept])) for part in (in_ring, beside))
        print(f"{name:26} ring first in {np.mean(first > second):.1%}, level in {np.mean(first == second):.1%}")


if __name__ == "__main__":
    main()
