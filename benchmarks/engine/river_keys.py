# SPDX-License-Identifier: Apache-2.0
"""River: one `feature_extraction.Agg` a column, each a `TimeRolling` statistic per key, as its documentation shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.engine.contender import ROLES, ROLLING, WINDOWS_S, Rows, library
from benchmarks.engine.stream import Transfers

Piece = list[tuple[dict[str, Any], dt.datetime]]


class RiverKeys:
    """Counts are sums of ones: `stats.Count` cannot roll."""

    whole = False
    n_values = len(ROLLING)

    def __init__(self) -> None:
        feature_extraction, stats, utils = (
            library(f"river.{name}") for name in ("feature_extraction", "stats", "utils")
        )
        self._aggregates = [
            feature_extraction.Agg(on=on, by=role, how=utils.TimeRolling(how, period=dt.timedelta(seconds=span_s)))
            for role in ROLES
            for on, how in (("one", stats.Sum), ("amount", stats.Sum), ("amount", stats.Mean))
            for span_s in WINDOWS_S.values()
        ]

    def prepare(self, transfers: Transfers, batch_size: int) -> Iterator[Piece]:
        for part in transfers.pieces(batch_size):
            yield [
                (
                    {"source": source, "destination": destination, "amount": amount / 100.0, "one": 1.0},
                    dt.datetime.fromtimestamp(time_s, dt.UTC).replace(tzinfo=None),
                )
                for source, destination, amount, time_s in zip(
                    part.source.tolist(),
                    part.destination.tolist(),
                    part.amount_minor.tolist(),
                    part.time_s.tolist(),
                    strict=True,
                )
            ]

    def learn(self, piece: Piece) -> None:
        for event, time in piece:
            for aggregate in self._aggregates:
                aggregate.learn_one(event, t=time)

    def observe(self, piece: Piece) -> list[list[float]]:
        rows = []
        for event, time in piece:
            row: list[float] = []
            for aggregate in self._aggregates:
                aggregate.learn_one(event, t=time)
                row += aggregate.transform_one(event).values()
            rows.append(row)
        return rows

    def as_rows(self, found: list[list[float]]) -> Rows:
        return np.array(found, np.float64)

    def facts(self) -> dict[str, float]:
        return {}
