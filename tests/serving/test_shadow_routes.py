# SPDX-License-Identifier: Apache-2.0
"""A running service is told which release scores along, and says so; a shadow's score is told to no client."""

from __future__ import annotations

import json
from collections.abc import Callable

from ringfence.ledger.records import Kind, ReleaseBody
from ringfence.rollout.registry import Registry
from ringfence.workspace import Workspace

from .conftest import RunningService, claim
from .releases import OTHER_WINDOWS, asked, make_release
from .test_service import decide
from .test_shadow import OTHER_COSTS, catch_up, recorded, shadowed

Start = Callable[..., RunningService]


def test_a_release_is_shadowed_and_no_longer_and_who_did_it_is_on_record(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS)
    service = start()
    assert service.ask("GET", "/v1/releases").json()["shadow"] is None
    begun = service.ask("POST", "/v1/releases/shadow", {"release": "latest", "note": "wider"})
    assert begun.status_code == 200
    assert (begun.json()["act"], begun.json()["release"]) == ("shadowed", other.id)
    found = service.ask("GET", "/v1/releases").json()
    assert (found["shadow"]["release"], found["shadow"]["since_seq"]) == (other.id, begun.json()["seq"])
    assert (found["shadow"]["note"], found["shadow"]["by"]) == ("wider", "key admin")
    assert [entry["release"] for entry in found["releases"] if entry["shadow"]] == [other.id]
    assert found["champion"] == service.release.id
    ended = service.ask("POST", "/v1/releases/unshadow", {"note": "enough"})
    assert ended.json() == {"act": "unshadowed", "release": other.id, "seq": begun.json()["seq"] + 1}
    last = service.ledger.releases()[-1].body
    assert last == ReleaseBody(release=other.id, act="unshadowed", note="enough", by="key admin")
    assert service.ask("GET", "/v1/releases").json()["shadow"] is None


def test_a_release_that_no_training_registered_yet_is_registered_with_it(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, register=False)
    service = start()
    assert service.ask("POST", "/v1/releases/shadow", {"release": other.id}).status_code == 200
    bodies = [record.body for record in service.ledger.releases()]
    acts = [body.act for body in bodies if isinstance(body, ReleaseBody) and body.release == other.id]
    assert acts == ["registered", "shadowed"]


def test_what_cannot_be_a_shadow_is_refused_and_nothing_is_recorded(start: Start, workspace: Workspace) -> None:
    other, broken = make_release(workspace), make_release(workspace, seed=5)
    for path in (workspace.releases_dir / broken.id).iterdir():
        if path.name.startswith("gbdt"):
            path.write_bytes(path.read_bytes()[:-1])
    service = start()
    n = len(service.ledger.releases())
    refusals = [
        ("shadow", {"release": service.release.id}, 409, "is the champion"),
        ("shadow", {"release": "champion"}, 409, "is the champion"),
        ("shadow", {"release": "r-0000"}, 404, "is not in this ledger"),
        ("shadow", {"release": broken.id}, 409, broken.id),
        ("shadow", {}, 400, "no release"),
        ("shadow", {"release": other.id, "notes": "x"}, 400, "a field of that name"),
        ("unshadow", None, 409, "no release is the shadow"),
    ]
    for route, body, status, words in refusals:
        answer = service.ask("POST", f"/v1/releases/{route}", body)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert service.ask("POST", "/v1/releases/shadow", {"release": other.id}, key="decide").status_code == 403
    assert len(service.ledger.releases()) == n
    assert service.ask("POST", "/v1/releases/shadow", {"release": other.id}).status_code == 200
    again = service.ask("POST", "/v1/releases/shadow", {"release": other.id})
    assert (again.status_code, "is the shadow already" in again.text) == (409, True)


def test_a_shadow_that_is_promoted_is_the_champion_and_no_shadow(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, OTHER_WINDOWS)
    service = start()
    shadowed(service, other)
    assert asked(service, "promote", {"release": other.id})["step"] == "done"
    assert service.ask("GET", "/v1/releases").json()["shadow"] is None
    assert Registry.read(service.ledger).champion() == other.id


def test_no_answer_and_no_stored_decision_tells_what_the_shadow_thinks(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, policy=OTHER_COSTS)
    service = start()
    shadowed(service, other)
    answers = [decide(service, claim(number)) for number in range(60)]
    found = recorded(service, catch_up(service).n_different)
    assert found
    for answer in answers:
        stored = service.ask("GET", f"/v1/decisions/{answer['decision_id']}?explain=full")
        for text in (json.dumps(answer), stored.text):
            assert other.id not in text
            assert "shadow" not in text
    assert list(service.ledger.records(kinds=(Kind.REVIEW_REQUESTED,))) == []


def test_metrics_tell_what_the_shadow_found_and_are_there_without_one(start: Start, workspace: Workspace) -> None:
    other = make_release(workspace, policy=OTHER_COSTS)
    service = start()
    name = service.scenario.name

    def told(result: str) -> str:
        page = service.ask("GET", "/metrics").text
        head = f'ringfence_shadow_decisions{{result="{result}",scenario="{name}"}} '
        return next(line.removeprefix(head) for line in page.splitlines() if line.startswith(head))

    assert [told(result) for result in ("same", "different", "impossible")] == ["0.0"] * 3
    shadowed(service, other)
    for number in range(20):
        decide(service, claim(number))
    standing = catch_up(service)
    assert (float(told("same")), float(told("different"))) == (standing.n_same, standing.n_different)
    assert 'ringfence_ledger_lag_records{reader="shadow"' in service.ask("GET", "/metrics").text
