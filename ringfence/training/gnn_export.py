# SPDX-License-Identifier: Apache-2.0
"""A trained network as an ONNX graph of a dozen and a half nodes, written by hand and checked against PyTorch.

One event costs what its nodes cost: about 2 µs each, whatever they compute. So members lie side by side in one matrix
(block by block, with zeros between them), and seats in the batch axes of one product.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ringfence.models.gnn_inputs import GnnInputs
from ringfence.training.gnn_options import GnnOptions

Array = NDArray[np.float32]

OPSET: Final = 17
IR_VERSION: Final = 8


def onnx_graph(inputs: GnnInputs, options: GnnOptions, weights: dict[str, NDArray[Any]]) -> bytes:
    """Return the ONNX model: inputs as in `Prepared` (those that it reads), output `log_odds` of shape (n,).

    Parameters
    ----------
    weights : of a `GnnNetwork`, by the names of its parameters.
    """
    return _Graph(inputs, options, {name: np.asarray(value, np.float32) for name, value in weights.items()}).model()


class _Graph:
    def __init__(self, inputs: GnnInputs, options: GnnOptions, weights: dict[str, Array]) -> None:
        self.inputs, self.options, self.weights = inputs, options, weights
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.fed: list[Any] = []

    def model(self) -> bytes:
        inputs, n_seats = self.inputs, len(self.inputs.seats)
        self._input("nodes", [n_seats, 1, inputs.node_width])
        gathered = self._recurrent if self.options.gather == "recurrent" else self._gathered
        parts = [*(gathered() if inputs.hops else ()), "nodes"]
        seat = self._op(
            "MatMul", self._op("Concat", *parts, axis=3), self._constant("seat_weight", self._seat_weight())
        )
        members = self.options.members * self.options.width
        flat = self._op("Reshape", self._op("Relu", seat), self._constant("flat", [-1, n_seats * members]))
        row = self._row()
        found = [flat]
        if row:
            made = self._op("Gemm", row, self._constant("row_weight", _side_by_side(self.weights["row"])),
                            self._constant("row_bias", self.weights["row_bias"].reshape(-1)))  # fmt: skip
            found.append(self._op("Relu", made))
        both = self._op("Concat", *found, axis=1) if row else flat
        head, head_bias = self._head_weight(bool(row)), self.weights["head_bias"].reshape(-1)
        hidden = self._op("Gemm", both, self._constant("head_weight", head), self._constant("head_bias", head_bias))
        hidden = self._op("Relu", hidden)
        last = self._op("Concat", hidden, row, axis=1) if row else hidden
        out = np.concatenate(
            [self.weights["out"].reshape(-1) / self.options.members, self.weights["skip"].mean(axis=0)]
        )
        odds = self._op("Gemm", last, self._constant("out_weight", out[:, None]),
                        self._constant("out_bias", self.weights["out_bias"].mean(keepdims=True)))  # fmt: skip
        self._op("Reshape", odds, self._constant("one_axis", [-1]), to="log_odds")
        return self._written()

    def _gathered(self) -> list[str]:
        """Return [mean or attended, largest] messages, each of shape (n, S, 1, M x H)."""
        inputs, options = self.inputs, self.options
        self._input("events", [len(inputs.seats), inputs.last, inputs.event_width])
        roles = list(inputs.seat_role)
        both = np.concatenate([_by_seat(self.weights[name][:, roles]) for name in ("message", "gate")], axis=2)
        made = self._op("MatMul", "events", self._constant("message_weight", both))
        channels = options.members * options.width
        message, gate = self._split(made, [channels, channels])
        message = self._op("Relu", message)
        along = self._constant("along_events", [2])
        if options.gather == "gated":
            self._input("per", [len(inputs.seats), 1, 1])
            message = self._op("Mul", message, self._op("Sigmoid", gate))
            total = self._op("ReduceSum", message, along, keepdims=1)
            return [self._op("Mul", total, "per"), self._op("ReduceMax", message, axes=[2], keepdims=1)]
        query = self._op("MatMul", "nodes", self._constant("query_weight", _by_seat(self.weights["query"][:, roles])))
        spread = _heads(options)
        likeness = self._op("MatMul", self._op("Mul", gate, query),
                            self._constant("to_heads", spread.T / (options.width // options.heads) ** 0.5))  # fmt: skip
        there = self._op(
            "Slice", "events", self._constant("from", [0]), self._constant("to", [1]), self._constant("axis", [3])
        )
        big = self._constant("big", np.full(1, 1e4, np.float32))
        away = self._op("Sub", self._op("Mul", there, big), big)
        share = self._op("Softmax", self._op("Add", likeness, away), axis=2)
        attended = self._op("Mul", message, self._op("MatMul", share, self._constant("from_heads", spread)))
        return [
            self._op("ReduceSum", attended, along, keepdims=1),
            self._op("ReduceMax", message, axes=[2], keepdims=1),
        ]

    def _recurrent(self) -> list[str]:
        """Return [state after the newest event, mean state], each of shape (n, S, 1, M x H); a node for each role."""
        inputs, channels = self.inputs, self.options.members * self.options.width
        self._input("events", [len(inputs.seats), inputs.last, inputs.event_width])
        self._input("per", [len(inputs.seats), 1, 1])
        first = self._op("Transpose", "events", perm=[2, 0, 1, 3])  # (K, n, S, E)
        newest, totals = [], []
        for role in range(inputs.n_roles):
            seats = [seat for seat, of in enumerate(inputs.seat_role) if of == role]  # of one role: side by side
            taken = first
            if inputs.n_roles > 1:
                taken = self._op("Gather", first, self._constant(f"seats_{role}", seats), axis=2)
            flat = self._op("Reshape", taken, self._constant(f"steps_{role}", [inputs.last, -1, inputs.event_width]))
            step_in = _by_seat(self._gates("step_in", role)).transpose(0, 2, 1)  # (3, M x H, E)
            step_on = _blocks(self._gates("step_on", role)).transpose(0, 2, 1)
            made = [f"states_{role}", f"newest_{role}"]
            given = [
                flat,
                self._constant(f"step_in_{role}", step_in.reshape(1, 3 * channels, -1)),
                self._constant(f"step_on_{role}", step_on.reshape(1, 3 * channels, -1)),
            ]
            how = {"hidden_size": channels, "direction": "reverse", "linear_before_reset": 1}
            self.nodes.append(helper.make_node("GRU", given, made, **how))
            total = self._op("ReduceSum", made[0], self._constant("along_events", [0]), keepdims=0)
            shape = self._constant(f"by_seat_{role}", [-1, len(seats), 1, channels])
            newest.append(self._op("Reshape", made[1], shape))
            totals.append(self._op("Reshape", total, shape))
        both = [self._op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0] for parts in (newest, totals)]
        return [both[0], self._op("Mul", both[1], "per")]

    def _gates(self, name: str, role: int) -> Array:
        """Shape (M, 3, inputs, H): update, reset and candidate of one role."""
        given = self.weights[name][:, role]
        return given.reshape(*given.shape[:2], 3, -1).transpose(0, 2, 1, 3)

    def _row(self) -> str:
        """Return the name of the row's inputs, shape (n, R + C x vector width); empty where no row is read."""
        inputs, parts = self.inputs, []
        if inputs.number_width:
            self._input("numbers", [inputs.number_width])
            parts.append("numbers")
        if inputs.categories:
            self._input("codes", [len(inputs.categories)], TensorProto.INT64)
            looked_up = self._op("Gather", self._constant("vectors", self.weights["vectors"]), "codes")
            width = len(inputs.categories) * self.options.vector_width
            parts.append(self._op("Reshape", looked_up, self._constant("flat_vectors", [-1, width])))
        return self._op("Concat", *parts, axis=1) if len(parts) > 1 else "".join(parts)

    def _seat_weight(self) -> Array:
        """Shape (S, inputs, M x H): members see their own messages, and all of them the seat's counts."""
        options, roles = self.options, list(self.inputs.seat_role)
        given, h = self.weights["seat"][:, roles], options.width  # (M, S, X, H)
        parts = [_blocks(given[:, :, at : at + h]) for at in ((0, h) if self.inputs.hops else ())]
        return np.concatenate([*parts, _by_seat(given[:, :, -self.inputs.node_width :])], axis=1)

    def _head_weight(self, has_row: bool) -> Array:
        """Shape (S x M x H + M x row, M x head): the seats of a role, which are summed, have the same weights."""
        options, given = self.options, self.weights["head"]
        n_roles, h = self.inputs.n_roles, options.width
        by_role = given[:, : n_roles * h].reshape(options.members, n_roles, h, -1)
        seats = _blocks(by_role[:, list(self.inputs.seat_role)])  # (S, M x H, M x head)
        parts = [seats.reshape(-1, seats.shape[2])]
        if has_row:
            parts.append(_blocks(given[:, None, n_roles * h :])[0])
        return np.concatenate(parts)

    def _op(self, kind: str, *names: str, to: str | None = None, **attributes: Any) -> str:
        output = to or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(names), [output], **attributes))
        return output

    def _split(self, name: str, sizes: list[int]) -> tuple[str, str]:
        outputs = [f"split_{len(self.nodes)}_{i}" for i in range(2)]
        self.nodes.append(helper.make_node("Split", [name, self._constant("halves", sizes)], outputs, axis=-1))
        return outputs[0], outputs[1]

    def _constant(self, name: str, value: NDArray[Any] | list[int]) -> str:
        array = np.array(value, np.int64) if isinstance(value, list) else np.ascontiguousarray(value, np.float32)
        self.constants[name] = array
        return name

    def _input(self, name: str, shape: list[int], kind: int = TensorProto.FLOAT) -> None:
        self.fed.append(helper.make_tensor_value_info(name, kind, ["n", *shape]))

    def _written(self) -> bytes:
        output = helper.make_tensor_value_info("log_odds", TensorProto.FLOAT, ["n"])
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "ringfence-gnn", self.fed, [output], constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], producer_name="ringfence", ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _by_seat(weight: Array) -> Array:
    """(M, S, inputs, H), with inputs that all members share, to (S, inputs, M x H)."""
    m, s, x, h = weight.shape
    return weight.transpose(1, 2, 0, 3).reshape(s, x, m * h)


def _blocks(weight: Array) -> Array:
    """(M, S, inputs, H), each member with inputs of its own, to (S, M x inputs, M x H), zero between members."""
    m, s, x, h = weight.shape
    out = np.zeros((s, m, x, m, h), np.float32)
    for member in range(m):
        out[:, member, :, member] = weight[member]
    return out.reshape(s, m * x, m * h)


def _side_by_side(weight: Array) -> Array:
    """(M, inputs, H) to (inputs, M x H)."""
    return weight.transpose(1, 0, 2).reshape(weight.shape[1], -1)


def _heads(options: GnnOptions) -> Array:
    """Shape (M x heads, M x H): 1 where a channel is of a head."""
    return np.kron(np.eye(options.members * options.heads), np.ones(options.width // options.heads)).astype(np.float32)
