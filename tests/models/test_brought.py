# SPDX-License-Identifier: Apache-2.0
"""Networks that were trained elsewhere: fed, read, kept, and refused where they cannot be relied on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.models.brought import BroughtBranch, BroughtHeader
from ringfence.models.errors import BroughtModelError
from ringfence.models.seen import Seen
from ringfence.training.brought import try_out
from tests.oracles.onnx_graphs import linear

FloatArray = NDArray[np.float64]
WEIGHTS = np.array([0.5, -1.0, 0.25])
COLUMNS = (4, 0, 2)


def branch(graph: bytes, **changes: Any) -> BroughtBranch:
    header = BroughtHeader(
        name="net",
        features=("a", "b", "c"),
        columns=COLUMNS,
        n_features=5,
        is_probability=changes.pop("is_probability", True),
        missing=changes.pop("missing", 0.0),
        trained_until_ms=None,
        digest="",
        **changes,
    )
    return BroughtBranch(header, graph)


def rows(n: int = 600) -> FloatArray:
    g = np.random.default_rng(3)
    found = g.normal(size=(n, 5))
    found[g.random(found.shape) < 0.2] = np.nan
    return found


def twin(seen: FloatArray, missing: float = 0.0) -> FloatArray:
    fed = seen[:, COLUMNS].astype(np.float32).astype(np.float64)
    return np.where(np.isnan(fed), missing, fed) @ WEIGHTS - 1.5


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("is_probability", [False, True])
def test_log_odds_are_those_of_the_formula(is_probability: bool, flat: bool) -> None:
    graph = linear(WEIGHTS, -1.5, sigmoid=is_probability, flat=flat)
    net = branch(graph, is_probability=is_probability)
    found = net.raw(Seen(rows()), rows())
    np.testing.assert_allclose(found, twin(rows()), rtol=0, atol=2e-5)
    np.testing.assert_allclose(net.probability(found), 1.0 / (1.0 + np.exp(-twin(rows()))), rtol=0, atol=2e-6)
    assert net.shares(Seen(rows()), rows()) is None


def test_missing_values_are_what_the_owner_says_they_are() -> None:
    net = branch(linear(WEIGHTS, -1.5), missing=-7.0)
    np.testing.assert_allclose(net.raw(Seen(rows()), rows()), twin(rows(), -7.0), rtol=0, atol=2e-4)
    as_they_are = branch(linear(WEIGHTS, -1.5), missing=None).outputs(rows())
    assert np.array_equal(np.isnan(as_they_are), np.isnan(rows()[:, COLUMNS]).any(axis=1))


def test_what_is_no_number_counts_as_usual() -> None:
    net = branch(linear(WEIGHTS, -1.5), missing=None, usual=-2.5)
    gone = np.isnan(rows()[:, COLUMNS]).any(axis=1)
    found = net.raw(Seen(rows()), rows())
    assert np.isfinite(found).all()
    assert (found[gone] == -2.5).all()
    np.testing.assert_allclose(found[~gone], twin(rows())[~gone], rtol=0, atol=2e-5)
    beyond = branch(linear(WEIGHTS, -1.5, sigmoid=False), usual=-2.5)
    assert (beyond.raw(Seen(rows()), rows())[beyond.outputs(rows()) < -0.1] == -2.5).all()


def test_certain_probabilities_stay_finite() -> None:
    net = branch(linear(1e6 * WEIGHTS, 0.0))
    found = net.raw(Seen(rows()), rows())
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 17.0


def test_a_file_gives_back_the_branch_and_a_changed_byte_is_refused() -> None:
    net = branch(linear(WEIGHTS, -1.5))
    data = net.to_bytes()
    again = BroughtBranch.from_bytes(data)
    assert again.header == net.header
    assert np.array_equal(again.raw(Seen(rows()), rows()), net.raw(Seen(rows()), rows()))
    assert again.to_bytes() == data
    for at in (3, 20, 60, len(data) - 5):
        with pytest.raises(BroughtModelError, match="other bytes than were stored"):
            BroughtBranch.from_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.mark.parametrize(
    ("graph", "part"),
    [
        (b"not a graph", "no graph that onnxruntime can load"),
        (linear(np.ones(4), 0.0), "an input 4 wide, and 3 features"),
        (linear(WEIGHTS, 0.0, rows=1), "an input of exactly 1 rows"),
        (linear(WEIGHTS, 0.0, outputs=2), "one output, shape"),
    ],
)
def test_graphs_of_another_shape_are_refused(graph: bytes, part: str) -> None:
    with pytest.raises(BroughtModelError, match=part):
        branch(graph)


@pytest.mark.parametrize(
    ("net", "part"),
    [
        (branch(linear(WEIGHTS, 0.0), missing=None), "`missing: 0`"),
        (branch(linear(WEIGHTS, 0.0, sigmoid=False)), "not in \\[0, 1\\]"),
        (branch(linear(WEIGHTS, 0.0, before="noise")), "other outputs for the same rows"),
        (branch(linear(WEIGHTS, 0.0, before="shared")), "differ by .* with the rows beside them"),
    ],
    ids=["no number", "no probability", "random", "depends on others"],
)
def test_a_network_that_cannot_be_relied_on_is_refused(net: BroughtBranch, part: str) -> None:
    with pytest.raises(BroughtModelError, match=part):
        try_out(net, rows())


def test_a_plain_network_is_let_in() -> None:
    try_out(branch(linear(WEIGHTS, 0.0)), rows())
    try_out(branch(linear(WEIGHTS, 0.0, sigmoid=False), is_probability=False), rows(3))
