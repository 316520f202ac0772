# SPDX-License-Identifier: Apache-2.0
"""A release whose score counts on the graph network: live as in replay, and the trees where the network fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ringfence.cli.proofs import decision_proofs, live_catalogue, parity_proof, state_proof
from ringfence.engine import Catalogue, Engine, write_snapshot
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind
from ringfence.models.gnn import Gnn
from ringfence.models.packed import pack, unpack
from ringfence.models.seen import Seen
from ringfence.scenario.clock import FakeClock
from ringfence.scoring import Release, load_release
from ringfence.scoring.scorer import Scorer
from ringfence.serving.explanations import Explanations
from ringfence.serving.follower import explain_next
from ringfence.serving.kept import Kept, KeptRows
from ringfence.serving.recovery import champion_of
from ringfence.training.recalibrating import recalibrate
from ringfence.training.score import score
from ringfence.workspace import Workspace
from tests.oracles.gnn_worlds import drawn_sampled

from .conftest import NOW_MS, RunningService, claim, copy_of
from .faults import hinder_trees, raising


@pytest.fixture
def workspace(graph_template: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(graph_template, tmp_path / "workspace")


def decisions(ledger: Ledger) -> list[DecisionBody]:
    return [record.body for record in ledger.records(kinds=(Kind.DECISION,)) if isinstance(record.body, DecisionBody)]


def decide(service: RunningService, *numbers: int | str) -> list[dict[str, Any]]:
    answer = service.ask("POST", "/v1/decisions", claim(numbers[0]))
    found = [answer.json()]
    assert answer.status_code == 200, answer.text
    return found + [service.ask("POST", "/v1/decisions", claim(number)).json() for number in numbers[1:]]


def replayed_members(ledger: Ledger, release: Release) -> dict[int, float]:
    """What the network says of every decided event in a replay, by seq."""
    engine, scorer, found = Engine(release.catalogue), Scorer(release), {}
    for batch in ledger.batches(size=37):
        rows, near = engine.observe_sampled(batch)
        if len(near):
            said = scorer.score(Seen(rows, near)).members["gnn"]
            found.update(dict(zip(near.seq.tolist(), said.tolist(), strict=True)))
    return found


def test_the_network_says_live_what_it_says_in_a_replay(
    start: Callable[..., RunningService], workspace: Workspace
) -> None:
    service = start(row_sample=1)
    decide(service, *range(40))
    service.ask("POST", "/v1/labels", {"event_id": "c-3", "label": "fraud", "source": "court"}, key="label")
    decide(service, *range(40, 60))
    release = service.release
    assert release.catalogue.neighbourhoods == 4
    expected = replayed_members(service.ledger, release)
    found = decisions(service.ledger)
    assert len(found) == 60
    for body in found:
        assert body.circumstances["rung"] == "full"
        assert body.versions["spec"] == release.spec_hash == release.catalogue.spec_hash
        assert body.members["gnn"] == pytest.approx(expected[body.event_seq], abs=1e-6)
    assert np.std([body.members["gnn"] for body in found]) > 1e-3
    proofs = decision_proofs(workspace, workspace.scenario(), [], newest=60, progress=lambda done, total: None)
    assert len(proofs) == 60
    assert all(proof.holds for proof in proofs)


def test_an_event_learned_first_is_decided_from_the_neighbourhood_it_had_then(
    start: Callable[..., RunningService], workspace: Workspace
) -> None:
    early = claim("early", entities={"claimant": 3, "repair_shop": "shop-1"})
    service = start()
    assert service.ask("POST", "/v1/events", early).status_code == 202
    for number in range(12):  # what its entities do afterwards is not to matter
        service.ask("POST", "/v1/decisions", claim(number, entities={"claimant": 3, "repair_shop": "shop-1"}))
    service.service.stop()
    again = start()
    answer = again.ask("POST", "/v1/decisions", early).json()
    assert answer["rung"] == "full"
    expected = replayed_members(again.ledger, again.release)
    assert answer["members"]["gnn"] == pytest.approx(expected[answer["event_seq"]], abs=1e-6)
    proofs = decision_proofs(workspace, workspace.scenario(), [], newest=20, progress=lambda done, total: None)
    assert all(proof.holds for proof in proofs)


def test_only_what_decides_an_event_is_synced_apart_from_the_ledger(
    start: Callable[..., RunningService], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lower rung answers under load; a second fsync for each turn would make it slower just then."""
    service = start(second_looks=False)
    kept: list[tuple[int, bool]] = []
    put = KeptRows.put

    def noted(self: KeptRows, rows: Iterable[tuple[int, bytes, Kept]], *, synced: bool = True) -> None:
        rows = list(rows)
        kept.extend((seq, synced) for seq, _, _ in rows)
        put(self, rows, synced=synced)

    monkeypatch.setattr(KeptRows, "put", noted)
    hinder_trees(service, raising)
    learned = service.ask("POST", "/v1/events", claim("learned")).json()["seq"]
    (fallen,) = decide(service, "fallen")
    assert fallen["rung"] == "rules"
    assert kept == [(learned, True), (fallen["event_seq"], False)]
    decide(service, "learned")  # and forgets
    assert kept == [(learned, True), (fallen["event_seq"], False), (learned, False)]


def test_without_its_file_the_trees_answer(start: Callable[..., RunningService], workspace: Workspace) -> None:
    service = start()
    (full,) = decide(service, "before")
    file = service.release.path / "gnn.bin"
    service.service.stop()
    file.chmod(0o644)
    file.unlink()
    without = start()
    (answer,) = decide(without, "after")
    assert (full["rung"], answer["rung"], answer["degraded"]) == ("full", "gbdt", True)
    assert answer["circumstances"]["degraded"] == "gnn.bin is broken"
    assert "gnn" not in answer["members"]
    assert answer["versions"] == full["versions"]
    assert without.service.state == "ready"


def test_a_network_that_fails_at_run_time_leaves_the_decision_to_the_trees(
    start: Callable[..., RunningService], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()

    def fails(*_: object) -> None:
        raise RuntimeError("the runtime has no memory left")

    with monkeypatch.context() as patched:
        patched.setattr(Gnn, "raw", fails)
        (answer,) = decide(service, "failing")
    assert (answer["rung"], answer["circumstances"]["degraded"]) == ("gbdt", "RuntimeError")
    assert {"gbdt", "anomaly"} <= set(answer["members"])
    assert "gnn" not in answer["members"]
    (mended,) = decide(service, "mended")
    assert mended["rung"] == "full"
    assert "degraded" not in mended["circumstances"]


def test_what_the_network_adds_is_a_reason_and_an_exact_one(
    start: Callable[..., RunningService], workspace: Workspace
) -> None:
    service = start(row_sample=1)
    decide(service, *range(60))
    told = [
        (body, reason)
        for body in decisions(service.ledger)
        for reason in body.reasons
        if reason.code == "NEIGHBOURHOOD"
    ]
    assert told
    for body, reason in told:
        p = body.members["gnn"]
        assert reason.contribution == pytest.approx(0.6 * (np.log(p / (1 - p)) + 2.5), abs=1e-9)
        assert reason.sentence == (
            "What is known of the events around its claimant, repair shop and witness (graph network)"
        )
    explanations = Explanations(workspace.path / "explained")
    while explain_next(service.ledger, workspace.releases_dir, explanations, {}):
        pass
    named = [
        exact
        for record in service.ledger.records(kinds=(Kind.DECISION,))
        for exact in explanations.get(record.seq) or []
        if exact.feature == "gnn"
    ]
    explanations.close()
    assert {round(exact.contribution, 9) for exact in named} <= {round(reason.contribution, 9) for _, reason in told}
    assert named


def test_scores_of_the_past_are_those_of_the_replay(workspace: Workspace) -> None:
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    release = load_release(max(workspace.releases_dir.iterdir(), key=lambda path: (path / "gnn.bin").exists()))
    scored = score(ledger, release, -(2**62))
    expected = replayed_members(ledger, release)
    by_id = dict(ledger.events(-(2**62)).select("event_id", "seq").iter_rows())
    found = [expected[by_id[name]] for name in scored["event_id"].to_list()]
    np.testing.assert_allclose(scored["gnn"].to_numpy(), found, atol=1e-6)
    assert scored.height == 300


def test_parity_and_state_are_proved_with_neighbourhoods(workspace: Workspace) -> None:
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    release, catalogue = live_catalogue(workspace, scenario)
    assert (release, catalogue.neighbourhoods) == (champion_of(ledger, workspace.releases_dir).id, 4)
    proof = parity_proof(ledger, catalogue, n_events=60, progress=lambda done, total: None)
    assert (proof.holds, proof.n_rows, proof.neighbourhoods) == (True, 60, 4)
    write_snapshot(replayed(ledger, catalogue), workspace.state_dir(scenario))
    state = state_proof(workspace, scenario)
    assert state.holds
    assert state.snapshot_seq is not None


def test_a_calibration_made_anew_is_of_what_the_network_says(workspace: Workspace) -> None:
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    release = champion_of(ledger, workspace.releases_dir)
    cut_ms = int(ledger.events(-(2**62))["event_time_ms"].quantile(0.05) or 0)
    made = msgspec.structs.replace(release.manifest.made, until_ms=cut_ms)
    earlier = msgspec.structs.replace(release.manifest, made=made)
    release.manifest = earlier  # as if it had been made from the first of them
    again = recalibrate(ledger, release, releases_dir=workspace.releases_dir, clock=FakeClock(NOW_MS))
    assert again.manifest.neighbourhoods == 4
    assert again.stack == release.stack
    scored = score(ledger, again, cut_ms)
    raw = score(ledger, release, cut_ms)
    np.testing.assert_allclose(scored["gnn"].to_numpy(), raw["gnn"].to_numpy(), atol=1e-9)
    assert scored["score"].to_list() != raw["score"].to_list()


def replayed(ledger: Ledger, catalogue: Catalogue) -> Engine:
    engine = Engine(catalogue)
    for batch in ledger.batches():
        engine.observe_sampled(batch)
    return engine


def test_a_packed_neighbourhood_is_the_one_that_was_packed() -> None:
    sampled = drawn_sampled(3, 6)
    events = np.where(sampled.mask[..., None], sampled.events, np.float32(0))
    held = sampled._replace(events=events)
    for at in range(6):
        found = unpack(pack(held, at), held)
        assert found is not None
        assert pack(found, 0) == pack(held, at)
        for name in ("events", "mask", "nodes"):
            assert getattr(found, name)[0].tobytes() == getattr(held, name)[at].tobytes()
    data = pack(held, 0)
    assert unpack(data[:-4], held) is None
    assert unpack(b"", held) is None
    assert blake2b(data).digest() != blake2b(pack(held, 1)).digest()
