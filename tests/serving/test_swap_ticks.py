# SPDX-License-Identifier: Apache-2.0
"""Rings come and go with the release that reads them: their ticks are on record while it is live, and only then."""

from __future__ import annotations

from collections.abc import Callable

from ringfence.cli.proofs import decision_proofs, state_proof
from ringfence.ledger.records import Kind, TickBody
from ringfence.workspace import Workspace

from .conftest import DAY_MS, NOW_MS, RunningService, claim
from .releases import asked, make_release
from .test_service import decide
from .test_swap import live_hash, replayed_hash
from .test_tick_records import HOUR_MS, RINGED


def test_ticks_are_on_record_while_a_release_that_reads_rings_is_live(
    start: Callable[..., RunningService], workspace: Workspace
) -> None:
    ringed = make_release(workspace, RINGED)
    service = start()
    answers, live_at = [], {0: None, 8: "promote", 14: "rollback", 17: "promote"}
    for hour in range(24):
        if route := live_at.get(hour):
            body = {"release": ringed.id} if route == "promote" else {}
            assert asked(service, route, body)["step"] == "done"
        answers.append(decide(service, claim(f"hour-{hour}", event_time=NOW_MS - DAY_MS + hour * HOUR_MS)))
    by_ringed = [answer["versions"]["release"] == ringed.id for answer in answers]
    assert by_ringed == [8 <= hour < 14 or hour >= 17 for hour in range(24)]
    ticks = [record.body for record in service.ledger.records(kinds=(Kind.TICK,))]
    assert {tick.spec for tick in ticks if isinstance(tick, TickBody)} == {ringed.spec_hash}
    assert len(ticks) >= 2
    assert live_hash(service) == replayed_hash(service)
    service.service.stop()
    proof = state_proof(service.workspace, service.scenario)
    assert proof.holds
    assert proof.n_ticks == len(ticks)
    ids = [answer["decision_id"] for answer in answers]
    proofs = decision_proofs(service.workspace, service.scenario, ids, newest=0, progress=lambda at, of: None)
    assert all(one.holds for one in proofs)
    again = start()
    assert again.service._live is not None
    assert again.service._live.n_wrong_ticks == 0
