# SPDX-License-Identifier: Apache-2.0
"""Trees and linear model are averaged: evenly while little is known, by what made the past likely once much is."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest

from ringfence.models.stack import Stack
from ringfence.training.folds import Fold, expanding_folds
from ringfence.training.mixing import Mixed, losses, mix_in_time
from ringfence.training.stacking import stack_in_time


def drawn(n: int, trees: float, linear: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Fold]]:
    """Log-odds of two members with noise of so many standard deviations each, and what came true."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-2.0, 1.0, n)
    fraud = (rng.random(n) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)
    time_ms = np.arange(n, dtype=np.int64)
    folds = expanding_folds(time_ms, time_ms, fraud)
    return odds + rng.normal(0.0, trees, n), odds + rng.normal(0.0, linear, n), fraud, folds


def mix(
    trees: np.ndarray, linear: np.ndarray, fraud: np.ndarray, folds: list[Fold], *, legit_share: float = 1.0
) -> Mixed:
    return mix_in_time({"gbdt": trees, "linear": linear}, fraud, folds, legit_share=legit_share)


def test_of_two_alike_each_counts_for_half() -> None:
    for n in (200, 5_000):
        trees, linear, fraud, folds = drawn(n, 0.6, 0.6)
        assert mix(trees, linear, fraud, folds).stack.weight_of("linear") == pytest.approx(0.5, abs=0.15)


def test_with_many_labels_the_better_one_decides() -> None:
    trees, linear, fraud, folds = drawn(20_000, 0.0, 3.0)
    stack, worth = stack_in_time({"gbdt": trees, "linear": linear}, fraud, folds)
    assert stack == Stack()
    assert [(one.name, one.stays) for one in worth] == [("linear", False)]
    stack, worth = stack_in_time({"gbdt": linear, "linear": trees}, fraud, folds)
    assert stack.weight_of("linear") > 0.95
    assert worth[0].low > 0.0


def test_weights_add_up_to_one_and_the_level_is_left_to_calibration() -> None:
    trees, linear, fraud, folds = drawn(2_000, 0.5, 0.5)
    stack = mix(trees, linear, fraud, folds).stack
    assert sum(stack.weights) == pytest.approx(1.0)
    assert stack.intercept == 0.0


def test_sampled_legit_examples_of_the_trees_move_no_weight() -> None:
    trees, linear, fraud, folds = drawn(4_000, 0.5, 0.5)
    plain = mix(trees, linear, fraud, folds).stack
    sampled = mix(trees - np.log(0.1), linear, fraud, folds, legit_share=0.1).stack
    assert sampled.weights == pytest.approx(plain.weights)
    np.testing.assert_allclose(
        sampled.raw({"gbdt": trees - np.log(0.1), "linear": linear}), plain.raw({"gbdt": trees, "linear": linear})
    )


def test_a_block_is_judged_by_the_mix_of_those_before_it() -> None:
    trees, linear, fraud, folds = drawn(3_000, 0.4, 0.8)
    before = mix(trees, linear, fraud, folds[:-1])
    last = folds[-1].emit
    changed = fraud.copy()
    changed[last] = 1 - changed[last]
    after = mix(trees, linear, changed, folds)
    there = ~np.isnan(before.said)
    np.testing.assert_array_equal(after.said[there], before.said[there])
    np.testing.assert_allclose(after.said[last], before.stack.raw({"gbdt": trees, "linear": linear})[last])
    _, worth = stack_in_time({"gbdt": trees, "linear": linear}, changed, folds)
    judged = np.concatenate([fold.emit for fold in folds[1:]])
    gains = losses(trees[judged], changed[judged]) - losses(after.said[judged], changed[judged])
    assert worth[0].n == judged.shape[0]
    assert worth[0].gain == pytest.approx(gains.mean())


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
    assert alone == mix(trees, linear, fraud, folds).stack


def test_a_network_takes_part_by_its_share_and_one_that_knows_nothing_does_not() -> None:
    trees, linear, fraud, folds = drawn(6_000, 0.5, 0.5)
    rng = np.random.default_rng(3)
    members = {"gbdt": trees, "linear": linear}
    helps = members | {"gnn": (trees + linear) / 2.0 + np.where(fraud == 1, 0.5, -0.1)}  # has seen what they have not
    stack, worth = stack_in_time(helps, fraud, folds)
    assert stack.members == ("gbdt", "linear", "gnn")
    assert sum(stack.weights) == pytest.approx(1.0)
    assert [(one.name, one.weight) for one in worth] == [(name, stack.weight_of(name)) for name in ("linear", "gnn")]
    stack, worth = stack_in_time(members | {"gnn": rng.normal(0.0, 2.0, fraud.shape[0])}, fraud, folds)
    assert stack == mix(trees, linear, fraud, folds).stack
    assert [one.stays for one in worth] == [True, False]


def test_a_network_that_is_no_worse_is_left_out_too() -> None:
    trees, linear, fraud, folds = drawn(300, 0.5, 0.5)
    same = {"gbdt": trees, "linear": linear, "gnn": (trees + linear) / 2.0}
    stack, worth = stack_in_time(same, fraud, folds)
    assert mix_in_time(same, fraud, folds).stack.weight_of("gnn") > 0.2  # few labels: the prior speaks
    assert (worth[1].gain > 0.0) is worth[1].stays is ("gnn" in stack.members)


def test_the_mix_of_three_is_what_going_through_every_mix_finds() -> None:
    trees, linear, fraud, folds = drawn(400, 0.4, 0.9)
    third = np.random.default_rng(5).normal(-2.0, 1.0, 400)
    found = mix_in_time({"gbdt": trees, "linear": linear, "gnn": third}, fraud, folds).stack
    at = np.concatenate([fold.emit for fold in folds])
    total, mean = 0.0, np.zeros(3)
    for a in range(9):
        for b in range(9 - a):
            weights = np.array([a, b, 8 - a - b]) / 8.0
            chance = 1.0 / (1.0 + np.exp(-(weights @ np.stack([trees, linear, third])[:, at])))
            happened = np.where(fraud[at] == 1, chance, 1.0 - chance)
            likely = factorial(8) / (factorial(a) * factorial(b) * factorial(8 - a - b)) * np.prod(happened / 0.7)
            total, mean = total + likely, mean + likely * weights
    np.testing.assert_allclose(found.weights, mean / total)
