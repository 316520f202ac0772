# SPDX-License-Identifier: Apache-2.0
"""pandas: `groupby(...).rolling(...)` per role and window over a frame that holds all transfers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.engine.contender import ROLES, ROLLING, STATS, WINDOWS_S, Rows, library
from benchmarks.engine.stream import Transfers


class PandasRolling:
    """A frame sorted by role and time, so that rolled values can be put back by position."""

    whole = True
    n_values = len(ROLLING)

    def __init__(self) -> None:
        self._pandas = library("pandas")

    def prepare(self, transfers: Transfers, batch_size: int) -> Iterator[Any]:
        yield self._pandas.DataFrame(
            {
                "time": self._pandas.to_datetime(transfers.time_s, unit="s"),
                "source": transfers.source,
                "destination": transfers.destination,
                "amount": transfers.amount_minor / 100.0,
            }
        )

    def observe(self, piece: Any) -> Any:
        features = self._pandas.DataFrame(index=piece.index)
        for role in ROLES:
            ordered = piece.sort_values([role, "time"], kind="stable")
            grouped = ordered.groupby(role)
            for window, span_s in WINDOWS_S.items():
                rolled = grouped.rolling(f"{span_s}s", on="time")["amount"].agg(["count", "sum", "mean"])
                rolled.index = ordered.index
                for name, stat in zip(STATS, ("count", "sum", "mean"), strict=True):
                    features[f"{role}.{name}_{window}"] = rolled[stat]
        return features[list(ROLLING)]

    def as_rows(self, found: Any) -> Rows:
        rows: Rows = found.to_numpy(dtype=np.float64)
        return rows

    def facts(self) -> dict[str, float]:
        return {}
