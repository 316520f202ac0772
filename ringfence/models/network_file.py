# SPDX-License-Identifier: Apache-2.0
"""A network in one file with a checksum, and the session of ONNX Runtime that runs it, on one thread.

magic, 8 bytes | sha256 of the rest, 32 bytes | length of the header, 8 bytes | header, JSON | ONNX model
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from ringfence.models.errors import DamagedNetworkError, MissingRuntimeError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Header = TypeVar("Header", bound=msgspec.Struct)

_DIGEST_BYTES: Final = 32
_LENGTH_BYTES: Final = 8


def network_to_bytes(magic: bytes, header: msgspec.Struct, graph: bytes) -> bytes:
    """Return the file; equal headers and graphs give equal bytes."""
    told = msgspec.json.encode(header, order="deterministic")
    rest = len(told).to_bytes(_LENGTH_BYTES, "little") + told + graph
    return magic + sha256(rest).digest() + rest


def network_from_bytes(magic: bytes, data: bytes, kind: type[Header]) -> tuple[Header, bytes]:
    """Return the header, of type `kind`, and the graph that `network_to_bytes` was given.

    Raises
    ------
    DamagedNetworkError
        If the file is of another kind, one byte of it has changed, or its header is of another version.
    """
    start = len(magic) + _DIGEST_BYTES
    if data[: len(magic)] != magic:
        raise DamagedNetworkError(f"its first bytes are to be {magic.decode()}", repr(data[: len(magic)]))
    rest = data[start:]
    if sha256(rest).digest() != data[len(magic) : start]:
        raise DamagedNetworkError("its content is to have the digest that it was stored with", "another one")
    length = int.from_bytes(rest[:_LENGTH_BYTES], "little")
    try:
        header = msgspec.json.decode(rest[_LENGTH_BYTES : _LENGTH_BYTES + length], type=kind)
    except msgspec.DecodeError as error:
        raise DamagedNetworkError("its header is to be that of this version", str(error)) from error
    return header, rest[_LENGTH_BYTES + length :]


def open_session(graph: bytes) -> InferenceSession:
    """Open a graph on the calling thread alone, without spinning.

    Raises
    ------
    MissingRuntimeError
        If onnxruntime is not installed.
    DamagedNetworkError
        If onnxruntime cannot load the graph.
    """
    # Its packages report sessions, models and an id of the machine to its makers, and keep both on disk, unless this is
    # set before it is loaded (onnxruntime, docs/Privacy.md). Who decides about fraud tells nobody what runs here.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
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
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other ancestor
        raise DamagedNetworkError("onnxruntime is to load its graph", str(error)) from error
