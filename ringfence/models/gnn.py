# SPDX-License-Identifier: Apache-2.0
"""A graph network over sampled neighbourhoods, as it is served: scaling here, the rest in ONNX Runtime on one thread.

PyTorch trains it (`ringfence.training.gnn`) and is not needed here. What is stored is one file (`models.network_file`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.errors import DamagedNetworkError
from ringfence.models.gnn_inputs import GnnInputs, Prepared, Sampled
from ringfence.models.network_file import network_from_bytes, network_to_bytes, open_session

if TYPE_CHECKING:
    from collections.abc import Callable

FloatArray = NDArray[np.float64]

MAGIC: Final = b"RFGNN001"
MOST_AT_ONCE: Final = 256  # events a run: bounds memory, and fits the second-level cache


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
        return network_to_bytes(MAGIC, self.header, self.graph)

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
        return cls(*network_from_bytes(MAGIC, data, GnnHeader))


class _Part:
    # A slice of neighbourhoods, without a copy.
    def __init__(self, sampled: Sampled, part: slice) -> None:
        self.events = sampled.events[part]
        self.mask = sampled.mask[part]
        self.nodes = sampled.nodes[part]


def _session(graph: bytes) -> tuple[Callable[[dict[str, Any]], Any], tuple[str, ...]]:
    session = open_session(graph)
    names = tuple(one.name for one in session.get_inputs())
    outputs = [one.name for one in session.get_outputs()]
    if not set(names) <= set(Prepared._fields) or outputs != ["log_odds"]:
        raise DamagedNetworkError(
            f"inputs among {', '.join(Prepared._fields)} and one output log_odds", f"{names} and {outputs}"
        )

    def run(fed: dict[str, Any]) -> Any:
        return session.run(outputs, fed)[0]

    return run, names
