# SPDX-License-Identifier: Apache-2.0
"""The memory of an id table; how it is searched and grows is in `_kernels_table`."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine._kernels_table import fill
from ringfence.engine.reserved import reserved

_ROWS_PER_BUCKET: Final = 2_048  # at least, of 16 bytes: what a split moves, half of them, lies in the nearest caches
_CHANCE: Final = 5  # standard deviations by which a bucket may hold more than its share before it splits
BYTES_PER_ROW: Final = 27  # at most, where all rows that a table has room for are there
_SPREAD: Final = 8  # times the places that evenly spread keys need


class IdTable(NamedTuple):
    """Keys to rows."""

    entries: NDArray[Any]  # TABLE, (buckets, entries of each)
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


def bucket_entries_for(most_rows: int) -> int:
    """Return how large buckets must be so that `most_rows`, evenly spread over a power of two of them, split none."""
    depth = max(most_rows // _ROWS_PER_BUCKET, 1).bit_length() - 1
    return max(16, -(-3 * _most_in_one(most_rows, depth) // 2))


def _most_in_one(n_rows: int, depth: int) -> int:
    # Rows in the fullest of 2 ** depth buckets, as far as chance goes.
    share = n_rows / (1 << depth)
    return math.ceil(share + _CHANCE * math.sqrt(share)) if depth else n_rows


def new_table(most_rows: int, *, n_rows: int = 0, bucket_entries: int | None = None) -> IdTable:
    """Make an empty table.

    Parameters
    ----------
    most_rows : for which memory is reserved.
    n_rows : that are about to be filled in: buckets are there from the beginning.
    bucket_entries : >= 16, or chance alone fills some long before others; `bucket_entries_for` the rows if None. No
        value depends on it.
    """
    each = bucket_entries_for(most_rows) if bucket_entries is None else bucket_entries
    full = 2 * each // 3
    most_buckets = 64 + _SPREAD * -(-most_rows // full)
    depth = 1
    while _most_in_one(n_rows, depth) > full:
        depth += 1
    n_buckets = 1 << depth
    most_buckets = max(most_buckets, n_buckets)
    directory = reserved(1 << (_SPREAD * most_buckets - 1).bit_length(), np.int32)
    directory[:n_buckets] = np.arange(n_buckets)
    buckets = reserved(most_buckets, at.BUCKET)
    buckets["depth"][:n_buckets] = depth
    return IdTable(
        entries=reserved((most_buckets, each), at.TABLE),
        buckets=buckets,
        directory=directory,
        counts=np.array([64 - depth, n_buckets], np.uint64),
    )


def table_of(rows: NDArray[Any], n_rows: int, *, bucket_entries: int | None = None) -> IdTable:
    """Return the table of the first `n_rows` of rows that carry their own key."""
    table = new_table(rows.shape[0], n_rows=n_rows, bucket_entries=bucket_entries)
    fill(table, rows, n_rows)
    return table
