# SPDX-License-Identifier: Apache-2.0
"""Ledger records as flat arrays: the one form in which events and labels reach the engine, live and in replay."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.scenario.errors import BatchFormError

EVENT: Final = 0
LABEL: Final = 1

MISSING_AMOUNT: Final = np.iinfo(np.int64).min
NO_LABEL: Final = -1  # `label_replaces` of a first label
LEGIT: Final = 0
FRAUD: Final = 1


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A run of records in ledger order. n records, m links.

    A label record carries the links of the event it is about, so that state can be corrected without looking it up.
    Arrays of another type, and those that are not contiguous, aligned and writeable, are copied when a batch is made:
    whoever has one need not look again.

    Raises
    ------
    BatchFormError
        If an array has the wrong number of dimensions.
    """

    seq: NDArray[np.int64]  # (n,) strictly ascending
    kind: NDArray[np.uint8]  # (n,) EVENT or LABEL
    event_type: NDArray[np.uint8]  # (n,) EventType.index; for a label, that of its event
    time_ms: NDArray[np.int64]  # (n,) event_time of an event, known_at of a label; ms since 1970, UTC
    offset_ms: NDArray[np.int32]  # (n,) local time minus UTC in the scenario's time zone; 0 for labels
    amount_minor: NDArray[np.int64]  # (n,) MISSING_AMOUNT where there is none; 0 for labels is never read
    values: NDArray[np.float64]  # (n, len(scenario.value_attributes)); NaN where missing, and for context; a label has
    # those of its event in the columns of `scenario.segments`, NaN in the others
    link_start: NDArray[np.int64]  # (n + 1,) record i owns links link_start[i]:link_start[i + 1]
    link_role: NDArray[np.uint8]  # (m,) Role.index
    link_lo: NDArray[np.uint64]  # (m,) low half of the entity's 128-bit digest: what the engine keys on
    link_hi: NDArray[np.uint64]  # (m,) high half: lets the engine count collisions of the low half
    label_event_seq: NDArray[np.int64]  # (n,) seq of the labelled event; -1 for events
    label_event_time_ms: NDArray[np.int64]  # (n,) its event_time; 0 for events
    label_value: NDArray[np.int8]  # (n,) FRAUD or LEGIT; NO_LABEL for events
    label_replaces: NDArray[np.int8]  # (n,) the value this label takes the place of, or NO_LABEL
    simhash: NDArray[np.uint64]  # (n, len(scenario.text_attributes)); 0 where there is no text, labels and context

    def __post_init__(self) -> None:
        # np.require costs 4 µs an array, so that nothing is asked of it which a glance can tell.
        found = _found_in(self)
        if tuple(map(_form_of, found)) == _AS_COMPILED:
            return
        for name, array, (dtype, n_dimensions, _) in zip(Batch.__struct_fields__, found, _AS_COMPILED, strict=True):
            if array.ndim != n_dimensions:
                raise BatchFormError(name, array.shape, n_dimensions)
            msgspec.structs.force_setattr(self, name, np.require(array, dtype, ["C", "A", "W"]))

    def __len__(self) -> int:
        return int(self.seq.shape[0])


_DTYPES: Final[dict[str, Any]] = {
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
}
_AS_COMPILED: Final = tuple(
    (np.dtype(_DTYPES.get(name, np.int64)), 2 if name in ("values", "simhash") else 1, True)
    for name in Batch.__struct_fields__
)
_found_in = attrgetter(*Batch.__struct_fields__)
_form_of = attrgetter("dtype", "ndim", "flags.carray")
