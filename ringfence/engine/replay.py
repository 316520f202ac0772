# SPDX-License-Identifier: Apache-2.0
"""Replay: the ledger's batches through the same call that serves, forwards from wherever the engine stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.engine.errors import EngineError, SequenceError
from ringfence.engine.neighbourhoods import Neighbourhoods
from ringfence.engine.reserved import LARGE_FROM
from ringfence.scenario.batch import Batch

Progress = Callable[[int, int], None]  # (seq reached, last seq)
Sink = Callable[[Batch, NDArray[np.float64]], None]

RECORDS_AT_ONCE: Final = 8_192  # in a replay that samples: a neighbourhood is larger than a row


class BatchSource(Protocol):
    """The part of a ledger that is replayed."""

    def batches(self, after_seq: int = 0, until_seq: int | None = None, size: int = 65_536) -> Iterator[Batch]: ...


class FeatureRows(msgspec.Struct, frozen=True):
    """Rows as of their events."""

    seq: NDArray[np.int64]  # (n,) ascending
    rows: NDArray[np.float64]  # (n, n features)


class NotDecidedError(EngineError):
    """Rows were asked for records that have none."""

    def __init__(self, *, n_missing: int, n_wanted: int) -> None:
        self.n_missing = n_missing
        super().__init__(
            f"{n_missing} of {n_wanted} wanted seqs are no events of the decided type in this ledger; "
            "take seqs from `Ledger.events`"
        )


def in_bulk(engine: Engine, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Hand on batches that the caller folds into `engine` one by one, with nobody waiting for a single one of them.

    As soon as state is large enough to gain by it, it grows in large pages; afterwards in small ones again.
    """
    large = False
    try:
        for batch in batches:
            if not large and engine.nbytes >= LARGE_FROM:
                large = True
                engine.take_pages(small=False)
            yield batch
    finally:
        if large:
            engine.take_pages(small=True)


def replay(
    engine: Engine,
    batches: Iterable[Batch],
    *,
    from_seq: int | None = None,
    until_seq: int,
    sink: Sink | None = None,
    progress: Progress | None = None,
) -> None:
    """Fold batches into `engine`.

    Parameters
    ----------
    batches : what follows `engine.seq`, up to and including `until_seq`, in order.
    from_seq : where the caller believes the engine stands; None: not checked.
    until_seq : last seq of the replay, for `progress` only.
    sink : given each batch with the rows of its decided events; without one no row is computed.

    Raises
    ------
    SequenceError
        If the engine does not stand at `from_seq`, or the batches do not follow it.
    """
    if from_seq is not None and from_seq != engine.seq:
        raise SequenceError(engine_seq=engine.seq, found_seq=from_seq + 1)
    for batch in in_bulk(engine, batches):
        want = None if sink is not None else np.zeros(len(batch), np.bool_)
        rows = engine.observe(batch, want)
        if sink is not None:
            sink(batch, rows)
        if progress is not None and len(batch):
            progress(int(batch.seq[-1]), until_seq)


def feature_rows(
    source: BatchSource,
    catalogue: Catalogue,
    seqs: NDArray[np.int64],
    *,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> FeatureRows:
    """Return the rows of the wanted events, each as of its own seq, by one read-only replay.

    Parameters
    ----------
    seqs : shape (n,), strictly ascending seqs of events of the decided type.
    engine : where to start from, with `engine.seq` below every wanted seq; a fresh one if None.

    Raises
    ------
    NotDecidedError
        If a wanted seq is not an event of the decided type after `engine.seq`.
    """
    engine = Engine(catalogue) if engine is None else engine
    rows = np.empty((seqs.shape[0], len(catalogue.features)), np.float64)
    filled = 0
    if seqs.shape[0]:
        last = int(seqs[-1])
        for batch in in_bulk(engine, source.batches(after_seq=engine.seq, until_seq=last)):
            place = np.minimum(np.searchsorted(seqs, batch.seq), seqs.shape[0] - 1)
            found = engine.observe(batch, seqs[place] == batch.seq)
            rows[filled : filled + found.shape[0]] = found
            filled += found.shape[0]
            if progress is not None:
                progress(int(batch.seq[-1]), last)
    if filled != seqs.shape[0]:
        raise NotDecidedError(n_missing=seqs.shape[0] - filled, n_wanted=int(seqs.shape[0]))
    return FeatureRows(seqs, rows)


class SampledBatch(NamedTuple):
    """Some wanted events as of themselves, in seq order."""

    rows: NDArray[np.float64]  # (n, n features)
    neighbourhoods: Neighbourhoods


def sampled_batches(
    source: BatchSource,
    catalogue: Catalogue,
    seqs: NDArray[np.int64],
    *,
    engine: Engine | None = None,
    size: int = RECORDS_AT_ONCE,
    progress: Progress | None = None,
) -> Iterator[SampledBatch]:
    """Yield rows and neighbourhoods of the wanted events by one read-only replay: those among so many records each.

    Beside the engine nothing is held but what is yielded.

    Parameters
    ----------
    catalogue : built with `neighbourhoods`.
    seqs, engine : as in `feature_rows`.
    size : records folded at once, and so the most events in what is yielded; values do not depend on it.
    progress : called with (seq reached, last seq).

    Raises
    ------
    NoSamplingError
        If the catalogue samples no neighbourhoods.
    NotDecidedError
        At the end, if a wanted seq is not an event of the decided type after `engine.seq`.
    """
    engine = Engine(catalogue) if engine is None else engine
    n_found = 0
    if seqs.shape[0]:
        last = int(seqs[-1])
        for batch in in_bulk(engine, source.batches(engine.seq, last, size)):
            place = np.minimum(np.searchsorted(seqs, batch.seq), seqs.shape[0] - 1)
            wanted = seqs[place] == batch.seq
            found = SampledBatch(*engine.observe_sampled(batch, wanted, wanted))
            if len(found.neighbourhoods):
                n_found += len(found.neighbourhoods)
                yield found
            if progress is not None:
                progress(int(batch.seq[-1]), last)
    if n_found != seqs.shape[0]:
        raise NotDecidedError(n_missing=seqs.shape[0] - n_found, n_wanted=int(seqs.shape[0]))
