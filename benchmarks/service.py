# SPDX-License-Identifier: Apache-2.0
"""The service under a constant open-loop load: latency from the intended send time, everything on, durable.

    python -m benchmarks.service --rate 500 --seconds 60

A real service process on a simulated insurer, a generator process beside it on the same machine. Exit code 1 when the
99th percentile, an error or an answer without reasons misses the target.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.load import percentile
from benchmarks.subject import ServiceProcess, Subject, cpu_seconds, free_port, prepare, steal_seconds

MOST_P99_MS = 10.0
MIN_REASONS = 3


def run_load(
    subject: Subject,
    port: int,
    events: list[tuple[str, dict[str, Any]]],
    rate: float,
    folder: Path,
    n_connections: int = 64,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Send (path, body) pairs from another process; return a record for each, and the generator's summary."""
    requests, output = folder / "requests.tsv", folder / "answers.jsonl"
    with requests.open("w", encoding="utf-8") as file:
        file.writelines(f"{path}\t{json.dumps(body)}\n" for path, body in events)
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(port), "--rate", str(rate)]
    command += ["--requests", str(requests), "--output", str(output), "--connections", str(n_connections)]
    subprocess.run(command, check=True, env={**os.environ, "RINGFENCE_TOKEN": subject.token})
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return lines[:-1], lines[-1]


def summary(records: list[dict[str, Any]], generator: dict[str, Any]) -> dict[str, Any]:
    """Latency percentiles in ms from the intended send time, errors, reasons, and stages by the service's own clock."""
    answered = [record for record in records if record["status"] == 200]
    latencies = sorted((record["done_ns"] - record["intended_ns"]) / 1e6 for record in answered)
    lags = sorted((record["sent_ns"] - record["intended_ns"]) / 1e6 for record in records if record["sent_ns"])
    answers = [json.loads(record["answer"]) for record in answered]
    flagged = [answer for answer in answers if answer["action"] != "approve"]
    explained = sum(len(answer["reasons"]) >= MIN_REASONS for answer in flagged)
    stages: dict[str, list[float]] = {}
    for record in answered:
        for part in record["timing"].split(", "):
            name, _, value = part.partition(";dur=")
            stages.setdefault(name, []).append(float(value or "nan"))
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {
        "requests": len(records),
        "answered": len(answered),
        "errors": len(records) - len(answered),
        "statuses": dict(Counter(str(record["status"]) for record in records)),
        "latency_ms": {name: round(percentile(latencies, share), 3) for name, share in shares.items()},
        "send_lag_ms": {name: round(percentile(lags, share), 3) for name, share in shares.items()},
        "sent_per_s": round(len(records) / generator["seconds"], 1),
        "stages_ms": {
            name: {share: round(percentile(sorted(values), shares[share]), 3) for share in ("p50", "p99")}
            for name, values in stages.items()
        },
        "actions": dict(Counter(answer["action"] for answer in answers)),
        "rungs": dict(Counter(answer["rung"] for answer in answers)),
        "explained_share": explained / len(flagged) if flagged else 1.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds of load before the measurement")
    parser.add_argument("--events", type=int, default=60_000, help="claims in the simulated history")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the workspace here and reuse it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as scratch:
        folder = Path(scratch)
        subject = prepare(options.workspace or folder / "workspace", n_events=options.events, seed=options.seed)
        service = ServiceProcess(subject, free_port(), folder / "service.log")
        try:
            ready_s = service.wait_ready()
            tag = f"-{service.process.pid}"  # a reused workspace has seen earlier ids
            n_warm, n = int(options.rate * options.warm_up), int(options.rate * options.seconds)
            events = [("/v1/decisions", event) for event in subject.events(n_warm + n, tag)]
            if n_warm:
                run_load(subject, service.port, events[:n_warm], options.rate, folder)
            before, stolen = cpu_seconds(service.process.pid), steal_seconds()
            records, generator = run_load(subject, service.port, events[n_warm:], options.rate, folder)
            found = summary(records, generator)
            found["service_cpu_cores"] = round((cpu_seconds(service.process.pid) - before) / generator["seconds"], 3)
            found["steal_s"] = round(steal_seconds() - stolen, 2)
            found["load_average"] = os.getloadavg()[0]
            found["ready_s"] = round(ready_s, 2)
        finally:
            service.stop()
    print(json.dumps(found, indent=None if options.json else 2))
    good = found["latency_ms"]["p99"] < MOST_P99_MS and not found["errors"] and found["explained_share"] == 1.0
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
