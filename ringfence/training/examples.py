# SPDX-License-Identifier: Apache-2.0
"""What a model may learn from: decided events whose label was known by the cut."""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.scenario.batch import FRAUD, MISSING_AMOUNT
from ringfence.training.errors import NoExamplesError, OneClassError

MIN_PER_CLASS = 10


class History(Protocol):
    """The part of a ledger that examples are read from."""

    @property
    def last_seq(self) -> int: ...

    @property
    def watermark_ms(self) -> int: ...

    def seq_at(self, as_of_ms: int) -> int: ...

    def events(self, from_ms: int, to_ms: int | None, until_seq: int) -> pl.DataFrame: ...

    def labels(self, until_seq: int) -> pl.DataFrame: ...


class Examples(msgspec.Struct, frozen=True, kw_only=True):
    """Labelled events in ledger order. n examples."""

    seq: NDArray[np.int64]  # (n,) strictly ascending
    event_id: tuple[str, ...]
    event_time_ms: NDArray[np.int64]  # (n,)
    known_at_ms: NDArray[np.int64]  # (n,) when the standing label became known
    settled_at_ms: NDArray[np.int64]  # (n,) from when on it may be learnt; known_at_ms, or later with labels by outcome
    amount_minor: NDArray[np.int64]  # (n,) MISSING_AMOUNT where there is none
    fraud: NDArray[np.int8]  # (n,) 1 fraud, 0 legit
    until_seq: int  # nothing after this seq was looked at
    n_unlabelled: int  # decided events of the span whose label is not known by the cut: neither fraud nor legit

    def __len__(self) -> int:
        return int(self.seq.shape[0])

    @property
    def n_fraud(self) -> int:
        return int(self.fraud.sum())


def collect_examples(
    history: History, *, from_ms: int | None, until_ms: int | None, settled_after_ms: int = 0
) -> Examples:
    """Read the examples that are known at a time.

    Where an outcome labels, an event is an example only once its horizon has passed: before that only frauds are known,
    and learning from them would take the newest events for the most dangerous.

    Parameters
    ----------
    history : the ledger.
    from_ms : events before it are no examples (inclusive bound); they still teach the engine. None: from the start.
    until_ms : the cut T. Labels with `known_at` <= T in records up to `seq_at(T)`; None: the end of the ledger.
    settled_after_ms : `Label.settled_after_ms`; an event is left out while it is younger at the cut.

    Raises
    ------
    NoExamplesError
        If no event of the span has a label known by the cut.
    """
    until_seq = history.last_seq if until_ms is None else history.seq_at(until_ms)
    events = history.events(-(2**62) if from_ms is None else from_ms, None, until_seq)
    labels = history.labels(until_seq)
    if until_ms is not None:
        labels = labels.filter(pl.col("known_at_ms") <= until_ms)
    known = events.join(labels, left_on="seq", right_on="event_seq", how="inner").sort("seq")
    if settled_after_ms:
        cut_ms = history.watermark_ms if until_ms is None else until_ms
        known = known.filter(pl.col("event_time_ms") <= cut_ms - settled_after_ms)
    if known.height == 0:
        raise NoExamplesError(events.height, labels.height, until_ms)
    return Examples(
        seq=known["seq"].to_numpy().astype(np.int64),
        event_id=tuple(known["event_id"].to_list()),
        event_time_ms=known["event_time_ms"].to_numpy().astype(np.int64),
        known_at_ms=known["known_at_ms"].to_numpy().astype(np.int64),
        settled_at_ms=np.maximum(known["known_at_ms"].to_numpy(), known["event_time_ms"].to_numpy() + settled_after_ms),
        amount_minor=known["amount_minor"].fill_null(MISSING_AMOUNT).to_numpy().astype(np.int64),
        fraud=(known["value"].to_numpy() == FRAUD).astype(np.int8),
        until_seq=until_seq,
        n_unlabelled=events.height - known.height,
    )


def require_both_classes(examples: Examples, *, needed: int = MIN_PER_CLASS) -> None:
    """Refuse examples from which no probability can be learnt.

    Raises
    ------
    OneClassError
        If fewer than `needed` fraud or fewer than `needed` legit examples are there.
    """
    if examples.n_fraud < needed or len(examples) - examples.n_fraud < needed:
        raise OneClassError(len(examples), examples.n_fraud, needed)
