# SPDX-License-Identifier: Apache-2.0
"""The memory of an id table; how it is searched and grows is in `_kernels_table`."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine._kernels_table import fill
from ringfence.engine.reserved import reserved

BUCKET_ENTRIES: Final = 4_096  # of 16 bytes: what a split moves, half of it, lies in the nearest caches
BYTES_PER_ROW: Final = 3 * at.TABLE.itemsize  # at most: buckets are between a third and two thirds full
_SPREAD: Final = 8  # times the places that evenly spread keys need


class IdTable(NamedTuple):
    """Keys to rows."""

    entries: NDArray[Any]  # TABLE, (buckets, entries of each, a power of two)
    buckets: NDArray[Any]  # BUCKET
    directory: NDArray[np.int32]  # (a power of two,) bucket by the first bits of a key
    counts: NDArray[np.uint64]  # (2,) TABLE_SHIFT: bits of a key behind those; TABLE_BUCKETS: in use

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        n_buckets = int(self.counts[at.TABLE_BUCKETS])
        each = self.entries.shape[1] * at.TABLE.itemsize + at.BUCKET.itemsize
        depth = 64 - int(self.counts[at.TABLE_SHIFT])
        return int(n_buckets * each + (self.directory.itemsize << depth))


def new_table(most_rows: int, *, n_rows: int = 0, bucket_entries: int = BUCKET_ENTRIES) -> IdTable:
    """Make an empty table.

    Parameters
    ----------
    most_rows : for which memory is reserved.
    n_rows : that are about to be filled in: buckets are there from the beginning.
    bucket_entries : a power of two >= 16, or chance alone fills some long before others. No value depends on it.
    """
    full = max(2 * bucket_entries // 3, 1)
    most_buckets = 64 + _SPREAD * -(-most_rows // full)
    depth = max(1, (3 * n_rows // (2 * full)).bit_length())
    n_buckets = 1 << depth
    most_buckets = max(most_buckets, n_buckets)
    directory = reserved(1 << (_SPREAD * most_buckets - 1).bit_length(), np.int32)
    directory[:n_buckets] = np.arange(n_buckets)
    buckets = reserved(most_buckets, at.BUCKET)
    buckets["depth"][:n_buckets] = depth
    return IdTable(
        entries=reserved((most_buckets, bucket_entries), at.TABLE),
        buckets=buckets,
        directory=directory,
        counts=np.array([64 - depth, n_buckets], np.uint64),
    )


def table_of(rows: NDArray[Any], n_rows: int, *, bucket_entries: int = BUCKET_ENTRIES) -> IdTable:
    """Return the table of the first `n_rows` of rows that carry their own key."""
    table = new_table(rows.shape[0], n_rows=n_rows, bucket_entries=bucket_entries)
    fill(table, rows, n_rows)
    return table
