# SPDX-License-Identifier: Apache-2.0
"""Feature rows for training: what earlier trainings kept, and one replay for the features they did not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.ledger.ledger import Ledger
from ringfence.training.memory_use import Forgotten, Usage
from ringfence.training.replayed import replayed_rows
from ringfence.training.row_cache import Anchor, RowCache, column_keys


class Recalled(NamedTuple):
    rows: NDArray[np.float64]  # (n, n features)
    forgotten: Forgotten  # by the replay that the rows are from, up to the last wanted event


def recalled_rows(
    ledger: Ledger,
    catalogue: Catalogue,
    seqs: NDArray[np.int64],
    cache: RowCache | None = None,
    *,
    n_threads: int = 1,
    report: Callable[[str, int, int], None],
) -> Recalled:
    """Return the rows of the wanted events, byte for byte as `engine.replay.feature_rows` does.

    Parameters
    ----------
    seqs : shape (n,), strictly ascending seqs of events of the decided type.
    cache : what is in there is not replayed; what is replayed is kept there. None: everything is replayed.
    n_threads : of the replay, as in `replayed_rows`.
    report : called with (stage, done, total).

    Returns
    -------
    The same whether rows were replayed or not.

    Raises
    ------
    NotDecidedError
        If a wanted seq is not an event of the decided type.
    """

    def replaying(done: int, total: int) -> None:
        report("replaying", done, total)

    # Before the replay: records that come meanwhile do not matter, since none of the wanted ones is among them.
    last_seq = ledger.last_seq
    anchor = Anchor(last_seq, ledger.chain_at(last_seq) or b"")
    keys, room = column_keys(catalogue), catalogue.plan.room
    rows = np.empty((seqs.shape[0], len(keys)), np.float64)

    def replay(columns: list[int]) -> Usage:
        replaying(0, 0)
        return replayed_rows(ledger, catalogue, columns, seqs, rows, n_threads=n_threads, progress=replaying)

    missing, usage = list(range(len(keys))), None
    if cache is not None:
        report("recalling", 0, len(keys))
        missing = cache.likely_missing(seqs, keys, room, ledger)
        with ThreadPoolExecutor(1) as pool:
            filling = pool.submit(cache.fill, rows, seqs, keys, room, ledger)
            beside = missing if n_threads > 1 else []
            if beside:  # a core each
                report("recalling", len(keys) - len(missing), len(keys))
                usage = replay(beside)
            missing = sorted({*filling.result(), *beside})
        cache.n_replayed, cache.n_reused = len(missing), len(keys) - len(missing)
        if not beside:
            report("recalling", len(keys) - len(missing), len(keys))
        if not missing:
            return Recalled(rows, cache.forgotten)
        if usage is not None and (damaged := [column for column in missing if column not in beside]):
            usage = usage.joined(replay(damaged))
    usage = replay(missing) if usage is None else usage
    if cache is not None:
        report("keeping", 0, 1)
        kept = rows if len(missing) == len(keys) else rows[:, missing]
        cache.keep(kept, seqs, [keys[column] for column in missing], anchor, usage)
        report("keeping", 1, 1)
    return Recalled(rows, usage.forgotten)
