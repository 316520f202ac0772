# SPDX-License-Identifier: Apache-2.0
"""What clients notice of another release: four switches under a constant open-loop load.

    python -m benchmarks.swap --rate 200 --workspace /var/tmp/swap

A real service on a simulated insurer is asked to promote a release of the same features, to roll back, to promote one
of other features (whose state is built beside the live one), and to roll back again. Latency counts from the intended
send time. Told for each switch: seconds until it was made, milliseconds for which the engine decided nothing, and
the latency of the requests due from its beginning to half a second after its end, beside those due before the first.
Preparing the workspace trains three releases and takes minutes; `--workspace` keeps it. Exit code 1 where a request was
refused, a switch failed, or a request due around the moment of a switch took longer than 250 ms.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.load import percentile
from benchmarks.service import run_load
from benchmarks.subject import ServiceProcess, Subject, free_port, prepare, steal_seconds
from ringfence.ledger.ledger import Ledger
from ringfence.rollout.registry import Entry, Registry
from ringfence.workspace import Workspace

MOST_STALL_MS: Final = 250.0
_QUIET_S: Final = 3.0  # load before the first switch
_PAUSE_S: Final = 0.7  # between a switch and the next
_AROUND_S: Final = 0.25  # before and after the moment of a switch, for what is called its stall
_ENDS_S: Final = 0.5


def make_releases(path: Path) -> tuple[str, str]:
    """Train a release of the same features, and one of others, where they are not there yet; return their ids."""
    entries = of_same_features(path)
    if len(entries) < 3:
        file = path / "ringfence.yaml"
        text = file.read_text("utf-8")
        windows = next(line for line in text.splitlines() if line.strip().startswith("windows:"))
        indent = windows[: len(windows) - len(windows.lstrip())]
        try:
            file.write_text(text.replace(windows, f"{indent}windows: [2d, 14d, 60d]"), "utf-8")
            _train(path)
        finally:
            file.write_text(text, "utf-8")
        entries = _entries(path)
    return entries[1].release, entries[2].release


def of_same_features(path: Path) -> list[Entry]:
    """Train a second release of the same features where there is none yet; all releases, the oldest first."""
    if len(_entries(path)) < 2:
        _train(path, "--seed", "1")
    return _entries(path)


def _entries(path: Path) -> list[Entry]:
    workspace = Workspace(path)
    scenario = workspace.scenario()
    return Registry.read(Ledger.open(workspace.ledger_dir(scenario), scenario)).entries()


def _train(path: Path, *options: str) -> None:
    command = [sys.executable, "-m", "ringfence.cli", "train", "-w", str(path), *options]
    subprocess.run(command, check=True, stdout=sys.stderr)


class Switches(threading.Thread):
    """Asks for one switch after the other while the load runs."""

    def __init__(
        self, port: int, token: str, asked: list[tuple[str, str, dict[str, str]]], after_s: float = _QUIET_S
    ) -> None:
        super().__init__()
        self._after_s = after_s
        self._port, self._token, self._asked = port, token, asked
        self.made: list[dict[str, Any]] = []

    def run(self) -> None:
        time.sleep(self._after_s)
        for name, route, body in self._asked:
            began_ns = time.perf_counter_ns()
            status = switched(self._port, self._token, route, body)
            self.made.append({"name": name, "began_ns": began_ns, "ended_ns": time.perf_counter_ns(), **status})
            time.sleep(_PAUSE_S)


def switched(port: int, token: str, route: str, body: dict[str, str]) -> dict[str, Any]:
    """Ask for a switch (`promote`, `rollback`), wait for its end, and return what the service says of it."""
    status = _ask(port, token, "POST", f"/v1/releases/{route}", body)
    while status.get("step") not in ("done", "failed", None):
        time.sleep(0.02)
        status = _ask(port, token, "GET", "/v1/releases")["switch"]
    return status


def _ask(port: int, token: str, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def latency(records: list[dict[str, Any]], from_ns: float, to_ns: float) -> dict[str, float]:
    """Percentiles in ms of the requests due in [from, to)."""
    due = [record for record in records if record["done_ns"] and from_ns <= record["intended_ns"] < to_ns]
    ordered = sorted((record["done_ns"] - record["intended_ns"]) / 1e6 for record in due)
    if not ordered:
        return {"requests": 0}
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {"requests": len(due), **{name: round(percentile(ordered, share), 2) for name, share in shares.items()}}


def told(made: dict[str, Any], records: list[dict[str, Any]]) -> dict[str, Any]:
    began_ns, ended_ns = made["began_ns"], made["ended_ns"]
    return {
        "switch": made["name"],
        "step": made.get("step"),
        "failure": made.get("failure") or made.get("detail"),
        "made_in_s": round((ended_ns - began_ns) / 1e9, 2),
        "engine_stood_still_ms": None if made.get("stall_ms") is None else round(made["stall_ms"], 2),
        "while_it_was_made_ms": latency(records, began_ns, ended_ns + _ENDS_S * 1e9),
        "at_the_switch_ms": latency(records, ended_ns - _AROUND_S * 1e9, ended_ns + _AROUND_S * 1e9),
    }


def measure(subject: Subject, same: str, other: str, rate: float, seconds: float, folder: Path) -> dict[str, Any]:
    service = ServiceProcess(subject, free_port(), folder / "service.log")
    try:
        service.wait_ready()
        tag = f"-{service.process.pid}"  # a reused workspace has seen earlier ids
        n_warm, n = int(rate * 2), int(rate * seconds)
        events = [("/v1/decisions", event) for event in subject.events(n_warm + n, tag)]
        run_load(subject, service.port, events[:n_warm], rate, folder)
        asked = [
            ("promote, same features", "promote", {"release": same}),
            ("roll back, same features", "rollback", {}),
            ("promote, other features", "promote", {"release": other}),
            ("roll back, other features", "rollback", {}),
        ]
        switches, stolen = Switches(service.port, subject.token, asked), steal_seconds()
        switches.start()
        records, _ = run_load(subject, service.port, events[n_warm:], rate, folder)
        switches.join()
    finally:
        service.stop()
    first_ns = switches.made[0]["began_ns"]
    answers = [json.loads(record["answer"]) for record in records if record["status"] == 200]
    return {
        "requests": len(records),
        "refused": sum(record["status"] != 200 for record in records),
        "before_ms": latency(records, 0, first_ns),
        "switches": [told(made, records) for made in switches.made],
        "degraded": sum(answer["degraded"] for answer in answers),
        "releases": sorted({answer["versions"]["release"] for answer in answers}),
        "steal_s": round(steal_seconds() - stolen, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=18.0)
    parser.add_argument("--events", type=int, default=20_000, help="claims in the simulated history")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the workspace here and reuse it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringfence-bench-") as scratch:
        folder = Path(scratch)
        subject = prepare(options.workspace or folder / "workspace", n_events=options.events, seed=options.seed)
        same, other = make_releases(subject.path)
        found = measure(subject, same, other, options.rate, options.seconds, folder)
    print(json.dumps(found, indent=None if options.json else 2))
    good = not found["refused"] and all(
        one["step"] == "done" and one["at_the_switch_ms"].get("max", 0.0) < MOST_STALL_MS for one in found["switches"]
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
