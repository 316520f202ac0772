# SPDX-License-Identifier: Apache-2.0
"""Sampled neighbourhoods as arrays of fixed shape."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine import layout as at
from ringfence.engine.plan import Plan


class Neighbourhoods(msgspec.Struct, frozen=True, kw_only=True):
    """What the entities of n events had been in before them, and with whom. S seats, K events each, newest first.

    Columns are `Catalogue.sample_features` (F) and `Catalogue.seat_features` (G), seats are `Catalogue.seats`. A slot
    whose mask is false holds zeros. "Before" is by seq: of two events, a late one can have the smaller event time.
    """

    seq: NDArray[np.int64]  # (n,) of the events at hand
    events: NDArray[np.float32]  # (n, S, K, F)
    mask: NDArray[np.bool_]  # (n, S, K) an event was sampled here
    nodes: NDArray[np.float32]  # (n, S, G)
    event_seq: NDArray[np.int64]  # (n, S, K) of the sampled events, for the leakage guard; 0 where mask is false
    event_time_ms: NDArray[np.int64]  # (n, S, K) likewise
    n_visited: NDArray[np.int64]  # (n,) entities looked at, at most S * K * 9

    def __len__(self) -> int:
        return int(self.seq.shape[0])


class SampleArrays(NamedTuple):
    """Neighbourhoods in the form that compiled code fills; same fields, same meaning."""

    events: NDArray[np.float32]
    mask: NDArray[np.bool_]
    nodes: NDArray[np.float32]
    event_seq: NDArray[np.int64]
    event_time_ms: NDArray[np.int64]
    n_visited: NDArray[np.int64]


def empty_samples(plan: Plan, n: int) -> SampleArrays:
    """Make zeroed arrays for `n` events."""
    n_seats, n_sampled = plan.seats.shape[0], plan.n_sampled
    return SampleArrays(
        events=np.zeros((n, n_seats, n_sampled, at.N_SAMPLE), np.float32),
        mask=np.zeros((n, n_seats, n_sampled), np.bool_),
        nodes=np.zeros((n, n_seats, at.N_SEAT), np.float32),
        event_seq=np.zeros((n, n_seats, n_sampled), np.int64),
        event_time_ms=np.zeros((n, n_seats, n_sampled), np.int64),
        n_visited=np.zeros(n, np.int64),
    )
