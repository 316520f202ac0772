# SPDX-License-Identifier: Apache-2.0
"""Where a later event labels, sending it to the service is all it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ringfence.scenario.batch import FRAUD
from ringfence.workspace import Workspace
from tests.serving.conftest import NOW_MS, SCENARIO, RunningService, claim, make_workspace

COLUMN = "label: {field: is_fraud, values: {fraud: [1], legit: [0]}, delay: 30d}"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    text = SCENARIO.replace(COLUMN, "label: {event: policy_change, horizon: 30d, by: claimant}")
    assert text != SCENARIO
    return make_workspace(tmp_path_factory.mktemp("outcomes") / "workspace", text)


def standing(service: RunningService, event_id: str) -> list[tuple[int, str]]:
    found = service.ledger.find_event("claim", event_id)
    assert found is not None
    labels = service.ledger.labels()
    return [(value, source) for seq, value, _, source in labels.iter_rows() if seq == found.seq]


def test_an_outcome_labels_what_it_answers_and_a_restart_knows_it(start: Callable[..., RunningService]) -> None:
    service = start()
    for number in (1, 2):
        raw = claim(number, event_time=NOW_MS - 1_000 * number, entities={"claimant": f"new-{number}"})
        assert service.ask("POST", "/v1/decisions", raw).status_code == 200
    change = {
        "event_id": "p-1",
        "event_type": "policy_change",
        "event_time": NOW_MS,
        "entities": {"claimant": "new-1"},
    }
    assert service.ask("POST", "/v1/events", change).status_code == 202
    assert (standing(service, "c-1"), standing(service, "c-2")) == ([(FRAUD, "policy_change")], [])
    last_seq = service.ledger.last_seq
    assert service.ask("POST", "/v1/events", change).status_code == 202
    assert service.ledger.last_seq == last_seq
    live = service.service._live.engine.state_hash()
    service.service.stop()
    again = start()
    assert again.service._live.engine.state_hash() == live
    late = claim(3, event_time=NOW_MS - 3_000, entities={"claimant": "new-1"})
    assert again.ask("POST", "/v1/decisions", late).status_code == 200
    assert standing(again, "c-3") == [(FRAUD, "policy_change")]
