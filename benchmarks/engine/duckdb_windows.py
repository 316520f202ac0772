# SPDX-License-Identifier: Apache-2.0
"""DuckDB: one SQL query of window functions over a table that holds all transfers."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.engine.contender import ROLES, ROLLING, WINDOWS_S, Rows
from benchmarks.engine.stream import Transfers
from ringfence.engine.windows import granule_ms


def rolling_sql(*, floored: bool) -> str:
    """Write the query.

    Constant bounds, the transfer itself included: as people write it, and DuckDB's fastest form. Floored: with the
    bounds of the engine's windows and without the transfer itself, for values equal to the engine's.
    """
    columns: dict[str, str] = {}
    windows = []
    for role in ROLES:
        for window, span_s in WINDOWS_S.items():
            name = f"{role}_{window}"
            granule_s = granule_ms(span_s * 1_000) // 1_000
            reach = f"time_s - (time_s - {span_s}) // {granule_s} * {granule_s} - 1" if floored else f"{span_s - 1}"
            windows.append(
                f"{name} AS (PARTITION BY {role} ORDER BY time_s RANGE BETWEEN {reach} PRECEDING AND CURRENT ROW)"
            )
            count, total = f"count(*) OVER {name}", f"sum(amount) OVER {name}"
            if floored:
                count, total = f"({count} - 1)", f"({total} - amount)"
            columns[f"{role}.count_{window}"], columns[f"{role}.amount_sum_{window}"] = count, f"{total} / 100.0"
            mean = f"{total} / 100.0 / nullif({count}, 0)" if floored else f"avg(amount) OVER {name} / 100.0"
            columns[f"{role}.amount_mean_{window}"] = mean
    wanted = ", ".join(f'{columns[name]} AS "{name}"' for name in ROLLING)
    return f"SELECT row, {wanted} FROM transfers WINDOW {', '.join(windows)}"


class DuckdbWindows:
    """In memory. Loading the table is not timed; the answer becomes a table."""

    whole = True
    n_values = len(ROLLING)

    def __init__(self, *, threads: int = 1, floored: bool = False) -> None:
        self._connection = duckdb.connect(config={"threads": threads})
        self._sql = f"CREATE OR REPLACE TABLE rolled AS {rolling_sql(floored=floored)}"

    def prepare(self, transfers: Transfers, batch_size: int) -> Iterator[None]:
        table = pa.table(
            {
                "row": np.arange(len(transfers)),
                "time_s": transfers.time_s,
                "source": transfers.source,
                "destination": transfers.destination,
                "amount": transfers.amount_minor,
            }
        )
        self._connection.register("drawn", table)
        self._connection.execute("CREATE OR REPLACE TABLE transfers AS SELECT * FROM drawn")
        self._connection.unregister("drawn")
        yield None

    def observe(self, piece: None) -> None:
        self._connection.execute(self._sql)

    def as_rows(self, found: None) -> Rows:
        columns = self._connection.execute("SELECT * EXCLUDE (row) FROM rolled ORDER BY row").fetchnumpy()
        return np.stack([np.ma.filled(column.astype(np.float64), np.nan) for column in columns.values()], axis=1)

    def facts(self) -> dict[str, float]:
        return {}
