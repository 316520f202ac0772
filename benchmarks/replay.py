# SPDX-License-Identifier: Apache-2.0
"""Replay of the P1 payments on one thread, against DuckDB on two threads in the same run.

    python -m benchmarks.replay [--repeats 3] [--data DIR] [--json]

(a) The same 12 exact sliding-window features, count and sum over 1, 7 and 30 days per customer and per terminal, from
    the engine and from one SQL query; values are compared before any time is reported. DuckDB is timed twice: with
    constant bounds (its fastest form) and with the engine's floored bounds (the form whose values are compared).
(b) The full feature set, labels arriving seven days late included.

Reading the file and making batches is not timed on either side.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.engine import Catalogue, Engine
from ringfence.engine.layout import DAY_MS
from ringfence.engine.windows import granule_ms
from ringfence.scenario.batch import EVENT, LABEL, NO_LABEL, Batch
from ringfence.scenario.spec import Amount, EventType, Role, RoleColumn, Scenario

LABEL_DELAY_MS = 7 * DAY_MS
BATCH_SIZE = 65_536
SLIDING_DAYS = (1, 7, 30)
FULL_DAYS = (1, 7, 14, 30)
ROLES = ("customer", "terminal")


def scenario_of(days: tuple[int, ...]) -> Scenario:
    """Describe the payments: two roles, an amount."""
    payment = EventType(
        name="payment",
        index=0,
        event_id_column="TRANSACTION_ID",
        event_time_column="TX_DATETIME",
        roles=(RoleColumn(role="customer", column="CUSTOMER_ID"), RoleColumn(role="terminal", column="TERMINAL_ID")),
        amount=Amount(column="TX_AMOUNT", currency="EUR"),
    )
    return Scenario(
        name="card-payments",
        decide="payment",
        event_types=(payment,),
        roles=tuple(Role(name=role, entity_type=role, index=i) for i, role in enumerate(ROLES)),
        windows_ms=tuple(day * DAY_MS for day in days),
    )


def read_payments(path: Path) -> pl.DataFrame:
    """Read the payments in time order, amounts in cents."""
    return (
        pl.scan_parquet(path)
        .select(
            time_ms=pl.col("TX_DATETIME").dt.epoch("ms"),
            customer=pl.col("CUSTOMER_ID").cast(pl.Int64),
            terminal=pl.col("TERMINAL_ID").cast(pl.Int64),
            amount=(pl.col("TX_AMOUNT") * 100).round().cast(pl.Int64),
            fraud=pl.col("TX_FRAUD").cast(pl.Int8),
        )
        .collect()
        .sort("time_ms", maintain_order=True)
        .with_row_index("row")
    )


def batches_of(payments: pl.DataFrame, *, with_labels: bool) -> list[Batch]:
    """Make batches in ledger order: (time, labels before events, file order), each label at its own known_at."""
    n = len(payments)
    time_ms = payments["time_ms"].to_numpy()
    event_of = np.concatenate([np.arange(n), np.arange(n)]) if with_labels else np.arange(n)
    is_label = np.arange(event_of.shape[0]) >= n
    at_ms = time_ms[event_of] + is_label * LABEL_DELAY_MS
    order = np.lexsort((~is_label, at_ms))
    order = order[at_ms[order] <= time_ms[-1]]
    event_of, is_label, at_ms = event_of[order], is_label[order], at_ms[order]
    seq = np.arange(1, order.shape[0] + 1)
    event_seq = np.empty(n, np.int64)
    event_seq[event_of[~is_label]] = seq[~is_label]
    digests = np.random.default_rng(1).integers(0, 2**64, size=(2, 2, 100_000), dtype=np.uint64)
    halves = [
        np.stack([digests[half, r][payments[role].to_numpy()[event_of]] for r, role in enumerate(ROLES)], axis=1)
        for half in (0, 1)
    ]
    batches = []
    for begin in range(0, seq.shape[0], BATCH_SIZE):
        part = slice(begin, begin + BATCH_SIZE)
        events, labels = event_of[part], is_label[part]
        k = events.shape[0]
        batches.append(
            Batch(
                seq=seq[part].copy(),
                kind=np.where(labels, LABEL, EVENT).astype(np.uint8),
                event_type=np.zeros(k, np.uint8),
                time_ms=at_ms[part].copy(),
                offset_ms=np.zeros(k, np.int32),
                amount_minor=np.where(labels, 0, payments["amount"].to_numpy()[events]),
                values=np.empty((k, 0)),
                link_start=np.arange(0, 2 * k + 1, 2),
                link_role=np.tile(np.array([0, 1], np.uint8), k),
                link_lo=halves[0][part].reshape(-1).copy(),
                link_hi=halves[1][part].reshape(-1).copy(),
                label_event_seq=np.where(labels, event_seq[events], -1),
                label_event_time_ms=np.where(labels, time_ms[events], 0),
                label_value=np.where(labels, payments["fraud"].to_numpy()[events], NO_LABEL).astype(np.int8),
                label_replaces=np.full(k, NO_LABEL, np.int8),
                simhash=np.empty((k, 0), np.uint64),
            )
        )
    return batches


def replay_seconds(
    catalogue: Catalogue, batches: list[Batch], columns: list[int] | None = None
) -> tuple[float, float, Any]:
    """Replay everything once; return seconds, the thread's own CPU seconds and, for `columns`, the rows' values."""
    engine = Engine(catalogue)
    kept: list[NDArray[np.float64]] = []
    seconds = cpu_seconds = 0.0
    for batch in batches:
        begin, cpu_begin = time.perf_counter(), time.thread_time()
        rows = engine.observe(batch)
        seconds += time.perf_counter() - begin
        cpu_seconds += time.thread_time() - cpu_begin
        if columns is not None:
            kept.append(rows[:, columns])
    return seconds, cpu_seconds, np.concatenate(kept) if columns is not None else None


def sliding_sql(*, floored: bool) -> str:
    """Write the query: windows end with the event itself, which is taken off afterwards."""
    columns, windows = [], []
    for role in ROLES:
        for day in SLIDING_DAYS:
            span = day * DAY_MS
            granule = granule_ms(span)
            reach = f"time_ms - (time_ms - {span}) // {granule} * {granule} - 1" if floored else f"{span - 1}"
            name = f"{role}_{day}"
            windows.append(
                f"{name} AS (PARTITION BY {role} ORDER BY time_ms RANGE BETWEEN {reach} PRECEDING AND CURRENT ROW)"
            )
            columns.append(f"count(*) OVER {name} - 1 AS {role}_count_{day}")
            columns.append(f"(sum(amount) OVER {name} - amount)::BIGINT AS {role}_sum_{day}")
    return f"SELECT row, {', '.join(columns)} FROM payments WINDOW {', '.join(windows)}"


def duckdb_seconds(connection: duckdb.DuckDBPyConnection, *, floored: bool) -> float:
    begin = time.perf_counter()
    connection.execute(f"CREATE OR REPLACE TABLE sliding AS {sliding_sql(floored=floored)}")
    return time.perf_counter() - begin


def compare(connection: duckdb.DuckDBPyConnection, payments: pl.DataFrame, values: NDArray[np.float64]) -> int:
    """Compare every value with DuckDB's; return how many rows were compared.

    SQL's RANGE counts payments of the same entity in the same millisecond both ways, the ledger's order only one way:
    rows with such a twin are left out.
    """
    fetched = connection.execute("SELECT * EXCLUDE (row) FROM sliding ORDER BY row").fetchnumpy()
    found = np.stack(list(fetched.values()), axis=1)
    alone = payments.select(pl.all_horizontal(pl.len().over(role, "time_ms") == 1 for role in ROLES).alias("alone"))[
        "alone"
    ].to_numpy()
    sums = np.array([column % 2 == 1 for column in range(found.shape[1])])
    wanted = np.where(sums, found / 100.0, found)
    different = (values != wanted) & alone[:, None]
    if different.any():
        row, column = np.argwhere(different)[0]
        raise SystemExit(f"values differ: row {row}, column {column}: {values[row, column]} != {wanted[row, column]}")
    return int(alone.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RINGFENCE_DATA", beside)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    payments = read_payments(options.data / "card_payments_handbook" / "transactions.parquet")
    n = len(payments)

    names = [f"{role}.{stat}_{day}d" for role in ROLES for day in SLIDING_DAYS for stat in ("count", "amount_sum")]
    sliding = Catalogue.build(scenario_of(SLIDING_DAYS), only=names)
    full = Catalogue.build(scenario_of(FULL_DAYS))
    events, records = batches_of(payments, with_labels=False), batches_of(payments, with_labels=True)
    for catalogue in (sliding, full):  # compile, or load from the cache
        Engine(catalogue).observe(events[0])

    connection = duckdb.connect(config={"threads": 2})
    connection.register("frame", payments.to_arrow())
    connection.execute("CREATE TABLE payments AS SELECT * FROM frame")
    columns = [sliding.index(name) for name in names]
    times: dict[str, list[float]] = {
        "sliding": [],
        "duckdb": [],
        "duckdb_floored": [],
        "full": [],
        "sliding_cpu": [],
        "full_cpu": [],
    }
    n_compared = 0
    for _ in range(options.repeats):  # interleaved, so that a noisy moment hits all of them
        seconds, cpu_seconds, values = replay_seconds(sliding, events, columns)
        times["sliding"].append(seconds)
        times["sliding_cpu"].append(cpu_seconds)
        times["duckdb"].append(duckdb_seconds(connection, floored=False))
        times["duckdb_floored"].append(duckdb_seconds(connection, floored=True))
        n_compared = compare(connection, payments, values)
        seconds, cpu_seconds, _ = replay_seconds(full, records)
        times["full"].append(seconds)
        times["full_cpu"].append(cpu_seconds)
    rate = {name: n / statistics.median(seconds) for name, seconds in times.items()}
    result = {
        "events": n,
        "labels": sum(int((batch.kind == LABEL).sum()) for batch in records),
        "rows_compared": n_compared,
        "sliding_12_events_per_s": round(rate["sliding"]),
        "duckdb_12_two_threads_events_per_s": round(rate["duckdb"]),
        "duckdb_12_floored_bounds_events_per_s": round(rate["duckdb_floored"]),
        "sliding_over_duckdb": round(rate["sliding"] / rate["duckdb"], 2),
        "full_features": len(full.features),
        "full_events_per_s": round(rate["full"]),
        "full_fastest_events_per_s": round(n / min(times["full"])),
        "sliding_12_events_per_cpu_s": round(rate["sliding_cpu"]),
        "full_events_per_cpu_s": round(rate["full_cpu"]),
        "repeats": options.repeats,
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{n:,} payments, {n_compared:,} rows equal to DuckDB's in all 12 features")
    print(f"12 sliding windows   {rate['sliding']:>10,.0f} events/s on one thread")
    print(f"the same in DuckDB   {rate['duckdb']:>10,.0f} events/s on two threads ({result['sliding_over_duckdb']} x)")
    print(f"  with floored bounds{rate['duckdb_floored']:>10,.0f} events/s on two threads")
    print(f"{len(full.features)} features, labels  {rate['full']:>10,.0f} events/s on one thread")
    print(f"per CPU second of that thread: {rate['sliding_cpu']:,.0f} with 12, {rate['full_cpu']:,.0f} with all")


if __name__ == "__main__":
    main()
