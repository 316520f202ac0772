# SPDX-License-Identifier: Apache-2.0
"""Weights that follow labels: by how much, how far, and never further through repetition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.models import ModelShapeError, Stack, TooFewLabelsError
from ringfence.models.followed import BAND, WORTH, band_of, follow_stack
from tests.oracles.follow_twin import followed, risk

Members = dict[str, np.ndarray]


def stack_of(*weights: float) -> Stack:
    names = ("gbdt", "gnn", "anomaly")[: len(weights)]
    return Stack(members=names, weights=weights, intercept=0.1, centres=(0.0,) * len(weights))


def trained_of(stack: Stack) -> dict[str, float]:
    return dict(zip(stack.members, stack.weights, strict=True))


def drawn(n: int, seed: int, truth: tuple[float, ...], *, intercept: float = -2.0) -> tuple[Members, np.ndarray]:
    """Members that share something, of scales apart, and labels at log-odds `truth @ members + intercept`."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=n)
    scales = (2.0, 1.0, 0.2)
    members = {
        name: scales[k] * (0.6 * shared + 0.8 * rng.normal(size=n)) + k
        for k, name in enumerate(("gbdt", "gnn", "anomaly")[: len(truth)])
    }
    odds = intercept + sum(weight * column for weight, column in zip(truth, members.values(), strict=True))
    return members, (rng.random(n) < risk(np.asarray(odds))).astype(np.int8)


@pytest.mark.parametrize("seed", range(8))
def test_weights_are_those_of_a_slow_fit_one_number_at_a_time(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    released = stack_of(*rng.uniform(0.2, 1.2, 2 + seed % 2))
    trained = {name: weight * rng.uniform(0.6, 1.6) for name, weight in trained_of(released).items()}
    truth = tuple(rng.uniform(-0.3, 2.0, len(trained)))
    members, fraud = drawn(int(rng.integers(60, 400)), seed, truth)
    fraud[:2] = [0, 1]
    found = follow_stack(released, members, fraud, trained=trained)
    weights, intercept = followed(trained_of(released), trained, members, fraud, worth=WORTH, band=BAND)
    np.testing.assert_allclose(found.weights, list(weights.values()), atol=2e-5)
    assert found.intercept == pytest.approx(intercept, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    weights=st.tuples(*[st.sampled_from([0.0, 0.05, 0.4, 1.0, 3.0])] * 3),
    truth=st.tuples(*[st.floats(-2.0, 4.0)] * 3),
    n=st.integers(20, 300),
)
def test_however_often_repeated_no_weight_leaves_its_band(
    seed: int, weights: tuple[float, ...], truth: tuple[float, ...], n: int
) -> None:
    stack = stack_of(*weights)
    trained = trained_of(stack)
    for again in range(4):
        members, fraud = drawn(n, seed + again, truth)
        fraud[:2] = [0, 1]
        stack = follow_stack(stack, members, fraud, trained=trained)
        assert np.isfinite(stack.intercept)
        for name, weight in zip(stack.members, stack.weights, strict=True):
            low, high = band_of(trained[name])
            assert low <= weight <= high
            if trained[name] == 0.0:
                assert weight == 0.0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(40, 500))
def test_no_small_step_within_the_band_is_better(seed: int, n: int) -> None:
    released, trained = stack_of(1.0, 0.5), {"gbdt": 0.9, "gnn": 0.7}
    members, fraud = drawn(n, seed, (0.6, 1.1))
    fraud[:2] = [0, 1]
    found = follow_stack(released, members, fraud, trained=trained)
    odds = found.raw(members)
    off = risk(odds) - fraud
    assert off.sum() == pytest.approx(0.0, abs=1e-5 * n)
    start = np.array(released.weights)
    columns = np.column_stack([members[name] for name in released.members])
    level = _intercept(columns @ start, fraud)
    p = risk(columns @ start + level)
    v = p * (1.0 - p)
    centred = columns - np.average(columns, axis=0, weights=v)
    pull = WORTH / fraud.sum() * (centred.T * v) @ centred @ (np.array(found.weights) - start)
    for slope, weight, name in zip(columns.T @ off + pull, found.weights, released.members, strict=True):
        low, high = band_of(trained[name])
        slack = 1e-5 * n
        assert slope > -slack or weight == high
        assert slope < slack or weight == low


def _intercept(odds: np.ndarray, fraud: np.ndarray) -> float:
    low, high = -60.0, 60.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if risk(odds + middle).sum() < fraud.sum() else (low, middle)
    return low


def test_as_many_new_frauds_as_the_release_is_worth_go_half_the_way() -> None:
    #  the fraud rate is low, so that log-loss is nearly a parabola between here and there
    released = stack_of(1.0, 0.60)
    trained = trained_of(released)
    members, fraud = drawn(40_000, 5, (1.0, 0.70), intercept=-6.0)
    everything = follow_stack(released, members, fraud, trained=trained)
    n_fraud = int(fraud.sum())
    share = n_fraud / (n_fraud + WORTH)
    free, _ = followed(trained, trained, members, fraud, worth=0.0, band=BAND)
    expected = 0.60 + share * (free["gnn"] - 0.60)
    assert everything.weights[1] == pytest.approx(expected, rel=0.02)
    assert 0.60 < everything.weights[1] < free["gnn"]


def test_the_fewer_the_labels_the_less_a_weight_moves() -> None:
    released = stack_of(1.0, 0.6)
    members, fraud = drawn(20_000, 6, (1.0, 0.4))
    moves = []
    for n in (100, 1_000, 20_000):
        part = {name: column[:n] for name, column in members.items()}
        found = follow_stack(released, part, fraud[:n], trained=trained_of(released))
        moves.append(0.6 - found.weights[1])
    assert abs(moves[0]) < 0.15
    assert abs(moves[1] - 0.2) > abs(moves[2] - 0.2)
    assert moves[2] == pytest.approx(0.2, abs=0.05)


def test_a_weight_that_labels_would_take_further_stops_at_half_and_at_twice() -> None:
    released = stack_of(1.0, 0.6)
    for truth, stop in ((0.0, 0.3), (2.5, 1.2)):
        members, fraud = drawn(20_000, 6, (1.0, truth))
        assert follow_stack(released, members, fraud, trained=trained_of(released)).weights[1] == stop


def test_scales_and_levels_of_members_are_no_matter() -> None:
    released = stack_of(1.0, 0.5)
    members, fraud = drawn(2_000, 7, (0.8, 0.9))
    stretched = {"gbdt": members["gbdt"] + 30.0, "gnn": 1_000.0 * members["gnn"]}
    other = Stack(members=released.members, weights=(1.0, 0.0005), intercept=-30.0)
    one = follow_stack(released, members, fraud, trained=trained_of(released))
    two = follow_stack(other, stretched, fraud, trained=trained_of(other))
    np.testing.assert_allclose(two.weights, [one.weights[0], one.weights[1] / 1_000.0], rtol=1e-5)
    np.testing.assert_allclose(two.raw(stretched), one.raw(members), atol=1e-4)


def test_the_same_labels_give_the_same_bytes() -> None:
    members, fraud = drawn(5_000, 8, (0.8, 0.9, 2.0))
    stack = stack_of(1.0, 0.5, 0.5)
    found = [follow_stack(stack, members, fraud, trained=trained_of(stack)).to_json() for _ in range(2)]
    assert found[0] == found[1]


def test_a_member_that_says_the_same_of_all_keeps_its_weight() -> None:
    members, fraud = drawn(500, 9, (0.8, 0.9))
    members["gnn"] = np.full(500, 0.25)
    found = follow_stack(stack_of(1.0, 0.5), members, fraud, trained={"gbdt": 1.0, "gnn": 0.5})
    assert found.weights[1] == 0.5


def test_labels_of_one_kind_and_other_lengths_are_refused() -> None:
    members, fraud = drawn(50, 10, (1.0, 1.0))
    stack = stack_of(1.0, 0.5)
    with pytest.raises(TooFewLabelsError, match="follow_stack"):
        follow_stack(stack, members, np.zeros(50, np.int8), trained=trained_of(stack))
    with pytest.raises(ModelShapeError, match="follow_stack"):
        follow_stack(stack, members, fraud[:-1], trained=trained_of(stack))
