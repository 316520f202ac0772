# SPDX-License-Identifier: Apache-2.0
"""What the service benchmarks run against: a simulated workspace with a release, and a real service process on it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import SystemClock
from ringfence.scoring.release import load_release
from ringfence.serving.keys import Scope, create_key
from ringfence.simulate import live_claims, simulate_motor_claims
from ringfence.workspace import Workspace

LIVE_DAYS = 180
FRAUD_RATE = 0.0056
_NOTES = "benchmark.json"


@dataclass(frozen=True)
class Subject:
    """A workspace ready to serve."""

    path: Path
    token: str
    world: Callable[[], Iterable[dict[str, Any]]]  # bodies of POST /v1/decisions, the same ones at every call

    def events(self, n: int, tag: str = "") -> Iterator[dict[str, Any]]:
        """Yield `n` decisions to ask for. When the world has no more events it begins again under other ids."""
        made, round_number = 0, 0
        while made < n:
            for event in islice(self.world(), n - made):
                made += 1
                yield {**event, "event_id": f"{event['event_id']}{tag}-{round_number}"}
            round_number += 1


def prepare(
    path: Path, *, n_events: int, seed: int, fraud_rate: float = FRAUD_RATE, release_of: Path | None = None
) -> Subject:
    """Simulate, import and train in `path`, or take what an earlier run left there.

    Parameters
    ----------
    n_events : claims of the history.
    release_of : workspace whose champion decides here as well, in place of one trained on this history.
    """
    notes = path / _NOTES
    if not notes.exists():
        ends = datetime.now(UTC).date() - timedelta(days=LIVE_DAYS + 1)
        simulate_motor_claims(n_events, seed, path, None, ends=ends, fraud_rate=fraud_rate)
        workspace = Workspace(path)
        scenario = workspace.scenario()
        import_files(workspace.ledger_dir(scenario), scenario, path, SystemClock())
        if release_of is None:
            command = [sys.executable, "-m", "ringfence.cli", "train", "-w", str(path)]
            subprocess.run(command, check=True, stdout=sys.stderr)
        else:
            adopt(workspace, Workspace(release_of))
        token = create_key(workspace.keys_path, "benchmark", frozenset(Scope))
        world_notes = {"seed": seed, "n_events": n_events, "ends": ends.isoformat(), "fraud_rate": fraud_rate}
        notes.write_text(json.dumps({"token": token, **world_notes}))
    found = json.loads(notes.read_text())
    ends = date.fromisoformat(found["ends"])

    def world() -> Iterator[dict[str, Any]]:
        claims = live_claims(
            found["seed"],
            n_events=found["n_events"],
            ends=ends,
            fraud_rate=found.get("fraud_rate", FRAUD_RATE),
        )
        return (claim.event for claim in claims)

    return Subject(path, found["token"], world)


def adopt(workspace: Workspace, giver: Workspace) -> None:
    """Make the champion of one workspace that of another one of the same scenario."""
    scenario = workspace.scenario()
    theirs = Ledger.open(giver.ledger_dir(scenario), giver.scenario())
    release = Registry.read(theirs).champion()
    if release is None:
        raise SystemExit(f"{giver.path} has no champion to take over; run: ringfence train -w {giver.path}")
    shutil.copytree(giver.releases_dir / release, workspace.releases_dir / release, dirs_exist_ok=True)
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    with ledger.writer(SystemClock()) as writer:
        digest = load_release(workspace.releases_dir / release).digest
        Registry.read(ledger).install(writer, release, digest=digest)
        writer.commit()


class ServiceProcess:
    """`ringfence serve` as a child; `module` is what is run in place of the command."""

    def __init__(
        self,
        subject: Subject,
        port: int,
        log: Path,
        environment: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
        module: str = "ringfence.cli",
    ) -> None:
        self.subject, self.port, self.log = subject, port, log
        command = [sys.executable, "-m", module, "serve", "-w", str(subject.path), "--port", str(port)]
        command += options
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, **(environment or {})}, start_new_session=True
            )

    def wait_ready(self, patience_s: float = 180.0) -> float:
        began = time.monotonic()
        while time.monotonic() - began < patience_s:
            if self.process.poll() is not None:
                raise SystemExit(f"the service ended with {self.process.returncode}:\n{tail(self.log)}")
            try:
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)) as connection:
                    connection.request("GET", "/readyz")
                    if connection.getresponse().status == 200:
                        return time.monotonic() - began
            except OSError:
                pass  # not listening yet
            time.sleep(0.05)
        raise SystemExit(f"the service was not ready after {patience_s:.0f} s:\n{tail(self.log)}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def kill(self) -> None:
        """End the service as a crash would; its follower lives on until it notices."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """End the service and all its children at once, as the loss of power would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def tail(log: Path, n_lines: int = 20) -> str:
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-n_lines:]) if log.exists() else ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def steal_seconds() -> float:
    """Time that the hypervisor gave to others, over all processors."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / os.sysconf("SC_CLK_TCK")
