# SPDX-License-Identifier: Apache-2.0
"""What the answers to a load come to: percentiles, rungs, windows of ten seconds, and whether they were asked in time.

Latency is counted from the moment at which a request was to be sent, unless a function says otherwise.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from typing import Any, Final

from benchmarks.load import percentile
from benchmarks.surroundings import Surroundings

WINDOW_S: Final = 10.0
MIN_REASONS: Final = 3
SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
MOST_LAG_MS: Final = 5.0  # 99th percentile of the generator's own lag, half of what the service may take
LEAST_RATE: Final = 0.99  # of the rate asked for


def latency_ms(record: dict[str, Any]) -> float:
    return float(record["done_ns"] - record["intended_ns"]) / 1e6


def from_sent_ms(record: dict[str, Any]) -> float:
    """Latency from the moment of sending: a closed loop's."""
    return float(record["done_ns"] - record["sent_ns"]) / 1e6


def percentiles(values: list[float], shares: dict[str, float] = SHARES) -> dict[str, float]:
    """Percentiles of values in any order; none of no values."""
    ordered = sorted(values)
    return {name: round(percentile(ordered, share), 3) for name, share in shares.items()} if ordered else {}


def generator_told(records: list[dict[str, Any]], seconds: float, rate: float) -> dict[str, Any]:
    """Say whether the generator did what it was told: when it turned to each request, and how many it sent a second.

    A request that found no free connection was turned to in time and sent late: that is the service's lateness, and
    counts as latency, not here.
    """
    taken = [record for record in records if record["taken_ns"]]
    lags = percentiles([(record["taken_ns"] - record["intended_ns"]) / 1e6 for record in taken])
    turned_per_s = (len(taken) - 1) / seconds
    late = turned_per_s < LEAST_RATE * rate or not lags or lags["p99"] > MOST_LAG_MS
    return {"asked_per_s": rate, "turned_to_per_s": round(turned_per_s, 1), "lag_ms": lags, "late": late}


def windows(records: list[dict[str, Any]], around: Surroundings, window_s: float = WINDOW_S) -> list[dict[str, Any]]:
    """Tell each window of requests, by the time at which they were due: latency and errors, and the machine beside."""
    if not records:
        return []
    start = records[0]["intended_ns"]
    parts: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        if record["intended_ns"]:
            parts.setdefault(int((record["intended_ns"] - start) / (window_s * 1e9)), []).append(record)
    told = []
    for number, part in sorted(parts.items()):
        answered = [latency_ms(record) for record in part if record["status"] == 200]
        from_ns = start + number * window_s * 1e9
        stolen_s, load_average = around.between(from_ns, from_ns + window_s * 1e9)
        told.append(
            {
                "from_s": number * window_s,
                "requests": len(part),
                "errors": len(part) - len(answered),
                **percentiles(answered, {"p50": 0.5, "p99": 0.99, "max": 1.0}),
                "steal_s": round(stolen_s, 2),
                "load_average": load_average,
            }
        )
    return told


def by_rung(records: list[dict[str, Any]], answers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Latency of the answers of each rung; `answers` are those of `records`, which all have one."""
    found: dict[str, list[float]] = {}
    for record, answer in zip(records, answers, strict=True):
        found.setdefault(answer.get("rung", "none named"), []).append(latency_ms(record))
    return {rung: {"requests": len(values), **percentiles(values)} for rung, values in sorted(found.items())}


def stages(records: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Stages in ms by the service's own clock, where answers tell them."""
    found: dict[str, list[float]] = {}
    for record in records:
        for part in filter(None, record["timing"].split(", ")):
            name, _, value = part.partition(";dur=")
            found.setdefault(name, []).append(float(value or "nan"))
    return {name: percentiles(values, {"p50": 0.5, "p99": 0.99}) for name, values in found.items()}


def summary(
    records: list[dict[str, Any]], generator: dict[str, Any], rate: float, around: Surroundings
) -> dict[str, Any]:
    """Tell an open loop: percentiles in ms, errors, reasons, by rung and stage and window, and the generator."""
    answered = [record for record in records if record["status"] == 200]
    answers = [json.loads(record["answer"]) for record in answered]
    flagged = [answer for answer in answers if answer["action"] != "approve"]
    explained = sum(len(answer["reasons"]) >= MIN_REASONS for answer in flagged)
    return {
        "requests": len(records),
        "answered": len(answered),
        "errors": len(records) - len(answered),
        "statuses": dict(Counter(str(record["status"]) for record in records)),
        "latency_ms": percentiles([latency_ms(record) for record in answered]),
        "send_lag_ms": percentiles([(r["sent_ns"] - r["intended_ns"]) / 1e6 for r in records if r["sent_ns"]]),
        "generator": generator_told(records, generator["seconds"], rate),
        "by_rung": by_rung(answered, answers),
        "windows": windows(records, around),
        "stages_ms": stages(answered),
        "actions": dict(Counter(answer["action"] for answer in answers)),
        "degraded": sum(bool(answer.get("degraded")) for answer in answers),
        "explained_share": explained / len(flagged) if flagged else 1.0,
    }


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Take the median of each figure that all runs have; what is no figure is left out."""
    found: dict[str, Any] = {}
    for name in runs[0]:
        values = [run.get(name) for run in runs]
        if all(isinstance(value, dict) for value in values):
            found[name] = medians([value for value in values if isinstance(value, dict)])
        elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            found[name] = round(statistics.median(value for value in values if value is not None), 3)
    return {name: value for name, value in found.items() if value != {}}
