# SPDX-License-Identifier: Apache-2.0
"""`durability: best_effort`: answers leave while the ledger cannot be written, and their records come after them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.spool import SPOOL, n_spooled
from ringfence.rollout.registry import Registry
from ringfence.serving.queue import Ask
from ringfence.serving.service import State
from ringfence.workspace import Workspace

from .conftest import SCENARIO, RunningService, claim, make_workspace
from .faults import hinder_branch, raising
from .releases import make_release
from .test_ledger_trouble import locked, until

Start = Callable[..., RunningService]
BEST_EFFORT = SCENARIO.replace("    decide: claim\n", "    decide: claim\n    durability: best_effort\n")
PROMPT_MS = 1_000  # far beyond what an answer takes, and far below the wait for a lock that is tried again and again


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """As the usual one, with the other durability."""
    return make_workspace(tmp_path_factory.mktemp("best-effort") / "workspace", BEST_EFFORT)


@contextlib.contextmanager
def lock(service: RunningService) -> Iterator[None]:
    """Hold the ledger's write lock for as long as the body takes."""
    blocker = locked(service)
    try:
        yield
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()


def decided(service: RunningService, event: dict[str, Any]) -> dict[str, Any]:
    response = service.ask("POST", "/v1/decisions", event)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def promised(service: RunningService, event: dict[str, Any]) -> dict[str, Any]:
    """The same, asked again until it is durable: on a busy machine a commit may take longer than is waited for."""
    until(lambda: bool(decided(service, event)["durable"]))
    return decided(service, event)


def without_durable(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "durable"}


def drained(service: RunningService) -> None:
    until(lambda: not service.service.is_late)


def spool_of(service: RunningService) -> Path:
    return service.ledger.directory / SPOOL


def metric(service: RunningService, name: str) -> float:
    text = service.ask("GET", "/metrics", key="read").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return next(sample.value for sample in samples if sample.name == name)


def test_while_the_ledger_takes_records_every_answer_is_durable(start: Start) -> None:
    service = start(stuck_commit_ms=30_000.0)
    for number in range(5):
        assert decided(service, claim(f"calm-{number}"))["durable"]
        assert service.ledger.find_event("claim", f"c-calm-{number}") is not None
    assert not service.service.is_late
    assert n_spooled(service.ledger.directory) == 0


def test_answers_leave_marked_while_the_ledger_is_locked_and_are_durable_afterwards(start: Start) -> None:
    service = start()
    before = promised(service, claim("before"))
    with lock(service):
        answers = []
        for number in range(6):
            began = time.monotonic()
            answers.append(decided(service, claim(f"late-{number}")))
            assert (time.monotonic() - began) * 1e3 < PROMPT_MS
        assert [answer["durable"] for answer in answers] == [False] * 6
        assert len({answer["decision_id"] for answer in answers}) == 6
        again = decided(service, claim("late-0"))
        assert again == answers[0], "the same event asks again: the same decision, not durable yet"
        assert decided(service, claim("before")) == before, "what was durable before is durable still"
        label = {"event_id": "c-late-1", "label": "fraud", "source": "court"}
        told = service.ask("POST", "/v1/labels", label)
        assert (told.status_code, told.json()["durable"]) == (202, False)
        change = {"event_id": "p-1", "event_type": "policy_change", "event_time": 1_749_999_000_000,
                  "entities": {"claimant": 3}}  # fmt: skip
        learned = service.ask("POST", "/v1/events", change)
        assert (learned.status_code, learned.json()["durable"]) == (202, False)
        assert service.ledger.find_event("claim", "c-late-0") is None
        ready = service.ask("GET", "/readyz", key=None)
        assert ready.status_code == 200
        assert ready.json()["degraded"] == {"motor-claims": "ledger"}
        assert metric(service, "ringfence_records_waiting") >= 14
        assert metric(service, "ringfence_commit_lag_seconds") > 0
    drained(service)
    assert metric(service, "ringfence_records_waiting") == 0
    assert metric(service, "ringfence_commit_lag_seconds") == 0
    assert service.ask("GET", "/readyz", key=None).json()["degraded"] == {}
    for number, answer in enumerate(answers):
        later = decided(service, claim(f"late-{number}"))
        assert later["durable"]
        assert without_durable(later) == without_durable(answer)
        stored = service.ask("GET", f"/v1/decisions/{answer['decision_id']}").json()["decision"]
        assert stored == later
    assert service.ask("POST", "/v1/labels", label).json() == {**told.json(), "durable": True}
    assert service.ask("POST", "/v1/events", change).json() == {**learned.json(), "durable": True}
    assert list(spool_of(service).glob("*")) == []
    assert audit_ledger(service.ledger).holds
    assert promised(service, claim("after"))["durable"]


def test_state_after_the_trouble_is_that_of_a_fresh_replay(start: Start) -> None:
    service = start()
    with lock(service):
        for number in range(8):
            decided(service, claim(number))
            service.ask("POST", "/v1/labels", {"event_id": f"c-{number}", "label": "fraud", "source": "court"})
    drained(service)
    engine = service.service._live.engine  # type: ignore[union-attr]
    live = engine.state_hash()
    service.service.stop()
    again = start()
    assert again.service._live.engine.state_hash() == live  # type: ignore[union-attr]


def test_what_is_in_the_spool_when_the_service_ends_is_appended_by_the_next_start(start: Start) -> None:
    service = start()
    blocker = locked(service)
    answers = [decided(service, claim(f"left-{number}")) for number in range(4)]
    learned = service.ask("POST", "/v1/events", claim("learned")).json()
    service.service.stop()
    assert n_spooled(service.ledger.directory) == 9
    assert service.ledger.find_event("claim", "c-left-0") is None
    blocker.execute("ROLLBACK")
    blocker.close()
    again = start()
    assert list(spool_of(again).glob("*")) == []
    for number, answer in enumerate(answers):
        later = decided(again, claim(f"left-{number}"))
        assert (without_durable(later), later["durable"]) == (without_durable(answer), True)
    decision = decided(again, claim("learned"))
    assert decision["event_seq"] == learned["seq"], "decided from the features of its moment, which were spooled too"
    assert audit_ledger(again.ledger).holds


def test_an_event_learned_while_late_is_decided_while_late(start: Start) -> None:
    service = start()
    with lock(service):
        learned = service.ask("POST", "/v1/events", claim("learned")).json()
        decision = decided(service, claim("learned"))
        assert (decision["event_seq"], decision["durable"]) == (learned["seq"], False)
    drained(service)
    assert decided(service, claim("learned"))["durable"]


def test_beyond_the_bound_it_is_refused_and_nothing_is_recorded(start: Start) -> None:
    service = start(most_waiting=6)
    with lock(service):
        for number in range(3):
            assert not decided(service, claim(f"fits-{number}"))["durable"]
        refused = service.ask("POST", "/v1/decisions", claim("beyond"))
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:ringfence:problem:spool-full"
        assert int(refused.headers["retry-after"]) >= 1
        assert service.ask("GET", "/readyz", key=None).status_code == 503
    drained(service)
    assert service.ledger.find_event("claim", "c-beyond") is None
    assert promised(service, claim("beyond"))["durable"]


def test_a_batch_is_answered_line_by_line_while_late(start: Start) -> None:
    service = start()
    lines = b"\n".join(json.dumps(claim(f"line-{number}")).encode() for number in range(20))
    with lock(service):
        response = service.ask("POST", "/v1/decisions/batch", lines, headers={"content-type": "application/x-ndjson"})
        answers = [json.loads(line) for line in response.text.splitlines()]
        assert [answer["durable"] for answer in answers] == [False] * 20
    drained(service)
    assert [decided(service, claim(f"line-{number}"))["durable"] for number in range(20)] == [True] * 20


def test_a_second_trouble_is_told_of_like_the_first(start: Start) -> None:
    service = start()
    for day in range(2):
        with lock(service):
            assert not decided(service, claim(f"day-{day}"))["durable"]
        drained(service)
        assert promised(service, claim(f"calm-{day}"))["durable"]


def test_a_spool_that_cannot_be_written_costs_no_answer(start: Start) -> None:
    service = start()
    spool_of(service).write_text("a file where the folder should be")
    with lock(service):
        answers = [decided(service, claim(f"memory-{number}")) for number in range(4)]
        assert [answer["durable"] for answer in answers] == [False] * 4
    drained(service)
    assert all(decided(service, claim(f"memory-{number}"))["durable"] for number in range(4))


def test_another_writer_leaves_the_spool_to_the_service(start: Start) -> None:
    from ringfence.ledger.errors import SpoolWaitsError

    service = start()
    blocker = locked(service)
    service.ask("POST", "/v1/events", claim("learned"))
    service.service.stop()
    blocker.execute("ROLLBACK")
    blocker.close()
    with pytest.raises(SpoolWaitsError, match="ringfence serve"), service.ledger.writer(service.clock):
        raise AssertionError("opened")
    assert n_spooled(service.ledger.directory) == 1


def test_a_release_waits_for_the_ledger_and_is_switched_then(start: Start, workspace: Workspace) -> None:
    name = make_release(workspace, BEST_EFFORT).id
    service = start()
    with lock(service):
        assert not decided(service, claim("late"))["durable"]
        asked = service.ask("POST", "/v1/releases/promote", {"release": name})
        assert asked.status_code == 202, asked.text
        time.sleep(0.5)
        assert service.ask("GET", "/v1/releases").json()["champion"] != name
        assert not decided(service, claim("still by the old one"))["durable"]
    until(lambda: service.ask("GET", "/v1/releases").json()["switch"]["step"] == "done")
    assert service.service.state is State.READY
    assert decided(service, claim("by the new one"))["versions"]["release"] == name
    assert audit_ledger(service.ledger).holds


def test_a_switch_of_release_is_on_record_before_anybody_is_answered_by_the_new_one(
    start: Start, workspace: Workspace
) -> None:
    name = make_release(workspace, BEST_EFFORT).id
    service = start()
    with lock(service):  # nothing waits yet, so that the switch is let in, and its own commit finds the lock
        assert service.ask("POST", "/v1/releases/promote", {"release": name}).status_code == 202
        until(lambda: service.service.state is State.LEDGER_UNAVAILABLE)
        refused = service.ask("POST", "/v1/decisions", claim("refused"))
        assert refused.json()["type"] == "urn:ringfence:problem:ledger-unavailable"
        assert Registry.read(service.ledger).champion() != name
    until(lambda: service.ask("GET", "/v1/releases").json()["switch"]["step"] == "done")
    until(lambda: service.service.state is State.READY)
    assert Registry.read(service.ledger).champion() == name
    decision = promised(service, claim("new"))
    assert (decision["versions"]["release"], decision["durable"]) == (name, True)


def test_a_switch_that_stands_in_the_queue_when_the_trouble_begins_waits_for_those_before_it(
    start: Start, workspace: Workspace
) -> None:
    name = make_release(workspace, BEST_EFFORT).id
    service = start()
    went_on = threading.Event()

    async def hold() -> None:
        service.service.submit(Ask.READ, read=went_on.wait)

    service.run(hold())
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(decided(service, claim("before the switch"))))
    asking.start()
    until(lambda: service.service._queue.depth >= 1)
    assert service.ask("POST", "/v1/releases/promote", {"release": name}).status_code == 202
    until(lambda: service.service._queue.depth >= 2)
    with lock(service):
        went_on.set()
        asking.join(20)
        assert not answers[0]["durable"]
        assert answers[0]["versions"]["release"] != name
        until(lambda: service.service.state is State.LEDGER_UNAVAILABLE)
        assert service.ask("POST", "/v1/decisions", claim("behind it")).status_code == 503
    until(lambda: service.ask("GET", "/v1/releases").json()["switch"]["step"] == "done")
    until(lambda: service.service.state is State.READY)
    assert decided(service, claim("behind it"))["versions"]["release"] == name
    assert without_durable(decided(service, claim("before the switch"))) == without_durable(answers[0])
    assert audit_ledger(service.ledger).holds


def test_a_review_is_asked_for_when_the_ledger_has_the_decision(start: Start) -> None:
    service = start()
    hindered = hinder_branch(service, raising)
    with lock(service):
        answers = [decided(service, claim(f"low-{number}")) for number in range(3)]
        assert all(answer["degraded"] and not answer["durable"] for answer in answers)
        hindered.first = lambda: None
        assert metric(service, "ringfence_second_looks_put_off") == 0
    drained(service)

    def looked_at() -> float:
        text = service.ask("GET", "/metrics", key="read").text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "ringfence_second_looks_total"
        )

    until(lambda: looked_at() == 3)


def test_a_ledger_that_fails_outright_is_told_of_and_counted(start: Start) -> None:
    service = start()
    assert metric(service, "ringfence_commit_failures_total") == 0
    with lock(service):
        decided(service, claim("late"))
        until(lambda: metric(service, "ringfence_commit_failures_total") >= 1)
    drained(service)
    with contextlib.closing(sqlite3.connect(service.ledger.directory / "ledger.db")) as connection:
        assert connection.execute("SELECT count(*) FROM decisions").fetchone()[0] == 1
