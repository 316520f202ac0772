# SPDX-License-Identifier: Apache-2.0
"""A network that was trained elsewhere: an ONNX graph over some features, run by ONNX Runtime on one thread.

What is stored is one file (`models.network_file`), with the ONNX model as it was brought.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.branch import Need
from ringfence.models.calibration import sigmoid
from ringfence.models.errors import BroughtModelError, DamagedNetworkError
from ringfence.models.network_file import network_from_bytes, network_to_bytes, open_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringfence.models.seen import Seen

FloatArray = NDArray[np.float64]

MAGIC: Final = b"RFONNX01"
MOST_AT_ONCE: Final = 256  # events a run: bounds memory, and fits the second-level cache
SLACK: Final = 1e-6  # a probability may leave [0, 1] by so much: rounding
_CERTAIN: Final = 1e-7  # probabilities are kept so far from 0 and 1: what float32 tells apart from them


class BroughtHeader(msgspec.Struct, frozen=True, kw_only=True):
    """How a graph is fed and read, and what its owner states of it."""

    name: str
    features: tuple[str, ...]  # in the order of its input
    columns: tuple[int, ...]  # where a feature row has them
    n_features: int  # of a feature row
    is_probability: bool  # else log-odds
    missing: float | None  # stands for NaN; None: the graph takes NaN itself
    trained_until_ms: int | None  # nothing from then on was used; None: not stated
    digest: str  # sha256 of the graph
    usual: float = 0.0  # log-odds that stand in where the graph gives no number: its median over the examples
    n_examples: int = 0  # of the training that took it in
    n_later: int = 0  # of them not before `trained_until_ms`


class BroughtBranch:
    """A graph with one float32 input of shape (n, k) and one output of shape (n,) or (n, 1).

    Raises
    ------
    MissingRuntimeError
        If onnxruntime is not installed.
    BroughtModelError
        If onnxruntime cannot load the graph, or input and output are others.
    """

    needs: frozenset[Need] = frozenset()

    def __init__(self, header: BroughtHeader, graph: bytes) -> None:
        self.header = header
        self.graph = graph
        self._columns = np.array(header.columns, dtype=np.int64)
        self._run = _opened(header, graph)

    @property
    def n_features(self) -> int:
        return self.header.n_features

    def outputs(self, rows: FloatArray) -> FloatArray:
        """Return what the graph says of rows, shape (n,), unchecked; rows as the engine gives them."""
        found = np.empty(rows.shape[0])
        for low in range(0, rows.shape[0], MOST_AT_ONCE):
            fed = rows[low : low + MOST_AT_ONCE][:, self._columns].astype(np.float32)
            if self.header.missing is not None:
                fed[np.isnan(fed)] = self.header.missing
            said = np.asarray(self._run(fed))
            if said.size != fed.shape[0]:
                raise BroughtModelError(
                    self.header.name,
                    f"{fed.shape[0]} events gave an output of shape {said.shape}",
                    "export it with one number for each row of its input",
                )
            found[low : low + fed.shape[0]] = said.reshape(-1)
        return found

    def raw(self, seen: Seen, encoded: FloatArray) -> FloatArray:
        """Return log-odds, shape (n,); `header.usual` where the graph gives no number that could be one.

        A row's value depends on the rows beside it by what the graph's own rounding does, held to 1e-5 by training.
        """
        said = self.outputs(seen.rows)
        if not self.header.is_probability:
            return np.where(np.isfinite(said), said, self.header.usual)
        is_one = (said >= -SLACK) & (said <= 1.0 + SLACK)  # False for NaN
        p = np.clip(np.where(is_one, said, 0.5), _CERTAIN, 1.0 - _CERTAIN)
        return np.where(is_one, np.log(p) - np.log1p(-p), self.header.usual)

    def shares(self, seen: Seen, encoded: FloatArray) -> None:
        """A graph is not made of features: nothing is shared out."""

    def probability(self, raw: FloatArray) -> FloatArray:
        """Return what it says as a probability, uncalibrated."""
        return sigmoid(raw)

    def to_bytes(self) -> bytes:
        """Return the file; equal branches give equal bytes."""
        return network_to_bytes(MAGIC, self.header, self.graph)

    @classmethod
    def from_bytes(cls, data: bytes) -> BroughtBranch:
        """Read what `to_bytes` returned.

        Raises
        ------
        BroughtModelError
            If it is something else, or one byte has changed.
        MissingRuntimeError
            If onnxruntime is not installed.
        """
        try:
            return cls(*network_from_bytes(MAGIC, data, BroughtHeader))
        except DamagedNetworkError as error:
            do = "take the file from the release once more, or train again"
            raise BroughtModelError("in a release", "other bytes than were stored", do) from error


def _opened(header: BroughtHeader, graph: bytes) -> Callable[[NDArray[np.float32]], NDArray[np.floating]]:
    try:
        session = open_session(graph)
    except DamagedNetworkError as error:
        do = "export it as one ONNX file with its weights inside, for operators that onnxruntime has"
        raise BroughtModelError(
            header.name, f"no graph that onnxruntime can load ({_first(error.found)})", do
        ) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    k = len(header.features)
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
        found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
        raise BroughtModelError(header.name, f"inputs {found}", f"export it with one float32 input of shape (n, {k})")
    n_rows, width = inputs[0].shape
    if isinstance(n_rows, int):
        do = "export it with a free first dimension (dynamic axes)"
        raise BroughtModelError(header.name, f"an input of exactly {n_rows} rows", do)
    if isinstance(width, int) and width != k:
        do = "list its features in the order in which it takes them"
        raise BroughtModelError(header.name, f"an input {width} wide, and {k} features", do)
    if len(outputs) != 1 or outputs[0].type not in ("tensor(float)", "tensor(double)"):
        found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in outputs)
        do = "export it with one output, shape (n,) or (n, 1); of a classifier, the probability of fraud alone"
        raise BroughtModelError(header.name, f"outputs {found}", do)
    given, taken = inputs[0].name, [outputs[0].name]

    def run(fed: NDArray[np.float32]) -> NDArray[np.floating]:
        try:
            found: NDArray[np.floating] = session.run(taken, {given: fed})[0]
        except Exception as error:
            do = f"run it on an array of shape ({fed.shape[0]}, {k}) with onnxruntime, and mend what it says"
            raise BroughtModelError(header.name, f"a graph that stops ({_first(str(error))})", do) from error
        return found

    return run


def _first(said: str) -> str:
    return (said.strip().splitlines() or ["without a word"])[0][:200]
