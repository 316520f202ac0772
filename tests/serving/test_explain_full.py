# SPDX-License-Identifier: Apache-2.0
"""Explanations of whole scores: kept after the answer, computed again by a replay, true for the whole ensemble."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import ringfence
from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.engine import Engine
from ringfence.engine.follower import run_follower
from ringfence.engine.without import Reading
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.records import DecisionBody, Kind
from ringfence.models.gnn import Gnn
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.left_out import masked, stacked_without, without_each
from ringfence.models.seen import Seen
from ringfence.scenario.clock import FakeClock
from ringfence.scoring.errors import NotReproducedError, ReleaseDamagedError
from ringfence.scoring.release import load_release
from ringfence.scoring.scorer import Scorer
from ringfence.scoring.whole import whole_of
from ringfence.serving import explainer
from ringfence.serving.config import ServiceConfig
from ringfence.serving.explainer import fold_and_read, score_readings
from ringfence.serving.wholes import Wholes
from ringfence.steps.explaining import explain_decisions, readings_of
from ringfence.workspace import Workspace

from .conftest import NOW_MS, PATIENT, RunningService, claim, copy_of

Start = Callable[..., RunningService]


@pytest.fixture
def workspace(graph_template: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(graph_template, tmp_path / "workspace")


@pytest.fixture(scope="module")
def explained(graph_template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service that has decided sixty claims, whose follower has passed all of them."""
    here = copy_of(graph_template, tmp_path_factory.mktemp("followed") / "workspace")
    service = RunningService(here, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    decide(service, *range(60))
    follow(service)
    yield service
    service.stop()


def decide(service: RunningService, *numbers: int | str, **changes: Any) -> list[dict[str, Any]]:
    found = []
    for number in numbers:
        event = claim(number, amount=9_000.0, **changes)
        if isinstance(number, int) and number % 3 == 0:
            event["entities"]["witness"] = [number % 7, 40 + number % 5]
        answer = service.ask("POST", "/v1/decisions", event)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
    return found


def follow(service: RunningService, *, size: int = 65_536) -> Engine:
    """What the process beside the service does, to the end of the ledger."""
    engine = Engine(service.release.catalogue)
    with contextlib.closing(Wholes(service.workspace.state_dir(service.scenario))) as wholes:
        for batch in service.ledger.batches(size=size):
            fold_and_read(engine, batch, service.ledger, wholes)
        while score_readings(service.ledger, wholes, lambda name: release_of(service.workspace, name)):
            pass
        assert wholes.n_waiting == 0
    return engine


def release_of(workspace: Workspace, name: str) -> Any:
    return load_release(workspace.releases_dir / name, without=lambda error: None)


def bodies(service: RunningService) -> dict[str, DecisionBody]:
    records = service.ledger.records(kinds=(Kind.DECISION,))
    return {f"d-{record.seq}": record.body for record in records if isinstance(record.body, DecisionBody)}


def asked(service: RunningService, decision_id: str, query: str = "?explain=full") -> Any:
    return service.ask("GET", f"/v1/decisions/{decision_id}{query}", key="read").json()


def flagged(service: RunningService) -> dict[str, DecisionBody]:
    found = {name: body for name, body in bodies(service).items() if body.action != "approve"}
    assert len(found) >= 10
    return found


def test_what_is_kept_adds_up_to_the_score_and_names_every_link(explained: RunningService) -> None:
    n_neighbours = 0
    for name, body in flagged(explained).items():
        answer = asked(explained, name)
        assert answer["explanation_status"] == "computed"
        told = answer["explanation"]
        assert told["score"] == pytest.approx(body.score, abs=1e-9)
        assert told["raw"] == pytest.approx(body.raw_score, abs=1e-6)
        assert told["base"] + sum(one["contribution"] for one in told["branches"]) == pytest.approx(told["raw"])
        assert {one["branch"] for one in told["branches"]} == {"gbdt", "gnn"}
        event = explained.ledger._event(body.event_seq)
        assert event is not None
        entities = {(link.hi, link.lo) for link in event.links}
        assert told["n_links"] == len(entities) == len(told["links"])
        for link in told["links"]:
            assert link["change"] == pytest.approx(sum(link["by_branch"].values()), abs=1e-9)
            assert link["entity"].split(":")[0] in ("person", "repair_shop")
        assert [link["change"] for link in told["links"]] == sorted(link["change"] for link in told["links"])
        if told["links"][0]["change"] < 0:
            assert told["without_strongest"] == told["links"][0]["sentence"]
            assert told["links"][0]["score_without"] <= told["score"]
        n_neighbours += len(told["neighbours"])
        assert len(told["neighbours"]) == min(10, told["n_neighbours"])
        for one in told["neighbours"]:
            seen = explained.ledger.find_event("claim", one["event_id"])
            assert seen is not None
            assert seen.seq == one["event_seq"] < body.event_seq
            assert one["label"] in ("fraud", "legit", None)
    assert n_neighbours > 20


def test_without_a_link_is_the_score_of_the_same_claim_sent_without_it(start: Start, workspace: Workspace) -> None:
    event = claim("whole", amount=9_000.0, entities={"claimant": 3, "repair_shop": "shop-1", "witness": [8]})
    again = copy_of(workspace, workspace.path.parent / "again")
    service = start()
    answer = service.ask("POST", "/v1/decisions", event).json()
    told = explain_decisions(workspace, workspace.scenario(), [answer["decision_id"]])[0].explanation
    assert told.score == pytest.approx(answer["score"], abs=1e-9)
    found = {link.entity: link.score_without for link in told.links}
    for gone, entity in (("claimant", "person:3"), ("repair_shop", "repair_shop:shop-1"), ("witness", "person:8")):
        place = copy_of(again, again.path.parent / gone)
        other = RunningService(place, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
        try:
            kept = {role: who for role, who in event["entities"].items() if role != gone}
            sent = other.ask("POST", "/v1/decisions", {**event, "entities": kept}).json()
        finally:
            other.stop()
        assert found[entity] == pytest.approx(sent["score"], abs=1e-6)
    assert len({round(score, 6) for score in found.values()}) > 1


def test_the_replay_says_what_was_kept_and_python_and_the_command_say_the_same(
    explained: RunningService, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = list(flagged(explained))[:4]
    kept = [asked(explained, name)["explanation"] for name in ids]
    replayed = explain_decisions(explained.workspace, explained.scenario, ids)
    for one, name, before in zip(replayed, ids, kept, strict=True):
        assert one.decision_id == name
        again = json.loads(msgspec.json.encode(one.explanation))
        assert [link["entity"] for link in again["links"]] == [link["entity"] for link in before["links"]]
        assert [past["event_id"] for past in again["neighbours"]] == [past["event_id"] for past in before["neighbours"]]
        assert again["without_strongest"] == before["without_strongest"]
        assert again["raw"] == pytest.approx(before["raw"], abs=1e-6)
    frame = ringfence.open(explained.workspace.path).explain(*ids)
    assert frame["decision_id"].unique(maintain_order=True).to_list() == ids
    assert set(frame["part"]) == {"base", "branch", "feature", "link", "neighbour"}
    own = frame.filter(frame["decision_id"] == ids[0])
    parts = own.filter(own["part"].is_in(["base", "branch"]))
    assert parts["adds"].sum() == pytest.approx(kept[0]["raw"], abs=1e-6)
    assert run(["explain", ids[0], ids[1], "-w", str(explained.workspace.path)]) == Exit.OK
    text = capsys.readouterr().out
    assert str(kept[0]["links"][0]["sentence"]) in text
    assert run(["explain", ids[0], "-w", str(explained.workspace.path), "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["explained"][0]["decision_id"] == ids[0]
    assert run(["explain", "d-1", "-w", str(explained.workspace.path)]) == Exit.BAD_INPUT
    assert "d-1" in capsys.readouterr().err


def test_approvals_are_explained_by_replay_and_what_the_follower_has_not_passed_is_pending(
    start: Start, workspace: Workspace
) -> None:
    service = start()
    decide(service, *range(20))
    for name, body in bodies(service).items():
        answer = asked(service, name)
        assert answer["explanation"] is None
        assert answer["explanation_status"] == ("replay" if body.action == "approve" else "pending")
    small = service.ask("POST", "/v1/decisions", claim("small", amount=0.5)).json()
    assert small["action"] == "approve"
    follow(service)
    assert asked(service, small["decision_id"])["explanation_status"] == "replay"
    told = explain_decisions(workspace, workspace.scenario(), [small["decision_id"]])[0]
    assert (told.action, told.explanation.score) == ("approve", pytest.approx(small["score"], abs=1e-9))


def test_an_event_learned_before_it_was_decided_is_explained_by_replay(start: Start, workspace: Workspace) -> None:
    service = start()
    early = claim("early", amount=9_000.0, entities={"claimant": 3, "repair_shop": "shop-1"})
    assert service.ask("POST", "/v1/events", early).status_code == 202
    decide(service, *range(5), entities={"claimant": 3, "repair_shop": "shop-1"})
    follow(service)
    answer = service.ask("POST", "/v1/decisions", early).json()
    assert answer["action"] != "approve"
    assert asked(service, answer["decision_id"])["explanation_status"] == "replay"
    told = explain_decisions(workspace, workspace.scenario(), [answer["decision_id"]])[0].explanation
    assert told.score == pytest.approx(answer["score"], abs=1e-9)


@pytest.mark.parametrize("query", ["?explain=", "?explain=all", "?explain=FULL", "?explain=full&explain=%00"])
def test_another_value_of_explain_is_refused(explained: RunningService, query: str) -> None:
    name = next(iter(bodies(explained)))
    for path in (f"/v1/decisions/{name}{query}", f"/v1/decisions{query}&event_id=c-1"):
        answer = explained.ask("GET", path, key="read")
        assert (answer.status_code, answer.json()["path"]) == (400, "$query.explain")
    assert "explanation" not in asked(explained, name, "")
    assert explained.ask("GET", f"/v1/decisions/{name}?explain=full", key="decide").status_code == 403
    by_event = explained.ask("GET", "/v1/decisions?event_id=c-1&explain=full", key="read").json()
    assert by_event["explanation_status"] in ("computed", "replay")


def test_a_decision_of_the_trees_alone_is_explained_without_neighbours(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()

    def fails(*_: object) -> None:
        raise RuntimeError("the runtime has no memory left")

    with monkeypatch.context() as patched:
        patched.setattr(Gnn, "raw", fails)
        (answer,) = decide(service, "failing")
    assert answer["rung"] == "gbdt"
    found = explain_decisions(workspace, workspace.scenario(), [answer["decision_id"]])[0]
    told, row = found.explanation, bodies(service)[answer["decision_id"]].row
    assert row is not None
    shares = Scorer(service.release).explain(Seen(np.frombuffer(row)[None, :]), rung="gbdt")[0]
    assert found.exact_reasons[0].contribution == pytest.approx(shares[np.argmax(np.abs(shares))])
    assert [one.branch for one in told.branches] == ["gbdt"]
    assert (told.neighbours, told.n_neighbours) == ([], 0)
    assert told.links


def test_where_no_model_was_asked_nothing_but_the_base_is_told(start: Start, workspace: Workspace) -> None:
    healthy = start()
    (before,) = decide(healthy, "before")
    healthy.service.stop()
    file = healthy.release.path / "gbdt.txt"
    file.chmod(0o644)
    file.unlink()
    (answer,) = decide(start(), "after")
    assert answer["rung"] == "rules"
    found = explain_decisions(workspace, workspace.scenario(), [answer["decision_id"]])[0]
    told = found.explanation
    assert (found.exact_reasons, told.branches, told.neighbours, told.without_strongest) == ([], [], [], None)
    assert told.base == told.raw
    assert all(link.change == 0.0 for link in told.links)
    with pytest.raises(ReleaseDamagedError, match=r"gbdt\.txt"):
        explain_decisions(workspace, workspace.scenario(), [before["decision_id"]])


def test_a_release_without_a_network_tells_links_and_no_neighbours(template: Workspace, tmp_path: Path) -> None:
    here = copy_of(template, tmp_path / "plain")
    service = RunningService(here, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    try:
        decide(service, *range(25))
        follow(service, size=7)
        found = [asked(service, name)["explanation"] for name in flagged(service)]
    finally:
        service.stop()
    assert all(told["neighbours"] == [] and told["links"] for told in found)
    assert {share["branch"] for told in found for share in told["branches"]} == {"gbdt", "anomaly"}


def test_reading_on_the_way_leaves_the_state_of_a_plain_replay(explained: RunningService, tmp_path: Path) -> None:
    plain = Engine(explained.release.catalogue)
    for batch in explained.ledger.batches():
        plain.observe(batch)
    turns = iter([False, False, True])
    with contextlib.closing(Wholes(tmp_path)) as wholes:
        written = run_follower(
            explained.ledger,
            explained.release.catalogue,
            tmp_path,
            every_records=1,
            every_seconds=0.0,
            stop=lambda: next(turns, True),
            poll_seconds=0.0,
            fold=lambda engine, batch: fold_and_read(engine, batch, explained.ledger, wholes),
        )
        assert wholes.n_waiting == len(flagged(explained))
        assert wholes.read_through == plain.seq == written
    followed = follow(explained)
    assert followed.state_hash() == plain.state_hash()


def test_no_more_readings_wait_than_there_is_room_for(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = start()
    decide(service, *range(20))
    monkeypatch.setattr(explainer, "MOST_WAITING", 3)
    with contextlib.closing(Wholes(tmp_path)) as wholes:
        engine = Engine(service.release.catalogue)
        for batch in service.ledger.batches():
            fold_and_read(engine, batch, service.ledger, wholes)
        assert wholes.n_waiting == 3
        passed = [
            wholes.status(int(name[2:]), body.event_seq, is_approval=False) for name, body in flagged(service).items()
        ]
    assert passed == ["pending"] * 3 + ["replay"] * (len(passed) - 3)


def test_erased_names_are_not_told(start: Start, workspace: Workspace) -> None:
    service = start()
    decide(service, *range(20))
    follow(service)
    name = next(iter(flagged(service)))
    before = asked(service, name)["explanation"]
    assert not any(link["entity"].startswith("erased:") for link in before["links"])
    with contextlib.closing(Erasable(workspace.ledger_dir(workspace.scenario()))) as erasable:
        erasable.clear()
    after = asked(service, name)["explanation"]
    assert all(link["entity"].startswith("erased:") for link in after["links"])
    assert [link["change"] for link in after["links"]] == [link["change"] for link in before["links"]]


def readings(service: RunningService) -> dict[int, tuple[DecisionBody, Reading]]:
    by_seq = {body.event_seq: body for body in flagged(service).values()}
    state_dir = service.workspace.path / "nothing"
    found = readings_of(service.ledger, service.release, state_dir, sorted(by_seq))
    return {seq: (by_seq[seq], reading) for seq, reading in found.items()}


def test_a_score_that_does_not_come_out_again_is_not_explained(explained: RunningService) -> None:
    _, (body, reading) = next(iter(readings(explained).items()))
    scorer = Scorer(explained.release)
    whole = whole_of(scorer, reading, event_time_ms=NOW_MS, rung="full", score=body.score)
    assert whole.score == pytest.approx(body.score, abs=1e-9)
    with pytest.raises(NotReproducedError, match="verify decision"):
        whole_of(scorer, reading, event_time_ms=NOW_MS, rung="full", score=body.score + 0.01)


def test_taking_out_the_named_neighbours_together_lowers_the_score_more_than_others_do(
    explained: RunningService,
) -> None:
    rng, more = np.random.default_rng(2), []
    ensemble = explained.release.ensemble
    for body, reading in readings(explained).values():
        near = reading.neighbourhoods
        assert near is not None
        sampled = SampledArrays(near.events[:1], near.mask[:1], near.nodes[:1])
        out = without_each(sampled, near.event_seq[0])
        if out.n_sampled < 5:
            continue
        whole = whole_of(
            Scorer(explained.release), reading, event_time_ms=NOW_MS, rung="full", score=body.score, most=3
        )
        place = {seq: at for at, seq in enumerate(out.keys.tolist())}
        named = [place[one.event_seq] for one in whole.neighbours]
        drawn = rng.choice(len(out.keys), 3, replace=False).tolist()
        slots = [places_of(near.event_seq[0], near.mask[0], key) for key in out.keys.tolist()]
        groups = [[slot for at in group for slot in slots[at]] for group in (named, drawn)]
        lower = stacked_without(ensemble, Seen(reading.rows[:1], sampled), masked(sampled, groups))
        more.append(lower[1] - lower[0])
    assert len(more) >= 10
    low, high = np.percentile(rng.choice(more, (500, len(more))).mean(axis=1), [2.5, 97.5])
    assert 0.0 < low < high


def places_of(event_seq: np.ndarray, mask: np.ndarray, key: int) -> list[tuple[int, int]]:
    return [(int(seat), int(slot)) for seat, slot in np.argwhere(mask & (event_seq == key))]
