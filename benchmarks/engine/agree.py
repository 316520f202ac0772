# SPDX-License-Identifier: Apache-2.0
"""Who computes the same numbers? Held against each other before any time is reported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.contender import ROLES, ROLLING, Rows
from benchmarks.engine.snapml_graph import AVERAGE, DEGREE, PER_VERTEX, SUM
from benchmarks.engine.stream import Graph, Stream, Transfers
from benchmarks.engine.trial import BULK, Measured, Trial

TOLERANCE: Final = 1e-6  # relative: rolling sums of floats forget what they subtract
SNAPML_EQUAL: Final = 0.95  # of the rows; in others its graph still keeps an edge that has left the window
RunTrial = Callable[[Trial], Measured]


def compare(contenders: Sequence[str], n_events: int, run: RunTrial) -> list[str]:
    """Return a sentence for each comparison; end where values differ that must not.

    DuckDB with constant bounds judges pandas, River and the part of snapml's statistics that the others have, DuckDB
    with the engine's bounds judges the engine. SQL's ranges hold transfers of the same account in the same second both
    ways, the order of a stream only one way: rows with such a twin are left out.
    """
    stream = Stream(graph=Graph.HUBS, n_events=n_events)
    transfers = stream.whole()
    alone: NDArray[np.bool_] = np.logical_and(
        _alone(transfers.source, transfers.time_s), _alone(transfers.destination, transfers.time_s)
    )
    said = [f"{int(alone.sum()):,} of {n_events:,} transfers around hubs compared: no twin in the same second."]
    with tempfile.TemporaryDirectory(prefix="ringfence-engine-") as folder:

        def rows_of(name: str, batch_size: int) -> Rows:
            path = Path(folder) / f"{name}-{batch_size}.npy"
            run(Trial(contender=name, stream=stream, batch_size=batch_size, rows_file=str(path)))
            rows: Rows = np.load(path)
            return rows

        exact = rows_of("duckdb", BULK)
        floored = rows_of("duckdb-floored", BULK)
        for name in ("pandas", "river"):
            if name in contenders:
                _must_equal(name, rows_of(name, BULK)[alone], exact[alone], ROLLING)
                said.append(f"{name}: equal to DuckDB in all {len(ROLLING)} columns.")
        _must_equal("ringfence-rolling", rows_of("ringfence-rolling", BULK)[alone], floored[alone], ROLLING)
        said.append(f"ringfence: equal to DuckDB with its windows' bounds in all {len(ROLLING)} columns.")
        one, many = (rows_of("ringfence", size) for size in (1, 128))
        if not np.array_equal(one, many, equal_nan=True):
            raise SystemExit("ringfence's rows depend on the size of the batch")
        said.append("ringfence, batches of 1 and of 128: the same bits in every row.")
        if "snapml" in contenders:
            one, many = (rows_of("snapml-statistics", size) for size in (1, 128))
            shared, names = _of_snapml(one, exact)
            if (shared[0][alone][:, [0, 3]] < shared[1][alone][:, [0, 3]]).any():
                raise SystemExit("snapml misses transfers that are within its window")
            close = _close(*shared)[alone]
            equal = float(close.all(axis=1).mean())
            if equal < SNAPML_EQUAL:
                _must_equal("snapml", shared[0][alone], shared[1][alone], names)
            said.append(
                "snapml, batches of 1: degree, sum and average of the source's outgoing and the destination's "
                f"incoming transfers equal DuckDB's in {equal:.1%} of the rows; in the others it still holds a "
                "transfer that has left the window. In batches of 128 it computes after inserting the whole batch: "
                f"{_different(one, many)} of its rows then change, because they hold transfers that come later."
            )
    return said


def _alone(account: NDArray[np.int64], time_s: NDArray[np.int64]) -> NDArray[np.bool_]:
    # Not at the same second as another transfer of the same account in the same role.
    order = np.lexsort((time_s, account))
    twin = (np.diff(account[order]) == 0) & (np.diff(time_s[order]) == 0)
    alone = np.ones(len(account), np.bool_)
    alone[order[:-1][twin]] = alone[order[1:][twin]] = False
    return alone


def _of_snapml(found: Rows, exact: Rows) -> tuple[tuple[Rows, Rows], list[str]]:
    # Its order: source's outgoing edges, source's incoming, destination's outgoing, destination's incoming.
    names = [f"{role}.{stat}_30d" for role in ROLES for stat in ("count", "amount_sum", "amount_mean")]
    first = {"source": 0, "destination": 3 * PER_VERTEX}
    columns = [first[role] + stat for role in ROLES for stat in (DEGREE, SUM, AVERAGE)]
    return (found[:, columns], exact[:, [ROLLING.index(name) for name in names]]), names


def _must_equal(who: str, found: Rows, wanted: Rows, names: Sequence[str]) -> None:
    close = _close(found, wanted)
    if not close.all():
        row, column = np.argwhere(~close)[0]
        raise SystemExit(
            f"{who} differs from DuckDB in {names[column]}, compared row {row}: "
            f"{found[row, column]} != {wanted[row, column]}"
        )


def _close(found: Rows, wanted: Rows) -> NDArray[np.bool_]:
    if found.shape != wanted.shape:
        raise SystemExit(f"{found.shape} values to compare with {wanted.shape}")
    return np.isclose(found, wanted, rtol=TOLERANCE, atol=1e-6, equal_nan=True)


def _different(one: Rows, many: Rows) -> str:
    same = ((one == many) | (np.isnan(one) & np.isnan(many))).all(axis=1)
    return f"{1.0 - same.mean():.1%}"


def largest_share(transfers: Transfers) -> float:
    """Share of the transfers in which the busiest account takes part."""
    ends = np.concatenate([transfers.source, transfers.destination])
    return float(np.bincount(ends).max() / len(transfers))
