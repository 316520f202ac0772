# SPDX-License-Identifier: Apache-2.0
"""A batch as compiled code takes it."""

from __future__ import annotations

from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.scenario.batch import Batch


class BatchArrays(NamedTuple):
    """A Batch as a tuple, which numba knows: same fields, same meaning, each of the type and layout written there."""

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


plain_arrays_of = attrgetter(*BatchArrays._fields)  # the same in a tuple without names, at half the time


def arrays_of(batch: Batch) -> BatchArrays:
    """Return a batch's own arrays, which a Batch has in the form that compiled code wants."""
    return BatchArrays._make(plain_arrays_of(batch))
