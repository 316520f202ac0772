# SPDX-License-Identifier: Apache-2.0
"""Features as of any time: what an event would read that nobody reported, between the records of one replay.

    records   1     2  3        4                5
    asked         ^        ^  ^       ^                ^      each reads the records before it, and changes nothing

The same compiled call answers that folds records, so a question equals the row of an event that stands at its place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.batch_arrays import BatchArrays
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.errors import SpineOrderError
from ringfence.engine.replay import BatchSource, Progress
from ringfence.scenario.batch import Batch


def spine_rows(
    source: BatchSource,
    catalogue: Catalogue,
    asked: Batch,
    seen: NDArray[np.int64],
    *,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Return the rows that events would have, each after other records, by one read-only replay.

    Parameters
    ----------
    asked : events of the decided type, ordered by `seen`, then by time. Their `seq` is not looked at.
    seen : shape (n asked,), the last seq that each sees; 0: none. A seq need not be that of a record.
    progress : called with (seq reached, last seq wanted).

    Returns
    -------
    shape (n asked, n features).

    Raises
    ------
    SpineOrderError
        If `asked` is not ordered.
    BatchShapeError
        If `asked` belongs to another scenario.
    """
    unordered = (np.diff(seen) < 0) | ((np.diff(seen) == 0) & (np.diff(asked.time_ms) < 0))
    if unordered.any():
        raise SpineOrderError(row=int(np.argmax(unordered)) + 1)
    engine = Engine(catalogue)
    spine = _Spine(engine, asked, np.empty((len(asked), len(catalogue.features)), np.float64))
    last = int(seen[-1]) if seen.shape[0] else 0
    for batch in source.batches(after_seq=0, until_seq=last):
        records = engine.checked(batch, follows=True)
        unread = np.zeros(len(batch), np.bool_)
        in_reach = int(np.searchsorted(seen, batch.seq[-1], side="left"))  # later ones see the next batch, too
        places = np.searchsorted(batch.seq, seen[spine.done : in_reach], side="right")
        folded = 0
        for place, n_there in zip(*(part.tolist() for part in np.unique(places, return_counts=True)), strict=True):
            if place > folded:
                engine.fold_part(records._replace(seq=records.seq[:place]), folded, unread, spine.rows, 0, apply=True)
                folded = place
            spine.answer(n_there)
        engine.fold_part(records, folded, unread, spine.rows, 0, apply=True)
        if progress is not None:
            progress(int(batch.seq[-1]), last)
    spine.answer(len(asked) - spine.done)
    return spine.rows


class _Spine:
    """Questions in order, answered from wherever the engine stands."""

    def __init__(self, engine: Engine, asked: Batch, rows: NDArray[np.float64]) -> None:
        self._engine = engine
        self._asked: BatchArrays = engine.checked(asked, follows=False)
        self._all = np.ones(len(asked), np.bool_)
        self.rows = rows
        self.done = 0

    def answer(self, n: int) -> None:
        """Answer the next `n` questions, all of which stand here."""
        stop = self.done + n
        while self.done < stop:
            self._read(min(stop, self._before(self._engine.next_turn_ms, stop)))
            if self.done < stop:
                # An event at that time would make a tick begin or take effect; the records to come must not know it.
                with self._engine.turned_to(int(self._asked.time_ms[self.done])):
                    self._read(self._before(self._engine.next_turn_ms, stop))

    def _before(self, time_ms: int, stop: int) -> int:
        """The first question from here to `stop` that is not before a time."""
        return self.done + int(np.searchsorted(self._asked.time_ms[self.done : stop], time_ms, side="left"))

    def _read(self, stop: int) -> None:
        if stop > self.done:
            part = self._asked._replace(seq=self._asked.seq[:stop])
            self.done = self._engine.fold_part(part, self.done, self._all, self.rows, self.done, apply=False)
