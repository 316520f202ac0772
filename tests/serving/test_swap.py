# SPDX-License-Identifier: Apache-2.0
"""Another release while the service runs: nobody waits, nothing is lost, and every decision can be made again."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.cli.proofs import decision_proofs, state_proof
from ringfence.engine.engine import Engine
from ringfence.engine.snapshot import list_snapshots
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind, ReleaseBody
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.load import load_scenarios
from ringfence.scenario.times import moment_ms
from ringfence.serving.build import NEXT
from ringfence.serving.config import ServiceConfig
from ringfence.serving.doorman import Doorman
from ringfence.serving.follower import other_spec_lives
from ringfence.serving.ndjson import _offer
from ringfence.serving.queue import Ask, Ticket
from ringfence.serving.recovery import champion_of
from ringfence.serving.service import State
from ringfence.serving.swap import parted
from ringfence.workspace import Workspace

from .conftest import NOW_MS, PATIENT, POLICY, SCENARIO, RunningService, claim, copy_of, make_workspace
from .faults import hinder_trees, raising, scorer_of
from .releases import MORE_ATTRIBUTES, OTHER_WINDOWS, Asking, asked, make_release, waited
from .test_ledger_trouble import locked, until
from .test_service import decide

Start = Callable[..., RunningService]


def decided(ledger: Ledger) -> list[tuple[int, DecisionBody]]:
    found = [(record.seq, record.body) for record in ledger.records(kinds=(Kind.DECISION,))]
    return [(seq, body) for seq, body in found if isinstance(body, DecisionBody)]


def check_all(service: RunningService, asking: Asking) -> None:
    """Nothing refused, lost or decided twice; each decision is of the release live at its seq, and comes out again."""
    assert asking.refused == []
    ledger = service.ledger
    bodies = dict(decided(ledger))
    assert len({body.event_seq for body in bodies.values()}) == len(bodies)
    registry = Registry.read(ledger)
    for seq, body in bodies.items():
        assert body.versions["release"] == registry.champion_at(seq)
    for answer in asking.answers:
        assert bodies[answer["seq"]].score == answer["score"]
    ids = [answer["decision_id"] for answer in asking.answers]
    proofs = decision_proofs(service.workspace, service.scenario, ids, newest=0, progress=lambda at, of: None)
    assert len(proofs) == len(ids) > 0
    assert [proof for proof in proofs if not proof.holds] == []
    assert audit_ledger(ledger).holds


def replayed_hash(service: RunningService) -> str:
    live = service.service._live
    assert live is not None
    catalogue = live.engine.catalogue
    fresh = Engine(catalogue)
    for batch in Ledger.open(service.ledger.directory, catalogue.scenario).batches():
        fresh.observe(batch)
    return fresh.state_hash()


def live_hash(service: RunningService) -> str:
    live = service.service._live
    assert live is not None
    return live.engine.state_hash()


def test_a_release_of_the_same_features_takes_over_while_clients_ask(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace)
    service = start()
    first = service.release.id
    with Asking(service, "same") as asking:
        time.sleep(0.3)
        status = asked(service, "promote", {"release": other.id, "note": "fewer trees"})
        time.sleep(0.3)
    assert (status["step"], status["act"], status["replaces"]) == ("done", "promote", first)
    check_all(service, asking)
    releases = [answer["versions"]["release"] for answer in sorted(asking.answers, key=lambda one: one["seq"])]
    assert set(releases) == {first, other.id}
    assert releases == sorted(releases, key=lambda name: name == other.id)
    record = next(service.ledger.records(status["seq"] - 1, (Kind.RELEASE,)))
    assert isinstance(record.body, ReleaseBody)
    assert (record.body.act, record.body.release, record.body.replaces) == ("promoted", other.id, first)
    assert (record.body.note, record.body.by) == ("fewer trees", "key admin")
    assert live_hash(service) == replayed_hash(service)


def test_a_release_of_other_features_is_built_beside_the_old_one(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS)
    service = start()
    first = service.release
    assert other.spec_hash != first.spec_hash
    with Asking(service, "other") as asking:
        time.sleep(0.3)
        status = asked(service, "promote", {"release": "latest"})
        time.sleep(0.3)
    assert status["step"] == "done", status
    check_all(service, asking)
    assert {answer["versions"]["spec"] for answer in asking.answers} == {first.spec_hash, other.spec_hash}
    assert live_hash(service) == replayed_hash(service)
    assert state_proof(service.workspace, service.scenario).holds


def test_a_release_whose_events_say_more_lets_them_in_from_the_switch_on(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, MORE_ATTRIBUTES)
    service = start()
    longer = {"policy_age_days": 3.0, "mileage": 12_000.0}
    refused = service.ask("POST", "/v1/decisions", claim("before", attributes=longer))
    assert (refused.status_code, refused.json()["path"]) == (422, "$.attributes.mileage")
    with Asking(service, "more") as asking:
        assert asked(service, "promote", {"release": other.id})["step"] == "done"
        answer = decide(service, claim("after", attributes=longer))
    assert answer["versions"]["release"] == other.id
    check_all(service, asking)
    described = service.ask("GET", "/openapi.json").json()["components"]["schemas"]["Event_motor_claims_claim"]
    assert "mileage" in described["properties"]["attributes"]["properties"]
    assert live_hash(service) == replayed_hash(service)


@pytest.mark.parametrize("text", [SCENARIO, OTHER_WINDOWS], ids=["same features", "other features"])
def test_a_rollback_goes_back_to_what_was_kept_ready(start: Start, workspace: Workspace, text: str) -> None:
    other = make_release(workspace, text)
    service = start()
    first = service.release
    before = service.service._live
    assert before is not None
    with Asking(service, "back") as asking:
        asked(service, "promote", {"release": other.id})
        time.sleep(0.3)
        assert service.ask("GET", "/v1/releases").json()["kept_ready"] == first.id
        status = asked(service, "rollback", {"note": "worse"})
        time.sleep(0.3)
    assert (status["step"], status["release"], status["replaces"]) == ("done", first.id, other.id)
    after = service.service._live
    assert after is not None
    assert after.engine is before.engine  # nothing was built for it
    assert after.scorer is before.scorer
    check_all(service, asking)
    assert live_hash(service) == replayed_hash(service)
    assert service.ask("GET", "/v1/releases").json()["champion"] == first.id
    assert [act for _, act in Registry.read(service.ledger).champions()][-3:] == [first.id, other.id, first.id]
    again = service.ask("POST", "/v1/releases/rollback")
    assert (again.status_code, again.json()["type"]) == (409, "urn:ringfence:problem:nothing-to-roll-back")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Cycles stay, as they do in a service: what was there at its start is out of the collector's sight."""
    gc.disable()
    yield
    gc.enable()


def test_what_was_kept_ready_is_given_back_after_its_time_and_built_again(
    start: Start, workspace: Workspace, no_collector: None
) -> None:
    other = make_release(workspace, OTHER_WINDOWS)
    service = start(warm_s=0.0)
    assert service.service._live is not None
    state = weakref.ref(service.service._live.engine)
    asked(service, "promote", {"release": other.id})
    until(lambda: service.ask("GET", "/v1/releases").json()["kept_ready"] is None)
    decide(service, claim("between"))
    until(lambda: state() is None)
    assert asked(service, "rollback")["step"] == "done"
    assert decide(service, claim("back again"))["versions"]["spec"] == service.release.spec_hash
    assert live_hash(service) == replayed_hash(service)


def test_a_process_builds_what_is_far_behind(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS)
    service = start(build_beside=100)
    with Asking(service, "beside", pause_s=0.02) as asking:
        status = asked(service, "promote", {"release": other.id})
    assert status["step"] == "done", status
    check_all(service, asking)
    state_dir = service.workspace.state_dir(service.scenario)
    assert list_snapshots(state_dir)
    assert not (state_dir / NEXT).exists()
    service.service.stop()
    again = start()
    assert again.release.id == other.id
    assert live_hash(again) == replayed_hash(again)


def test_a_damaged_release_is_refused_and_the_one_from_before_goes_on(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace)
    trees = other.path / "trees.npz"
    trees.chmod(0o644)
    trees.write_bytes(trees.read_bytes()[:-7] + b"changed")
    service = start()
    last_seq = service.ledger.last_seq
    refused = service.ask("POST", "/v1/releases/promote", {"release": other.id})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:ringfence:problem:release-refused")
    assert "trees.npz" in refused.json()["detail"]
    assert service.ledger.last_seq == last_seq
    assert decide(service, claim("goes on"))["versions"]["release"] == service.release.id


def test_a_build_that_fails_leaves_everything_as_it_was_and_says_why(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS)
    service = start(build_beside=1)
    parked = workspace.path / "parked"
    response = service.ask("POST", "/v1/releases/promote", {"release": other.id})
    other.path.rename(parked)  # gone before the process looks for it
    status = waited(service, response.json()["number"])
    assert status["step"] == "failed"
    assert "process that replays the ledger" in status["failure"]
    assert decide(service, claim("as before"))["versions"]["release"] == service.release.id
    assert Registry.read(service.ledger).champion() == service.release.id
    page = service.ask("GET", "/metrics").text
    assert 'ringfence_release_switches_total{result="failed",scenario="motor-claims"} 1.0' in page
    assert 'ringfence_release_step{scenario="motor-claims",step="failed"} 1.0' in page
    parked.rename(other.path)
    assert asked(service, "promote", {"release": other.id})["step"] == "done"


ANOTHER_KIND = {
    "roles": SCENARIO.replace("person_id}", "person_id, broker: broker_id}"),
    "event types": SCENARIO.replace("policy_change: changes.csv", "change: changes.csv").replace(
        "      policy_change: {event_id", "      change: {event_id"
    ),
}


@pytest.mark.parametrize("what", ["roles", "event types"])
def test_a_release_of_another_kind_of_scenario_is_refused(start: Start, workspace: Workspace, what: str) -> None:
    service = start()
    elsewhere = make_workspace(workspace.path.parent / "elsewhere", ANOTHER_KIND[what])
    name = Registry.read(Ledger.open(elsewhere.ledger_dir("motor-claims"), elsewhere.scenario())).champion()
    assert name is not None
    (elsewhere.releases_dir / name).rename(workspace.releases_dir / name)
    refused = service.ask("POST", "/v1/releases/promote", {"release": name})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:ringfence:problem:release-refused")
    assert f"its {what}:" in refused.json()["detail"]
    assert decide(service, claim("unmoved"))["versions"]["release"] == service.release.id


def test_a_release_that_the_ledger_does_not_know_is_registered_by_its_promotion(
    start: Start, workspace: Workspace
) -> None:
    other = make_release(workspace, register=False)
    service = start()
    assert asked(service, "promote", {"release": other.id})["step"] == "done"
    registry = Registry.read(service.ledger)
    assert registry.is_registered(other.id)
    assert registry.champion() == other.id


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"release": "r-0000000000ff"}, 404, "unknown-release"),
        ({"release": "../ledger"}, 404, "unknown-release"),
        ({"release": 7}, 400, "malformed-body"),
        ({}, 400, "malformed-body"),
        ({"release": "latest"}, 409, "already-champion"),
        ({"release": "latest", "when": "now"}, 400, "malformed-body"),
        ({"release": "latest", "note": "x" * 2_001}, 400, "malformed-body"),
    ],
)
def test_what_cannot_be_promoted_is_refused(shared: RunningService, body: object, status: int, kind: str) -> None:
    refused = shared.ask("POST", "/v1/releases/promote", body)
    assert (refused.status_code, refused.json()["type"]) == (status, f"urn:ringfence:problem:{kind}")


def test_only_an_administrator_changes_the_release_and_every_reader_sees_it(shared: RunningService) -> None:
    for route in ("promote", "rollback"):
        for key in ("decide", "label", "read"):
            assert shared.ask("POST", f"/v1/releases/{route}", {}, key=key).status_code == 403
    found = shared.ask("GET", "/v1/releases", key="read").json()
    assert (found["champion"], found["switch"], found["kept_ready"]) == (shared.release.id, None, None)
    assert [entry["champion"] for entry in found["releases"]] == [True]


@pytest.mark.parametrize("build_beside", [1, 20_000], ids=["a process builds", "a thread builds"])
def test_an_event_learned_before_is_decided_by_the_release_that_took_over(
    start: Start, workspace: Workspace, build_beside: int
) -> None:
    same, other = make_release(workspace), make_release(workspace, OTHER_WINDOWS, seed=3)
    service = start(build_beside=build_beside)
    learned = [claim(f"learned-{number}") for number in range(2)]
    for event in learned:
        assert service.ask("POST", "/v1/events", event).status_code == 202
    asked(service, "promote", {"release": same.id})
    answer = decide(service, learned[0])
    assert answer["versions"]["release"] == same.id
    proofs = decision_proofs(
        service.workspace, service.scenario, [answer["decision_id"]], newest=0, progress=lambda at, of: None
    )
    assert proofs[0].holds
    asked(service, "promote", {"release": other.id})
    answers = [decide(service, event) for event in (learned[1], learned[0])]
    assert answers[0]["versions"]["release"] == other.id
    assert answers[1] == answer
    late = claim("learned under the other one")
    assert service.ask("POST", "/v1/events", late).status_code == 202
    asked(service, "rollback")
    answers.append(decide(service, late))
    assert answers[-1]["versions"]["release"] == same.id
    ids = [one["decision_id"] for one in answers]
    proofs = decision_proofs(service.workspace, service.scenario, ids, newest=0, progress=lambda at, of: None)
    assert [proof.holds for proof in proofs] == [True, True, True]


def test_the_reviews_of_today_count_on_under_the_next_release(start: Start, workspace: Workspace) -> None:
    few = f"{POLICY}capacity: {{reviews_per_day: 30}}\n"
    first, second = make_release(workspace, policy=few), make_release(workspace, policy=few, seed=3)
    service = start()
    spent = 0
    for number in range(10):
        spent += decide(service, claim(f"unbounded-{number}"))["action"] == "review"
    asked(service, "promote", {"release": first.id})
    left = decide(service, claim("bounded"))["circumstances"]["reviews_left"]
    assert 0 < spent < 30
    assert left in (30 - spent, 30 - spent - 1)
    asked(service, "promote", {"release": second.id})
    answer = decide(service, claim("bounded, too"))
    assert answer["circumstances"]["reviews_left"] in (left, left - 1)


def test_a_switch_whose_commit_fails_is_made_once_the_ledger_takes_records_again(
    start: Start, workspace: Workspace
) -> None:
    other = make_release(workspace)
    service = start()
    blocker = locked(service)
    number = service.ask("POST", "/v1/releases/promote", {"release": other.id}).json()["number"]
    until(lambda: service.service.state is State.LEDGER_UNAVAILABLE)
    assert service.ask("POST", "/v1/decisions", claim("refused")).status_code == 503
    assert Registry.read(service.ledger).champion() == service.release.id
    blocker.execute("ROLLBACK")
    blocker.close()
    until(lambda: service.service.state is State.READY)
    status = waited(service, number)
    assert status["step"] == "done"
    assert Registry.read(service.ledger).champions()[-1] == (status["seq"], other.id)
    assert decide(service, claim("refused"))["versions"]["release"] == other.id


def test_a_switch_behind_a_batch_that_cannot_be_committed_is_put_off(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace)
    service = start()
    may_go_on = threading.Event()

    async def hold_and_ask() -> list[Any]:
        inner = service.service
        held = inner.submit(Ask.READ, read=lambda: may_go_on.wait(60))
        asked = inner.submit(Ask.DECIDE, admission=inner.doorman.admit_decided(claim("with the old one")))
        return [held.future, asked.future]

    futures = service.run(hold_and_ask())
    number = service.ask("POST", "/v1/releases/promote", {"release": other.id}).json()["number"]
    until(lambda: service.service._queue.depth >= 1 and service.service.scenario is not service.release.scenario)
    blocker = locked(service)
    may_go_on.set()
    until(lambda: service.service.state is State.LEDGER_UNAVAILABLE)
    blocker.execute("ROLLBACK")
    blocker.close()
    status = waited(service, number)
    assert status["step"] == "done"
    assert [future.done() for future in futures] == [True, True]
    answer = decide(service, claim("with the old one"))
    assert answer["versions"]["release"] == service.release.id
    assert answer["seq"] < status["seq"]
    assert decide(service, claim("with the new one"))["versions"]["release"] == other.id


def test_a_network_that_reads_neighbourhoods_goes_and_comes_back(graph_template: Workspace, tmp_path: Path) -> None:
    service = RunningService(
        copy_of(graph_template, tmp_path / "graph"), FakeClock(NOW_MS), ServiceConfig(**PATIENT, warm_s=0.0)
    )
    try:
        graph = service.release
        assert graph.catalogue.neighbourhoods is not None
        learned = [claim(f"learned-{number}") for number in range(2)]
        with Asking(service, "graph") as asking:
            assert service.ask("POST", "/v1/events", learned[0]).status_code == 202
            trees = asked(service, "rollback")["release"]
            asking.answers.append(decide(service, learned[0]))
            assert service.ask("POST", "/v1/events", learned[1]).status_code == 202
            asked(service, "promote", {"release": graph.id})
            asking.answers.append(decide(service, learned[1]))
        assert [answer["versions"]["release"] for answer in asking.answers[-1:]] == [graph.id]
        assert {answer["versions"]["release"] for answer in asking.answers} == {graph.id, trees}
        check_all(service, asking)
        assert live_hash(service) == replayed_hash(service)
    finally:
        service.stop()


def test_decisions_of_a_lower_rung_are_looked_at_again_after_their_release_is_gone(
    graph_template: Workspace, tmp_path: Path
) -> None:
    service = RunningService(copy_of(graph_template, tmp_path / "graph"), FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    try:
        scorer = scorer_of(service)
        whole = dict(scorer._by_rung)
        hinder_trees(service, raising)
        for number in range(5):
            assert decide(service, claim(f"fallen-{number}"))["rung"] == "rules"
        assert asked(service, "rollback")["step"] == "done"
        scorer._by_rung.update(whole)

        def looked_at(*results: str) -> float:
            counter = service.telemetry.second_looks
            return sum(counter.labels(service.scenario.name, result)._value.get() for result in results)

        until(lambda: looked_at("same", "different", "impossible") == 5)
        assert looked_at("impossible") == 0
    finally:
        service.stop()


def test_the_follower_hears_of_another_feature_spec_and_of_no_other_release(workspace: Workspace) -> None:
    first = champion_of(Ledger.open(workspace.ledger_dir("motor-claims"), workspace.scenario()), workspace.releases_dir)
    same, other = make_release(workspace), make_release(workspace, OTHER_WINDOWS, seed=3)
    ledger = Ledger.open(workspace.ledger_dir("motor-claims"), first.scenario)
    lives = []
    for release in (None, same, other):
        if release is not None:
            with ledger.writer(FakeClock(NOW_MS)) as writer:
                Registry.read(ledger).promote(writer, release.id)
                writer.commit()
        lives.append(other_spec_lives(ledger, workspace.releases_dir, first)())
    assert lives == [False, False, True]


def test_a_line_of_a_batch_that_waits_for_room_is_let_in_by_the_door_of_its_turn(start: Start) -> None:
    service = start(queue_bound=1)
    inner = service.service
    may_go_on = threading.Event()
    line = json.dumps(claim("waits", event_time="2025-06-15T12:00:00")).encode()  # in the scenario's time zone
    in_utc = next(iter(load_scenarios(scenario_file(service, "time_zone: UTC")).values()))

    async def offer() -> Any:
        inner.submit(Ask.READ, read=lambda: may_go_on.wait(60))
        while inner._queue.depth:
            await asyncio.sleep(0.001)
        inner.submit(Ask.READ, read=lambda: None)
        offered = asyncio.create_task(_offer(line, inner, ServiceConfig(), None, None))
        await asyncio.sleep(0.02)
        assert not offered.done()
        inner._doorman = Doorman(
            Door(in_utc, service.ledger.identity), service.release, service.clock, service.telemetry
        )
        may_go_on.set()
        return await offered

    ticket = service.run(offer())
    assert ticket.admission.event.event_time_ms == moment_ms("2025-06-15T12:00:00", "UTC")


def scenario_file(service: RunningService, time_zone: str) -> Path:
    path = service.workspace.path / "other.yaml"
    path.write_text(SCENARIO.replace("time_zone: Europe/Berlin", time_zone))
    return path


def test_a_switch_stands_alone_between_what_came_before_and_after_it(shared: RunningService) -> None:
    async def tickets() -> list[Ticket]:
        kinds = (Ask.DECIDE, Ask.TELL, Ask.SWITCH, Ask.DECIDE, Ask.SWITCH)
        return [Ticket(ask, asyncio.get_running_loop().create_future()) for ask in kinds]

    taken = shared.run(tickets())
    assert parted(taken) == [taken[:2], taken[2:3], taken[3:4], taken[4:]]
    assert parted(taken[2:3]) == [taken[2:3]]
    assert parted([]) == []
