# SPDX-License-Identifier: Apache-2.0
"""What the policy leaves to the nightly run: recorded at once, decided once, from the features as of its own record."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.cli.proofs import decision_proofs, state_proof
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.errors import AlreadyPendingError, LedgerLockedError
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind, PendingBody
from ringfence.models.seen import Seen
from ringfence.scenario.clock import FakeClock
from ringfence.scoring.errors import ReleaseDamagedError
from ringfence.scoring.scorer import Scorer
from ringfence.serving.config import ServiceConfig
from ringfence.serving.kept import KEPT_ROWS
from ringfence.serving.pending import PendingRun, champion_whole, decide_pending
from ringfence.serving.service import State
from ringfence.workspace import Workspace

from .conftest import NOW_MS, PATIENT, RunningService, claim, copy_of
from .graph_release import promote_graph_release
from .routed_release import promote_routed_release
from .test_ledger_trouble import locked, until
from .test_service import decide

Start = Callable[..., RunningService]
SMALL, LARGE = 60.0, 9_000.0
NIGHT_MS = NOW_MS + 8 * 3_600_000


@pytest.fixture(scope="module")
def routed_template(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    here = copy_of(template, tmp_path_factory.mktemp("routed") / "workspace")
    promote_routed_release(here, FakeClock(NOW_MS - 3_600_000))
    return here


@pytest.fixture
def workspace(routed_template: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(routed_template, tmp_path / "workspace")


def waits(service: RunningService, event: dict[str, Any]) -> dict[str, Any]:
    response = service.ask("POST", "/v1/decisions", event, key="decide")
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    assert answer["status"] == "pending"
    return answer


def nightly(workspace: Workspace, clock: FakeClock | None = None, **settings: Any) -> PendingRun:
    scenario = workspace.scenario()
    release = champion_whole(Ledger.open(workspace.ledger_dir(scenario), scenario), workspace.releases_dir)
    ledger = Ledger.open(workspace.ledger_dir(scenario), release.scenario)
    return decide_pending(ledger, release, workspace.state_dir(scenario), clock or FakeClock(NIGHT_MS), **settings)


def ledger_of(workspace: Workspace) -> Ledger:
    scenario = workspace.scenario()
    return Ledger.open(workspace.ledger_dir(scenario), scenario)


def bodies(ledger: Ledger) -> list[DecisionBody]:
    return [record.body for record in ledger.records(kinds=(Kind.DECISION,)) if isinstance(record.body, DecisionBody)]


def pending(ledger: Ledger) -> list[PendingBody]:
    return [record.body for record in ledger.records(kinds=(Kind.PENDING,)) if isinstance(record.body, PendingBody)]


def all_hold(workspace: Workspace) -> None:
    """Every decision is made again alike, and the chain and the state are whole."""
    scenario = workspace.scenario()
    proofs = decision_proofs(workspace, scenario, [], newest=10_000, progress=lambda done, total: None)
    assert proofs
    assert all(proof.holds for proof in proofs), proofs
    assert audit_ledger(ledger_of(workspace), lambda done, total: None).holds
    assert state_proof(workspace, scenario).holds


def test_what_waits_is_recorded_with_its_row_and_has_no_action_yet(start: Start) -> None:
    service = start()
    answer = waits(service, claim("first", amount=SMALL))
    assert "action" not in answer
    (body,) = pending(service.ledger)
    assert (body.event_id, body.event_seq) == (answer["event_id"], answer["event_seq"])
    assert len(body.row) == 8 * len(service.release.catalogue.names)
    assert service.ledger.n_pending == 1
    assert bodies(service.ledger) == []
    assert decide(service, claim("large", amount=LARGE))["rung"] == "full"


def test_the_same_event_again_gets_the_same_bytes_while_it_waits_and_its_decision_afterwards(
    start: Start, workspace: Workspace
) -> None:
    service = start()
    event = claim("again", amount=SMALL)
    first = service.ask("POST", "/v1/decisions", event)
    last_seq = service.ledger.last_seq
    again = service.ask("POST", "/v1/decisions", event)
    assert (again.status_code, again.content) == (first.status_code, first.content) == (202, first.content)
    assert "ringfence-repeated" not in first.headers
    assert again.headers["ringfence-repeated"] == "true"
    assert service.ledger.last_seq == last_seq
    changed = service.ask("POST", "/v1/decisions", {**event, "amount": SMALL + 1})
    assert changed.status_code == 409
    service.service.stop()
    assert nightly(workspace).n_decided == 1
    later = start()
    decided = later.ask("POST", "/v1/decisions", event)
    assert decided.status_code == 200
    assert decided.json()["event_seq"] == first.json()["event_seq"]
    assert decided.json()["circumstances"]["route"] == "batch"
    assert later.ask("POST", "/v1/decisions", {**event, "amount": SMALL + 1}).status_code == 409


def test_reading_it_back_says_that_it_waits_and_then_the_decision(start: Start, workspace: Workspace) -> None:
    service = start()
    answer = waits(service, claim("read", amount=SMALL))
    found = service.ask("GET", "/v1/decisions?event_id=c-read", key="read")
    assert found.status_code == 202
    assert found.json()["pending"] == answer
    assert service.ask("GET", f"/v1/decisions/d-{answer['seq']}", key="read").status_code == 404
    service.service.stop()
    nightly(workspace)
    later = start().ask("GET", "/v1/decisions?event_id=c-read", key="read")
    assert later.status_code == 200
    assert later.json()["decision"]["event_id"] == "c-read"


def test_both_routes_in_one_batch_of_lines(start: Start) -> None:
    service = start()
    events = [claim(f"line-{number}", amount=LARGE if number % 3 else SMALL) for number in range(30)]
    lines = [*events, events[0], events[1], {**events[0], "amount": 1.0}]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    response = service.ask("POST", "/v1/decisions/batch", body, headers={"content-type": "application/x-ndjson"})
    found = [json.loads(line) for line in response.content.splitlines()]
    assert [one["event_id"] for one in found[:-1]] == [line["event_id"] for line in lines[:-1]]
    for line, one in zip(lines[:-1], found[:-1], strict=True):
        assert (one.get("status") == "pending") == (line["amount"] == SMALL)
        assert ("action" in one) == (line["amount"] == LARGE)
    assert (found[30], found[31]) == (found[0], found[1])
    assert found[-1]["type"].endswith("payload-conflict")
    assert len(pending(service.ledger)) == 10


def test_an_event_without_amount_is_not_known_to_be_large_so_it_waits(start: Start) -> None:
    service = start()
    event = claim("none")
    del event["amount"]
    waits(service, event)


def test_a_condition_can_keep_events_without_amount_at_once(workspace: Workspace, start: Start) -> None:
    promote_routed_release(workspace, FakeClock(NOW_MS - 1_000), "amount > 5000 or amount is null")
    service = start()
    event = claim("none")
    del event["amount"]
    decide(service, event)
    waits(service, claim("small", amount=SMALL))


def test_an_event_learned_first_waits_with_the_row_that_it_had_then(start: Start, workspace: Workspace) -> None:
    service = start()
    event = claim("learned", amount=SMALL)
    seq = service.ask("POST", "/v1/events", event).json()["seq"]
    for number in range(10):
        service.ask("POST", "/v1/events", claim(f"between-{number}", entities=event["entities"]))
    assert waits(service, event)["event_seq"] == seq
    service.service.stop()
    assert nightly(workspace).n_replayed == 0
    all_hold(workspace)


def test_the_run_decides_each_once_as_the_scorer_would_from_its_own_row(start: Start, workspace: Workspace) -> None:
    service = start()
    for number in range(40):
        waits(service, claim(f"night-{number}", amount=SMALL + 40 * number))
        if number % 4 == 0:
            decide(service, claim(f"day-{number}", amount=LARGE))
    service.service.stop()
    ledger = ledger_of(workspace)
    waited = pending(ledger)
    done = nightly(workspace, group=7)
    assert (done.n_decided, done.n_replayed) == (40, 0)
    found = {body.event_seq: body for body in bodies(ledger)}
    assert len(found) == len(bodies(ledger)) == 50
    # The slow twin: one event at a time, its row from the record, nothing of the run's own code.
    scorer = Scorer(service.release)
    for body in waited:
        decided = found[body.event_seq]
        number = int(body.event_id.removeprefix("c-night-"))
        row = np.frombuffer(body.row, np.float64)[None, :]
        alone = scorer.answer(Seen(row), [round(100 * (SMALL + 40 * number))], reviews_left=None)[0]
        assert (decided.action, decided.score) == (alone.action, pytest.approx(alone.score, abs=1e-12))
        assert decided.feature_digest == body.feature_digest
    assert done.by_action == {
        name: n
        for name in ("approve", "challenge", "review", "decline")
        if (n := Counter(found[body.event_seq].action for body in waited)[name])
    }
    assert nightly(workspace).n_decided == 0
    all_hold(workspace)


def test_the_cost_of_each_route_is_that_of_the_actions_taken(start: Start, workspace: Workspace) -> None:
    service = start()
    waits(service, claim("begin", amount=SMALL))
    before = decide(service, claim("between", amount=LARGE))
    waits(service, claim("end", amount=SMALL))
    decide(service, claim("after", amount=LARGE))
    service.service.stop()
    done = nightly(workspace)
    costs = service.release.policy.costs
    p = before["score"]
    table = {"review": 5 + p * 0.1 * LARGE, "approve": p * LARGE, "decline": (1 - p) * costs.false_decline.of(LARGE)}
    realtime, batch = done.routes["realtime"], done.routes["batch"]
    assert realtime.n_decisions == 1
    assert realtime.expected_cost == pytest.approx(table[before["action"]])
    found = {body.event_id: body for body in bodies(ledger_of(workspace))}
    expected = 0.0
    for name in ("c-begin", "c-end"):
        q = found[name].score
        each = {"review": 5 + q * 0.1 * SMALL, "approve": q * SMALL, "decline": (1 - q) * (500 + SMALL)}
        expected += each[found[name].action]
    assert batch.expected_cost == pytest.approx(expected)
    assert batch.expected_cost_per_decision == pytest.approx(expected / 2)
    assert batch.waited_s == pytest.approx((NIGHT_MS - NOW_MS) / 1e3, abs=60.0)
    assert batch.ms_per_decision is not None
    assert batch.ms_per_decision > 0.0


def test_reviews_of_the_run_and_of_the_day_share_one_budget(workspace: Workspace, start: Start) -> None:
    promote_routed_release(workspace, FakeClock(NOW_MS - 1_000), reviews_per_day=3)
    service = start()
    day = [decide(service, claim(f"day-{number}", amount=LARGE)) for number in range(2)]
    n_day = sum(answer["action"] == "review" for answer in day)
    for number in range(60):
        waits(service, claim(f"many-{number}", amount=4_000.0))
    service.service.stop()
    done = nightly(workspace, FakeClock(NOW_MS + 60_000), group=16)
    assert done.by_action["review"] == 3 - n_day
    left = [body.circumstances["reviews_left"] for body in bodies(ledger_of(workspace))[2:]]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    all_hold(workspace)


def test_a_champion_of_other_features_decides_from_a_replay(start: Start, workspace: Workspace) -> None:
    service = start()
    for number in range(9):
        waits(service, claim(f"other-{number}", amount=SMALL + number))
    service.service.stop()
    promote_graph_release(workspace, FakeClock(NOW_MS + 1_000))
    done = nightly(workspace, group=4)
    assert (done.n_decided, done.n_replayed) == (9, 9)
    assert {body.versions["release"] for body in bodies(ledger_of(workspace))} == {done.release} != {service.release.id}
    all_hold(workspace)


def test_neighbourhoods_that_are_lost_come_out_of_a_replay_as_they_were(
    graph_template: Workspace, tmp_path: Path
) -> None:
    here = copy_of(graph_template, tmp_path / "graph")
    promote_routed_release(here, FakeClock(NOW_MS - 1_000))
    service = RunningService(here, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    for number in range(12):
        waits(service, claim(f"near-{number}", amount=SMALL + number))
    service.stop()
    with sqlite3.connect(here.state_dir(service.scenario) / KEPT_ROWS) as connection:
        connection.execute("DELETE FROM kept WHERE event_seq / 2 % 2 = 0")
        kept = connection.execute("SELECT count(*) FROM kept").fetchone()[0]
    assert 0 < kept < 12
    done = nightly(here, group=5)
    assert (done.n_decided, done.n_replayed) == (12, 12 - kept)
    digests = {body.event_seq: body.feature_digest for body in pending(ledger_of(here))}
    assert {body.event_seq: body.feature_digest for body in bodies(ledger_of(here))} == digests
    all_hold(here)
    with sqlite3.connect(here.state_dir(service.scenario) / KEPT_ROWS) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone()[0] == 0


def test_a_restart_knows_what_waits_and_second_looks_leave_it_alone(start: Start, workspace: Workspace) -> None:
    service = start()
    event = claim("restart", amount=SMALL)
    answer = waits(service, event)
    service.service.stop()
    later = start(second_looks=True)
    assert waits(later, event) == answer
    time.sleep(1.0)  # two polls of the looker
    assert list(later.ledger.records(kinds=(Kind.REVIEW_REQUESTED, Kind.DECISION))) == []
    later.service.stop()
    assert nightly(workspace).n_decided == 1
    last = start(second_looks=True)
    time.sleep(1.0)
    assert list(last.ledger.records(kinds=(Kind.REVIEW_REQUESTED,))) == []
    last.service.stop()
    all_hold(workspace)


def test_a_release_with_a_broken_file_decides_nothing_at_night(start: Start, workspace: Workspace) -> None:
    service = start()
    waits(service, claim("broken", amount=SMALL))
    service.service.stop()
    file = service.release.path / "anomaly.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ReleaseDamagedError):
        nightly(workspace)
    assert (ledger_of(workspace).n_pending, bodies(ledger_of(workspace))) == (1, [])
    file.write_bytes(whole)
    assert nightly(workspace).n_decided == 1


def test_a_commit_that_fails_is_unknown_to_the_client_and_the_event_waits_once(start: Start) -> None:
    service = start()
    event = claim("unknown", amount=SMALL)
    blocker = locked(service)
    assert service.ask("POST", "/v1/decisions", event).status_code == 503
    blocker.execute("ROLLBACK")
    blocker.close()
    until(lambda: service.service.state is State.READY)
    again = service.ask("POST", "/v1/decisions", event)
    assert (again.status_code, again.headers["ringfence-repeated"]) == (202, "true")
    assert len(pending(service.ledger)) == service.ledger.n_pending == 1


def test_doctor_says_how_many_wait_and_explain_explains_what_was_decided(
    start: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start()
    for number in range(2):
        waits(service, claim(f"doctor-{number}", amount=SMALL))
    service.service.stop()
    capsys.readouterr()
    run(["doctor", "-w", str(workspace.path)])
    assert "2 events wait for the nightly run" in capsys.readouterr().out
    nightly(workspace)
    run(["doctor", "-w", str(workspace.path)])
    assert "nightly run" not in capsys.readouterr().out
    last = ledger_of(workspace).last_seq
    assert run(["explain", f"d-{last}", "-w", str(workspace.path)]) == Exit.OK


def test_while_the_service_runs_the_run_is_refused_and_says_what_to_do(
    start: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start()
    waits(service, claim("held", amount=SMALL))
    with pytest.raises(LedgerLockedError):
        nightly(workspace)
    assert run(["decide", "--pending", "-w", str(workspace.path)]) == Exit.BUSY
    assert "end `ringfence serve`" in capsys.readouterr().err
    assert service.ledger.n_pending == 1


def test_without_a_route_everything_is_decided_at_once_and_nothing_waits(template: Workspace, tmp_path: Path) -> None:
    here = copy_of(template, tmp_path / "plain")
    service = RunningService(here, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    assert "route" not in decide(service, claim("plain", amount=SMALL))["circumstances"]
    service.stop()
    done = nightly(here)
    assert (done.n_decided, done.by_action) == (0, {})
    assert done.routes["batch"].ms_per_decision is None


def test_an_event_waits_once_and_in_a_ledger_from_before_nothing_waits(workspace: Workspace) -> None:
    ledger = ledger_of(workspace)
    with sqlite3.connect(ledger.directory / "ledger.db") as connection:
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'pending'").fetchone() is None
    assert (ledger.n_pending, ledger.pending(0, 10), ledger.pending_of(1)) == (0, [], None)
    body = PendingBody(
        event_seq=1, event_id="past-0", event_type="claim", versions={}, late=False, feature_digest=b"", row=b""
    )
    with ledger.writer(FakeClock(NOW_MS)) as writer:
        writer.stage_pending(body)
        with pytest.raises(AlreadyPendingError):
            writer.stage_pending(body)
        writer.commit()
        with pytest.raises(AlreadyPendingError):
            writer.stage_pending(body)
    assert ledger.n_pending == 1


def test_the_command_tells_how_many_by_action_and_what_each_route_cost(
    start: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start()
    waits(service, claim("told", amount=SMALL))
    service.service.stop()
    capsys.readouterr()
    assert run(["decide", "--pending", "-w", str(workspace.path), "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["n_decided"], sum(told["by_action"].values())) == (1, 1)
    assert set(told["routes"]) == {"batch", "realtime"}
    assert told["routes"]["batch"]["n_decisions"] == 1
    assert told["routes"]["realtime"]["ms_per_decision"] is None
    assert told["currency"] == "EUR"
    assert run(["decide", "--pending", "-w", str(workspace.path)]) == Exit.OK
    assert capsys.readouterr().out == "nothing waits for the nightly run\n"


def test_killed_in_the_middle_and_run_again_it_decides_none_twice_and_loses_none(
    start: Start, workspace: Workspace, tmp_path: Path
) -> None:
    n = 1_500
    service = start()
    lines = b"\n".join(json.dumps(claim(f"k-{number}", amount=SMALL)).encode() for number in range(n))
    response = service.ask("POST", "/v1/decisions/batch", lines, headers={"content-type": "application/x-ndjson"})
    assert response.content.count(b'"pending"') == n
    service.service.stop()
    ledger = ledger_of(workspace)
    command = [sys.executable, "-c", _ONE_BY_ONE, str(workspace.path)]
    log, n_before = tmp_path / "run.log", [0]
    while len(n_before) < 5:
        goal, deadline = n_before[-1] + 40, time.monotonic() + 120
        with log.open("wb") as out:
            process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=out)
        while n - ledger.n_pending < goal and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert process.poll() is None, log.read_text()
        process.send_signal(signal.SIGKILL)
        process.wait()
        n_before.append(n - ledger.n_pending)
    assert 0 < n_before[1] < n_before[-1] < n
    assert run(["decide", "--pending", "-w", str(workspace.path)]) == Exit.OK
    counts = Counter(body.event_id for body in bodies(ledger))
    assert ledger.n_pending == 0
    assert set(counts) == {f"c-k-{number}" for number in range(n)}  # lost: 0
    assert set(counts.values()) == {1}  # twice: 0
    all_hold(workspace)


# The same function in small groups, so that a kill meets one of many commits.
_ONE_BY_ONE = """
import sys
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import SystemClock
from ringfence.serving.pending import champion_whole, decide_pending
from ringfence.workspace import Workspace

here = Workspace(sys.argv[1])
spec = here.scenario()
release = champion_whole(Ledger.open(here.ledger_dir(spec), spec), here.releases_dir)
ledger = Ledger.open(here.ledger_dir(spec), release.scenario)
decide_pending(ledger, release, here.state_dir(spec), SystemClock(), group=3)
"""
