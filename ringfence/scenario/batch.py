# SPDX-License-Identifier: Apache-2.0
"""Ledger records as flat arrays: the one form in which events and labels reach the engine, live and in replay."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

EVENT: Final = 0
LABEL: Final = 1

MISSING_AMOUNT: Final = np.iinfo(np.int64).min
NO_LABEL: Final = -1  # `label_replaces` of a first label
LEGIT: Final = 0
FRAUD: Final = 1


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A run of records in ledger order. n records, m links.

    A label record carries the links of the event it is about, so that state can be corrected without looking it up.
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

    def __len__(self) -> int:
        return int(self.seq.shape[0])
