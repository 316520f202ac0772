# SPDX-License-Identifier: Apache-2.0
"""Trees and linear model are averaged: evenly while little is known, by what made the past likely once much is."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.models.stack import Stack
from ringfence.training.folds import Fold, expanding_folds
from ringfence.training.mixing import mix_in_time
from ringfence.training.stacking import stack_in_time


def drawn(n: int, trees: float, linear: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Fold]]:
    """Log-odds of two members with noise of so many standard deviations each, and what came true."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-2.0, 1.0, n)
    fraud = (rng.random(n) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)
    time_ms = np.arange(n, dtype=np.int64)
    folds = expanding_folds(time_ms, time_ms, fraud)
    return odds + rng.normal(0.0, trees, n), odds + rng.normal(0.0, linear, n), fraud, folds


def test_of_two_alike_each_counts_for_half() -> None:
    for n in (200, 5_000):
        trees, linear, fraud, folds = drawn(n, 0.6, 0.6)
        assert mix_in_time(trees, linear, fraud, folds).stack.weight_of("linear") == pytest.approx(0.5, abs=0.15)


def test_with_many_labels_the_better_one_decides() -> None:
    trees, linear, fraud, folds = drawn(20_000, 0.0, 3.0)
    assert mix_in_time(trees, linear, fraud, folds).stack == Stack()
    swapped = mix_in_time(linear, trees, fraud, folds)
    assert swapped.stack.weight_of("linear") > 0.95
    assert swapped.gains.mean() > 0.0


def test_weights_add_up_to_one_and_the_level_is_left_to_calibration() -> None:
    trees, linear, fraud, folds = drawn(2_000, 0.5, 0.5)
    stack = mix_in_time(trees, linear, fraud, folds).stack
    assert sum(stack.weights) == pytest.approx(1.0)
    assert stack.intercept == 0.0


def test_sampled_legit_examples_of_the_trees_move_no_weight() -> None:
    trees, linear, fraud, folds = drawn(4_000, 0.5, 0.5)
    plain = mix_in_time(trees, linear, fraud, folds).stack
    sampled = mix_in_time(trees - np.log(0.1), linear, fraud, folds, legit_share=0.1).stack
    assert sampled.weights == pytest.approx(plain.weights)
    np.testing.assert_allclose(
        sampled.raw({"gbdt": trees - np.log(0.1), "linear": linear}), plain.raw({"gbdt": trees, "linear": linear})
    )


def test_a_block_is_judged_by_the_mix_of_those_before_it() -> None:
    trees, linear, fraud, folds = drawn(3_000, 0.4, 0.8)
    before = mix_in_time(trees, linear, fraud, folds[:-1])
    changed = fraud.copy()
    changed[folds[-1].emit] = 1 - changed[folds[-1].emit]
    after = mix_in_time(trees, linear, changed, folds)
    np.testing.assert_array_equal(after.gains[: before.gains.shape[0]], before.gains)
    with_it = before.stack.raw({"gbdt": trees, "linear": linear})
    truth = changed[folds[-1].emit] == 1
    losses = [
        np.logaddexp(0.0, np.where(truth, -odds[folds[-1].emit], odds[folds[-1].emit])) for odds in (trees, with_it)
    ]
    np.testing.assert_allclose(after.gains[before.gains.shape[0] :], losses[0] - losses[1])


def test_other_branches_are_tried_beside_the_mix() -> None:
    trees, linear, fraud, folds = drawn(6_000, 0.5, 0.5)
    rng = np.random.default_rng(9)
    members = {
        "gbdt": trees,
        "linear": linear,
        "useful": fraud + rng.normal(0.0, 1.0, fraud.shape[0]),
        "noise": rng.normal(size=fraud.shape[0]),
    }
    stack, worth = stack_in_time(members, fraud, folds)
    assert stack.members == ("gbdt", "linear", "useful")
    assert [one.name for one in worth] == ["linear", "useful", "noise"]
    assert [one.stays for one in worth] == [True, True, False]
    alone, _ = stack_in_time({name: members[name] for name in ("gbdt", "linear", "noise")}, fraud, folds)
    assert alone == mix_in_time(trees, linear, fraud, folds).stack
