# SPDX-License-Identifier: Apache-2.0
"""The service decides what waits for the nightly run, beside its requests: each event once, as the run itself would."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.serving.config import ServiceConfig
from ringfence.serving.kept import KEPT_ROWS
from ringfence.serving.pace import Pace
from ringfence.serving.pending_routes import GROUP, MOST
from ringfence.serving.queue import Ask, Ticket
from ringfence.serving.service import State
from ringfence.serving.swap import parted
from ringfence.workspace import Workspace

from .conftest import NOW_MS, PATIENT, RunningService, claim, copy_of, make_workspace
from .faults import hinder_branch, raising
from .releases import OTHER_WINDOWS, asked, make_release
from .routed_release import promote_routed_release
from .test_best_effort import BEST_EFFORT, drained, lock
from .test_ledger_trouble import locked, until
from .test_pending import LARGE, SMALL, all_hold, bodies, ledger_of, nightly, pending, waits
from .test_service import decide

Start = Callable[..., RunningService]
ROUTE = "/v1/pending/decide"


@pytest.fixture(scope="module")
def routed(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    here = copy_of(template, tmp_path_factory.mktemp("routed") / "workspace")
    promote_routed_release(here, FakeClock(NOW_MS - 3_600_000))
    return here


@pytest.fixture
def workspace(routed: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(routed, tmp_path / "workspace")


@pytest.fixture
def start(start: Start) -> Start:
    """As the usual one, with patience for commits: on a busy machine one may take long, and that is not the test."""
    return partial(start, stuck_commit_ms=30_000.0)


def part(service: RunningService, **given: int) -> dict[str, Any]:
    """Have a part decided."""
    response = service.ask("POST", ROUTE, given, key="decide")
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def through(service: RunningService, **given: int) -> list[dict[str, Any]]:
    """Have all decided, part by part."""
    answers = [part(service, **given)]
    while answers[-1]["last_event_seq"] is not None:
        answers.append(part(service, **given, after=answers[-1]["last_event_seq"]))
    return answers


def n_decided(answers: list[dict[str, Any]]) -> int:
    return sum(answer["decided"] for answer in answers)


def at_night(ledger: Ledger) -> list[DecisionBody]:
    return [body for body in bodies(ledger) if body.circumstances.get("route") == "batch"]


def once_each(ledger: Ledger, tag: str, n: int) -> None:
    """Every event of a tag has one decision, and nothing waits."""
    counts = Counter(body.event_id for body in bodies(ledger) if body.event_id.startswith(f"c-{tag}-"))
    assert counts == dict.fromkeys((f"c-{tag}-{number}" for number in range(n)), 1)
    assert ledger.n_pending == 0


class Traffic:
    """A client that has large claims decided, one after the other, until the block ends."""

    def __init__(self, service: RunningService) -> None:
        self._service = service
        self.statuses: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._ended.wait(0.002):
            event = claim(f"live-{len(self.statuses)}", amount=LARGE)
            self.statuses.append(self._service.ask("POST", "/v1/decisions", event, key="decide").status_code)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def test_beside_requests_each_is_decided_once_and_as_the_run_on_a_copy_decides_it(
    start: Start, workspace: Workspace, tmp_path: Path
) -> None:
    n = 50
    service = start()
    for number in range(n):
        waits(service, claim(f"night-{number}", amount=SMALL + 40 * number))
    service.service.stop()
    copy = copy_of(workspace, tmp_path / "copy")
    assert nightly(copy).n_decided == n
    expected = {body.event_seq: body for body in at_night(ledger_of(copy))}

    service = start()
    with Traffic(service) as traffic:
        until(lambda: len(traffic.statuses) >= 3)
        answers = through(service)
        n_before = len(traffic.statuses)
        until(lambda: len(traffic.statuses) >= n_before + 3)
    assert set(traffic.statuses) == {200}
    assert (n_decided(answers), answers[-1]["left"]) == (n, 0)
    once_each(service.ledger, "night", n)
    found = at_night(service.ledger)
    assert [body.event_seq for body in found] == sorted(expected)
    for body in found:
        twin = expected[body.event_seq]
        assert (body.action, body.score) == (twin.action, pytest.approx(twin.score, abs=1e-12))
        assert (body.feature_digest, body.members.keys()) == (twin.feature_digest, twin.members.keys())
        told = {name: value for name, value in body.circumstances.items() if name != "batch_size"}
        assert told == {name: value for name, value in twin.circumstances.items() if name != "batch_size"}
        assert body.circumstances["batch_size"] <= GROUP
    assert sum((Counter(answer["by_action"]) for answer in answers), Counter()) == Counter(
        body.action for body in found
    )
    assert {answer["release"] for answer in answers} == {service.release.id}
    event = claim("night-0", amount=SMALL)
    again = service.ask("POST", "/v1/decisions", event)
    assert (again.status_code, again.json()["circumstances"]["route"]) == (200, "batch")
    service.service.stop()
    all_hold(workspace)


def test_an_answer_says_what_is_left_and_where_to_go_on(start: Start) -> None:
    service = start()
    for number in range(21):
        waits(service, claim(f"part-{number}", amount=SMALL))
    seqs = [body.event_seq for body in pending(service.ledger)]
    first = part(service, limit=11)
    assert (first["decided"], first["left"], first["need_replay"]) == (11, 10, 0)
    assert first["last_event_seq"] == seqs[10]
    assert sum(first["by_action"].values()) == 11
    rest = service.ask("POST", ROUTE, key="decide").json()  # no body at all
    assert (rest["decided"], rest["left"], rest["last_event_seq"]) == (10, 0, seqs[-1])
    last = part(service)
    assert (last["decided"], last["by_action"], last["last_event_seq"]) == (0, {}, None)
    once_each(service.ledger, "part", 21)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"limit": 0}, "$.limit"),
        ({"limit": MOST + 1}, "$.limit"),
        ({"limit": "8"}, "$.limit"),
        ({"limit": True}, "$.limit"),
        ({"limit": 8.0}, "$.limit"),
        ({"limit": None}, "$.limit"),
        ({"after": -1}, "$.after"),
        ({"after": 1 << 63}, "$.after"),
        ({"group": 8}, "$.group"),
        ([], "$"),
    ],
)
def test_what_makes_no_sense_is_refused_and_decides_nothing(start: Start, body: object, path: str) -> None:
    service = start()
    waits(service, claim("asked", amount=SMALL))
    refused = service.ask("POST", ROUTE, body, key="decide")
    assert (refused.status_code, refused.json()["path"]) == (400, path)
    assert service.ledger.n_pending == 1


def test_it_takes_a_key_that_may_decide(start: Start) -> None:
    service = start()
    waits(service, claim("asked", amount=SMALL))
    for key, status in ((None, 401), ("read", 403), ("label", 403)):
        assert service.ask("POST", ROUTE, key=key).status_code == status
    assert service.ask("GET", ROUTE, key="decide").status_code == 405
    assert service.ledger.n_pending == 1
    assert service.ask("POST", ROUTE, key="admin").json()["decided"] == 1


def test_a_service_that_ends_in_between_goes_on_after_its_start(start: Start, workspace: Workspace) -> None:
    service = start()
    for number in range(30):
        waits(service, claim(f"between-{number}", amount=SMALL))
    assert part(service, limit=13)["left"] == 17
    service.service.stop()
    assert service.ask("POST", ROUTE, key="decide").status_code == 503
    later = start()
    assert n_decided(through(later, limit=5)) == 17
    once_each(later.ledger, "between", 30)
    later.service.stop()
    all_hold(workspace)


def test_of_two_callers_at_once_neither_decides_what_the_other_did(start: Start) -> None:
    n = 60
    service = start()
    for number in range(n):
        waits(service, claim(f"two-{number}", amount=SMALL))
    found: list[int] = []
    callers = [threading.Thread(target=lambda: found.append(n_decided(through(service, limit=10)))) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sum(found) == n
    once_each(service.ledger, "two", n)


def test_what_was_decided_since_it_was_read_is_passed_over(start: Start) -> None:
    service = start()
    for number in range(3):
        waits(service, claim(f"stale-{number}", amount=SMALL))
    read = service.service.waiting(0, 3)

    async def both() -> list[Any]:
        tickets = [service.service.submit(Ask.DECIDE_WAITING, waiting=read) for _ in range(2)]
        return [await ticket.future for ticket in tickets]

    first, second = service.run(both())
    assert (len(first.actions), first.n_to_replay) == (3, 0)
    assert (len(second.actions), second.n_to_replay) == (0, 0)
    once_each(service.ledger, "stale", 3)


def test_a_commit_that_fails_and_is_retried_decides_none_twice(start: Start, workspace: Workspace) -> None:
    n = 20
    service = start()
    for number in range(n):
        waits(service, claim(f"fails-{number}", amount=SMALL))
    blocker = locked(service)
    failed = service.ask("POST", ROUTE, key="decide")
    assert (failed.status_code, failed.json()["type"]) == (503, "urn:ringfence:problem:outcome-unknown")
    refused = service.ask("POST", ROUTE, key="decide")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:ringfence:problem:ledger-unavailable")
    assert bodies(service.ledger) == []
    blocker.execute("ROLLBACK")
    blocker.close()
    until(lambda: service.service.state is State.READY)
    assert service.ledger.n_pending == n - GROUP
    assert n_decided(through(service)) == n - GROUP
    once_each(service.ledger, "fails", n)
    service.service.stop()
    all_hold(workspace)


def test_trouble_in_the_middle_ends_the_request_with_what_was_done(start: Start) -> None:
    n = 4 * GROUP
    service = start()
    for number in range(n):
        waits(service, claim(f"middle-{number}", amount=SMALL))
    hindered = hinder_branch(service, lambda: None)
    calls: list[int] = []

    def third_fails() -> None:
        calls.append(1)
        if len(calls) >= 3:
            raising()

    hindered.first = third_fails
    answer = part(service)
    assert (answer["decided"], answer["left"]) == (2 * GROUP, 2 * GROUP)
    refused = service.ask("POST", ROUTE, key="decide")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:ringfence:problem:not-in-full")
    assert "ZeroDivisionError" in refused.json()["detail"]
    assert refused.headers["retry-after"] == "2"
    assert service.ledger.n_pending == 2 * GROUP
    hindered.first = lambda: None
    assert n_decided(through(service)) == 2 * GROUP
    once_each(service.ledger, "middle", n)
    assert {body.circumstances["rung"] for body in bodies(service.ledger)} == {"full"}


def test_a_release_with_a_broken_branch_decides_nothing_at_night(start: Start, workspace: Workspace) -> None:
    service = start()
    waits(service, claim("broken", amount=SMALL))
    service.service.stop()
    file = service.release.path / "anomaly.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    try:
        later = start()
        assert decide(later, claim("by day", amount=LARGE))["degraded"]
        refused = later.ask("POST", ROUTE, key="decide")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:ringfence:problem:not-in-full")
        assert later.ledger.n_pending == 1
    finally:
        file.write_bytes(whole)


def test_reviews_of_the_night_and_of_the_day_share_one_budget_in_one_service(
    workspace: Workspace, start: Start
) -> None:
    promote_routed_release(workspace, FakeClock(NOW_MS - 1_000), reviews_per_day=3)
    service = start()
    day = [decide(service, claim(f"day-{number}", amount=LARGE)) for number in range(2)]
    n_day = sum(answer["action"] == "review" for answer in day)
    for number in range(60):
        waits(service, claim(f"many-{number}", amount=4_000.0))
    answers = through(service, limit=16)
    assert sum(answer["by_action"].get("review", 0) for answer in answers) == 3 - n_day
    assert decide(service, claim("evening", amount=LARGE))["circumstances"]["reviews_left"] == 0
    left = [body.circumstances["reviews_left"] for body in bodies(service.ledger)]
    assert left == sorted(left, reverse=True)
    service.service.stop()
    all_hold(workspace)


def test_a_release_of_the_same_features_that_takes_over_goes_on_with_what_waits(
    start: Start, workspace: Workspace
) -> None:
    n = 80
    other = make_release(workspace)
    service = start()
    first = service.release.id
    for number in range(n):
        waits(service, claim(f"switch-{number}", amount=SMALL))
    assert n_decided([part(service, limit=10)]) == 10
    found: list[int] = []
    caller = threading.Thread(target=lambda: found.append(n_decided(through(service, limit=10))))
    caller.start()
    assert asked(service, "promote", {"release": other.id})["step"] == "done"
    caller.join()
    assert found == [n - 10]
    once_each(service.ledger, "switch", n)
    registry = Registry.read(service.ledger)
    for body in at_night(service.ledger):
        record = service.ledger.decision_of(body.event_seq)
        assert record is not None
        assert body.versions["release"] == registry.champion_at(record.seq)
    assert bodies(service.ledger)[0].versions["release"] == first
    service.service.stop()
    all_hold(workspace)


def test_what_waits_under_other_features_is_counted_and_left_to_the_run(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS)
    service = start()
    for number in range(12):
        waits(service, claim(f"other-{number}", amount=SMALL))
    assert asked(service, "promote", {"release": other.id})["step"] == "done"
    answers = through(service, limit=5)
    assert n_decided(answers) == 0
    assert [answer["need_replay"] for answer in answers] == [5, 5, 2, 0]
    assert {(answer["left"], answer["release"]) for answer in answers} == {(12, other.id)}
    service.service.stop()
    done = nightly(workspace)
    assert (done.n_decided, done.n_replayed) == (12, 12)
    once_each(ledger_of(workspace), "other", 12)


def test_neighbourhoods_are_those_of_the_events_moment_and_are_dropped_with_its_decision(
    graph_template: Workspace, tmp_path: Path
) -> None:
    here = copy_of(graph_template, tmp_path / "graph")
    promote_routed_release(here, FakeClock(NOW_MS - 1_000))
    service = RunningService(here, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    try:
        for number in range(12):
            waits(service, claim(f"near-{number}", amount=SMALL + number))
        with sqlite3.connect(here.state_dir(service.scenario) / KEPT_ROWS) as connection:
            connection.execute("DELETE FROM kept WHERE event_seq = (SELECT max(event_seq) FROM kept)")
        answers = through(service)
        assert (n_decided(answers), answers[0]["need_replay"], answers[0]["left"]) == (11, 1, 1)
        digests = {body.event_seq: body.feature_digest for body in pending(service.ledger)}
        for body in bodies(service.ledger):
            assert body.feature_digest == digests[body.event_seq]
            assert "gnn" in body.members
    finally:
        service.stop()
    with sqlite3.connect(here.state_dir(service.scenario) / KEPT_ROWS) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone()[0] == 0
    assert nightly(here).n_replayed == 1
    all_hold(here)


@pytest.fixture
def best_effort(tmp_path: Path) -> Iterator[RunningService]:
    here = make_workspace(tmp_path / "best-effort", BEST_EFFORT)
    promote_routed_release(here, FakeClock(NOW_MS - 1_000))
    service = RunningService(here, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    yield service
    service.stop()


def test_while_answers_leave_before_they_are_durable_nothing_is_decided_at_night(
    best_effort: RunningService,
) -> None:
    service = best_effort
    for number in range(12):
        waits(service, claim(f"late-{number}", amount=SMALL))
    drained(service)
    with lock(service):
        assert decide(service, claim("by day", amount=LARGE))["durable"] is False
        cycle = service.service._cycle
        assert cycle is not None
        last_seq = cycle._writer.last_seq
        refused = service.ask("POST", ROUTE, key="decide")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:ringfence:problem:ledger-unavailable")
        assert cycle._writer.last_seq == last_seq
    drained(service)

    def all_are() -> bool:
        service.ask("POST", ROUTE, key="decide")
        return service.ledger.n_pending == 0

    until(all_are)  # a commit that takes long on a busy machine is another reason to refuse
    once_each(service.ledger, "late", 12)


def test_decisions_that_could_not_be_made_durable_at_once_are_not_told_and_not_made_twice(
    best_effort: RunningService,
) -> None:
    service = best_effort
    for number in range(12):
        waits(service, claim(f"spool-{number}", amount=SMALL))
    drained(service)
    with lock(service):
        unknown = service.ask("POST", ROUTE, key="decide")
        assert (unknown.status_code, unknown.json()["type"]) == (503, "urn:ringfence:problem:outcome-unknown")
        assert service.ledger.n_pending == 12
    drained(service)
    until(lambda: service.ledger.n_pending == 12 - GROUP)

    def all_are() -> bool:
        service.ask("POST", ROUTE, key="decide")
        return service.ledger.n_pending == 0

    until(all_are)
    once_each(service.ledger, "spool", 12)


def test_requests_of_the_same_turn_go_first_and_switches_stand_alone(start: Start) -> None:
    async def tickets() -> list[Ticket]:
        kinds = (Ask.DECIDE_WAITING, Ask.DECIDE, Ask.SWITCH, Ask.DECIDE_WAITING, Ask.TELL)
        return [Ticket(ask, asyncio.get_running_loop().create_future()) for ask in kinds]

    one, two, three, four, five = asyncio.run(tickets())
    assert parted([one, two, three, four, five]) == [[two], [three], [five], [one], [four]]


def test_one_group_at_a_time_goes_through_and_each_after_a_pause_as_long_as_the_one_before() -> None:
    spans: list[tuple[float, float]] = []

    async def group(pace: Pace) -> None:
        async with pace.turn():
            began_s = time.perf_counter()
            await asyncio.sleep(0.02)
            spans.append((began_s, time.perf_counter()))

    async def all_groups() -> None:
        pace = Pace()
        await asyncio.gather(*(group(pace) for _ in range(4)))

    asyncio.run(all_groups())
    for (began_s, ended_s), (next_s, _) in itertools.pairwise(spans):
        assert next_s - ended_s >= ended_s - began_s


def test_the_counters_of_decisions_see_what_the_service_decides_at_night(start: Start) -> None:
    service = start()
    for number in range(5):
        waits(service, claim(f"counted-{number}", amount=SMALL))
    part(service)
    text = service.ask("GET", "/metrics", key="read").text
    counted = [line for line in text.splitlines() if line.startswith("ringfence_decisions_total{")]
    assert sum(float(line.rpartition(" ")[2]) for line in counted) == 5
