# SPDX-License-Identifier: Apache-2.0
"""The process beside the service: snapshots of the engine, explanations after the answer, and the shadow's scores.

It only reads the ledger, holds a second copy of the engine's state, and runs when nobody else wants the processor.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from ringfence.engine.errors import TickMismatchError
from ringfence.engine.follower import run_follower
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind, Record
from ringfence.models.seen import Seen
from ringfence.rollout.registry import Registry
from ringfence.scoring.errors import ReleaseDamagedError
from ringfence.scoring.exact import ExactReason, exact_reasons
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.scorer import RULES, Scorer
from ringfence.serving.config import ServiceConfig
from ringfence.serving.explainer import fold_and_read, score_readings
from ringfence.serving.explanations import Explanations
from ringfence.serving.recovery import champion_of
from ringfence.serving.shadow import shadow_all
from ringfence.serving.telemetry import configure_logging
from ringfence.serving.wholes import Wholes
from ringfence.workspace import Workspace

_log: Final = structlog.get_logger("ringfence.serving")
_POLL_S: Final = 0.5
_CHUNK: Final = 64
_REST: Final = 3.0  # times as long as a portion of the ledger took
_LONGER_REST: Final = 6.0  # times as long as an explanation took: nobody waits for one
_NICE: Final = 15


def follow(workspace_path: str, scenario: str, config: ServiceConfig, parent_pid: int) -> None:
    """Run until the service ends, however it ends."""
    os.nice(_NICE)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    configure_logging(sys.stderr)
    workspace = Workspace(workspace_path)
    directory = workspace.ledger_dir(scenario)
    release = champion_of(Ledger.open(directory, workspace.scenario(scenario)), workspace.releases_dir)
    ledger = Ledger.open(directory, release.scenario)

    def ended() -> bool:
        return os.getppid() != parent_pid

    def differs(error: TickMismatchError) -> None:
        _log.error("tick differs from its record, no more snapshots are written", scenario=scenario, cause=str(error))

    explainer = threading.Thread(
        target=explain_all, args=(ledger, workspace.releases_dir, workspace.state_dir(scenario), ended), daemon=True
    )
    explainer.start()
    shadow = threading.Thread(
        target=shadow_all, args=(ledger, workspace.releases_dir, workspace.state_dir(scenario), ended), daemon=True
    )
    shadow.start()

    def follow_while_live(release: Release, ledger: Ledger, wholes: Wholes) -> None:
        other_lives = other_spec_lives(ledger, workspace.releases_dir, release)
        run_follower(
            ledger,
            release.catalogue,
            workspace.state_dir(scenario),
            every_records=config.snapshot_every_records,
            every_seconds=config.snapshot_every_s,
            stop=lambda: ended() or other_lives(),
            differs=differs,
            fold=lambda engine, batch: fold_and_read(engine, batch, ledger, wholes),
            rest=_REST,
        )

    with contextlib.closing(Wholes(workspace.state_dir(scenario))) as wholes:
        while not ended():  # once for each feature spec that is live in turn
            follow_while_live(release, ledger, wholes)
            release = champion_of(ledger, workspace.releases_dir)
            ledger = Ledger.open(directory, release.scenario)


def other_spec_lives(ledger: Ledger, releases_dir: Path, followed: Release) -> Callable[[], bool]:
    """Return what tells, looking at most every half second, whether a release of another feature spec went live."""
    known, look_at_s, found = followed.id, 0.0, False

    def lives() -> bool:
        nonlocal known, look_at_s, found
        if found or time.monotonic() < look_at_s:
            return found
        look_at_s = time.monotonic() + _POLL_S
        champion = Registry.read(ledger).champion()
        if champion is not None and champion != known:
            known = champion
            found = load_release(releases_dir / champion, without=_ignored).spec_hash != followed.spec_hash
        return found

    return lives


def explain_all(ledger: Ledger, releases_dir: Path, state_dir: Path, ended: Callable[[], bool]) -> None:
    """Explain every decision that was not an approval, oldest first, until `ended`.

    Exact reasons come first, and explanations of whole scores while no decision waits for those.
    """
    pause = threading.Event()
    while not ended():
        try:
            _explain_until(ledger, releases_dir, state_dir, ended, pause)
        except sqlite3.Error as error:  # a locked or full disk passes, and what waits is on it: begin again from there
            _log.warning("explanations are interrupted", cause=str(error))
            pause.wait(_POLL_S)


def _explain_until(
    ledger: Ledger, releases_dir: Path, state_dir: Path, ended: Callable[[], bool], pause: threading.Event
) -> None:
    releases: dict[str, Release] = {}
    with contextlib.closing(Explanations(state_dir)) as explanations, contextlib.closing(Wholes(state_dir)) as wholes:
        while not ended():
            began = time.monotonic()
            n_seen = explain_next(ledger, releases_dir, explanations, releases)
            if not n_seen:
                n_seen = score_readings(ledger, wholes, lambda name: _opened(name, releases_dir, releases))
            # Decisions share caches and memory with this, whatever its priority: it rests longer than it works.
            pause.wait(_LONGER_REST * (time.monotonic() - began) if n_seen else _POLL_S)


def explain_next(ledger: Ledger, releases_dir: Path, explanations: Explanations, releases: dict[str, Release]) -> int:
    """Work through the next decisions; return how many were looked at, 0 when there are none."""
    records = list(ledger.records(explanations.done_seq, kinds=(Kind.DECISION,), limit=_CHUNK))
    if not records:
        return 0
    by_release: dict[str, list[tuple[Record, DecisionBody]]] = {}
    for record in records:
        body = record.body
        if isinstance(body, DecisionBody) and body.action != "approve" and body.row is not None:
            by_release.setdefault(body.versions["release"], []).append((record, body))
    found: list[tuple[int, list[ExactReason]]] = []
    for name, decisions in by_release.items():
        release = _opened(name, releases_dir, releases)
        if Scorer(release).rung != RULES:
            found += _explain(release, decisions)
    explanations.put(found, records[-1].seq)
    return len(records)


def _opened(name: str, releases_dir: Path, releases: dict[str, Release]) -> Release:
    if name not in releases:
        releases[name] = load_release(releases_dir / name, without=_ignored)
    return releases[name]


def _ignored(error: ReleaseDamagedError) -> None:
    """The service has said so: what is left explains what it decided."""


def _explain(release: Release, decisions: list[tuple[Record, DecisionBody]]) -> list[tuple[int, list[ExactReason]]]:
    rows = np.stack([np.frombuffer(body.row or b"", np.float64) for _, body in decisions])
    exact = exact_reasons(release, [body for _, body in decisions], Seen(rows))
    return [(record.seq, reasons) for (record, _), reasons in zip(decisions, exact, strict=True)]
