# SPDX-License-Identifier: Apache-2.0
"""The process beside the service: snapshots of the engine, and exact reasons after the answer.

It only reads the ledger, holds a second copy of the engine's state, and runs when nobody else wants the processor.
"""

from __future__ import annotations

import contextlib
import os
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
from ringfence.scoring.errors import ReleaseDamagedError
from ringfence.scoring.reasons import WHOLE
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.scorer import RULES, Scorer
from ringfence.serving.config import ServiceConfig
from ringfence.serving.explanations import Explanations
from ringfence.serving.recovery import champion_of
from ringfence.serving.telemetry import configure_logging
from ringfence.serving.wire import ExactReason
from ringfence.workspace import Workspace

_log: Final = structlog.get_logger("ringfence.serving")
_POLL_S: Final = 0.5
_CHUNK: Final = 64
_REST: Final = 3.0  # times as long as a chunk took
_TOP: Final = 10
_NICE: Final = 15


def follow(workspace_path: str, scenario: str, config: ServiceConfig, parent_pid: int) -> None:
    """Run until the service ends, however it ends."""
    os.nice(_NICE)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    configure_logging(sys.stderr)
    workspace = Workspace(workspace_path)
    release = champion_of(
        Ledger.open(workspace.ledger_dir(scenario), workspace.scenario(scenario)), workspace.releases_dir
    )
    ledger = Ledger.open(workspace.ledger_dir(scenario), release.scenario)

    def ended() -> bool:
        return os.getppid() != parent_pid

    def differs(error: TickMismatchError) -> None:
        _log.error("tick differs from its record, no more snapshots are written", scenario=scenario, cause=str(error))

    explainer = threading.Thread(
        target=explain_all, args=(ledger, workspace.releases_dir, workspace.state_dir(scenario), ended), daemon=True
    )
    explainer.start()
    run_follower(
        ledger,
        release.catalogue,
        workspace.state_dir(scenario),
        every_records=config.snapshot_every_records,
        every_seconds=config.snapshot_every_s,
        stop=ended,
        differs=differs,
    )


def explain_all(ledger: Ledger, releases_dir: Path, state_dir: Path, ended: Callable[[], bool]) -> None:
    """Store exact reasons of every decision that was not an approval, oldest first, until `ended`."""
    pause = threading.Event()
    releases: dict[str, Release] = {}
    with contextlib.closing(Explanations(state_dir)) as explanations:
        while not ended():
            began = time.monotonic()
            n_seen = explain_next(ledger, releases_dir, explanations, releases)
            # Decisions share caches and memory with this, whatever its priority: it rests longer than it works.
            pause.wait(_REST * (time.monotonic() - began) if n_seen else _POLL_S)


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
        if name not in releases:
            releases[name] = load_release(releases_dir / name, without=_ignored)
        if Scorer(releases[name]).rung != RULES:
            found += _explain(releases[name], decisions)
    explanations.put(found, records[-1].seq)
    return len(records)


def _ignored(error: ReleaseDamagedError) -> None:
    """The service has said so: what is left explains what it decided."""


def _explain(release: Release, decisions: list[tuple[Record, DecisionBody]]) -> list[tuple[int, list[ExactReason]]]:
    features = release.catalogue.features
    rows = np.stack([np.frombuffer(body.row or b"", np.float64) for _, body in decisions])
    contributions = Scorer(release).explain(Seen(rows))
    explained = []
    for (record, body), row, shares in zip(decisions, rows, contributions, strict=True):
        strongest = np.argsort(-np.abs(shares), kind="stable")[:_TOP]
        exact = [
            ExactReason(
                feature=features[column].name,
                sentence=features[column].sentence,
                value=None if np.isnan(row[column]) else float(row[column]),
                contribution=float(shares[column]),
            )
            for column in map(int, strongest)
        ]
        # What a branch adds as a whole was exact when it was told, and its neighbourhood is not kept.
        exact += [
            ExactReason(
                feature=WHOLE[reason.code], sentence=reason.sentence, value=None, contribution=reason.contribution
            )
            for reason in body.reasons
            if reason.code in WHOLE
        ]
        exact = sorted(exact, key=lambda one: -abs(one.contribution))[:_TOP]
        explained.append((record.seq, exact))
    return explained
