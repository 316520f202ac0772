# SPDX-License-Identifier: Apache-2.0
"""What can go wrong around a service that decides, how it is brought about, and what is asked of the answers."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.subject import Subject
from benchmarks.swap import make_releases, switched
from benchmarks.trouble.shim import RAISES, SLEEPS, Switches

CONTROL, MODEL, LEDGER, PROCESS, STATE = "", "model", "ledger", "process", "state"
BEST_EFFORT, SWITCH = "best effort", "switch"
AS_IT_IS, RELAXED, WITH_RELEASES = "", "best-effort", "releases"  # workspaces
DEADLINE_MS: Final = 50.0
REFUSED_MS: Final = 50.0
SLEEPING_P99_MS: Final = 95.0
MOST_LINKS: Final = 50_000
_A_EVENT: Final = 100  # links that one event of a ring that explodes names


@dataclass(frozen=True)
class Place:
    """Where the service of a round lives."""

    workspace: Path
    switches: Switches
    token: str
    port: int = 0  # once it runs

    @property
    def ledger(self) -> Path:
        return next((self.workspace / "ledger").iterdir()) / "ledger.db"

    @property
    def snapshots(self) -> list[Path]:
        return sorted((self.workspace / "state").glob("*/*.snapshot"))

    @property
    def network(self) -> Path:
        return next((self.workspace / "releases").glob("*/gnn.bin"))


def _nothing(place: Place) -> None:
    """As it should be."""


@dataclass(frozen=True)
class Trouble:
    """One row of the matrix.

    Attributes
    ----------
    kind : what is asked of it: see `judge.py`.
    before : done to the files before the service starts.
    begin, end : called a quarter and half of the way through the load.
    kills : the service is killed where the trouble begins, `end` is done to the files, and it is started again.
    rung : that answers while the trouble lasts, where it is known.
    workspace : as which kind of workspace it is served.
    events : changes what is sent while the trouble lasts.
    options : of `ringfence serve`.
    """

    name: str
    kind: str
    before: Callable[[Place], None] = _nothing
    begin: Callable[[Place], None] = _nothing
    end: Callable[[Place], None] = _nothing
    kills: bool = False
    rung: str | None = None
    workspace: str = AS_IT_IS
    events: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = field(default=lambda events: events)
    options: tuple[str, ...] = ()


def _switch(name: str, value: int) -> Callable[[Place], None]:
    return lambda place: place.switches.set(name, value)


def corrupt(place: Place) -> None:
    """Change one byte of the network's file."""
    data = bytearray(place.network.read_bytes())
    data[len(data) // 2] ^= 0x01
    place.network.write_bytes(data)


@contextlib.contextmanager
def _locked(ledger: Path) -> Iterator[None]:
    connection = sqlite3.connect(ledger, isolation_level=None, timeout=10.0)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def lock_for_two_seconds(place: Place) -> None:
    """Hold the ledger's write lock, as a backup tool gone wrong would."""
    with _locked(place.ledger):
        time.sleep(2.0)


def promote_other(place: Place) -> None:
    """Switch to the release of other features, whose state is built beside the live one."""
    _, other = make_releases(place.workspace)
    _done(switched(place.port, place.token, "promote", {"release": other}))


def roll_back(place: Place) -> None:
    """Switch back."""
    _done(switched(place.port, place.token, "rollback", {}))


def _done(status: dict[str, Any]) -> None:
    if status.get("step") != "done":
        raise SystemExit(f"the release was not switched: {status}")


def truncate_snapshot(place: Place) -> None:
    """Cut the newest snapshot in half, as a disk that filled up would have left it."""
    newest = place.snapshots[-1]
    with newest.open("r+b") as file:
        file.truncate(newest.stat().st_size // 2)


def explode(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let events name, between them, the same hundred witnesses fifty thousand times."""
    ring = [f"W-explodes-{number}" for number in range(_A_EVENT)]
    n = MOST_LINKS // _A_EVENT
    return [
        {**event, "entities": {**event["entities"], "witness": ring}} if place < n else event
        for place, event in enumerate(events)
    ]


TROUBLES: Final = (
    Trouble("none", CONTROL, rung="full"),
    Trouble("the network's file is corrupt", MODEL, before=corrupt, rung="gbdt"),
    Trouble("the ONNX session raises", MODEL, begin=_switch("model", RAISES), end=_switch("model", 0), rung="gbdt"),
    Trouble("a model sleeps 200 ms", MODEL, begin=_switch("model", SLEEPS), end=_switch("model", 0)),
    Trouble("the disk is full", LEDGER, begin=_switch("is_full", 1), end=_switch("is_full", 0)),
    Trouble("the ledger is locked for 2 s", LEDGER, begin=lock_for_two_seconds),
    Trouble("every fsync takes 500 ms", LEDGER, begin=_switch("fsync_ms", 500), end=_switch("fsync_ms", 0)),
    Trouble("the process is killed", PROCESS, kills=True),
    Trouble(
        "the clock steps back an hour", STATE, begin=_switch("clock_offset", -3_600), end=_switch("clock_offset", 0)
    ),
    Trouble(f"a ring explodes to {MOST_LINKS:,} links", STATE, events=explode, rung="full"),
    Trouble("the newest snapshot is truncated", PROCESS, kills=True, end=truncate_snapshot),
    Trouble("a snapshot every 2 s", STATE, options=("--snapshot-every", "2"), rung="full"),
    Trouble(
        "a release is switched and rolled back",
        SWITCH,
        begin=promote_other,
        end=roll_back,
        rung="full",
        workspace=WITH_RELEASES,
    ),
    Trouble(
        "`best_effort`: the disk is full",
        BEST_EFFORT,
        begin=_switch("is_full", 1),
        end=_switch("is_full", 0),
        workspace=RELAXED,
    ),
    Trouble("`best_effort`: the ledger is locked for 2 s", BEST_EFFORT, begin=lock_for_two_seconds, workspace=RELAXED),
    Trouble(
        "`best_effort`: every fsync takes 500 ms",
        BEST_EFFORT,
        begin=_switch("fsync_ms", 500),
        end=_switch("fsync_ms", 0),
        workspace=RELAXED,
    ),
)


def template_of(kind: str, subject: Subject) -> Subject:
    """Make a workspace of a kind out of the usual one, beside it, or take what an earlier run left there."""
    if kind == AS_IT_IS:
        return subject
    path = subject.path.with_name(f"{subject.path.name}-{kind}")
    if not path.exists():
        partial = copied(subject.path, subject.path.with_name(f"{path.name}-unfinished"))
        if kind == WITH_RELEASES:
            make_releases(partial)
        else:
            _relax(partial)
        partial.rename(path)
    return Subject(path, subject.token, subject.world)


def _relax(path: Path) -> None:
    """Have the live release ask for `durability: best_effort`."""
    file = path / "ringfence.yaml"
    text = file.read_text("utf-8")
    decide = next(line for line in text.splitlines() if line.strip().startswith("decide:"))
    indent = decide[: len(decide) - len(decide.lstrip())]
    relaxed = text.replace(decide, f"{decide}\n{indent}durability: best_effort")
    file.write_text(relaxed, "utf-8")
    for words in (["train", "-w", str(path)], ["release", "promote", "latest", "-w", str(path)]):
        subprocess.run([sys.executable, "-m", "ringfence.cli", *words], check=True, stdout=sys.stderr)


def copied(template: Path, folder: Path) -> Path:
    """Copy a workspace that no service uses."""
    shutil.copytree(template, folder)
    return folder
