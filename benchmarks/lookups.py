# SPDX-License-Identifier: Apache-2.0
"""Lookup tables of a million rows: how long they take to load, and to answer for one event and for a column.

    python -m benchmarks.lookups

Times are processor times of this process, so that a busy machine disturbs them little.
"""

from __future__ import annotations

import io
import socket
import time

import numpy as np
import polars as pl

from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.lookup_files import prepare_lookups

N_ROWS = 1_000_000
N_ASKED = 200_000
N_SINGLE = 20_000
AT_MS = 1_700_000_000_000
RANGE = {"from": "low", "to": "high", "value": "value"}


def main() -> None:
    draw = np.random.default_rng(0)
    bounds = np.sort(draw.choice(2**32 - 1, 2 * N_ROWS, replace=False).astype(np.int64))
    values = [f"C{row % 200}" for row in range(N_ROWS)]
    numbers = pl.DataFrame({"low": bounds[::2], "high": bounds[1::2], "value": values})
    dotted = [socket.inet_ntoa(int(bound).to_bytes(4, "big")) for bound in bounds]
    texts = pl.DataFrame({"low": dotted[::2], "high": dotted[1::2], "value": values})
    v6 = [socket.inet_ntop(socket.AF_INET6, (0x20010DB8 << 96 | int(b) << 64).to_bytes(16, "big")) for b in bounds]
    v6_texts = pl.DataFrame({"low": v6[::2], "high": v6[1::2], "value": values})
    timed = numbers.with_columns(since=pl.lit("2020-01-01"), until=pl.lit(None, pl.String))
    asked = [socket.inet_ntoa(int(ip).to_bytes(4, "big")) for ip in draw.integers(0, 2**32, N_ASKED)]
    keys = pl.DataFrame({"key": [f"k{row}" for row in range(N_ROWS)], "value": values})
    print(f"{N_ROWS:,} rows             load s   one event µs   {N_ASKED:,} distinct in a column s")
    measure("IPv4 as numbers", numbers, RANGE, asked)
    measure("IPv4 dotted", texts, RANGE, asked)
    measure("IPv6", v6_texts, RANGE, v6[:N_ASKED])
    measure("with validity", timed, RANGE | {"valid_from": "since", "valid_to": "until"}, asked)
    measure("exact keys", keys, {"key": "key", "value": "value"}, keys["key"].head(N_ASKED).to_list())


def measure(what: str, frame: pl.DataFrame, lookup: dict[str, str], asked: list[str]) -> None:
    file = io.BytesIO()
    frame.write_parquet(file)
    found = {"lookup": {"file": "table.parquet", **lookup}, "field": "ip"}
    event = {"event_id": "id", "derive": {"found": found}}
    scenario = scenario_from_mapping("speed", {"decide": "event", "events": {"event": event}}, where="benchmarks")
    began = time.process_time()
    table = prepare_lookups(scenario, {"table.parquet": file.getvalue()})["event.found"]
    loaded = time.process_time()
    for text in asked[:N_SINGLE]:
        table.value_at(text, AT_MS)
    single = time.process_time()
    table.values_at(pl.Series(asked), np.arange(len(asked)), np.full(len(asked), AT_MS))
    whole = time.process_time()
    print(f"{what:<22}{loaded - began:>9.2f}{1e6 * (single - loaded) / N_SINGLE:>15.1f}{whole - single:>17.2f}")


if __name__ == "__main__":
    main()
