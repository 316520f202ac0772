# SPDX-License-Identifier: Apache-2.0
"""Feature rows for people at work: replayed, recalled from an earlier train, and asked for at times of their own.

    python -m benchmarks.rows [--claims 150000]

A simulated insurer is imported. Its events' rows are replayed as a first `train` does, recalled as the next one does,
and those of one more family added; then a spine of all events is answered as `ringfence features --spine` does, and
compared with the replayed rows. Wall time, one thread. Exit code 1 where rows differ that should be equal.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

import ringfence
from benchmarks.long_replay import prepare
from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.training.recalled import recalled_rows
from ringfence.training.row_cache import RowCache


def _unsaid(_stage: str, _done: int, _total: int) -> None:
    return None


def timed(what: str, work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    found = work()
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"| {what} | {time.perf_counter() - began:.1f} | {peak_gb:.2f} |", flush=True)
    return found


def spine_of(workspace: Path, ledger: Ledger) -> pl.DataFrame:
    """All events as a spine: roles, amount and attributes under the names that the scenario gives them."""
    decided = ledger.scenario.decided
    columns: dict[str | None, str] = {column.column: column.role for column in decided.roles}
    columns |= {column.column: column.name for column in decided.attributes}
    columns |= {decided.event_time_column: "event_time", decided.event_id_column: "event_id"}
    if decided.amount is not None:
        columns[decided.amount.column] = "amount"
    claims = pl.read_parquet(workspace / "claims.parquet")
    return claims.select(pl.col(old).alias(new) for old, new in columns.items() if old in claims.columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", type=int, default=150_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as folder:
        workspace = Path(folder)
        scenario, ledger = prepare(workspace, options.claims, options.seed)
        catalogue, events = Catalogue.build(scenario), ledger.events(0)
        seqs = events["seq"].to_numpy()
        cache = RowCache(workspace / "rows")
        more = Catalogue.build(msgspec.structs.replace(scenario, features={"control_charts": True}))
        feature_rows(ledger, catalogue, seqs[:1])  # compiles
        print(f"{len(seqs):,} events, {ledger.last_seq:,} records, {len(catalogue.names)} features")
        print("| rows | seconds | peak GB |\n|---|---|---|")
        first = timed("replayed", lambda: recalled_rows(ledger, catalogue, seqs, cache, report=_unsaid).rows)
        again = timed("recalled", lambda: recalled_rows(ledger, catalogue, seqs, cache, report=_unsaid).rows)
        timed("one family more", lambda: recalled_rows(ledger, more, seqs, cache, report=_unsaid))
        spine = spine_of(workspace, ledger)
        asked = timed("a spine of all", lambda: ringfence.open(workspace).features(spine))
        timed("a spine of 5,000", lambda: ringfence.open(workspace).features(spine.head(5_000)))
        kept_mb = sum(path.stat().st_size for path in cache.directory.iterdir()) / 1e6
        print(f"{kept_mb:.0f} MB kept")
    place = {event_id: i for i, event_id in enumerate(events["event_id"])}
    order = np.array([place[event_id] for event_id in asked["event_id"].cast(pl.String)])
    found = asked.select(catalogue.names).to_numpy(order="c")
    alike = (found.view(np.int64) == first[order].view(np.int64)).all(axis=1)
    print(f"recalled rows equal: {first.tobytes() == again.tobytes()}; rows of the spine equal: {alike.mean():.2%}")
    sys.exit(0 if first.tobytes() == again.tobytes() and alike.all() else 1)


if __name__ == "__main__":
    main()
