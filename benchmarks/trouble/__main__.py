# SPDX-License-Identifier: Apache-2.0
"""The service while something goes wrong: models, ledger, disk, clock, process, state. Needs gcc.

    python -m benchmarks.trouble [--seconds 60] [--rate 200] [--only "disk,fsync"] [--workspace DIR] [--check] [--write]

Each trouble gets a fresh copy of the workspace and a service of its own, under a constant open-loop load. It begins a
quarter of the way through and ends at half. What found no answer is asked again at the end with the same event_id;
then every acknowledged decision must be in the ledger once, as it was acknowledged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.durability import Acknowledged, faults
from benchmarks.service import run_load
from benchmarks.subject import ServiceProcess, Subject, free_port, prepare
from benchmarks.trouble.judge import Verdict, judged
from benchmarks.trouble.shim import Switches, build
from benchmarks.trouble.troubles import TROUBLES, Place, Trouble, copied, template_of
from benchmarks.written import write_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
_ASKED_AGAIN = 5
_CUT_OFF_S = 0.5


class Round:
    """One trouble, from a fresh copy of the workspace to the verdict."""

    def __init__(self, trouble: Trouble, template: Subject, folder: Path, library: Path) -> None:
        self.trouble, self.folder = trouble, folder
        folder.mkdir()
        path = copied(template.path, folder / "workspace")
        self.subject = Subject(path, template.token, template.world)
        self.place = Place(path, Switches(folder / "control"), template.token)
        self._environment = self.place.switches.environment(library, path)
        self._log = folder / "service.log"
        self._n_loads = 0

    def start(self) -> ServiceProcess:
        self.place = replace(self.place, port=free_port())
        service = ServiceProcess(
            self.subject,
            self.place.port,
            self._log,
            self._environment,
            self.trouble.options,
            module="benchmarks.trouble.service",
        )
        service.wait_ready()
        return service

    def send(self, service: ServiceProcess, events: list[dict[str, Any]], rate: float) -> list[dict[str, Any]]:
        self._n_loads += 1
        folder = self.folder / f"load-{self._n_loads}"
        folder.mkdir()
        return run_load(self.subject, service.port, [("/v1/decisions", event) for event in events], rate, folder)[0]

    def run(self, rate: float, seconds: float) -> Verdict:
        """Bring the trouble about, and judge."""
        trouble, known = self.trouble, Acknowledged()
        trouble.before(self.place)
        n = int(rate * seconds)
        n_warm = int(2 * rate)
        drawn = list(self.subject.events(n_warm + n, f"-{time.time_ns()}"))
        warm, before, rest = drawn[:n_warm], drawn[n_warm : n_warm + n // 4], drawn[n_warm + n // 4 :]
        events = before + trouble.events(rest)
        service = self.start()
        try:
            self.send(service, warm, rate)
            if trouble.kills:
                records, span, ready_ns, service = self._killed(service, events, rate, seconds)
            else:
                records, span = self._beside(service, events, rate, seconds)
                ready_ns = span[1]
            unanswered = self._take(known, events, records)
            for _ in range(_ASKED_AGAIN):
                if unanswered:
                    time.sleep(1.0)
                    unanswered = self._take(known, unanswered, self.send(service, unanswered, rate))
            never_durable = self._ask_marked(known, service, events, records, rate)
            service.stop()
        finally:
            service.kill_all()
        wrong = faults(self.subject, known)
        return judged(trouble, records, span, ready_ns, wrong, len(unanswered), never_durable)

    def _ask_marked(
        self,
        known: Acknowledged,
        service: ServiceProcess,
        events: list[dict[str, Any]],
        records: list[dict[str, Any]],
        rate: float,
    ) -> int:
        """Ask again for what was answered before it was durable; return how many still say so."""
        pairs = zip(events, records, strict=True)
        marked = [event for event, record in pairs if record["status"] == 200 and not _is_durable(record)]
        if not marked:
            return 0
        again = self.send(service, marked, rate)
        self._take(known, marked, again)
        return sum(record["status"] != 200 or not _is_durable(record) for record in again)

    def _take(
        self, known: Acknowledged, events: list[dict[str, Any]], records: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        for record in records:
            if record["status"] == 200:
                known.take("/v1/decisions", json.loads(record["answer"]))
        return [event for event, record in zip(events, records, strict=True) if record["status"] != 200]

    def _beside(
        self, service: ServiceProcess, events: list[dict[str, Any]], rate: float, seconds: float
    ) -> tuple[list[dict[str, Any]], tuple[int, int]]:
        records: list[dict[str, Any]] = []
        load = threading.Thread(target=lambda: records.extend(self.send(service, events, rate)))
        load.start()
        time.sleep(seconds / 4)
        began_ns = time.perf_counter_ns()
        self.trouble.begin(self.place)
        time.sleep(max(0.0, seconds / 4 - (time.perf_counter_ns() - began_ns) / 1e9))
        self.trouble.end(self.place)
        ended_ns = time.perf_counter_ns()
        load.join()
        return records, (began_ns, ended_ns)

    def _killed(
        self, service: ServiceProcess, events: list[dict[str, Any]], rate: float, seconds: float
    ) -> tuple[list[dict[str, Any]], tuple[int, int], int, ServiceProcess]:
        n_first = len(events) // 4 + int(
            _CUT_OFF_S * rate
        )  # the generator does not find a service that was started anew
        killer = threading.Timer(seconds / 4, service.kill_all)
        killer.start()
        records = self.send(service, events[:n_first], rate)
        killer.join()
        killed_ns = time.perf_counter_ns()
        self.trouble.end(self.place)
        again = self.start()
        ready_ns = time.perf_counter_ns()
        return records + self.send(again, events[n_first:], rate), (killed_ns, killed_ns), ready_ns, again


def _is_durable(record: dict[str, Any]) -> bool:
    return bool(json.loads(record["answer"])["durable"])


def table(verdicts: list[Verdict]) -> str:
    """One line of Markdown a trouble."""
    lines = [
        "| trouble | answered | refused, slowest | p50, p99 ms | after the deadline | meanwhile by | because | "
        "well again after | lost, twice |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in verdicts:
        refused = f"{one.n_refused:,}, {one.slowest_refusal_ms:.0f} ms" if one.n_refused else "0"
        if one.n_unanswered:
            refused += f"; {one.n_unanswered:,} cut off"
        marked = f"; {one.n_marked:,} marked" if one.n_marked else ""
        rungs = ", ".join(f"{rung} {n:,}" for rung, n in sorted(one.rungs.items())) or "–"
        reasons = ", ".join(f"{why} {n:,}" for why, n in sorted(one.reasons.items(), key=lambda p: -p[1])[:2]) or "–"
        again = "never" if one.recovered_s is None else f"{one.recovered_s:.1f} s"
        lines.append(
            f"| {one.trouble.name} | {one.n_answered:,} of {one.n:,}{marked} | {refused} | "
            f"{one.p50_ms:.1f}, {one.p99_ms:.1f} | {100 * one.late_share:.2f} % | "
            f"{rungs} | {reasons} | {again} | {len(one.wrong)} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load for each trouble")
    parser.add_argument("--only", help="words of the troubles' names, with commas between")
    parser.add_argument("--events", type=int, default=40_000, help="claims in the simulated history")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workspace", type=Path, help="keep the workspace here and reuse it")
    parser.add_argument("--check", action="store_true", help="end with exit code 1 where something is missed")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    options = parser.parse_args()
    words = options.only.split(",") if options.only else [""]
    with tempfile.TemporaryDirectory(prefix="ringfence-trouble-") as scratch:
        folder = Path(scratch)
        subject = prepare(options.workspace or folder / "template", n_events=options.events, seed=options.seed)
        library = build(folder)
        verdicts = []
        for place, trouble in enumerate(TROUBLES):
            if not any(word in trouble.name for word in words):
                continue
            template = template_of(trouble.workspace, subject)
            verdict = Round(trouble, template, folder / f"round-{place}", library).run(options.rate, options.seconds)
            print(table([verdict]).splitlines()[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
            print("\n".join(f"MISSED {told}" for told in verdict.missed[:10]), file=sys.stderr, flush=True)
            verdicts.append(verdict)
    if options.write:
        write_table(PAGE, "troubles", table(verdicts))
    return 1 if options.check and any(verdict.missed for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
