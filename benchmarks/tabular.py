# SPDX-License-Identifier: Apache-2.0
"""Plain rivals on the same columns and the same split, and the figures that tables of attributes are judged by."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ringfence.models import bootstrap
from ringfence.models.metrics import (
    average_precision,
    brier_skill,
    calibration_slope,
    ece_equal_mass,
    roc_auc,
)

FloatArray = NDArray[np.float64]

N_BINS = 10
RESAMPLES = 1_000


def ece(labels: NDArray[np.integer[Any]], scores: FloatArray, weights: FloatArray | None = None) -> float:
    """Expected calibration error over ten bins of equal mass."""
    return ece_equal_mass(labels, scores, weights, n_bins=N_BINS)


FIGURES = {
    "ROC-AUC": roc_auc,
    "average precision": average_precision,
    "Brier skill": brier_skill,
    "ECE": ece,
    "slope": calibration_slope,
}
HEADER = f"| | {' | '.join(FIGURES)} |\n|---|{'---|' * len(FIGURES)}"


def rivals(train: pl.DataFrame, test: pl.DataFrame, label: str) -> dict[str, FloatArray]:
    """Fit a logistic regression on one-hot columns and LightGBM as it comes; return their scores of `test`.

    Parameters
    ----------
    train, test : the same columns, `label` (1 or 0) among them; nothing of `test` is fitted.
    """
    columns = [name for name in train.columns if name != label]
    y = train[label].to_numpy()
    wide_train, wide_test = _one_hot(train.select(columns), test.select(columns))
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000)).fit(wide_train, y)
    coded_train, coded_test, categories = _coded(train.select(columns), test.select(columns))
    trees = lgb.LGBMClassifier(verbosity=-1, n_jobs=1, random_state=0)
    trees.fit(coded_train, y, categorical_feature=categories)
    return {
        "logistic regression": logistic.predict_proba(wide_test)[:, 1],
        "LightGBM, defaults": np.asarray(trees.predict_proba(coded_test))[:, 1],
    }


def table_row(name: str, labels: NDArray[np.integer[Any]], score: FloatArray) -> tuple[str, dict[str, float]]:
    """One line of a Markdown table with 95 % intervals, and the bare figures."""
    score = np.clip(score, 1e-9, 1.0 - 1e-9)
    found = bootstrap(FIGURES, labels, score, seed=0, n_resamples=RESAMPLES)
    cells = [f"{found[one].value:.3f} ({found[one].low:.3f} to {found[one].high:.3f})" for one in FIGURES]
    return f"| {name} | {' | '.join(cells)} |", {one: found[one].value for one in FIGURES}


def _one_hot(train: pl.DataFrame, test: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
    parts: list[tuple[FloatArray, FloatArray]] = []
    for name in train.columns:
        if train[name].dtype.is_numeric():
            given = train[name].cast(pl.Float64).drop_nulls().to_numpy()
            middle = float(np.median(given)) if len(given) else 0.0
            both = [frame[name].cast(pl.Float64).fill_null(middle).to_numpy()[:, None] for frame in (train, test)]
        else:
            values = train[name].cast(pl.String).fill_null("").unique().sort().to_list()
            texts = [frame[name].cast(pl.String).fill_null("").to_list() for frame in (train, test)]
            both = [np.array([[float(text == value) for value in values] for text in one]) for one in texts]
        parts.append((both[0], both[1]))
    return np.hstack([part[0] for part in parts]), np.hstack([part[1] for part in parts])


def _coded(train: pl.DataFrame, test: pl.DataFrame) -> tuple[FloatArray, FloatArray, list[int]]:
    coded: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    categories = []
    for at, name in enumerate(train.columns):
        numeric = train[name].dtype.is_numeric()
        known = (
            {} if numeric else {text: float(code) for code, text in enumerate(train[name].unique().sort().to_list())}
        )
        if not numeric:
            categories.append(at)
        for side, frame in enumerate((train, test)):
            values = frame[name].to_list()
            coded[side].append(
                np.array([float("nan") if value is None else float(value) if numeric else known.get(value, float("nan"))
                          for value in values])
            )  # fmt: skip
    return np.column_stack(coded[0]), np.column_stack(coded[1]), categories
