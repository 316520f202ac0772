# SPDX-License-Identifier: Apache-2.0
"""Feature rows as of each event: one read-only replay of the ledger through the engine that serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.scenario.batch import Batch

FloatArray = NDArray[np.float64]


class BatchSource(Protocol):
    """The part of a ledger that is replayed."""

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]: ...


def rows_at(
    source: BatchSource,
    catalogue: Catalogue,
    seqs: NDArray[np.int64],
    *,
    report: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Replay from the first record up to the last wanted event and return the wanted events' rows.

    Parameters
    ----------
    seqs : shape (n,), strictly ascending seqs of decided events.
    report : called with (seq reached, last seq wanted) after every batch.

    Returns
    -------
    shape (n, n_features), each row read before its own event was applied.
    """
    engine = Engine(catalogue)
    rows = np.empty((seqs.shape[0], len(catalogue.features)), dtype=np.float64)
    if not seqs.shape[0]:
        return rows
    last, filled = int(seqs[-1]), 0
    for batch in source.batches(until_seq=last):
        at = np.minimum(np.searchsorted(seqs, batch.seq), seqs.shape[0] - 1)
        found = engine.observe(batch, seqs[at] == batch.seq)
        rows[filled : filled + found.shape[0]] = found
        filled += found.shape[0]
        if report is not None:
            report(int(batch.seq[-1]), last)
    if filled != seqs.shape[0]:
        raise ValueError(
            f"{seqs.shape[0] - filled} of {seqs.shape[0]} wanted seqs are no decided events of this ledger"
        )
    return rows
