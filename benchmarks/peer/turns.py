# SPDX-License-Identifier: Apache-2.0
"""ringfence and the peer in turns: the same history, events, generator and machine, one of them up at a time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.answered import medians
from benchmarks.load import run_load
from benchmarks.loops import DECISIONS, Target, closed_loop, open_loop
from benchmarks.peer.process import PeerProcess, require_installed
from benchmarks.subject import ServiceProcess, Subject, free_port

CONNECTIONS: Final = 16  # of the closed loop
RINGFENCE: Final = "ringfence"
PEERS: Final = {"peer": "window", "peer, one round trip": "request"}


def in_turns(subject: Subject, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Ask each as often as wanted, every second round in the opposite order; tell runs, medians and ratios.

    The peer takes part twice: with a round trip to Redis for each entity and window, as people write it, and with one
    for all eight, as they write it when they have measured.
    """
    require_installed()
    runs: dict[str, list[dict[str, Any]]] = {RINGFENCE: [], **{name: [] for name in PEERS}}
    for number in range(options.repeat):
        names = list(runs) if number % 2 == 0 else list(runs)[::-1]
        for name in names:
            place = folder / f"{name.replace(' ', '-')}-{number}"
            place.mkdir()
            runs[name].append(_turn(name, subject, options, place))
            print(f"{name}, round {number + 1}: {told(runs[name][-1])}", file=sys.stderr, flush=True)
    middle = {name: medians(found) for name, found in runs.items()}
    return {
        "runs": runs,
        "medians": middle,
        "ratios": {name: ratios(middle[RINGFENCE], middle[name]) for name in PEERS},
    }


def _turn(name: str, subject: Subject, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    if name == RINGFENCE:
        deadline = ("--deadline", str(options.deadline))
        service = ServiceProcess(subject, free_port(), folder / "service.log", options=deadline)
        try:
            service.wait_ready()
            return _ask(Target(subject.token, service.port, (service.process.pid,)), subject, options, folder)
        finally:
            service.stop()
    peer = PeerProcess(subject.path, folder, "request" if PEERS[name] == "request" else "window")
    try:
        peer.wait_ready()
        return _ask(Target(peer.token, peer.port, peer.pids), subject, options, folder)
    finally:
        peer.stop()


def _ask(target: Target, subject: Subject, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    drawn = subject.events(sys.maxsize, f"-{target.pids[0]}")  # a reused workspace has seen earlier ids
    warm = [(DECISIONS, event) for event in islice(drawn, int(options.rate * options.warm_up))]
    if warm:
        run_load(target, target.port, warm, options.rate, folder)
    return {
        "open": open_loop(target, islice(drawn, int(options.rate * options.seconds)), options.rate, folder),
        "closed": closed_loop(target, islice(drawn, options.requests), CONNECTIONS, folder),
    }


def told(run: dict[str, Any]) -> str:
    latency, closed = run["open"]["latency_ms"], run["closed"]
    return (
        f"p50 {latency.get('p50')} ms, p99 {latency.get('p99')} ms, {run['open']['errors']} errors; "
        f"{closed['decisions_per_s']} decisions/s in a closed loop, {closed['errors']} errors"
    )


def ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | None]:
    """By how much ours is better, figure by figure: above 1 is better; None where one of them has no such figure."""
    less: dict[str, Callable[[dict[str, Any]], float | None]] = {
        "p50": lambda run: run["open"].get("latency_ms", {}).get("p50"),
        "p99": lambda run: run["open"].get("latency_ms", {}).get("p99"),
        "cpu_ms_per_decision": lambda run: run["open"].get("cpu_ms_per_decision"),
    }
    found = {name: _ratio(figure(theirs), figure(ours)) for name, figure in less.items()}
    return {**found, "decisions_per_s": _ratio(ours["closed"]["decisions_per_s"], theirs["closed"]["decisions_per_s"])}


def _ratio(above: float | None, below: float | None) -> float | None:
    return round(above / below, 2) if above is not None and below else None
