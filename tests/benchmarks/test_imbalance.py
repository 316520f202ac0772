# SPDX-License-Identifier: Apache-2.0
"""The losses are what they say, and a method that only shifts or makes frauds up does only that."""

from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from benchmarks.commands import ROOT
from benchmarks.imbalance import PAGE, PRECISION, Run, intervals, judged, threshold
from benchmarks.imbalance_methods import DEFAULT, METHODS, SHIFTED, Answer, Bench, Inflated, moved, smote
from benchmarks.imbalance_tasks import FIT, TEST, VALIDATION, Task
from benchmarks.losses import best_constant, focal_loss, focal_slopes
from benchmarks.written import write_table
from ringfence.models.calibration import sigmoid
from ringfence.models.metrics import recall_at_precision

Z = np.concatenate([np.linspace(-9.0, 9.0, 37), np.linspace(-9.0, 9.0, 37)])
Y = np.repeat([0.0, 1.0], 37)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_slopes_of_the_focal_loss_are_its_finite_differences(gamma: float) -> None:
    weight, step = np.linspace(0.5, 3.0, Z.shape[0]), 1e-4

    def loss(z: np.ndarray) -> np.ndarray:
        return focal_loss(z, Y, gamma=gamma, weight=weight)

    first, second = focal_slopes(Z, Y, gamma=gamma, weight=weight)
    np.testing.assert_allclose(first, (loss(Z + step) - loss(Z - step)) / (2 * step), rtol=1e-6, atol=1e-9)
    above, below = (focal_slopes(Z + by, Y, gamma=gamma, weight=weight)[0] for by in (step, -step))
    np.testing.assert_allclose(second, (above - below) / (2 * step), rtol=1e-6, atol=1e-9)


def test_without_focus_it_is_log_loss() -> None:
    first, second = focal_slopes(Z, Y, gamma=0.0)
    p = sigmoid(Z)
    np.testing.assert_allclose(focal_loss(Z, Y, gamma=0.0), -np.log(np.where(Y == 1, p, 1 - p)), rtol=1e-9)
    np.testing.assert_allclose(first, p - Y, atol=1e-12)
    np.testing.assert_allclose(second, p * (1 - p), atol=1e-12)


def test_far_from_the_truth_nothing_overflows() -> None:
    first, second = focal_slopes(np.array([800.0, -800.0]), np.array([0.0, 1.0]), gamma=2.0)
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_boosting_begins_where_a_constant_loses_least(gamma: float) -> None:
    fraud = (np.arange(500) % 50 == 0).astype(np.float64)
    best = best_constant(fraud, gamma=gamma)
    losses = [focal_loss(np.full(500, best + by), fraud, gamma=gamma).sum() for by in (-0.01, 0.0, 0.01)]
    assert losses[1] == min(losses)
    if gamma == 0.0:
        assert sigmoid(np.array([best]))[0] == pytest.approx(0.02)


def task(seed: int = 1, n: int = 6_000) -> Task:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 6))
    rows[:, 5] = rng.integers(0, 4, n)
    rows[rng.random((n, 6)) < 0.02] = np.nan
    odds = -3.6 + 1.5 * np.nan_to_num(rows[:, 0]) - np.nan_to_num(rows[:, 1])
    return Task(
        name="made up",
        rows=rows,
        part=np.repeat([FIT, VALIDATION, TEST], n // 3).astype(np.int8),
        fraud=(rng.random(n) < sigmoid(odds)).astype(np.float64),
        amount=rng.gamma(2.0, 50.0, n),
        categories=[5],
    )


def test_log_loss_of_the_study_is_what_lightgbm_calls_binary() -> None:
    bench = Bench(task(), 0)
    # A loss of one's own draws other rows and columns than a built-in one from the same seed: nothing is drawn here.
    bench.params.update(bagging_freq=0, feature_fraction=1.0)
    _, test = bench.grow()
    trees = lgb.train({**bench.params, "objective": "binary"}, bench.dataset(bench.rows, bench.fraud, None), 10)
    rows = bench.task.rows[bench.task.at(TEST)]
    np.testing.assert_allclose(test[0], np.asarray(trees.predict(rows, raw_score=True)), atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_answers_better_than_chance(name: str) -> None:
    bench = Bench(task(), 0)
    answer = METHODS[name](bench)
    run = run_of(bench.task, {DEFAULT: answer})
    found = judged(run, answer)
    assert found.roc_auc > 0.75
    assert found.ece[1] < 0.03
    assert answer.n_trees % 10 == 0


def test_logit_adjustment_is_log_loss_with_another_constant() -> None:
    bench = Bench(task(), 0)
    other, by = SHIFTED["logit adjustment τ=1"]
    rate = bench.fraud.mean()
    plain = METHODS[other](bench)
    assert by(bench) == pytest.approx(np.log((1 - rate) / rate))
    np.testing.assert_array_equal(np.argsort(moved(plain, by(bench)).test), np.argsort(plain.test))


def test_made_up_frauds_lie_between_two_real_ones_and_copy_categories() -> None:
    given = task()
    rows, fraud = smote(given.rows, given.fraud, given.categories, np.random.default_rng(0))
    n = given.fraud.shape[0]
    assert fraud.sum() * 2 == fraud.shape[0]
    np.testing.assert_array_equal(rows[:n], given.rows)
    made, few = rows[n:], given.rows[given.fraud == 1]
    assert set(made[:, 5][~np.isnan(made[:, 5])]) <= {0.0, 1.0, 2.0, 3.0}
    whole = ~np.isnan(made).any(axis=1)
    assert (made[whole] >= np.nanmin(few, axis=0) - 1e-12).all()
    assert (made[whole] <= np.nanmax(few, axis=0) + 1e-12).all()


def run_of(given: Task, answers: dict[str, Answer]) -> Run:
    y = given.fraud[given.at(TEST)].astype(np.int64)
    return Run(
        validation=given.fraud[given.at(VALIDATION)].astype(np.int64),
        test=y,
        amount=given.amount[given.at(TEST)],
        answers=answers,
        inflated=Inflated(y.astype(np.float64), np.zeros(y.shape[0]), np.zeros(y.shape[0])),
    )


def test_threshold_keeps_the_precision_where_it_was_found() -> None:
    rng = np.random.default_rng(3)
    fraud, raw = (rng.random(4_000) < 0.05).astype(np.int64), np.round(rng.normal(size=4_000), 1)
    raw += 1.5 * fraud
    at = threshold(fraud, raw)
    flagged = raw >= at
    assert fraud[flagged].mean() >= PRECISION
    assert fraud[flagged].sum() / fraud.sum() == pytest.approx(recall_at_precision(fraud, raw, precision=PRECISION))
    assert threshold(np.zeros(5, dtype=np.int64), np.arange(5.0)) == np.inf


def test_paired_interval_of_the_same_order_is_nothing_and_of_a_worse_one_lies_below() -> None:
    given, rng = task(), np.random.default_rng(0)
    raw = given.rows[:, 0].copy()
    raw = np.nan_to_num(raw - given.rows[:, 1])
    good = Answer(raw[given.at(VALIDATION)], raw[given.at(TEST)], 10)
    bad = Answer(good.validation, good.test + rng.normal(0.0, 2.0, good.test.shape[0]), 10)
    found = intervals([run_of(given, {DEFAULT: good, "shifted": moved(good, 3.0), "bad": bad})] * 2)
    np.testing.assert_array_equal(found["shifted"], np.zeros((2, 2)))
    assert (found["bad"][1] < 0.0).all()


def test_page_has_room_for_both_tables(tmp_path: Path) -> None:
    page = tmp_path / "imbalance.md"
    page.write_text((ROOT / "docs" / PAGE.name).read_text("utf-8"), "utf-8")
    for name in ("payments", "insurer"):
        write_table(page, name, "| a table |")
    assert page.read_text("utf-8").count("| a table |") == 2
