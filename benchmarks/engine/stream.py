# SPDX-License-Identifier: Apache-2.0
"""A drawn stream of transfers between accounts, uniform or around hubs, made chunk by chunk to need no memory."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

DAY_S: Final = 86_400
START_S: Final = 1_577_836_800
CHUNK: Final = 65_536
HUB_DESTINATIONS, HUB_SOURCES = 0.5, 0.2  # share of the ends that are drawn by rank in the hub-heavy graph

Ints = NDArray[np.int64]


class Graph(StrEnum):
    UNIFORM = "uniform"
    HUBS = "hubs"


class Transfers(msgspec.Struct, frozen=True):
    """Consecutive transfers, each array of shape (n,)."""

    first: int  # number of the first one in its stream
    time_s: Ints  # ascending
    source: Ints  # account numbers
    destination: Ints  # never the source
    amount_minor: Ints  # > 0

    def __len__(self) -> int:
        return len(self.time_s)

    def part(self, begin: int, end: int) -> Transfers:
        columns = (self.time_s, self.source, self.destination, self.amount_minor)
        return Transfers(self.first + begin, *(column[begin:end] for column in columns))

    def pieces(self, size: int) -> Iterator[Transfers]:
        return (self.part(begin, min(begin + size, len(self))) for begin in range(0, len(self), size))


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Which transfers: the same values give the same ones.

    Accounts grow with the events, each sends and receives `per_account` transfers on average within `days`. Uniform:
    both ends are drawn alike. Hubs: half of the destinations and a fifth of the sources are drawn with probability
    1 / rank, so that the largest account takes part in several per cent of all transfers, whatever their number.
    """

    graph: Graph
    n_events: int
    per_account: int = 20
    days: int = 60
    seed: int = 1

    @property
    def n_accounts(self) -> int:
        return max(2, self.n_events // self.per_account)

    def chunks(self, size: int = CHUNK) -> Iterator[Transfers]:
        """Yield the transfers in order; `size` is part of what is drawn."""
        span_s = self.days * DAY_S
        for number, begin in enumerate(range(0, self.n_events, size)):
            rng = np.random.default_rng([self.seed, number])
            n = min(size, self.n_events - begin)
            low, high = (span_s * place // self.n_events for place in (begin, begin + n))
            source = self._drawn(rng, n, HUB_SOURCES)
            step = rng.integers(1, self.n_accounts, n)  # to another account, where both ends are the same
            destination = self._drawn(rng, n, HUB_DESTINATIONS)
            destination = np.where(destination == source, (destination + step) % self.n_accounts, destination)
            yield Transfers(
                begin,
                START_S + np.sort(rng.integers(low, max(high, low + 1), n)),
                source,
                destination,
                1 + (100.0 * rng.lognormal(4.0, 1.5, n)).astype(np.int64),
            )

    def whole(self) -> Transfers:
        """All transfers at once, the same as those of `chunks`."""
        parts = list(self.chunks())
        columns = ("time_s", "source", "destination", "amount_minor")
        return Transfers(0, *(np.concatenate([getattr(part, name) for part in parts]) for name in columns))

    def _drawn(self, rng: np.random.Generator, n: int, hub_share: float) -> Ints:
        accounts = rng.integers(0, self.n_accounts, n)
        if self.graph is Graph.UNIFORM:
            return accounts
        by_rank = np.minimum(self.n_accounts ** rng.random(n), self.n_accounts).astype(np.int64) - 1
        return np.where(rng.random(n) < hub_share, by_rank, accounts)
