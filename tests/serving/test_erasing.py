# SPDX-License-Identifier: Apache-2.0
"""Somebody is erased while the service decides: it goes on, and the files hold nothing of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.cli.proofs import decision_proofs, state_proof
from ringfence.engine.snapshot import write_snapshot
from ringfence.ledger.acts import read_acts
from ringfence.ledger.audit import audit_ledger

from .conftest import NOW_MS, RunningService, claim

Start = Callable[..., RunningService]
WHO, PHONE = "anna-katharina-4711", "+49-170-5550100"


def of_anna(event_id: str, **changes: object) -> dict[str, object]:
    event = claim(event_id, event_time=NOW_MS - 1000)
    event["entities"]["claimant"] = WHO
    event["attributes"]["phone"] = PHONE
    return {**event, **changes}


def test_a_running_service_goes_on_with_the_same_state_and_explains_without_the_name(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start()
    for number in range(20):
        assert service.ask("POST", "/v1/decisions", claim(f"other-{number}")).status_code == 200
    before = service.ask("POST", "/v1/decisions", of_anna("anna-1", amount=9_000)).json()
    live = service.service._live
    assert live is not None
    write_snapshot(live.engine, service.workspace.state_dir(service.scenario))
    told = service.ask("GET", f"/v1/entities/person/{WHO}").json()
    here = ["-w", str(service.workspace.path)]
    assert run(["entity", "erase", "claimant", WHO, "--reason", "request 17", *here]) == Exit.OK
    assert "1 id, 1 personal value; 1 event names it by its digest alone" in capsys.readouterr().out
    for file in service.workspace.path.rglob("*"):
        assert not file.is_file() or WHO.encode() not in file.read_bytes(), file
        assert not file.is_file() or PHONE.encode() not in file.read_bytes(), file
    assert service.ask("GET", f"/v1/entities/person/{WHO}").json() == told  # who knows the id may ask, as before
    assert service.ask("POST", "/v1/decisions", of_anna("anna-1", amount=9_000)).json() == before
    after = service.ask("POST", "/v1/decisions", of_anna("anna-2", amount=9_000))
    assert after.status_code == 200
    digest = b"".join(half.to_bytes(8, "big") for half in service.ledger.identity.entity("person", WHO))
    assert service.ledger.entity_names([digest]) == {}
    state = state_proof(service.workspace, service.scenario)
    assert state.snapshot_seq is not None
    assert state.holds
    assert live.engine.state_hash() == state.replayed
    proofs = decision_proofs(service.workspace, service.scenario, [], newest=22, progress=lambda done, total: None)
    assert len(proofs) == 22
    assert all(proof.holds for proof in proofs)
    assert audit_ledger(service.ledger).holds
    (act,) = read_acts(service.workspace.acts_path)
    assert (act.act, act.about, act.note) == ("entity erased", f"motor-claims: person {digest.hex()}", "request 17")
