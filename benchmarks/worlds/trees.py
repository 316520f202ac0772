# SPDX-License-Identifier: Apache-2.0
"""LightGBM on what a claim says by itself, and, for orientation, on all features of the engine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import lightgbm as lgb
import numpy as np

from benchmarks.worlds.judged import Judged
from benchmarks.worlds.sightings import Bools, Floats
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario import FakeClock, load_scenarios

TREES: Final = {
    "objective": "binary", "verbose": -1, "num_leaves": 15, "learning_rate": 0.04, "min_data_in_leaf": 30,
    "feature_fraction": 0.4, "lambda_l2": 5.0, "seed": 1, "num_threads": 2, "deterministic": True,
    "force_row_wise": True,
}  # fmt: skip
N_TREES: Final = 200


def fitted(rows: Floats, fraud: Bools, n_trees: int = N_TREES, weights: Floats | None = None) -> lgb.Booster:
    """Grow trees on rows, shape (n, n_columns), NaN where missing; weights, shape (n,), None for equal ones."""
    return lgb.train(TREES, lgb.Dataset(rows, fraud.astype(np.float64), weight=weights), n_trees)


def tree_scores(world: Judged, workspace: Path, ends_ms: int) -> dict[str, Floats]:
    """Fit on the labels known at the cut and score the claims after it, from the claim alone and from everything.

    The rows are those of `ringfence train`: the files are imported into a ledger and replayed through the engine.
    """
    scenario = load_scenarios(workspace / "ringfence.yaml")["motor-claims"]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / scenario.name
        import_files(directory, scenario, workspace, FakeClock(ends_ms))
        ledger, catalogue = Ledger.open(directory, scenario), Catalogue.build(scenario)
        engine = Engine(catalogue)
        rows = np.concatenate([engine.observe(batch) for batch in ledger.batches()])
        # Claims of one millisecond may stand in another order in the ledger.
        place = ledger.events(0).select("event_id").with_row_index("place")
    order = world.claims.select(event_id="claim_id").join(place, on="event_id", how="left", maintain_order="left")
    rows = rows[order["place"].to_numpy()]
    own = [i for i, name in enumerate(catalogue.names) if name.startswith(("event.", "attribute."))]
    scores = {}
    for name, columns in (("attributes", own), ("engine", list(range(len(catalogue.names))))):
        model = fitted(rows[world.trained_on][:, columns], world.label[world.trained_on])
        scores[name] = np.asarray(model.predict(rows[world.tested_on][:, columns]), dtype=np.float64)
    return scores
