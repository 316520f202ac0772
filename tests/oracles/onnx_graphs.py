# SPDX-License-Identifier: Apache-2.0
"""Small ONNX graphs, as somebody else's framework would export them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FloatArray = NDArray[np.float64]


def linear(
    weights: FloatArray,
    bias: float,
    *,
    sigmoid: bool = True,
    rows: int | str = "n",
    width: int | None = None,
    flat: bool = False,
    before: str = "",
    outputs: int = 1,
) -> bytes:
    """A logistic regression, shape (n, 1) or, `flat`, (n,).

    Parameters
    ----------
    sigmoid : ends with one.
    rows, width : of the input as declared.
    before : what happens to the input first: `shared` takes the mean of all rows away, `noise` adds random numbers.
    """
    k = weights.shape[0]
    fixed = [
        numpy_helper.from_array(weights.astype(np.float32).reshape(k, 1), "w"),
        numpy_helper.from_array(np.array([bias], np.float32), "b"),
    ]
    nodes, given = [], "x"
    if before == "shared":
        fixed.append(numpy_helper.from_array(np.array([0], np.int64), "axis"))
        nodes += [helper.make_node("ReduceMean", ["x", "axis"], ["mean"], keepdims=1)]
        nodes += [helper.make_node("Sub", ["x", "mean"], ["x2"])]
        given = "x2"
    if before == "noise":
        nodes += [helper.make_node("RandomNormalLike", ["x"], ["e"]), helper.make_node("Add", ["x", "e"], ["x2"])]
        given = "x2"
    nodes += [helper.make_node("MatMul", [given, "w"], ["wx"]), helper.make_node("Add", ["wx", "b"], ["z"])]
    last = "z"
    if sigmoid:
        nodes.append(helper.make_node("Sigmoid", ["z"], ["p"]))
        last = "p"
    if flat:
        fixed.append(numpy_helper.from_array(np.array([-1], np.int64), "flat"))
        nodes.append(helper.make_node("Reshape", [last, "flat"], ["y"]))
        last = "y"
    shape = ["n"] if flat else ["n", 1]
    told = [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)]
    if outputs == 2:
        nodes.append(helper.make_node("Identity", [last], ["again"]))
        told.append(helper.make_tensor_value_info("again", TensorProto.FLOAT, shape))
    graph = helper.make_graph(
        nodes, "linear", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, width or k])], told, fixed
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data
