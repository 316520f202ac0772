# SPDX-License-Identifier: Apache-2.0
"""What is answered, when and by whom, when time is short and when models fail."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ringfence.cli.proofs import decision_proofs
from ringfence.scoring.scorer import GBDT
from ringfence.serving import wire
from ringfence.serving.breaker import BreakerSettings
from ringfence.serving.model_thread import CallTimedOutError, ModelThread
from ringfence.serving.queue import Ask

from .conftest import RunningService, claim
from .faults import hinder_branch, hinder_trees, raising, scorer_of, sleeping
from .test_service import decide

Start = Callable[..., RunningService]
ALERT = BreakerSettings(least_calls=2, slow_ms=2_000.0, open_ms=2_000.0, probes=1)


def assert_reproduced(service: RunningService, *answers: dict[str, Any]) -> None:
    ids = [answer["decision_id"] for answer in answers]
    proofs = decision_proofs(service.workspace, service.scenario, ids, newest=1, progress=lambda done, total: None)
    assert [proof.decision_id for proof in proofs if proof.holds] == ids


def metrics(service: RunningService) -> str:
    return service.ask("GET", "/metrics", key="read").text


def timed(service: RunningService, event: dict[str, Any], **headers: str) -> tuple[dict[str, Any], float]:
    began = time.perf_counter()
    response = service.ask("POST", "/v1/decisions", event, headers=headers)
    assert response.status_code == 200, response.text
    return response.json(), time.perf_counter() - began


def test_a_model_that_sleeps_is_not_waited_for_and_the_next_rung_answers(start: Start) -> None:
    service = start(deadline_ms=600, margin_ms=150.0)  # a margin for a machine that is busy with other tests
    hinder_branch(service, sleeping(5.0))
    answer, took_s = timed(service, claim("slept", amount=9_000))
    assert took_s < 3.0  # the deadline and a busy machine; the model is asleep for longer
    assert (answer["rung"], answer["degraded"]) == ("gbdt", True)
    assert answer["circumstances"]["degraded"] == "it did not answer in time"
    assert answer["circumstances"]["skipped"] == {"full": "it did not answer in time"}
    again, took_s = timed(service, claim("slept-again", amount=9_000))
    assert took_s < 3.0
    assert (again["rung"], again["circumstances"]["degraded"]) == ("gbdt", "an earlier call of it still runs")
    assert decide(service, claim("slept", amount=9_000)) == answer
    assert_reproduced(service, answer, again)
    page = metrics(service)
    why = 'rung="full",scenario="motor-claims",why="it did not answer in time"'
    assert f"ringfence_rungs_skipped_total{{{why}}} 1.0" in page
    assert 'ringfence_degraded_total{scenario="motor-claims",why="it did not answer in time"} 1.0' in page


def test_under_the_default_deadline_a_model_that_sleeps_200_ms_delays_no_answer_by_its_sleep(start: Start) -> None:
    service = start(deadline_ms=50, longest_score_ms=100.0)
    decide(service, claim("warm"))
    hinder_branch(service, sleeping(0.2))
    answers, took_s = zip(*(timed(service, claim(f"nap-{number}")) for number in range(20)), strict=True)
    assert {answer["rung"] for answer in answers} <= {"gbdt", "rules"}
    # Whoever waited for it would take longer; how long exactly is waited is drawn in `test_ladder`.
    assert sorted(took_s)[10] < 0.2


def test_trees_that_sleep_leave_the_rules(start: Start) -> None:
    service = start(deadline_ms=400)
    hinder_trees(service, sleeping(5.0))
    answer, took_s = timed(service, claim("felled", amount=9_000))
    assert took_s < 3.0
    assert (answer["rung"], answer["action"] != "decline") == ("rules", True)
    assert set(answer["circumstances"]["skipped"]) == {"full", "gbdt"}
    assert_reproduced(service, answer)


def test_a_model_that_raises_leaves_the_trees_and_trees_that_raise_leave_the_rules(start: Start) -> None:
    service = start()
    branch = hinder_branch(service, raising)
    first = decide(service, claim("raised", amount=9_000))
    assert (first["rung"], first["circumstances"]["skipped"]) == ("gbdt", {"full": "ZeroDivisionError"})
    assert list(first["members"]) == ["gbdt"]
    hinder_trees(service, raising)
    second = decide(service, claim("raised-twice", amount=9_000))
    assert (second["rung"], second["degraded"]) == ("rules", True)
    assert second["circumstances"]["skipped"] == {"full": "ZeroDivisionError", "gbdt": "ZeroDivisionError"}
    assert branch.first is raising
    assert_reproduced(service, first, second)


def test_a_breaker_opens_and_closes_again_when_the_model_is_well(start: Start) -> None:
    service = start(breaker=ALERT)
    branch = hinder_branch(service, raising)
    for number in range(2):
        decide(service, claim(f"ill-{number}"))
    assert 'ringfence_breaker_state{rung="full",scenario="motor-claims"} 2.0' in metrics(service)
    branch.first = lambda: None
    until = time.monotonic() + 20
    while (answer := decide(service, claim(f"well-{time.monotonic_ns()}")))["rung"] != "full":
        assert answer["circumstances"]["degraded"] in ("its breaker is open", "ZeroDivisionError")
        assert time.monotonic() < until
        time.sleep(0.01)
    assert 'ringfence_breaker_state{rung="full",scenario="motor-claims"} 0.0' in metrics(service)


def test_a_hanging_model_costs_its_own_thread_and_nothing_else(start: Start) -> None:
    service, released = start(deadline_ms=300, second_looks=False), threading.Event()
    before = threading.active_count()
    hinder_branch(service, lambda: released.wait(60))
    answers = [decide(service, claim(f"hung-{number}")) for number in range(8)]
    assert {answer["rung"] for answer in answers} <= {"gbdt", "rules"}
    assert threading.active_count() <= before + 2
    released.set()


def test_an_event_whose_deadline_has_passed_is_still_decided_by_the_rules(start: Start) -> None:
    service = start()
    answers = together(service, {"passed": 0})
    assert answers["passed"].rung == "rules"
    assert answers["passed"].circumstances["degraded"] == "time is short"
    assert answers["passed"].circumstances["skipped"] == {"full": "time is short", "gbdt": "time is short"}


def test_urgent_events_do_not_take_patient_ones_down_with_them(start: Start) -> None:
    service = start()
    decide(service, claim("measured"))
    far_ns = time.perf_counter_ns() + 60 * 10**9
    answers = together(service, {"patient-1": far_ns, "urgent-1": 0, "patient-2": far_ns, "urgent-2": 0})
    assert {name: answer.rung for name, answer in answers.items()} == {
        "patient-1": "full",
        "urgent-1": "rules",
        "patient-2": "full",
        "urgent-2": "rules",
    }
    seqs = {name: answer.seq for name, answer in answers.items()}
    assert sorted(seqs, key=lambda name: seqs[name]) == ["urgent-1", "urgent-2", "patient-1", "patient-2"]
    assert {answer.circumstances["batch_size"] for answer in answers.values()} == {2}


def together(service: RunningService, deadlines_ns: dict[str, int]) -> dict[str, wire.DecisionAnswer]:
    """Decide events that wait at the same time: the engine's thread is held until all of them are queued."""

    async def ask() -> dict[str, wire.DecisionAnswer]:
        held, scenario = threading.Event(), service.service
        blocker = scenario.submit(Ask.READ, read=lambda: held.wait(20))
        while scenario._queue.depth:
            await asyncio.sleep(0.001)
        tickets = {
            name: scenario.submit(
                Ask.DECIDE, admission=scenario.doorman.admit_decided(claim(name)), deadline_ns=deadline_ns
            )
            for name, deadline_ns in deadlines_ns.items()
        }
        held.set()
        await blocker.future
        return {name: await ticket.future for name, ticket in tickets.items()}

    answers: dict[str, wire.DecisionAnswer] = service.run(ask())
    return answers


@pytest.mark.parametrize("deadline", ["", "0", "-5", "1.5", "60001", "soon", "1e3", "99999999999", "٣"])
def test_a_deadline_that_makes_no_sense_is_refused_and_nothing_is_recorded(
    shared: RunningService, deadline: str
) -> None:
    event = claim("senseless")
    headers: Any = {"Ringfence-Deadline-Ms": deadline.encode()}
    response = shared.ask("POST", "/v1/decisions", event, headers=headers)
    assert response.status_code == 400
    problem = response.json()
    assert (problem["type"], problem["path"]) == ("urn:ringfence:problem:bad-header", "$header.Ringfence-Deadline-Ms")
    assert "from 1 to 60000" in problem["do"]
    assert shared.ledger.find_event("claim", event["event_id"]) is None


def test_a_request_names_its_own_deadline(start: Start) -> None:
    service = start(deadline_ms=60_000, longest_score_ms=60_000.0)
    hinder_branch(service, sleeping(0.5))
    hurried, _ = timed(service, claim("hurried"), **{"Ringfence-Deadline-Ms": "250"})
    assert hurried["rung"] != "full"
    time.sleep(0.6)  # the late call ends
    assert decide(service, claim("patient"))["rung"] == "full"


def test_lines_of_a_batch_have_a_deadline_only_where_the_request_names_one(start: Start) -> None:
    service = start(deadline_ms=1, longest_score_ms=60_000.0)
    lines = b"\n".join(wire.encode(claim(f"line-{number}")) for number in range(5))
    body = {"content-type": "application/x-ndjson"}
    answers = service.ask("POST", "/v1/decisions/batch", lines, headers=body).text.splitlines()
    assert all('"rung":"full"' in answer for answer in answers)
    wrong = service.ask("POST", "/v1/decisions/batch", lines, headers={**body, "ringfence-deadline-ms": "x"})
    assert wrong.status_code == 400


def test_the_description_names_the_deadline(shared: RunningService) -> None:
    described = shared.ask("GET", "/openapi.json", key="read").json()
    for route in ("/v1/decisions", "/v1/decisions/batch"):
        (header,) = [one for one in described["paths"][route]["post"]["parameters"] if one["in"] == "header"]
        assert header["name"] == "Ringfence-Deadline-Ms"
        assert (header["schema"]["minimum"], header["schema"]["maximum"]) == (1, 60_000)


def test_the_rung_of_the_trees_asks_no_branch_that_the_stack_counts_on(shared: RunningService) -> None:
    assert scorer_of(shared)._by_rung[GBDT][0].branches == {}


def test_a_thread_gives_results_and_errors_back_and_forgets_late_ones() -> None:
    thread, released = ModelThread("model"), threading.Event()
    assert thread.call(lambda: 7, 20.0) == 7
    with pytest.raises(ZeroDivisionError):
        thread.call(raising, 20.0)
    with pytest.raises(CallTimedOutError, match="did not answer within"):
        thread.call(lambda: released.wait(60), 0.01)
    assert thread.is_busy
    released.set()
    until = time.monotonic() + 20
    while thread.is_busy:
        assert time.monotonic() < until
        time.sleep(0.001)
    assert thread.call(lambda: 8, 20.0) == 8
    thread.close()
