# SPDX-License-Identifier: Apache-2.0
"""The peer's model: LightGBM on eight velocity features, amount and attributes, from the same simulated history.

Labels are taken as the file has them. Whoever is among the most suspect 5 % of the history's last fifth is reviewed,
so that reasons are asked for about as often as of ringfence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import polars as pl

from benchmarks.peer.velocity import NAMES, counts_of_history

NUMBERS: Final = ("policy_age_days", "vehicle_age_years", "reported_after_days")
CATEGORIES: Final = ("vehicle_make", "claim_type", "region")
COLUMNS: Final = (*NAMES, "amount", *NUMBERS, *CATEGORIES)
N_REASONS: Final = 3
_REVIEWED: Final = 0.05
_LEARNT: Final = 0.8
_TREES: Final = 200
_PARAMS: Final = {"objective": "binary", "verbosity": -1, "num_threads": 1, "learning_rate": 0.05, "seed": 1}


def read_history(workspace: Path) -> pl.DataFrame:
    """The claims that the simulation wrote, in order of time."""
    return pl.read_parquet(workspace / "claims.parquet").sort("claim_time")


def train(claims: pl.DataFrame, folder: Path) -> None:
    """Fit on the labelled events of the first four fifths, and write `model.txt` and `model.json`."""
    coded: dict[str, dict[str, int]] = {
        name: {value: code for code, value in enumerate(claims[name].drop_nulls().unique().sort())}
        for name in CATEGORIES
    }
    rows = np.column_stack(
        [
            counts_of_history(claims),
            claims["claim_amount"].to_numpy().astype(np.float64),
            *(claims[name].cast(pl.Float64).to_numpy() for name in NUMBERS),
            *(
                claims[name].replace_strict(coded[name], default=None, return_dtype=pl.Float64).to_numpy()
                for name in CATEGORIES
            ),
        ]
    )
    labels = claims["is_fraud"].to_numpy().astype(np.float64)
    learnt = np.flatnonzero(~np.isnan(labels[: int(_LEARNT * len(labels))]))
    data = lgb.Dataset(
        rows[learnt], labels[learnt], feature_name=list(COLUMNS), categorical_feature=list(CATEGORIES), params=_PARAMS
    )
    booster = lgb.train(_PARAMS, data, num_boost_round=_TREES)
    booster.save_model(folder / "model.txt")
    scores = np.asarray(booster.predict(rows[int(_LEARNT * len(rows)) :]))
    threshold = float(np.quantile(scores, 1.0 - _REVIEWED))
    (folder / "model.json").write_text(json.dumps({"threshold": threshold, "categories": coded}))


class Model:
    """What `train` wrote, one event at a time."""

    def __init__(self, folder: Path) -> None:
        self._booster = lgb.Booster(model_file=folder / "model.txt")
        notes = json.loads((folder / "model.json").read_text())
        self.threshold: float = notes["threshold"]
        self._categories: dict[str, dict[str, int]] = notes["categories"]

    def row(self, counts: list[float], amount: float | None, attributes: dict[str, Any]) -> np.ndarray[Any, Any]:
        """Shape (1, n columns); what is missing or was never seen is NaN."""
        values: list[float | None] = [*counts, amount, *(attributes.get(name) for name in NUMBERS)]
        values += [self._categories[name].get(attributes.get(name) or "") for name in CATEGORIES]
        return np.array([[np.nan if value is None else value for value in values]], dtype=np.float64)

    def score(self, row: np.ndarray[Any, Any]) -> float:
        return float(np.asarray(self._booster.predict(row, num_threads=1))[0])

    def reasons(self, row: np.ndarray[Any, Any]) -> list[tuple[str, float]]:
        """The columns that raised the score most, by exact TreeSHAP."""
        shares = np.asarray(self._booster.predict(row, pred_contrib=True, num_threads=1))[0][:-1]
        return [(COLUMNS[at], float(shares[at])) for at in np.argsort(-shares)[:N_REASONS]]
