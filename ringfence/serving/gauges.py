# SPDX-License-Identifier: Apache-2.0
"""What a metric shows when it is read, and nobody counts on the way of a request."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from ringfence.engine.engine import Engine
from ringfence.ledger.ledger import Ledger
from ringfence.serving.config import ServiceConfig
from ringfence.serving.lags import explanations_behind, snapshots_behind
from ringfence.serving.late_commits import LateCommits
from ringfence.serving.shadow_told import shadow_of
from ringfence.serving.telemetry import Telemetry

SHADOW_RESULTS: Final = ("same", "different", "impossible")
_FORGOTTEN: Final = "_forgotten"  # how counters of the engine end that count evictions


def measure_engine(telemetry: Telemetry, name: str, engine: Engine) -> None:
    """Say how far the engine is and what it counts."""
    telemetry.ledger_seq.labels(name).set(engine.seq)
    for counter, value in engine.counters.items():
        telemetry.engine_counts.labels(name, counter).set(value)
        if counter.endswith(_FORGOTTEN):
            telemetry.forgotten.reach((name, counter.removesuffix(_FORGOTTEN)), value)


def measure_commits(telemetry: Telemetry, name: str, unsaved_since_ns: int, late: LateCommits | None) -> None:
    """Say what waits for the ledger, and for how long.

    Parameters
    ----------
    unsaved_since_ns : `perf_counter_ns` of the commit under way; 0 where there is none.
    """
    since_ns = unsaved_since_ns if late is None else late.oldest_ns
    telemetry.records_waiting.labels(name).set(0 if late is None else late.n_waiting)
    telemetry.commit_lag.labels(name).set((time.perf_counter_ns() - since_ns) / 1e9 if since_ns else 0.0)


def measure_follower(telemetry: Telemetry, name: str, state_dir: Path, last_seq: int, last_decided_seq: int) -> None:
    """Say how far the process beside the service is behind."""
    telemetry.ledger_lag.labels(name, "snapshots").set(snapshots_behind(state_dir, last_seq))
    if (behind := explanations_behind(state_dir, last_decided_seq)) is not None:
        telemetry.ledger_lag.labels(name, "explanations").set(behind)


def measure_shadow(telemetry: Telemetry, name: str, ledger: Ledger, state_dir: Path) -> None:
    """Say what the shadow found; zeros where there is none."""
    shadow = shadow_of(ledger, state_dir)
    for result in SHADOW_RESULTS:
        found = 0 if shadow is None else int(getattr(shadow, result))
        telemetry.shadow_decisions.labels(name, result).set(found)
    telemetry.ledger_lag.labels(name, "shadow").set(0 if shadow is None else shadow.records_behind)


def measure_decisions(telemetry: Telemetry, name: str, config: ServiceConfig) -> None:
    """Say what decisions looked at and what they cost."""
    if (p95 := telemetry.neighbours.labels(name).quantile(0.95)) is not None:
        telemetry.neighbours_p95.labels(name).set(p95)
    price, n = config.machine_price_per_hour, telemetry.decisions.sum(name)
    if price is not None and n:
        busy_h = telemetry.busy_seconds.value(name) / 3600
        telemetry.cost.labels(name).set(price * busy_h / n * 1000)
