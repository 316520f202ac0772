# SPDX-License-Identifier: Apache-2.0
"""Decisions of a lower rung, looked at again after the answer: what is put on record, once, whatever happens."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ringfence.cli.proofs import decision_proofs, state_proof
from ringfence.engine.engine import Engine
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind, ReviewRequestedBody
from ringfence.models.seen import Seen
from ringfence.scenario.clock import FakeClock
from ringfence.scoring.scorer import FULL, Scorer
from ringfence.serving.config import ServiceConfig
from ringfence.serving.cycle import nothing_of
from ringfence.serving.second_look import SecondLooks
from ringfence.serving.service import State
from ringfence.steps.graph_export import export_graph
from ringfence.workspace import Workspace

from .conftest import NOW_MS, PATIENT, RunningService, claim, copy_of
from .faults import Hindered, hinder_branch, hinder_trees, raising, scorer_of
from .test_ledger_trouble import locked, until
from .test_service import decide

Start = Callable[..., RunningService]
N = 30
AMOUNT = 60.0  # small enough that a review pays at the base rate of fraud, and not where the models see none


def fallen(service: RunningService, n: int = N) -> list[dict[str, Any]]:
    """Decide claims while no model answers, then let the models recover."""
    whole = dict(scorer_of(service)._by_rung)
    hinder_trees(service, raising)
    answers = [decide(service, claim(f"fallen-{number}", amount=AMOUNT)) for number in range(n)]
    scorer_of(service)._by_rung.update(whole)
    assert {answer["rung"] for answer in answers} == {"rules"}
    return answers


@contextlib.contextmanager
def looking(service: RunningService, **changes: Any) -> Iterator[SecondLooks]:
    """Look from the test's own thread; the service records."""
    live = service.service._live
    assert live is not None
    settings: dict[str, Any] = {
        "record": lambda request: service.service.record([(Kind.REVIEW_REQUESTED, request)]),
        "last_degraded_seq": lambda: 0,
        "no_samples": None,
        **changes,
    }
    state_dir = service.workspace.state_dir(service.scenario)
    looks = SecondLooks(service.ledger, live.scorer, state_dir=state_dir, telemetry=service.telemetry, **settings)
    with contextlib.closing(looks):
        yield looks


def requests(ledger: Ledger) -> list[ReviewRequestedBody]:
    bodies = [record.body for record in ledger.records(kinds=(Kind.REVIEW_REQUESTED,))]
    assert all(isinstance(body, ReviewRequestedBody) for body in bodies)
    return [body for body in bodies if isinstance(body, ReviewRequestedBody)]


def decision(service: RunningService, answer: dict[str, Any]) -> DecisionBody:
    record = service.ledger.decision(answer["decision_id"])
    assert record is not None
    assert isinstance(record.body, DecisionBody)
    return record.body


def expected(service: RunningService, answers: list[dict[str, Any]]) -> dict[int, str]:
    """What `full` would have done, by decision seq, where that is another action."""
    found = {}
    for answer in answers:
        body = decision(service, answer)
        assert body.row is not None
        row = np.frombuffer(body.row, np.float64)[None, :]
        again = Scorer(service.release).answer(
            Seen(row), [int(100 * AMOUNT)], reviews_left=body.circumstances["reviews_left"], rung=FULL
        )[0]
        if again.action != body.action:
            found[answer["seq"]] = again.action
    return found


def test_a_review_is_requested_where_the_full_score_would_have_acted_otherwise_and_nowhere_else(start: Start) -> None:
    service = start(second_looks=False)
    answers = fallen(service)
    wanted = expected(service, answers)
    assert 0 < len(wanted) < N
    with looking(service) as looks:
        while looks.look_next():
            pass
    found = requests(service.ledger)
    assert {one.decision_seq: one.full_action for one in found} == wanted
    by_seq = {answer["seq"]: answer for answer in answers}
    for one in found:
        answer = by_seq[one.decision_seq]
        assert (one.event_id, one.event_seq) == (answer["event_id"], answer["event_seq"])
        assert (one.rung, one.action, one.score) == ("rules", answer["action"], answer["score"])
        assert (one.why, one.release) == (answer["circumstances"]["degraded"], service.release.id)
    page = service.ask("GET", "/metrics", key="read").text
    same = f'ringfence_second_looks_total{{result="same",scenario="motor-claims"}} {N - len(wanted)}.0'
    different = f'ringfence_second_looks_total{{result="different",scenario="motor-claims"}} {len(wanted)}.0'
    assert same in page
    assert different in page


def test_the_service_looks_by_itself_and_decisions_stand(start: Start) -> None:
    service = start()
    answers = fallen(service)
    wanted = expected(service, answers)
    until(lambda: {one.decision_seq: one.full_action for one in requests(service.ledger)} == wanted)
    for answer in answers:
        stored = service.ask("GET", f"/v1/decisions/{answer['decision_id']}", key="read").json()
        assert stored["decision"] == answer


def test_a_restart_looks_at_what_was_left_and_asks_for_nothing_twice(start: Start) -> None:
    first = start(second_looks=False)
    answers = fallen(first)
    wanted = expected(first, answers)
    with looking(first) as looks:
        while len(requests(first.ledger)) < 2:
            assert looks.look_next()
    first.service.stop()
    second = start()
    until(lambda: len(requests(second.ledger)) >= len(wanted))
    second.service.stop()
    third = start(second_looks=False)
    (third.workspace.state_dir(third.scenario) / "second_looks.db").unlink()  # losing the cursor costs only time
    with looking(third) as looks:
        while looks.look_next():
            pass
    assert {one.decision_seq: one.full_action for one in requests(third.ledger)} == wanted
    assert len(requests(third.ledger)) == len(wanted)


def test_the_new_kind_of_record_survives_audit_recovery_replay_proofs_and_export(start: Start, tmp_path: Path) -> None:
    service = start(second_looks=False)
    answers = fallen(service)
    with looking(service) as looks:
        while looks.look_next():
            pass
    assert requests(service.ledger)
    decide(service, claim("after"))
    live = service.service._live
    assert live is not None
    service.service.stop()
    here, spec = service.workspace, service.scenario
    report = audit_ledger(service.ledger)
    assert (report.holds, report.last_seq) == (True, service.ledger.last_seq)
    assert state_proof(here, spec).holds
    ids = [answer["decision_id"] for answer in answers]
    proofs = decision_proofs(here, spec, ids, newest=1, progress=lambda done, total: None)
    assert all(proof.holds for proof in proofs)
    wanted = {one.event_id: one.full_action for one in requests(service.ledger)}
    assert {proof.event_id: proof.review for proof in proofs if proof.review is not None} == wanted
    false = msgspec.structs.replace(proofs[0], review="decline", review_again="approve")
    assert not false.holds
    fresh = Engine(live.engine.catalogue)
    for batch in service.ledger.batches():
        fresh.observe(batch)
    assert fresh.state_hash() == live.engine.state_hash()
    again = start(second_looks=False)
    assert again.service._live is not None
    assert again.service._live.engine.state_hash() == live.engine.state_hash()
    export_graph(here, spec, tmp_path / "graph", until_ms=NOW_MS + 1)
    assert (tmp_path / "graph" / "README.md").exists()


def test_what_cannot_be_scored_in_full_is_put_off_until_the_model_is_well(start: Start) -> None:
    service = start(second_looks=False)
    answers = fallen(service)
    wanted = expected(service, answers)
    branch = hinder_branch(service, raising)
    with looking(service) as looks:
        while looks.look_next():
            pass
        assert looks.n_put_off == N
        assert not looks.retry()
        assert requests(service.ledger) == []
        branch.first = lambda: None
        until(lambda: looks.retry() and looks.n_put_off == 0)
    assert {one.decision_seq for one in requests(service.ledger)} == set(wanted)


def test_one_event_that_no_model_can_score_holds_up_no_other(start: Start) -> None:
    service = start(second_looks=False)
    answers = fallen(service)
    poison = decision(service, answers[0]).row
    ensemble, calibrator = scorer_of(service)._by_rung[FULL]

    class Choosy(Hindered):
        def raw(self, *seen: Any) -> Any:
            if seen[0].rows.tobytes() == poison:
                raise ZeroDivisionError
            return super().raw(*seen)

    choosy = {"anomaly": Choosy(ensemble.branches["anomaly"], lambda: None)}
    scorer_of(service)._by_rung[FULL] = replace(ensemble, branches=choosy), calibrator
    with looking(service) as looks:
        while looks.look_next():
            pass
        assert looks.n_put_off == 1
        assert not looks.retry()
    wanted = expected(service, answers)
    assert {one.decision_seq for one in requests(service.ledger)} == set(wanted) - {answers[0]["seq"]}


def test_a_broken_release_is_waited_for_and_what_it_could_not_do_is_done_after_its_repair(
    workspace: Workspace, start: Start
) -> None:
    (release,) = workspace.releases_dir.iterdir()
    file = release / "trees.npz"
    content = file.read_bytes()
    file.unlink()
    first = start()
    answers = [decide(first, claim(f"broken-{number}", amount=AMOUNT)) for number in range(N)]
    page = "ringfence_second_looks_put_off"
    until(lambda: f'{page}{{scenario="motor-claims"}} {N}.0' in first.ask("GET", "/metrics", key="read").text)
    first.service.stop()
    file.write_bytes(content)
    second = start()
    wanted = expected(second, answers)
    assert wanted
    until(lambda: {one.decision_seq for one in requests(second.ledger)} == set(wanted))


def test_a_commit_that_fails_asks_for_a_review_once(start: Start) -> None:
    service = start(second_looks=False)
    answers = fallen(service)
    wanted = expected(service, answers)
    with looking(service) as looks:
        blocker = locked(service)
        while looks.look_next():
            pass
        assert requests(service.ledger) == []
        blocker.execute("ROLLBACK")
        blocker.close()
        until(lambda: service.service.state is State.READY)
        while looks.look_next() or looks.n_put_off:
            if looks.n_put_off:
                looks.retry()
    assert sorted(one.decision_seq for one in requests(service.ledger)) == sorted(wanted)


def test_what_is_put_off_is_bounded_and_the_ledger_keeps_the_rest(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start(second_looks=False)
    monkeypatch.setattr("ringfence.serving.second_look.MOST_PUT_OFF", 2)
    answers = fallen(service, 3)
    branch = hinder_branch(service, raising)
    with looking(service, last_degraded_seq=lambda: service.ledger.last_seq) as looks:
        while looks.look_next():
            pass
        assert looks.n_put_off == 3
        answers += [decide(service, claim(f"more-{number}", amount=AMOUNT)) for number in range(3)]
        assert {answer["degraded"] for answer in answers} == {True}
        assert not looks.look_next()
        assert looks._cursor.seq < answers[0]["seq"]
        branch.first = lambda: None
        until(lambda: looks.retry() and looks.n_put_off == 0)
        while looks.look_next():
            pass
        assert looks._cursor.seq >= answers[-1]["seq"]
    assert {one.decision_seq for one in requests(service.ledger)} == set(expected(service, answers))


def test_a_decision_not_durable_yet_is_left_for_the_next_time(start: Start) -> None:
    service = start(second_looks=False)
    with looking(service, last_degraded_seq=lambda: 10**9) as looks:
        while looks.look_next():
            pass
        answers = fallen(service)
        while looks.look_next():
            pass
    assert {one.decision_seq for one in requests(service.ledger)} == set(expected(service, answers))


def test_hundreds_of_records_without_anything_to_do_are_not_read_again_at_the_next_start(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start(second_looks=False)
    for number in range(5):
        decide(service, claim(f"whole-{number}"))
    monkeypatch.setattr("ringfence.serving.second_look._MOST_UNSAVED", 3)
    with looking(service) as looks:
        while looks.look_next():
            pass
        for number in range(5):
            decide(service, claim(f"later-{number}"))
        assert not looks.look_next()
        assert looks._cursor.seq == service.ledger.last_seq


def test_a_second_look_sees_the_neighbourhood_of_its_event(
    graph_template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copy_of(graph_template, tmp_path / "workspace")
    service = RunningService(here, FakeClock(NOW_MS), ServiceConfig(**PATIENT, second_looks=False))
    try:
        healthy = [decide(service, claim(f"fallen-{number}", amount=AMOUNT)) for number in range(5)]
    finally:
        service.stop()
    twin_path = copy_of(graph_template, tmp_path / "twin")
    twin = RunningService(twin_path, FakeClock(NOW_MS), ServiceConfig(**PATIENT, second_looks=False))
    try:
        answers = fallen(twin, 5)
        live = twin.service._live
        assert live is not None
        seen: list[tuple[int, float]] = []
        done: list[int] = []
        with looking(twin, no_samples=nothing_of(live.engine.catalogue), looked_at=done.append) as looks:
            answer_of = looks._answer

            def noted(scorer: Scorer, one: Seen, event: Any, body: DecisionBody) -> Any:
                found = answer_of(scorer, one, event, body)
                seen.append((body.event_seq, found.score))
                return found

            monkeypatch.setattr(looks, "_answer", noted)
            while looks.look_next():
                pass
        assert [score for _, score in seen] == pytest.approx([one["score"] for one in healthy], abs=1e-6)
        assert done == [answer["event_seq"] for answer in answers]
    finally:
        twin.stop()


def test_what_was_kept_for_a_second_look_is_forgotten_after_it(graph_template: Workspace, tmp_path: Path) -> None:
    here = copy_of(graph_template, tmp_path / "workspace")
    service = RunningService(here, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    try:
        fallen(service, 5)
        path = here.state_dir(service.scenario) / "kept_rows.db"

        def kept() -> int:
            decide(service, claim(f"next-{time.monotonic_ns()}"))
            with contextlib.closing(sqlite3.connect(path)) as connection:
                return int(connection.execute("SELECT count(*) FROM kept").fetchone()[0])

        until(lambda: kept() == 0)
        looked = 'ringfence_second_looks_total{result="%s",scenario="motor-claims"} '
        page = service.ask("GET", "/metrics", key="read").text
        counts = [float(page.split(looked % result)[1].split("\n")[0]) for result in ("same", "different")]
        assert sum(counts) == 5.0
    finally:
        service.stop()
