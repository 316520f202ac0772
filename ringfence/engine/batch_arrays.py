# SPDX-License-Identifier: Apache-2.0
"""A batch as compiled code takes it: one type, dimension and layout per array, whoever made it."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.errors import BatchShapeError
from ringfence.scenario.batch import Batch


class BatchArrays(NamedTuple):
    """A Batch in the form that compiled code takes; same fields, same meaning."""

    seq: NDArray[np.int64]
    kind: NDArray[np.uint8]
    event_type: NDArray[np.uint8]
    time_ms: NDArray[np.int64]
    offset_ms: NDArray[np.int32]
    amount_minor: NDArray[np.int64]
    values: NDArray[np.float64]
    link_start: NDArray[np.int64]
    link_role: NDArray[np.uint8]
    link_lo: NDArray[np.uint64]
    link_hi: NDArray[np.uint64]
    label_event_seq: NDArray[np.int64]
    label_event_time_ms: NDArray[np.int64]
    label_value: NDArray[np.int8]
    label_replaces: NDArray[np.int8]
    simhash: NDArray[np.uint64]


_DTYPES: tuple[Any, ...] = tuple(
    np.dtype(
        {
            "kind": np.uint8,
            "event_type": np.uint8,
            "offset_ms": np.int32,
            "values": np.float64,
            "link_role": np.uint8,
            "link_lo": np.uint64,
            "link_hi": np.uint64,
            "label_value": np.int8,
            "label_replaces": np.int8,
            "simhash": np.uint64,
        }.get(name, np.int64)
    )
    for name in BatchArrays._fields
)
_DIMENSIONS = tuple(2 if name in ("values", "simhash") else 1 for name in BatchArrays._fields)
_FORMS = tuple(zip(_DTYPES, _DIMENSIONS, strict=True))
_AS_COMPILED = tuple((dtype, n_dimensions, True) for dtype, n_dimensions in _FORMS)
_found_in = attrgetter(*BatchArrays._fields)
_form_of = attrgetter("dtype", "ndim", "flags.carray")


def arrays_of(batch: Batch) -> BatchArrays:
    """Return a batch's arrays as compiled code wants them.

    Raises
    ------
    BatchShapeError
        If an array has the wrong number of dimensions.
    """
    # Contiguous copies only where a caller handed over something else; also the one signature of the compiled call,
    # which does not look again. The check comes before np.require, which costs 4 µs an array: 60 µs of a live turn.
    found = _found_in(batch)
    if tuple(map(_form_of, found)) == _AS_COMPILED:
        return BatchArrays._make(found)
    return BatchArrays(*map(_required, BatchArrays._fields, found, _FORMS))


def _required(name: str, array: NDArray[Any], form: tuple[np.dtype[Any], int]) -> NDArray[Any]:
    dtype, n_dimensions = form
    if array.ndim != n_dimensions:  # of one dimension, then: the shapes of the others are known to be right
        raise BatchShapeError(what=name, found=array.shape, expected=(array.size,))
    return np.require(array, dtype, ["C", "A", "W"])
