# SPDX-License-Identifier: Apache-2.0
"""A graph network over sampled neighbourhoods, as it is served: scaling here, the rest in ONNX Runtime on one thread.

PyTorch trains it (`ringfence.training.gnn`) and is not needed here. What is stored is one file:

    RFGNN001 | sha256 of the rest, 32 bytes | length of the header, 8 bytes | header, JSON | ONNX model
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.errors import DamagedNetworkError, MissingRuntimeError
from ringfence.models.gnn_inputs import GnnInputs, Prepared, Sampled

if TYPE_CHECKING:
    from collections.abc import Callable

FloatArray = NDArray[np.float64]

MAGIC: Final = b"RFGNN001"
MOST_AT_ONCE: Final = 256  # events a run: bounds memory, and fits the second-level cache
_DIGEST_BYTES: Final = 32
_LENGTH_BYTES: Final = 8


class GnnHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a network but its graph."""

    inputs: GnnInputs
    shift: float  # added to the graph's log-odds: what sampling of legit examples multiplied the odds by, undone
    is_residual: bool  # the log-odds are to be added to those of another model
    made: dict[str, Any] = {}  # options, seed, epochs and versions, for people


class Gnn:
    """A trained network. Threads may share one.

    Parameters
    ----------
    header : inputs, and what is added to the output.
    graph : an ONNX model whose inputs are fields of `Prepared` and whose one output is `log_odds`, shape (n,).

    Raises
    ------
    MissingRuntimeError
        If onnxruntime is not installed.
    DamagedNetworkError
        If onnxruntime cannot load the graph, or its inputs are others.
    """

    def __init__(self, header: GnnHeader, graph: bytes) -> None:
        self.header = header
        self.graph = graph
        self._run, self._names = _session(graph)

    @property
    def inputs(self) -> GnnInputs:
        return self.header.inputs

    @property
    def is_residual(self) -> bool:
        return self.header.is_residual

    def raw(self, sampled: Sampled, rows: FloatArray | None = None) -> FloatArray:
        """Return log-odds, shape (n,); where `is_residual`, what is to be added to the other model's.

        Parameters
        ----------
        sampled : n neighbourhoods, of at least the fitted K; what the masks leave out is not looked at.
        rows : shape (n, n_features), encoded as for the trees; ignored where the network reads no row.

        Returns
        -------
        shape (n,); a row's value depends on the rows beside it by rounding alone, less than 1e-6.

        Raises
        ------
        ModelShapeError
            If neighbourhoods or rows are not of the shape that was fitted.
        """
        n = sampled.mask.shape[0]
        if n <= MOST_AT_ONCE:
            return self.forward(self.inputs.prepare(sampled, rows))
        out = np.empty(n)
        for at in range(0, n, MOST_AT_ONCE):
            part = slice(at, at + MOST_AT_ONCE)
            prepared = self.inputs.prepare(_Part(sampled, part), None if rows is None else rows[part])
            out[part] = self.forward(prepared)
        return out

    def forward(self, prepared: Prepared) -> FloatArray:
        """Return log-odds of prepared events, shape (n,); all at once."""
        if not prepared.nodes.shape[0]:
            return np.empty(0)
        fed = {name: getattr(prepared, name) for name in self._names}
        return np.asarray(self._run(fed), dtype=np.float64) + self.header.shift

    def to_bytes(self) -> bytes:
        """Return the file; equal networks give equal bytes."""
        header = msgspec.json.encode(self.header, order="deterministic")
        rest = len(header).to_bytes(_LENGTH_BYTES, "little") + header + self.graph
        return MAGIC + sha256(rest).digest() + rest

    @classmethod
    def from_bytes(cls, data: bytes) -> Gnn:
        """Read what `to_bytes` returned.

        Raises
        ------
        DamagedNetworkError
            If it is something else, or one byte has changed.
        MissingRuntimeError
            If onnxruntime is not installed.
        """
        start = len(MAGIC) + _DIGEST_BYTES
        if data[: len(MAGIC)] != MAGIC:
            raise DamagedNetworkError(f"its first bytes are to be {MAGIC.decode()}", repr(data[: len(MAGIC)]))
        rest = data[start:]
        if sha256(rest).digest() != data[len(MAGIC) : start]:
            raise DamagedNetworkError("its content is to have the digest that it was stored with", "another one")
        length = int.from_bytes(rest[:_LENGTH_BYTES], "little")
        try:
            header = msgspec.json.decode(rest[_LENGTH_BYTES : _LENGTH_BYTES + length], type=GnnHeader)
        except msgspec.DecodeError as error:
            raise DamagedNetworkError("its header is to be that of this version", str(error)) from error
        return cls(header, rest[_LENGTH_BYTES + length :])


class _Part:
    # A slice of neighbourhoods, without a copy.
    def __init__(self, sampled: Sampled, part: slice) -> None:
        self.events = sampled.events[part]
        self.mask = sampled.mask[part]
        self.nodes = sampled.nodes[part]


def _session(graph: bytes) -> tuple[Callable[[dict[str, Any]], Any], tuple[str, ...]]:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingRuntimeError(str(error)) from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    for key in ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning"):
        options.add_session_config_entry(key, "0")
    try:
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other ancestor
        raise DamagedNetworkError("onnxruntime is to load its graph", str(error)) from error
    names = tuple(one.name for one in session.get_inputs())
    outputs = [one.name for one in session.get_outputs()]
    if not set(names) <= set(Prepared._fields) or outputs != ["log_odds"]:
        raise DamagedNetworkError(
            f"inputs among {', '.join(Prepared._fields)} and one output log_odds", f"{names} and {outputs}"
        )

    def run(fed: dict[str, Any]) -> Any:
        return session.run(outputs, fed)[0]

    return run, names
