# SPDX-License-Identifier: Apache-2.0
"""Trees as ONNX: one TreeEnsembleRegressor (ai.onnx.ml 3) with thresholds and leaves of 64 bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ringfence.models.walker import TreeWalker
from ringfence.training.errors import MissingExtraError

OPSET, ML_OPSET, IR_VERSION = 18, 3, 9
INPUT: Final = "rows"
OUTPUT: Final = "raw"


@dataclass
class _Nodes:
    """The operator's columns, a node a place."""

    tree: list[int] = field(default_factory=list)
    number: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    mode: list[str] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    if_true: list[int] = field(default_factory=list)
    if_false: list[int] = field(default_factory=list)
    nan_is_true: list[int] = field(default_factory=list)
    leaf_tree: list[int] = field(default_factory=list)
    leaf_number: list[int] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)

    def put(
        self, tree: int, number: int, mode: str, feature: int, value: float, ways: tuple[int, int], nan: bool
    ) -> None:
        self.tree.append(tree)
        self.number.append(number)
        self.mode.append(mode)
        self.feature.append(feature)
        self.value.append(value)
        self.if_true.append(ways[0])
        self.if_false.append(ways[1])
        self.nan_is_true.append(int(nan))


def onnx_trees(walker: TreeWalker) -> bytes:
    """Write trees as an ONNX model: input `rows`, double, shape (n, n_features); output `raw`, float, shape (n, 1).

    A value goes where the walker sends it: numbers and NaN as compared in 64 bits, categories by a chain of equalities,
    whose way out on the left is one subtree that all of them share. Leaves are summed in 64 bits; the operator rounds
    the sum to 32, which is what its standard has for an output.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    """
    try:
        from onnx import TensorProto, helper
    except ImportError as error:
        raise MissingExtraError("onnx", "gnn", what="exporting a release") from error
    nodes = _Nodes()
    for tree, root in enumerate(walker.roots.tolist()):
        _lay(nodes, walker, tree, root)
    attributes: dict[str, Any] = {
        "nodes_treeids": nodes.tree,
        "nodes_nodeids": nodes.number,
        "nodes_featureids": nodes.feature,
        "nodes_modes": nodes.mode,
        "nodes_truenodeids": nodes.if_true,
        "nodes_falsenodeids": nodes.if_false,
        "nodes_missing_value_tracks_true": nodes.nan_is_true,
        "nodes_values_as_tensor": helper.make_tensor("splits", TensorProto.DOUBLE, [len(nodes.value)], nodes.value),
        "target_treeids": nodes.leaf_tree,
        "target_nodeids": nodes.leaf_number,
        "target_ids": [0] * len(nodes.weight),
        "target_weights_as_tensor": helper.make_tensor("leaves", TensorProto.DOUBLE, [len(nodes.weight)], nodes.weight),
        "n_targets": 1,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
    }
    node = helper.make_node("TreeEnsembleRegressor", [INPUT], [OUTPUT], domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, ["n", walker.n_features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", 1])],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
        producer_name="ringfence",
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _lay(nodes: _Nodes, walker: TreeWalker, tree: int, root: int) -> None:
    # A split and its chain of equalities take as many numbers as they have codes; the root is number 0.
    number_of: dict[int, int] = {root: 0}
    taken = 1
    pending = [root]
    while pending:
        at = pending.pop()
        number = number_of[at]
        if at < 0:
            nodes.put(tree, number, "LEAF", 0, 0.0, (0, 0), False)
            nodes.leaf_tree.append(tree)
            nodes.leaf_number.append(number)
            nodes.weight.append(float(walker.leaf_value[~at]))
            continue
        node = walker.nodes[at]
        feature, left, right = int(node["feature"]), int(node["left"]), int(node["right"])
        for child in (left, right):
            number_of[child] = taken
            taken += 1
            pending.append(child)
        ways = number_of[left], number_of[right]
        if node["category_start"] < 0:
            nodes.put(tree, number, "BRANCH_LEQ", feature, float(node["threshold"]), ways, bool(node["nan_left"]))
            continue
        codes = _codes(walker, int(node["category_start"]), int(node["category_words"])) or [-1]  # none: never equal
        for place, code in enumerate(codes):
            is_last = place == len(codes) - 1
            further = ways[1] if is_last else taken
            nodes.put(tree, number, "BRANCH_EQ", feature, float(code), (ways[0], further), False)
            if not is_last:
                number, taken = taken, taken + 1


def _codes(walker: TreeWalker, start: int, n_words: int) -> list[int]:
    words = walker.category_words[start : start + n_words].tolist()
    return [32 * place + bit for place, word in enumerate(words) for bit in range(32) if word >> bit & 1]
