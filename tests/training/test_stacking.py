# SPDX-License-Identifier: Apache-2.0
"""Branches earn their place in time: what helps later blocks stays, what does not is left out and said."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.models.stack import Stack
from ringfence.training.folds import Fold, expanding_folds
from ringfence.training.stacking import stack_in_time

N = 6_000


def drawn(seed: int, *, helps: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, list[Fold]]:
    """Two members whose second one counts `helps` at each event's time; the first fold's share is never emitted."""
    rng = np.random.default_rng(seed)
    members = {"gbdt": rng.normal(-3.0, 1.5, N), "anomaly": rng.exponential(1.0, N)}
    odds = members["gbdt"] + helps * (members["anomaly"] - 1.0)
    fraud = (rng.random(N) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)
    times = np.arange(N, dtype=np.int64)
    folds = expanding_folds(times, times, fraud)
    emitted = np.concatenate([fold.emit for fold in folds])
    for raw in members.values():
        raw[np.setdiff1d(np.arange(N), emitted)] = np.nan
    return members, fraud, folds


def test_a_branch_that_helps_stays_and_the_stack_says_how_much() -> None:
    members, fraud, folds = drawn(1, helps=np.full(N, 0.8))
    stack, (worth,) = stack_in_time(members, fraud, folds)
    assert stack.members == ("gbdt", "anomaly")
    assert worth.stays
    assert worth.weight == stack.weight_of("anomaly") == pytest.approx(0.8, abs=0.2)
    assert 0.0 < worth.low < worth.gain < worth.high
    assert worth.n == sum(fold.emit.shape[0] for fold in folds[1:])


@pytest.mark.parametrize("seed", range(4))
def test_a_branch_that_says_nothing_is_left_out_and_the_trees_stay_as_they_are(seed: int) -> None:
    members, fraud, folds = drawn(seed, helps=np.zeros(N))
    stack, (worth,) = stack_in_time(members, fraud, folds)
    assert stack == Stack()
    assert worth.weight == 0.0
    assert worth.low < 0.0


def test_a_branch_that_helped_once_and_misleads_later_is_left_out() -> None:
    members, fraud, folds = drawn(2, helps=np.where(np.arange(N) < N // 2, 1.0, -1.0))
    assert stack_in_time(members, fraud, folds)[0] == Stack()


def test_the_gain_is_that_of_weights_which_never_saw_the_block() -> None:
    members, fraud, folds = drawn(3, helps=np.full(N, 0.8))
    before = stack_in_time(members, fraud, folds[:-1])[1][0]
    changed = fraud.copy()
    changed[folds[-1].emit] = 1 - changed[folds[-1].emit]
    after = stack_in_time(members, changed, folds)[1][0]
    n, more = before.n, after.n - before.n
    last = (after.gain * after.n - before.gain * n) / more  # the last block's part alone
    assert last < 0.0 < before.gain


def test_with_a_single_block_nothing_is_tried() -> None:
    members, fraud, folds = drawn(4, helps=np.full(N, 0.8))
    stack, (worth,) = stack_in_time(members, fraud, folds[:1])
    assert (stack, worth.n, worth.stays) == (Stack(), 0, False)


def test_events_that_a_branch_did_not_score_are_left_out_of_its_judgement() -> None:
    members, fraud, folds = drawn(5, helps=np.full(N, 0.8))
    whole, (all_of_them,) = stack_in_time(members, fraud, folds)
    members["anomaly"][np.random.default_rng(1).random(N) < 0.5] = np.nan
    half, (some,) = stack_in_time(members, fraud, folds)
    assert some.n == pytest.approx(all_of_them.n / 2, rel=0.1)
    assert half.weight_of("anomaly") == pytest.approx(whole.weight_of("anomaly"), abs=0.15)
