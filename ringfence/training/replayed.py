# SPDX-License-Identifier: Apache-2.0
"""Feature rows from a replay, or from two side by side: one walks along links, the other reads all else.

A feature's value does not depend on which others are read, so both fold the same records and fill their own columns.
That takes the state twice. So the second one steps back where state is large, and follows when the first is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.replay import NotDecidedError, in_bulk
from ringfence.engine.stats import NEIGHBOUR_RISK, ONE_HOP
from ringfence.ledger.ledger import Ledger
from ringfence.training.memory_use import Usage

SIDE_BY_SIDE_FROM: Final = 50_000  # records; below, a second engine is not worth its beginning
MOST_STATE: Final = 1 << 30  # bytes of one engine's state, beyond which there is no second one
_WALK: Final = frozenset({ONE_HOP, NEIGHBOUR_RISK})  # both are read off the same walk

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def replayed_rows(
    ledger: Ledger,
    catalogue: Catalogue,
    columns: Sequence[int],
    seqs: IntArray,
    rows: FloatArray,
    *,
    n_threads: int = 1,
    side_by_side_from: int = SIDE_BY_SIDE_FROM,
    most_state: int = MOST_STATE,
    progress: Callable[[int, int], None],
) -> Usage:
    """Fill some columns of rows, byte for byte as `engine.replay.feature_rows` does.

    Parameters
    ----------
    columns : which of the catalogue's features, ascending, at least one.
    seqs : shape (n,), strictly ascending seqs of events of the decided type.
    rows : shape (n, n features); the named columns are written to.
    n_threads : 2 or more: two replays side by side, where that pays.
    side_by_side_from : records from which on it does.
    most_state : bytes of one engine's state up to which there may be a second one.
    progress : called with (seq reached, last seq).

    Returns
    -------
    What a replay of these features remembers, up to the last wanted event.

    Raises
    ------
    NotDecidedError
        If a wanted seq is not an event of the decided type.
    """
    last = int(seqs[-1]) if seqs.shape[0] else 0
    walked = [column for column in columns if catalogue.features[column].family in _WALK]
    others = [column for column in columns if catalogue.features[column].family not in _WALK]
    whole = _Replay(ledger, catalogue, columns, seqs, rows)
    if n_threads < 2 or last < side_by_side_from or not walked or not others:
        return whole.run(progress)
    first = _Replay(ledger, catalogue, walked, seqs, rows)
    second = _Replay(Ledger.open(ledger.directory, ledger.scenario), catalogue, others, seqs, rows)
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(second.run_within, most_state)
        try:
            usage = first.run(progress)
        except BaseException:
            second.stopped.set()
            raise
        rest = beside.result() or _Replay(ledger, catalogue, others, seqs, rows).run(progress)
    return usage.joined(rest)


class _Replay:
    """One engine that fills its columns."""

    def __init__(
        self, ledger: Ledger, catalogue: Catalogue, columns: Sequence[int], seqs: IntArray, rows: FloatArray
    ) -> None:
        is_all = len(columns) == len(catalogue.features)
        names = [catalogue.names[column] for column in columns]
        self._catalogue = catalogue if is_all else Catalogue.build(catalogue.scenario, only=names)
        self._ledger, self._seqs, self._rows = ledger, seqs, rows
        self._columns = slice(None) if is_all else np.asarray(columns, np.int64)
        self.stopped = Event()

    def run(self, progress: Callable[[int, int], None]) -> Usage:
        engine = Engine(self._catalogue)
        for reached, last in self._fold(engine):
            progress(reached, last)
        return Usage.of(engine)

    def run_within(self, most_state: int) -> Usage | None:
        """Fill the columns; None where state became larger, or somebody stopped it."""
        engine = Engine(self._catalogue)
        for _ in self._fold(engine):
            if self.stopped.is_set() or engine.nbytes > most_state:
                return None
        return Usage.of(engine)

    def _fold(self, engine: Engine) -> Iterator[tuple[int, int]]:
        seqs, filled = self._seqs, 0
        last = int(seqs[-1]) if seqs.shape[0] else 0
        for batch in in_bulk(engine, self._ledger.batches(until_seq=last) if last else ()):
            place = np.minimum(np.searchsorted(seqs, batch.seq), seqs.shape[0] - 1)
            found = engine.observe(batch, seqs[place] == batch.seq)
            self._rows[filled : filled + found.shape[0], self._columns] = found
            filled += found.shape[0]
            yield int(batch.seq[-1]), last
        if filled != seqs.shape[0]:
            raise NotDecidedError(n_missing=seqs.shape[0] - filled, n_wanted=int(seqs.shape[0]))
