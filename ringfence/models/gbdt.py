# SPDX-License-Identifier: Apache-2.0
"""Gradient-boosted trees on engine features: LightGBM trains them, the walker serves them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from ringfence.models.errors import ModelShapeError, TooFewLabelsError
from ringfence.models.walker import TreeWalker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FloatArray = NDArray[np.float64]

DEFAULTS: Final[dict[str, Any]] = {
    "objective": "binary",  # log-loss; imbalance is the calibrator's and the policy's business, not the loss's
    "num_leaves": 31,
    "learning_rate": 0.05,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 255,
    "min_data_per_group": 50,
    "cat_smooth": 20.0,
}
# What makes two runs equal, and what the walker relies on: not for the caller to change.
_FIXED: Final[dict[str, Any]] = {
    "boosting": "gbdt",
    "deterministic": True,
    "force_col_wise": True,
    "linear_tree": False,
    "zero_as_missing": False,
    "use_missing": True,
    "verbosity": -1,
}


@dataclass(frozen=True)
class Gbdt:
    """A trained model: LightGBM's own text, which any LightGBM can read, and the walker built from it."""

    text: str

    @cached_property
    def walker(self) -> TreeWalker:
        return TreeWalker.from_lightgbm(self.text)

    def raw(self, rows: FloatArray) -> FloatArray:
        """Return log-odds, shape (n,), for encoded rows of shape (n, n_features)."""
        return self.walker.raw(rows)

    def contributions(self, rows: FloatArray) -> FloatArray:
        """Return exact path-dependent TreeSHAP, shape (n, n_features), in log-odds; sums to raw minus `walker.base`."""
        return self.walker.contributions(rows, n_points=self.walker.n_points_exact, coarseness=0.0)

    def gain_importance(self) -> FloatArray:
        """Return each feature's share of the training gain, shape (n_features,), summing to 1 (or all 0)."""
        gain = np.asarray(lgb.Booster(model_str=self.text).feature_importance("gain"), dtype=np.float64)
        total = float(gain.sum())
        return gain / total if total > 0 else gain

    @classmethod
    def of(cls, text: str, walker: TreeWalker) -> Gbdt:
        """Join a text and the walker that was once built from it, which saves reading the text."""
        fitted = cls(text)
        fitted.__dict__["walker"] = walker
        return fitted

    @property
    def n_trees(self) -> int:
        return self.text.count("\nTree=")


@dataclass(frozen=True, eq=False)
class Bins:
    """Rows cut into bins, an eighth of their size, and what is grown on them; the rows themselves may go."""

    dataset: lgb.Dataset
    settings: dict[str, Any]  # of LightGBM
    seed: int


def cut_into_bins(
    rows: FloatArray,
    labels: NDArray[np.integer[Any]],
    *,
    seed: int,
    categories: Sequence[int] = (),
    params: Mapping[str, Any] | None = None,
    num_threads: int = 1,
    weights: FloatArray | None = None,
    bin_rows: int | None = None,
    most_bins: int | None = None,
) -> Bins:
    """Find the bins of each column, and every row's; parameters and errors as in `train_gbdt`.

    `most_bins`: of a number; the time of a split is theirs. None: as many as the settings say.
    """
    if rows.ndim != 2 or labels.shape != (rows.shape[0],):
        raise ModelShapeError(f"rows of shape {rows.shape} do not go with labels of shape {labels.shape}")
    n_fraud = int(np.count_nonzero(labels == 1))
    if n_fraud == 0 or n_fraud == labels.shape[0]:
        raise TooFewLabelsError("boosted trees", n_fraud, labels.shape[0] - n_fraud)
    settings = {**DEFAULTS, **(params or {}), **_FIXED, "num_threads": num_threads}
    if most_bins is not None:
        # Not of categories: beyond so many values LightGBM would throw the rarer ones together.
        of_codes, whole = set(categories), settings["max_bin"]
        settings["max_bin_by_feature"] = [
            whole if column in of_codes else min(most_bins, whole) for column in range(rows.shape[1])
        ]
    sample = {} if bin_rows is None else {"bin_construct_sample_cnt": bin_rows}
    dataset = lgb.Dataset(
        rows,
        label=np.asarray(labels, dtype=np.float64),
        weight=weights,
        categorical_feature=list(categories),
        params={**settings, "seed": seed, **sample},
        free_raw_data=True,
    )
    return Bins(dataset.construct(), settings, seed)


def train_gbdt(
    rows: FloatArray,
    labels: NDArray[np.integer[Any]],
    *,
    n_trees: int,
    seed: int,
    categories: Sequence[int] = (),
    params: Mapping[str, Any] | None = None,
    n_seeds: int = 1,
    num_threads: int = 1,
    weights: FloatArray | None = None,
    bin_rows: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Gbdt:
    """Fit boosted trees with log-loss. The same arguments give the same model text.

    Parameters
    ----------
    rows : shape (n, n_features), encoded float64; NaN where missing.
    labels : shape (n,), 1 for fraud, 0 for legit.
    n_trees : boosting rounds of each booster, >= 1.
    seed : whole number; booster i of `n_seeds` uses `seed + i`.
    categories : columns that hold codes of the encoder.
    params : LightGBM parameters over `DEFAULTS`; what determinism needs is not overridden.
    n_seeds : boosters whose raw scores are averaged; they become one model of `n_seeds * n_trees` trees. Rows are cut
        into bins once for all of them.
    num_threads : of LightGBM, >= 1; the model does not depend on it.
    weights : shape (n,), > 0, or None for 1.
    bin_rows : rows from which the bins of a column are found, drawn at random; None: LightGBM's 200,000.
    progress : called with (trees grown, trees in all) after every tree.

    Raises
    ------
    TooFewLabelsError
        Where one of the two classes is absent.
    ModelShapeError
        Where rows and labels differ in length.
    """
    bins = cut_into_bins(
        rows,
        labels,
        seed=seed,
        categories=categories,
        params=params,
        num_threads=num_threads,
        weights=weights,
        bin_rows=bin_rows,
    )
    return grow_trees(bins, n_trees=n_trees, n_seeds=n_seeds, progress=progress)


def grow_trees(
    bins: Bins, *, n_trees: int, n_seeds: int = 1, progress: Callable[[int, int], None] | None = None
) -> Gbdt:
    """Fit boosted trees on rows that are cut into bins; parameters as in `train_gbdt`."""
    texts = []
    for index in range(n_seeds):

        def report(env: Any, before: int = index * n_trees) -> None:
            if progress is not None:
                progress(before + env.iteration + 1, n_seeds * n_trees)

        settings = {**bins.settings, "seed": bins.seed + index}
        booster = lgb.train(settings, bins.dataset, num_boost_round=n_trees, callbacks=[report])
        # the number of threads is written into the text but changes nothing in the model: keep equal models equal
        texts.append(re.sub(r"\[num_threads: \d+\]", "[num_threads: 1]", booster.model_to_string(num_iteration=-1)))
    return Gbdt(text=average_boosters(texts))


def grow_curve(
    bins: Bins,
    later_rows: FloatArray,
    *,
    max_trees: int,
    step: int,
    enough: Callable[[FloatArray], bool] | None = None,
) -> Growth:
    """Fit on one span and score a later one after every `step` trees: what out-of-fold tree counts are chosen from.

    Parameters
    ----------
    bins : of the rows of the span.
    later_rows : shape (n_later, n_features), encoded.
    max_trees, step : trees are grown up to the one, and counted in steps of the other; both >= 1.
    enough : given the log-odds of `later_rows` after every step, shape (n_later,); True stops the growth there.
    """
    counts: list[int] = []
    raw: list[FloatArray] = []

    def score(env: Any) -> None:
        n_trees = env.iteration + 1
        if n_trees % step and n_trees != max_trees:
            return
        before = counts[-1] if counts else 0
        added = env.model.predict(
            later_rows,
            start_iteration=before,
            num_iteration=n_trees - before,
            raw_score=True,
            num_threads=bins.settings["num_threads"],
        )
        counts.append(n_trees)
        raw.append(added + (raw[-1] if raw else np.zeros(later_rows.shape[0])))
        if enough is not None and enough(raw[-1]):
            raise lgb.callback.EarlyStopException(env.iteration, [])

    settings = {**bins.settings, "seed": bins.seed}
    booster = lgb.train(settings, bins.dataset, num_boost_round=max_trees, callbacks=[score])
    return Growth(np.array(counts, dtype=np.int64), np.stack(raw), booster.model_to_string(num_iteration=-1))


@dataclass(frozen=True, eq=False)
class Growth:
    """A booster seen while it grew, k times."""

    counts: NDArray[np.int64]  # (k,) numbers of trees, ascending
    raw: FloatArray  # (k, n_later) log-odds of the later rows after that many trees
    text: str  # the model with all its trees

    def raw_after(self, n_trees: int, rows: FloatArray, *, num_threads: int = 1) -> FloatArray:
        """Return log-odds of other rows after the first `n_trees` trees, shape (n,), for encoded (n, n_features)."""
        return np.asarray(
            self._booster.predict(rows, num_iteration=n_trees, raw_score=True, num_threads=num_threads),
            dtype=np.float64,
        )

    @cached_property
    def _booster(self) -> lgb.Booster:
        return lgb.Booster(model_str=self.text)


def average_boosters(texts: Sequence[str]) -> str:
    """Return one LightGBM model text whose raw score is the mean of the given ones: all trees, leaves divided."""
    if len(texts) == 1:
        return texts[0]
    header = re.sub(r"\ntree_sizes=[^\n]*", "", texts[0].split("\nTree=")[0]).rstrip("\n")
    footer = "\nend of trees" + texts[0].split("\nend of trees", 1)[1]
    blocks: list[str] = []
    for text in texts:
        for block in text.split("\n\n\nend of trees")[0].split("\nTree=")[1:]:
            body = block.partition("\n")[2].rstrip("\n")
            blocks.append(f"Tree={len(blocks)}\n{_divide_leaves(body, len(texts))}\n\n\n")
    sizes = " ".join(str(len(block.encode())) for block in blocks)
    return f"{header}\ntree_sizes={sizes}\n\n{''.join(blocks)}{footer.lstrip(chr(10))}"


def _divide_leaves(body: str, by: int) -> str:
    def divided(match: re.Match[str]) -> str:
        return match.group(1) + " ".join(repr(float(value) / by) for value in match.group(2).split())

    return re.sub(r"(?m)^((?:leaf|internal)_value=)(.*)$", divided, body)
