# SPDX-License-Identifier: Apache-2.0
"""The stack: trusts the trees until labels say otherwise, and never turns a member around."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from ringfence.models import ModelShapeError, Stack, TooFewLabelsError, fit_stack
from ringfence.models.stack import DOUBT


def drawn(n: int, seed: int, *, second: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two members, and labels drawn at log-odds `0.7 gbdt + second * anomaly - 3`."""
    rng = np.random.default_rng(seed)
    members = {"gbdt": rng.normal(0.0, 2.0, n), "anomaly": rng.exponential(1.0, n)}
    odds = 0.7 * members["gbdt"] + second * members["anomaly"] - 3.0
    return members, (rng.random(n) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)


def test_weights_are_found_where_labels_are_many() -> None:
    members, labels = drawn(60_000, 1, second=0.5)
    stack = fit_stack(members, labels, ["gbdt", "anomaly"])
    np.testing.assert_allclose([*stack.weights, stack.intercept], [0.7, 0.5, -3.0], atol=0.06)


def test_few_labels_hardly_move_the_trust_in_the_trees() -> None:
    members, labels = drawn(40, 2, second=0.5)
    labels[:2] = [0, 1]
    stack = fit_stack(members, labels, ["gbdt", "anomaly"])
    assert abs(stack.weights[0] - 1.0) < 2 * DOUBT
    assert stack.weights[1] < DOUBT


def test_a_member_that_is_wrong_gets_no_weight_instead_of_a_negative_one() -> None:
    members, labels = drawn(20_000, 3, second=-0.8)
    assert fit_stack(members, labels, ["gbdt", "anomaly"]).weight_of("anomaly") == 0.0


def test_fit_is_the_penalised_likelihoods_maximum_found_without_its_gradient() -> None:
    members, labels = drawn(500, 4, second=0.4)
    x = np.column_stack([members["gbdt"], members["anomaly"]])

    def loss(at: np.ndarray) -> float:
        odds = x @ at[:2] + at[2]
        doubt = ((at[:2] - [1.0, 0.0]) ** 2).sum() / (2.0 * DOUBT**2)
        return float(sum(np.log1p(np.exp(-o if y else o)) for o, y in zip(odds, labels, strict=True)) + doubt)

    found = minimize(loss, [1.0, 0.1, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    stack = fit_stack(members, labels, ["gbdt", "anomaly"])
    np.testing.assert_allclose([*stack.weights, stack.intercept], found.x, atol=1e-3)


def test_a_row_alone_has_the_bits_that_it_has_among_others_and_after_a_round_trip() -> None:
    members, _ = drawn(200, 5, second=0.1)
    stack = Stack(members=("gbdt", "anomaly"), weights=(0.93, 0.21), intercept=-0.1)
    together = Stack.from_json(stack.to_json()).raw(members)
    alone = [stack.raw({name: raw[i : i + 1] for name, raw in members.items()})[0] for i in range(200)]
    assert np.array(alone).tobytes() == together.tobytes()
    assert Stack().raw(members).tobytes() == members["gbdt"].tobytes()


def test_one_class_and_lengths_that_differ_are_refused() -> None:
    members, labels = drawn(50, 6, second=0.1)
    with pytest.raises(TooFewLabelsError):
        fit_stack(members, np.zeros(50, np.int8), ["gbdt"])
    with pytest.raises(ModelShapeError, match="do not go with labels"):
        fit_stack(members, labels[:-1], ["gbdt"])
    with pytest.raises(ModelShapeError, match="without members"):
        Stack(members=(), weights=()).raw(members)
