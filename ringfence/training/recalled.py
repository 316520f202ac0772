# SPDX-License-Identifier: Apache-2.0
"""Feature rows for training: what earlier trainings kept, and one replay for the features they did not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.training.memory_use import Forgotten, Usage
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
    report: Callable[[str, int, int], None],
) -> Recalled:
    """Return the rows of the wanted events, byte for byte as `engine.replay.feature_rows` does.

    Parameters
    ----------
    seqs : shape (n,), strictly ascending seqs of events of the decided type.
    cache : what is in there is not replayed; what is replayed is kept there. None: everything is replayed.
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

    if cache is None:
        replaying(0, 0)
        engine = Engine(catalogue)
        found = feature_rows(ledger, catalogue, seqs, engine=engine, progress=replaying).rows
        return Recalled(found, Usage.of(engine).forgotten)
    # Before the replay: records that come meanwhile do not matter, since none of the wanted ones is among them.
    last_seq = ledger.last_seq
    anchor = Anchor(last_seq, ledger.chain_at(last_seq) or b"")
    keys, room = column_keys(catalogue), catalogue.plan.room
    report("recalling", 0, len(keys))
    rows = np.empty((seqs.shape[0], len(keys)), np.float64)
    missing = cache.fill(rows, seqs, keys, room, ledger)
    report("recalling", len(keys) - len(missing), len(keys))
    cache.n_replayed, cache.n_reused = len(missing), len(keys) - len(missing)
    if not missing:
        return Recalled(rows, cache.forgotten)
    names = [catalogue.names[column] for column in missing]
    some = catalogue if len(missing) == len(keys) else Catalogue.build(catalogue.scenario, only=names)
    replaying(0, 0)
    engine = Engine(some)
    found = feature_rows(ledger, some, seqs, engine=engine, progress=replaying).rows
    usage = Usage.of(engine)
    report("keeping", 0, 1)
    cache.keep(found, seqs, [keys[column] for column in missing], anchor, usage)
    report("keeping", 1, 1)
    if len(missing) == len(keys):
        return Recalled(found, usage.forgotten)
    rows[:, missing] = found
    return Recalled(rows, usage.forgotten)
