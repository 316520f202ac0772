# SPDX-License-Identifier: Apache-2.0
"""snapml's GraphFeaturePreprocessor: statistics of the vertices and histograms of patterns, within one time window.

It inserts the whole batch into its graph and only then computes, so an edge's features hold that edge and all others of
its batch, later ones included.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import numpy as np

from benchmarks.engine.contender import LONGEST_S, Rows, library
from benchmarks.engine.stream import DAY_S, START_S, Transfers

RAW: Final = 5  # id, source, target, timestamp, amount: repeated in its output, not counted
FAN, DEGREE, RATIO, AVERAGE, SUM = range(5)
PER_VERTEX: Final = 8  # default statistics, one raw column: fan, degree, ratio, average, sum, variance, skew, kurtosis
HISTOGRAMS: Final = 2  # fan in and fan out: one number each, spread over 29 columns


class Level(StrEnum):
    DEGREES = "degrees"
    STATISTICS = "statistics"
    DEFAULT = "default"
    PATTERNS = "patterns"


_SETTINGS: Final[dict[Level, dict[str, Any]]] = {
    Level.DEGREES: {"fan": False, "vertex_stats_feats": [FAN, DEGREE, RATIO]},
    Level.STATISTICS: {"fan": False},
    Level.DEFAULT: {},
    Level.PATTERNS: {
        "degree": True, "degree_tw": LONGEST_S,
        "scatter-gather": True, "scatter-gather_tw": DAY_S,
        "temp-cycle": True, "temp-cycle_tw": 7 * DAY_S,
        "lc-cycle": True, "lc-cycle_tw": DAY_S,
    },
}  # fmt: skip


class SnapmlGraph:
    """Its defaults but for the window, which is the longest one of the others, and the column of the amount."""

    whole = False

    def __init__(self, *, level: str = Level.DEFAULT, threads: int = 1) -> None:
        self._graph = library("snapml").GraphFeaturePreprocessor()
        settings = {
            "num_threads": threads,
            "time_window": LONGEST_S,
            "vertex_stats_tw": LONGEST_S,
            "fan_tw": LONGEST_S,
            "vertex_stats_cols": [RAW - 1],
        }
        self._graph.set_params(settings | _SETTINGS[Level(level)])
        edge = np.array([[0.0, 1.0, 2.0, 0.0, 1.0]])
        self.n_values = self._graph.transform(edge).shape[1] - RAW
        self._graph.set_params({})  # forgets that edge

    def prepare(self, transfers: Transfers, batch_size: int) -> Iterator[Rows]:
        edges = np.stack(
            [
                np.arange(transfers.first, transfers.first + len(transfers), dtype=np.float64),
                transfers.source,
                transfers.destination,
                transfers.time_s - START_S,
                transfers.amount_minor / 100.0,
            ],
            axis=1,
        )
        return (edges[begin : begin + batch_size] for begin in range(0, len(edges), batch_size))

    def learn(self, piece: Rows) -> None:
        self._graph.partial_fit(piece)

    def observe(self, piece: Rows) -> Rows:
        found: Rows = self._graph.transform(piece)
        return found

    def as_rows(self, found: Rows) -> Rows:
        return found[:, RAW:]

    def facts(self) -> dict[str, float]:
        return {}
