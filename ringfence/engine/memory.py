# SPDX-License-Identifier: Apache-2.0
"""The memory budget: how many entities, pairs and events a scenario's state remembers.

Room is reserved for the most that fits and costs nothing until it is used. When it is full, whoever has been idle the
longest is forgotten for each one that is new (see `_kernels_forget`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ringfence.engine import layout as at
from ringfence.engine.id_table import BYTES_PER_ROW as TABLE_BYTES

PAIR_SHARE: Final = 0.3  # of the budget, where pairs are read
STORE_SHARE: Final = 0.1  # where links are walked
BYTES_PER_PAIR: Final = at.PAIR.itemsize  # and 24 to 48 in its table
BYTES_PER_EVENT: Final = at.STORED.itemsize
LOG_ENTRIES: Final = 3  # of 32 bytes, events and labels together: the mean per entity that the budget allows for


class Room(NamedTuple):
    """The most that state remembers; 0 where nothing of the kind is kept."""

    slots: int  # an entity takes one per role stream, and one more where roles share its type
    pairs: int
    stored: int  # events, a power of two


class Kept(NamedTuple):
    """What a catalogue's features need of the state."""

    partner_columns: int
    pairs: bool
    links: bool
    charts: bool
    rings: bool


def bytes_per_slot(kept: Kept) -> int:
    """Return what an entity costs in one stream, in bytes, its place in the id table and its logs included."""
    row = at.KEY.itemsize + at.RISK.itemsize + 4 * max(kept.partner_columns, 1) + 2 * at.RING.itemsize
    if kept.links:
        row += at.NODE.itemsize + 4 * at.LAST
    if kept.charts:
        row += at.CHART.itemsize
    if kept.rings:
        row += 2 * at.NODE_RING.itemsize  # the tick in effect, and the next or the one before
    return row + LOG_ENTRIES * at.EVENT_ENTRY.itemsize


def room_for(memory_bytes: int, kept: Kept) -> Room:
    """Share a budget out. `memory_bytes` >= 64 MiB.

    Bounds are what can be in use at once; logs of entities with many events inside the longest window come on top.
    """
    pair_bytes = int(memory_bytes * PAIR_SHARE) if kept.pairs else 0
    store_bytes = int(memory_bytes * STORE_SHARE) if kept.links else 0
    stored = min(at.MOST_STORED, 1 << (store_bytes // at.STORED.itemsize).bit_length() - 1) if kept.links else 0
    return Room(
        slots=min(_rows_in(memory_bytes - pair_bytes - store_bytes, bytes_per_slot(kept)), at.MOST_SLOTS),
        pairs=_rows_in(pair_bytes, at.PAIR.itemsize) if kept.pairs else 0,
        stored=stored,
    )


def _rows_in(n_bytes: int, row_bytes: int) -> int:
    # The most rows that fit together with their table.
    return n_bytes // (row_bytes + TABLE_BYTES)
