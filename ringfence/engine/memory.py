# SPDX-License-Identifier: Apache-2.0
"""The memory budget: how many entities, pairs and events a scenario's state remembers.

Room is reserved for the most that fits and costs nothing until it is used. When it is full, whoever has been idle the
longest is forgotten for each one that is new (see `_kernels_forget`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ringfence.engine import layout as at
from ringfence.engine.id_table import BYTES_PER_ROW as TABLE_BYTES

PAIR_SHARE: Final = 0.25  # of the budget, where pairs are read
STORE_SHARE: Final = 0.1  # where links are walked
TEXT_SHARE: Final = 0.1  # where texts are compared
BYTES_PER_PAIR: Final = at.PAIR.itemsize  # and up to 27 in its table
BYTES_PER_EVENT: Final = at.STORED.itemsize
BYTES_PER_TEXT: Final = at.TEXT_ENTRY.itemsize + 4 * at.TEXT_LINKS
LOG_ENTRIES: Final = 3  # of 32 bytes, events and labels together: the mean per entity that the budget allows for


class Room(NamedTuple):
    """The most that state remembers; 0 where nothing of the kind is kept."""

    slots: int  # an entity takes one per role stream, and one more where roles share its type
    pairs: int
    stored: int  # events, a power of two
    texts: int  # a power of two


class Kept(NamedTuple):
    """What a catalogue's features need of the state."""

    partner_columns: int
    pairs: bool
    links: bool
    charts: bool
    rings: bool
    texts: bool
    places: bool = False
    last: int = at.LAST  # stored events that an entity refers back to: LAST or MOST_LAST


def bytes_per_slot(kept: Kept) -> int:
    """Return what an entity costs in one stream, in bytes, its place in the id table and its logs included."""
    row = at.KEY.itemsize + at.RISK.itemsize + 4 * max(kept.partner_columns, 1) + 2 * at.RING.itemsize
    if kept.links:
        row += at.NODE.itemsize + 4 * kept.last
    if kept.charts:
        row += at.CHART.itemsize
    if kept.places:
        row += at.PLACE.itemsize
    if kept.rings:
        row += 2 * at.NODE_RING.itemsize  # the tick in effect, and the next or the one before
    return row + LOG_ENTRIES * at.EVENT_ENTRY.itemsize


def room_for(memory_bytes: int, kept: Kept) -> Room:
    """Share a budget out. `memory_bytes` >= 64 MiB.

    Bounds are what can be in use at once; logs of entities with many events inside the longest window come on top.
    Events and texts lie in rings whose size is a power of two: what that leaves of their shares goes to entities.
    """
    pairs = _rows_in(int(memory_bytes * PAIR_SHARE), at.PAIR.itemsize) if kept.pairs else 0
    stored = min(at.MOST_STORED, _ring(memory_bytes * STORE_SHARE, BYTES_PER_EVENT)) if kept.links else 0
    texts = _ring(memory_bytes * TEXT_SHARE, BYTES_PER_TEXT) if kept.texts else 0
    rest = memory_bytes - pairs * (at.PAIR.itemsize + TABLE_BYTES) - stored * BYTES_PER_EVENT - texts * BYTES_PER_TEXT
    return Room(slots=min(_rows_in(rest, bytes_per_slot(kept)), at.MOST_SLOTS), pairs=pairs, stored=stored, texts=texts)


def _ring(n_bytes: float, row_bytes: int) -> int:
    # The largest power of two of rows that fits.
    return 1 << (int(n_bytes) // row_bytes).bit_length() - 1


def _rows_in(n_bytes: int, row_bytes: int) -> int:
    # The most rows that fit together with their table.
    return n_bytes // (row_bytes + TABLE_BYTES)
