# SPDX-License-Identifier: Apache-2.0
"""Another release while the service runs: nobody waits, nothing is lost, and every decision can be made again."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ringfence.cli.proofs import decision_proofs, state_proof
from ringfence.engine.engine import Engine
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind, ReleaseBody
from ringfence.rollout.registry import Registry
from ringfence.serving.service import State
from ringfence.workspace import Workspace

from .conftest import NOW_MS, POLICY, RunningService, claim
from .releases import MORE_ATTRIBUTES, OTHER_WINDOWS, Asking, asked, make_release, waited
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


def test_a_release_of_the_same_features_takes_over_while_clients_keep_asking(start: Start, workspace: Workspace) -> None:
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
