# SPDX-License-Identifier: Apache-2.0
"""What is said to help where frauds are few, each tried on the same rows with the product's own settings.

A method is told the fit and the validation, and answers with log-odds of the validation and of the test. The number of
trees is its own: where the log-loss of the validation, after a straight-line calibration on it, is least. So a loss
that shifts or stretches its scores loses nothing by that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from benchmarks.imbalance_tasks import FIT, TEST, VALIDATION, FloatArray, IntArray, Task
from benchmarks.losses import best_constant, focal_slopes, objective
from ringfence.models.calibration import sigmoid
from ringfence.models.gbdt import DEFAULTS
from ringfence.models.metrics import calibration_line
from ringfence.training.fitting import default_params

MOST_TREES, STEP, PATIENCE = 400, 10, 3  # as `train` has them, and it stops after 30 trees without gain
BAGS: Final = 10
NEIGHBOURS: Final = 5


@dataclass(frozen=True)
class Answer:
    """Log-odds as a method gives them; corrected, where it knows by how much it distorts the base rate."""

    validation: FloatArray
    test: FloatArray
    n_trees: int


@dataclass(frozen=True)
class Bench:
    """One task, cut into bins once, and grown on by every method."""

    task: Task
    seed: int

    @cached_property
    def fraud(self) -> FloatArray:
        return self.task.fraud[self.task.at(FIT)]

    @cached_property
    def amount(self) -> FloatArray:
        return self.task.amount[self.task.at(FIT)]

    @cached_property
    def rows(self) -> FloatArray:
        return self.task.rows[self.task.at(FIT)]

    @cached_property
    def params(self) -> dict[str, Any]:
        return {
            **DEFAULTS, **default_params(int(self.fraud.sum())), "deterministic": True, "force_col_wise": True,
            "verbosity": -1, "num_threads": 1, "seed": self.seed, "feature_pre_filter": False,
        }  # fmt: skip

    @cached_property
    def whole(self) -> lgb.Dataset:
        return self.dataset(self.rows, self.fraud, None)

    @cached_property
    def later(self) -> list[lgb.Dataset]:
        parts = (self.task.at(VALIDATION), self.task.at(TEST))
        return [self.dataset(self.task.rows[part], self.task.fraud[part], self.whole) for part in parts]

    def dataset(self, rows: FloatArray, fraud: FloatArray, like: lgb.Dataset | None) -> lgb.Dataset:
        params = {"max_bin": DEFAULTS["max_bin"], "verbosity": -1, "num_threads": 1, "feature_pre_filter": False}
        made = lgb.Dataset(
            rows, fraud, reference=like, categorical_feature=self.task.categories, params=params, free_raw_data=False
        )
        return made.construct()

    def grow(
        self,
        *,
        gamma: float = 0.0,
        weight: FloatArray | float = 1.0,
        begin: float | None = None,
        on: tuple[lgb.Dataset, FloatArray] | None = None,
        step: int = STEP,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the curves of validation and test, each (n steps, n), in log-odds; `begin` is part of them.

        Parameters
        ----------
        gamma, weight : of the loss.
        begin : log-odds that the first tree starts from; None: the best constant of the loss.
        on : other rows to fit, and their labels; None: all that fit.
        """
        dataset, fraud = (self.whole, self.fraud) if on is None else on
        if begin is None:
            begin = best_constant(fraud, gamma=gamma, weight=weight)
        for one in (dataset, *self.later):
            one.set_init_score(np.full(one.num_data(), begin))
        curves: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        losses: list[float] = []
        truth = self.task.fraud[self.task.at(VALIDATION)]

        def watch(env: Any) -> None:
            if (env.iteration + 1) % step:
                return
            for place, curve in enumerate(curves):
                curve.append(seen[place].copy())
            losses.append(line_loss(truth, curves[0][-1]))
            if len(losses) - 1 - int(np.argmin(losses)) >= PATIENCE:
                raise lgb.callback.EarlyStopException(env.iteration, [])

        seen: dict[int, FloatArray] = {}

        def look(z: FloatArray, data: lgb.Dataset) -> tuple[str, float, bool]:
            seen[0 if data is self.later[0] else 1] = z
            return "seen", 0.0, True

        lgb.train(
            {**self.params, "objective": objective(fraud, gamma=gamma, weight=weight), "metric": "None"},
            dataset, MOST_TREES, valid_sets=self.later, valid_names=["validation", "test"], feval=look,
            callbacks=[watch],
        )  # fmt: skip
        return np.stack(curves[0]), np.stack(curves[1])

    def answer(self, curves: tuple[FloatArray, FloatArray], *, step: int = STEP, add: float = 0.0) -> Answer:
        """Take the point of the curves where the validation is forecast best."""
        truth = self.task.fraud[self.task.at(VALIDATION)]
        best = int(np.argmin([line_loss(truth, raw) for raw in curves[0]]))
        return Answer(curves[0][best] + add, curves[1][best] + add, (best + 1) * step)

    def sampled(self, legit_per_fraud: float, seed: int) -> tuple[IntArray, float]:
        """Return positions of all frauds and of as many legit events as asked for, and the share that these are."""
        legit = np.flatnonzero(self.fraud == 0)
        n = min(int(legit_per_fraud * self.fraud.sum()), legit.shape[0])
        drawn = np.random.default_rng([self.seed, seed]).choice(legit, n, replace=False)
        return np.sort(np.concatenate([np.flatnonzero(self.fraud == 1), drawn])), n / legit.shape[0]


def line_loss(fraud: FloatArray, raw: FloatArray) -> float:
    """Return the mean log-loss after the best straight line on the scale of log-odds."""
    labels = fraud.astype(np.int64)
    slope, intercept = calibration_line(labels, sigmoid(raw))
    if not (np.isfinite(slope) and slope > 0):
        slope, intercept = 0.0, _log_odds(float(fraud.mean()))
    odds = slope * raw + intercept
    return float(np.logaddexp(0.0, np.where(labels == 1, -odds, odds)).mean())


def log_loss(bench: Bench) -> Answer:
    return bench.answer(bench.grow())


def class_weight(bench: Bench, power: float) -> Answer:
    """Weigh a fraud by the odds against one to this power: 1 balances the classes, 1/2 goes half the way."""
    odds = (1.0 - bench.fraud.mean()) / bench.fraud.mean()
    return bench.answer(bench.grow(weight=_mean_one(np.where(bench.fraud == 1, odds**power, 1.0))))


def amount_weight(bench: Bench) -> Answer:
    """Weigh a fraud by its amount over that of the mean fraud; at most ten times."""
    share = bench.amount / max(float(bench.amount[bench.fraud == 1].mean()), 1e-9)
    return bench.answer(bench.grow(weight=_mean_one(np.where(bench.fraud == 1, np.clip(share, 0.1, 10.0), 1.0))))


def focal(bench: Bench, gamma: float, alpha: float) -> Answer:
    """Scale the loss to the curvature that log-loss begins with: no minimum depends on it, the least leaf does."""
    weight = np.where(bench.fraud == 1, alpha, 1.0 - alpha)
    begin = best_constant(bench.fraud, gamma=gamma, weight=weight)
    _, curved = focal_slopes(np.full(weight.shape, begin), bench.fraud, gamma=gamma, weight=weight)
    rate = float(bench.fraud.mean())
    scale = rate * (1.0 - rate) / float(np.abs(curved).mean())
    return bench.answer(bench.grow(gamma=gamma, weight=scale * weight))


def logit_adjustment(bench: Bench, tau: float) -> Answer:
    """Add `tau` times the base rate's log-odds while fitting, and leave them out of the score (Menon et al., 2021)."""
    offset = tau * _log_odds(float(bench.fraud.mean()))
    return bench.answer(bench.grow(begin=offset), add=-offset)


def undersampling(bench: Bench, legit_per_fraud: float) -> Answer:
    kept, share = bench.sampled(legit_per_fraud, 0)
    fraud = bench.fraud[kept]
    curves = bench.grow(on=(bench.dataset(bench.rows[kept], fraud, bench.whole), fraud))
    return bench.answer(curves, add=float(np.log(share)))


def moved(answer: Answer, by: float) -> Answer:
    return Answer(answer.validation + by, answer.test + by, answer.n_trees)


def balanced_bagging(bench: Bench) -> Answer:
    """Average boosters that each see all frauds and as many legit events, and correct for the share they saw."""
    curves, share = [], 1.0
    for bag in range(BAGS):
        kept, share = bench.sampled(1.0, 1 + bag)
        fraud = bench.fraud[kept]
        curves.append(bench.grow(on=(bench.dataset(bench.rows[kept], fraud, bench.whole), fraud)))
    shortest = min(curve[0].shape[0] for curve in curves)
    validation, test = (np.mean([curve[part][:shortest] for curve in curves], axis=0) for part in (0, 1))
    return bench.answer((validation, test), add=float(np.log(share)))


def smote_after_split(bench: Bench) -> Answer:
    """Make frauds up until there are as many as legit events, among the events that fit alone."""
    rows, fraud = smote(bench.rows, bench.fraud, bench.task.categories, np.random.default_rng(bench.seed))
    return bench.answer(bench.grow(on=(bench.dataset(rows, fraud, bench.whole), fraud)))


@dataclass(frozen=True)
class Inflated:
    """What a model claims of itself, and what it says of events that are later."""

    fraud: FloatArray  # of its own test: made-up events among them
    own: FloatArray  # log-odds
    later: FloatArray  # of the test


def smote_before_split(bench: Bench, n_trees: int) -> Inflated:
    """Make frauds up among all events of the validation's time, split at random, and test on what was left out."""
    rng = np.random.default_rng(bench.seed)
    at = bench.task.at(VALIDATION)
    rows, fraud = smote(bench.task.rows[at], bench.task.fraud[at], bench.task.categories, rng)
    order = rng.permutation(fraud.shape[0])
    fit, test = order[: int(0.7 * order.shape[0])], order[int(0.7 * order.shape[0]) :]
    params = {**bench.params, "objective": "binary"}
    model = lgb.train(params, bench.dataset(rows[fit], fraud[fit], bench.whole), n_trees)
    later = bench.task.rows[bench.task.at(TEST)]
    own, said = (np.asarray(model.predict(part, raw_score=True, num_threads=1)) for part in (rows[test], later))
    return Inflated(fraud[test], own, said)


def smote(
    rows: FloatArray, fraud: FloatArray, categories: list[int], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Append made-up frauds until both classes are as many: between a fraud and one of its five nearest frauds.

    Distances are Euclidean over columns divided by their spread, what is missing at the median. A category, and what
    one of the two lacks, is the first one's (Chawla et al., SMOTE, JAIR 2002, section 6.1 for categories).
    """
    few = rows[fraud == 1]
    n_new = int(fraud.shape[0] - 2 * few.shape[0])
    numbers = np.setdiff1d(np.arange(rows.shape[1]), categories)
    given = few[:, numbers]
    given = given[:, ~np.isnan(given).all(axis=0)]
    given = np.where(np.isnan(given), np.nanmedian(given, axis=0), given)
    given = given / np.maximum(given.std(axis=0), 1e-9)
    squares = (given**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2.0 * given @ given.T
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :NEIGHBOURS]
    first = rng.integers(0, few.shape[0], n_new)
    second = nearest[first, rng.integers(0, nearest.shape[1], n_new)]
    step = rng.random((n_new, 1))
    made = few[first] + step * (few[second] - few[first])
    kept = np.isnan(made)
    kept[:, categories] = True
    made[kept] = few[first][kept]
    return np.concatenate([rows, made]), np.concatenate([fraud, np.ones(n_new)])


def _log_odds(rate: float) -> float:
    return float(np.log(rate) - np.log1p(-rate))


def _mean_one(weight: FloatArray) -> FloatArray:
    """Scale weights to a mean of 1, so that what is held against large leaves weighs as much as ever."""
    scaled: NDArray[np.float64] = weight / weight.mean()
    return scaled


DEFAULT: Final = "log-loss (the default)"
METHODS: Final[dict[str, Callable[[Bench], Answer]]] = {
    DEFAULT: log_loss,
    "class weight, balanced": lambda bench: class_weight(bench, 1.0),
    "class weight, square root": lambda bench: class_weight(bench, 0.5),
    "amount weight": amount_weight,
    **{
        f"focal γ={gamma} α={alpha}": lambda bench, gamma=gamma, alpha=alpha: focal(bench, gamma, alpha)
        for gamma in (0, 1, 2, 3)
        for alpha in (0.25, 0.5, 0.75)
        if (gamma, alpha) != (0, 0.5)  # log-loss
    },
    "logit adjustment τ=2": lambda bench: logit_adjustment(bench, 2.0),
    "undersampling 10:1, prior corrected": lambda bench: undersampling(bench, 10.0),
    "undersampling 1:1, prior corrected": lambda bench: undersampling(bench, 1.0),
    "balanced bagging, prior corrected": balanced_bagging,
    "SMOTE after the split": smote_after_split,
}
# The same trees as another method's, with another constant added.
SHIFTED: Final[dict[str, tuple[str, Callable[[Bench], float]]]] = {
    # Boosting begins at the base rate either way.
    "logit adjustment τ=1": (DEFAULT, lambda bench: -_log_odds(float(bench.fraud.mean()))),
    "undersampling 10:1, as it comes": (
        "undersampling 10:1, prior corrected",
        lambda bench: -float(np.log(bench.sampled(10.0, 0)[1])),
    ),
}
