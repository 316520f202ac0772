# SPDX-License-Identifier: Apache-2.0
"""Trees as ONNX: every value goes where the walker sends it."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from ringfence.models import train_anomaly
from ringfence.models.gbdt import train_gbdt
from ringfence.models.walker import TreeWalker
from ringfence.training.onnx_trees import onnx_trees
from tests.models.test_walker import model, strange_rows, table

FloatArray = NDArray[np.float64]


def by_onnx(walker: TreeWalker, rows: FloatArray) -> FloatArray:
    session = onnxruntime.InferenceSession(onnx_trees(walker), providers=["CPUExecutionProvider"])
    found: FloatArray = session.run(None, {"rows": rows})[0].reshape(-1).astype(np.float64)
    return found


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_numbers_categories_and_missing_values_go_the_same_way(n_seeds: int) -> None:
    walker = model(n_trees=12, n_seeds=n_seeds).walker
    assert (walker.nodes["category_start"] >= 0).sum() > 3  # splits of categories are among them
    for rows in (table()[0], strange_rows()):
        np.testing.assert_allclose(by_onnx(walker, rows), walker.raw(rows), rtol=3e-7, atol=3e-7)


def test_thresholds_are_compared_in_64_bits() -> None:
    walker = model().walker
    numeric = walker.nodes["category_start"] < 0
    rows = np.repeat(table()[0][:1], 2 * int(numeric.sum()), axis=0)
    for place, node in enumerate(walker.nodes[numeric]):
        rows[2 * place, node["feature"]] = node["threshold"]
        rows[2 * place + 1, node["feature"]] = np.nextafter(node["threshold"], np.inf)
    np.testing.assert_allclose(by_onnx(walker, rows), walker.raw(rows), rtol=3e-7, atol=3e-7)


def test_every_code_of_a_category_goes_the_same_way() -> None:
    walker = model().walker
    rows = np.repeat(table()[0][:1], 300, axis=0)
    rows[:, 2] = np.arange(-3.0, 297.0)
    rows[0, 2] = np.nan
    np.testing.assert_allclose(by_onnx(walker, rows), walker.raw(rows), rtol=3e-7, atol=3e-7)


def test_trees_that_are_a_leaf_and_forests_are_written_too() -> None:
    rows, labels = table(400)
    stump = train_gbdt(rows, labels, n_trees=2, seed=1, params={"min_data_in_leaf": 399}).walker
    assert (stump.roots < 0).all()
    np.testing.assert_allclose(by_onnx(stump, rows), stump.raw(rows), rtol=3e-7, atol=3e-7)
    forest = train_anomaly(rows, seed=2).walker
    as_grown = rows.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(by_onnx(forest, as_grown), forest.raw(as_grown), rtol=3e-7)


def test_the_same_trees_give_the_same_bytes() -> None:
    assert onnx_trees(model().walker) == onnx_trees(model().walker)
