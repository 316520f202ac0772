# SPDX-License-Identifier: Apache-2.0
"""A search over a made-up loss, also in a process of its own: what `test_search` starts, kills and compares."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ringfence.training.crossfit import OutOfFold
from ringfence.training.search import EXTRA_TREES, search

TRIALS, SEED = 11, 3
DEFAULT = {
    "num_leaves": 31,
    "min_data_in_leaf": 15,
    "learning_rate": 0.05,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "lambda_l2": 1.0,
}


def try_setting(params: Mapping[str, Any]) -> OutOfFold:
    """A loss with its least near 12 leaves, a rate of 0.05 and a third of the features."""
    loss = (
        1.0
        + 0.2 * np.log(params["num_leaves"] / 12.0) ** 2
        + 0.1 * np.log(params["learning_rate"] / 0.05) ** 2
        + (params["feature_fraction"] - 0.33) ** 2
        + 0.05 * params.get(EXTRA_TREES, False)
    )
    return OutOfFold(
        raw=np.array([loss, np.nan]),
        n_trees=10 * params["num_leaves"],
        counts=np.array([10]),
        log_loss=np.array([loss]),
        average_precision=float(1.0 / loss),
    )


def slow_search(directory: Path, notes: Path, seconds: float) -> None:
    """Search in a process of its own, and note which process made which trial."""

    def slow(params: Mapping[str, Any]) -> OutOfFold:
        with notes.open("a") as file:
            file.write(f"{os.getpid()} {params['num_leaves']} {params['lambda_l2']}\n")
        time.sleep(seconds)
        return try_setting(params)

    params, found, lines = search(slow, DEFAULT, trials=TRIALS, seed=SEED, directory=lambda: directory)
    (notes.parent / f"{os.getpid()}.json").write_bytes(msgspec.json.encode([params, float(found.raw[0]), lines]))
