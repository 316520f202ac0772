# SPDX-License-Identifier: Apache-2.0
"""What is worked out after the answer: exact reasons, and snapshots to start from."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ringfence.engine.snapshot import write_snapshot
from ringfence.ledger.records import DecisionBody
from ringfence.models.seen import Seen
from ringfence.scoring.scorer import Scorer
from ringfence.serving.explanations import EXPLANATIONS, Explanations
from ringfence.serving.follower import explain_all, explain_next

from .conftest import RunningService, claim

Start = Callable[..., RunningService]


def test_exact_reasons_are_stored_after_the_answer_for_what_was_not_approved(start: Start) -> None:
    service = start()
    answers = [
        service.ask("POST", "/v1/decisions", claim(f"exact-{number}", amount=9_000)).json() for number in range(60)
    ]
    state_dir = service.workspace.state_dir(service.scenario)
    with contextlib.closing(Explanations(state_dir)) as explanations:
        while explain_next(service.ledger, service.workspace.releases_dir, explanations, {}):
            pass
        assert explanations.done_seq == answers[-1]["seq"]
    flagged = 0
    for answer in answers:
        stored = service.ask("GET", f"/v1/decisions/{answer['decision_id']}", key="read").json()
        if answer["action"] == "approve":
            assert stored["exact_reasons"] is None
            continue
        flagged += 1
        record = service.ledger.decision(answer["decision_id"])
        assert record is not None
        assert isinstance(record.body, DecisionBody)
        assert record.body.row is not None
        shares = Scorer(service.release).explain(Seen(np.frombuffer(record.body.row)[None, :]))[0]
        assert stored["exact_reasons"][0]["contribution"] == pytest.approx(shares[np.argmax(np.abs(shares))])
        assert stored["exact_reasons"][0]["sentence"]
    assert flagged


def test_the_explainer_ends_when_its_service_has(start: Start) -> None:
    service = start()
    explain_all(
        service.ledger, service.workspace.releases_dir, service.workspace.state_dir(service.scenario), lambda: True
    )


def test_the_explainer_outlives_a_file_that_it_may_not_write_for_a_while(start: Start) -> None:
    service = start()
    state_dir = service.workspace.state_dir(service.scenario)
    answer = service.ask("POST", "/v1/decisions", claim("waits", amount=9_000)).json()
    is_over = threading.Event()
    with contextlib.closing(Explanations(state_dir)) as explanations:
        path = state_dir / EXPLANATIONS
        content = path.read_bytes()
        path.write_bytes(b"no database any more".ljust(len(content)))
        for beside in (f"{path}-wal", f"{path}-shm"):
            Path(beside).unlink(missing_ok=True)
    explainer = threading.Thread(
        target=explain_all, args=(service.ledger, service.workspace.releases_dir, state_dir, is_over.is_set)
    )
    explainer.start()
    time.sleep(0.3)
    assert explainer.is_alive(), "what it cannot open now it may open later"
    path.unlink()
    deadline = time.monotonic() + 20
    while True:
        with contextlib.closing(Explanations(state_dir)) as explanations:
            if explanations.done_seq >= answer["seq"]:
                break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    is_over.set()
    explainer.join(10)
    assert not explainer.is_alive()


def test_a_snapshot_shortens_recovery_and_a_damaged_one_is_passed_over(start: Start) -> None:
    first = start()
    for number in range(20):
        first.ask("POST", "/v1/decisions", claim(f"snap-{number}"))
    first.service.stop()
    live = first.service._live
    assert live is not None
    path = write_snapshot(live.engine, first.workspace.state_dir(first.scenario))
    second = start()
    assert second.service._live is not None
    assert second.service._live.engine.state_hash() == live.engine.state_hash()
    second.ask("POST", "/v1/decisions", claim("after"))
    second.service.stop()
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(bytes(damaged))
    third = start()
    assert third.service._live is not None
    assert third.service._live.engine.state_hash() == second.service._live.engine.state_hash()
