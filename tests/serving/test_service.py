# SPDX-License-Identifier: Apache-2.0
"""Decide, learn, be told, read back: what the routes promise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.errors import RingfenceError
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, EventBody, Kind
from ringfence.models.seen import Seen
from ringfence.scoring.scorer import Scorer
from ringfence.serving.config import ServiceConfig
from ringfence.serving.server import address
from ringfence.workspace import Workspace

from .conftest import DAY_MS, NOW_MS, RunningService, claim

Start = Callable[..., RunningService]


def decide(service: RunningService, event: dict[str, Any]) -> dict[str, Any]:
    response = service.ask("POST", "/v1/decisions", event, key="decide")
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_an_answer_is_durable_and_says_why_and_by_which_versions(shared: RunningService) -> None:
    answer = decide(shared, claim("why"))
    record = shared.ledger.decision(answer["decision_id"])
    assert record is not None
    assert isinstance(record.body, DecisionBody)
    assert (record.body.action, record.body.score) == (answer["action"], answer["score"])
    assert answer["durable"]
    assert not answer["degraded"]
    assert answer["rung"] == "full"
    assert answer["versions"]["release"] == shared.release.id
    assert answer["action"] == "approve" or len(answer["reasons"]) >= 3
    assert answer["circumstances"]["batch_size"] == 1


def test_every_answer_that_is_not_an_approval_has_three_reasons_and_its_row(shared: RunningService) -> None:
    answers = [decide(shared, claim(f"reasons-{number}", amount=9_000)) for number in range(60)]
    flagged = [answer for answer in answers if answer["action"] != "approve"]
    assert flagged
    for answer in flagged:
        assert len(answer["reasons"]) >= 3
        record = shared.ledger.decision(answer["decision_id"])
        assert record is not None
        assert isinstance(record.body, DecisionBody)
        assert record.body.row is not None


def test_stages_are_timed_in_the_answer(shared: RunningService) -> None:
    response = shared.ask("POST", "/v1/decisions", claim("timed"))
    stages = [part.split(";")[0] for part in response.headers["server-timing"].split(", ")]
    assert stages == ["decode", "queue", "observe", "score", "commit"]


def test_the_same_event_again_gets_the_same_bytes_and_no_new_record(shared: RunningService) -> None:
    first = shared.ask("POST", "/v1/decisions", claim("again"))
    last_seq = shared.ledger.last_seq
    second = shared.ask("POST", "/v1/decisions", claim("again"))
    assert first.content == second.content
    assert "ringfence-repeated" not in first.headers
    assert second.headers["ringfence-repeated"] == "true"
    assert shared.ledger.last_seq == last_seq


def test_a_late_event_says_that_it_is_late_and_says_so_again(shared: RunningService) -> None:
    decide(shared, claim("in time", event_time=NOW_MS - 1_000))
    answer = decide(shared, claim("just in time", event_time=NOW_MS - DAY_MS))
    assert "late" not in answer["circumstances"]
    event = claim("late", event_time=NOW_MS - 2 * DAY_MS)
    answer = decide(shared, event)
    assert answer["circumstances"]["late"] is True
    assert decide(shared, event) == answer


def test_another_payload_under_the_same_id_is_a_conflict(shared: RunningService) -> None:
    decide(shared, claim("conflict"))
    response = shared.ask("POST", "/v1/decisions", claim("conflict", amount=1.0))
    assert response.status_code == 409
    assert response.json()["type"] == "urn:ringfence:problem:payload-conflict"
    assert response.json()["path"] == "$.event_id"


def test_the_same_event_twice_in_one_group_is_decided_once(shared: RunningService) -> None:
    async def both() -> list[Any]:
        service = shared.service
        admissions = [service.doorman.admit_decided(claim("twins")) for _ in range(5)]
        from ringfence.serving.queue import Ask

        tickets = [service.submit(Ask.DECIDE, admission=admission) for admission in admissions]
        return list(await asyncio.gather(*(ticket.future for ticket in tickets)))

    answers = shared.run(both())
    assert len({answer.decision_id for answer in answers}) == 1


def test_an_event_learned_first_is_decided_once_from_the_row_it_had(start: Start) -> None:
    service = start()
    learned = claim("learned", event_time=NOW_MS - 5_000, entities={"claimant": "new-face", "repair_shop": "shop-1"})
    response = service.ask("POST", "/v1/events", learned)
    assert response.status_code == 202
    seq = response.json()["seq"]
    for number in range(5):  # later events of the same entities must not reach back into its row
        decide(service, claim(f"later-{number}", entities=learned["entities"], event_time=NOW_MS - 4_000))
    answer = decide(service, learned)
    assert answer["event_seq"] == seq
    rows = replayed_rows(service.ledger)
    expected = Scorer(service.release).score(Seen(rows[seq][None, :])).score[0]
    assert answer["score"] == expected
    assert decide(service, learned) == answer


def test_an_event_learned_before_a_restart_is_still_decided_from_its_row(start: Start) -> None:
    first = start()
    learned = claim("early", event_time=NOW_MS - 5_000)
    seq = first.ask("POST", "/v1/events", learned).json()["seq"]
    first.service.stop()
    second = start()
    answer = decide(second, learned)
    assert answer["event_seq"] == seq
    assert answer["score"] == Scorer(second.release).score(Seen(replayed_rows(second.ledger)[seq][None, :])).score[0]


def test_history_whose_row_was_not_kept_is_refused_with_the_way_out(shared: RunningService) -> None:
    stored = next(iter(shared.ledger.records(kinds=(Kind.EVENT,), limit=1)))
    assert isinstance(stored.body, EventBody)
    event = stored.body.event
    again = claim(0, event_id=event.event_id, event_time=event.event_time_ms)
    response = shared.ask("POST", "/v1/decisions", again)
    assert response.status_code == 409
    assert "ringfence score" in response.json()["detail"]


def test_live_rows_equal_replayed_rows_by_digest(start: Start) -> None:
    service = start()
    for number in range(40):
        decide(service, claim(f"parity-{number}"))
        service.ask("POST", "/v1/events", claim(f"context-{number}", event_type="policy_change", **CONTEXT))
    rows = replayed_rows(service.ledger)
    from hashlib import blake2b

    for record in service.ledger.records(kinds=(Kind.DECISION,)):
        assert isinstance(record.body, DecisionBody)
        row = rows[record.body.event_seq]
        assert record.body.feature_digest == blake2b(row.tobytes(), digest_size=16).digest()
        assert record.body.row is None or record.body.row == row.tobytes()


CONTEXT: dict[str, Any] = {"amount": None, "entities": {"claimant": 7}, "attributes": None}


def replayed_rows(ledger: Ledger) -> dict[int, np.ndarray[Any, Any]]:
    catalogue = Catalogue.build(ledger.scenario)
    engine, rows = Engine(catalogue), {}
    for batch in ledger.batches():
        wanted = batch.seq[(batch.kind == 0) & (batch.event_type == ledger.scenario.decided.index)]
        rows.update(dict(zip(wanted.tolist(), engine.observe(batch), strict=True)))
    return rows


def test_a_label_teaches_and_a_repeated_one_adds_nothing(shared: RunningService) -> None:
    decide(shared, claim("labelled"))
    label = {"event_id": "c-labelled", "label": "fraud", "source": "investigator"}
    first = shared.ask("POST", "/v1/labels", label, key="label")
    assert first.status_code == 202
    again = shared.ask("POST", "/v1/labels", label, key="label")
    assert again.json() == first.json()
    changed = shared.ask("POST", "/v1/labels", {**label, "label": "legit"}, key="label")
    assert changed.json()["seq"] > first.json()["seq"]


def test_a_label_says_what_was_assumed_and_from_when_on_it_counts(shared: RunningService) -> None:
    decide(shared, claim("assumed"))
    answer = shared.ask("POST", "/v1/labels", {"event_id": "c-assumed", "label": "legit"}, key="label").json()
    assert (answer["source"], answer["stands"]) == ("api", True)
    assert answer["known_at"] == "2025-06-15T15:06:40.000Z"
    backdated = {"event_id": "c-assumed", "label": "fraud", "source": "court", "known_at": "2025-06-01T00:00:00Z"}
    answer = shared.ask("POST", "/v1/labels", backdated, key="label").json()
    assert (answer["source"], answer["known_at"]) == ("court", "2025-06-15T15:06:40.000Z")


def test_a_label_of_a_weaker_source_says_that_it_does_not_stand(shared: RunningService) -> None:
    decide(shared, claim("weaker"))
    court = {"event_id": "c-weaker", "label": "fraud", "source": "court"}
    first = shared.ask("POST", "/v1/labels", court, key="label").json()
    weaker = shared.ask("POST", "/v1/labels", {"event_id": "c-weaker", "label": "legit"}, key="label").json()
    assert (weaker["stands"], weaker["known_at"], weaker["seq"] > first["seq"]) == (False, None, True)
    assert shared.ask("POST", "/v1/labels", court, key="label").json() == first


def test_a_decision_is_read_back_as_it_was_given(shared: RunningService) -> None:
    answer = decide(shared, claim("read"))
    stored = shared.ask("GET", f"/v1/decisions/{answer['decision_id']}", key="read").json()
    assert stored["decision"] == answer
    assert stored["recorded_at"].startswith("2025-06-15T15:06:40")
    assert shared.ask("GET", "/v1/decisions/d-999999", key="read").status_code == 404
    assert shared.ask("GET", f"/v1/decisions/d-{answer['event_seq']}", key="read").status_code == 404


def test_a_decision_is_found_by_the_id_of_its_event(shared: RunningService) -> None:
    answer = decide(shared, claim("found", event_id="Zoë & 7"))
    by_event = shared.ask("GET", "/v1/decisions?event_id=Zo%C3%AB%20%26%207&event_type=claim", key="read")
    assert by_event.status_code == 200
    assert by_event.json() == shared.ask("GET", f"/v1/decisions/{answer['decision_id']}", key="read").json()
    learned = claim("learned-only")
    shared.ask("POST", "/v1/events", learned)
    undecided = shared.ask("GET", f"/v1/decisions?event_id={learned['event_id']}", key="read")
    assert (undecided.status_code, "undecided" in undecided.json()["detail"]) == (404, True)
    unknown = shared.ask("GET", "/v1/decisions?event_id=nobody", key="read")
    assert (unknown.status_code, "check the event_id" in unknown.json()["detail"]) == (404, True)


def test_an_entity_shows_its_features_and_recent_events(shared: RunningService) -> None:
    decide(shared, claim("entity", entities={"claimant": "Zoë / 7", "repair_shop": "shop-1"}))
    answer = shared.ask("GET", "/v1/entities/person/Zo%C3%AB%20%2F%207", key="read").json()
    assert set(answer["roles"]) == {"claimant", "witness"}
    assert answer["roles"]["claimant"]["features"]["claimant.count_7d"] == 1.0
    assert len(answer["roles"]["claimant"]["recent_events"]) == 1
    assert shared.ask("GET", "/v1/entities/person/nobody", key="read").status_code == 404
    assert shared.ask("GET", "/v1/entities/spaceship/1", key="read").status_code == 404


def test_a_batch_answers_each_line_in_order_and_bad_lines_stop_nothing(shared: RunningService) -> None:
    events = [claim(f"line-{number}") for number in range(150)]
    lines = [json.dumps(event) for event in events]
    lines[3] = '{"event_id": '
    lines[5] = json.dumps(claim("line-5", amount="much"))
    lines[7] = lines[6]
    body = ("\n".join(lines) + "\n\n").encode()
    response = shared.ask("POST", "/v1/decisions/batch", body, headers={"content-type": "application/x-ndjson"})
    assert response.status_code == 200
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert len(answers) == 150
    assert (answers[3]["status"], answers[3]["line"], answers[3]["path"]) == (400, 4, "$")
    assert (answers[5]["status"], answers[5]["line"], answers[5]["path"]) == (422, 6, "$.amount")
    assert answers[7] == answers[6]
    for number in set(range(150)) - {3, 5, 7}:
        assert answers[number]["event_id"] == f"c-line-{number}"
    last_seq = shared.ledger.last_seq
    again = shared.ask("POST", "/v1/decisions/batch", body, headers={"content-type": "application/x-ndjson"})
    assert again.content == response.content
    assert shared.ledger.last_seq == last_seq


def test_health_is_open_and_everything_else_needs_a_key_with_its_scope(shared: RunningService) -> None:
    assert shared.ask("GET", "/healthz", key=None).json()["status"] == "alive"
    assert shared.ask("GET", "/readyz", key=None).json()["status"] == "ready"
    needs = {
        ("POST", "/v1/decisions"): "decide",
        ("POST", "/v1/decisions/batch"): "decide",
        ("POST", "/v1/events"): "decide",
        ("POST", "/v1/labels"): "label",
        ("GET", "/v1/decisions/d-1"): "read",
        ("GET", "/v1/decisions?event_id=c-1"): "read",
        ("GET", "/v1/entities/person/1"): "read",
        ("GET", "/metrics"): "read",
        ("GET", "/openapi.json"): "read",
    }
    for (method, path), scope in needs.items():
        without = shared.ask(method, path, key=None)
        assert (without.status_code, without.headers["www-authenticate"]) == (401, "Bearer"), path
        for other in {"decide", "label", "read"} - {scope}:
            assert shared.ask(method, path, key=other).status_code == 403, (path, other)
        assert shared.ask(method, path, key=scope).status_code not in (401, 403), path


def test_the_description_names_every_route_and_every_role(shared: RunningService) -> None:
    described = shared.ask("GET", "/openapi.json", key="read").json()
    fixed = set(shared.app._routes)
    assert {path: set(shared.app._routes[path]) for path in fixed} == {
        path: {method.upper() for method in described["paths"][path]} for path in fixed
    }
    assert set(described["paths"]) == fixed | {"/v1/decisions/{id}", "/v1/entities/{type}/{id}"}
    event = described["components"]["schemas"]["Event_motor_claims_claim"]
    assert set(event["properties"]["entities"]["properties"]) == {"claimant", "repair_shop", "witness"}
    assert "phone" in event["properties"]["attributes"]["properties"]
    text = json.dumps(described)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in described["components"]["schemas"]


def test_metrics_count_answers_by_action_and_rung(shared: RunningService) -> None:
    action = decide(shared, claim("counted"))["action"]
    page = shared.ask("GET", "/metrics", key="read").text
    labels = f'action="{action}",release="{shared.release.id}",rung="full",scenario="motor-claims"'
    assert f"ringfence_decision_seconds_count{{{labels}}}" in page
    assert 'ringfence_ready{scenario="motor-claims"} 1.0' in page
    assert "c-counted" not in page


def test_restart_recovers_the_state_by_replay(start: Start) -> None:
    first = start()
    for number in range(30):
        decide(first, claim(f"before-{number}"))
    live = first.service._live
    assert live is not None
    expected = live.engine.state_hash()
    first.service.stop()
    second = start()
    assert second.service._live is not None
    assert second.service._live.engine.state_hash() == expected


def test_an_event_that_cannot_be_scored_still_gets_a_decision_that_says_so(start: Start) -> None:
    service = start()
    live = service.service._live
    assert live is not None
    live.scorer._by_rung = None  # models that turned out broken after start-up
    answer = decide(service, claim("unscored", amount=9_000))
    assert answer["rung"] == "rules"
    assert answer["degraded"]
    assert answer["circumstances"]["degraded"] == "TypeError"
    assert answer["action"] != "decline"
    page = service.ask("GET", "/metrics", key="read").text
    assert 'ringfence_degraded_total{scenario="motor-claims",why="TypeError"} 1.0' in page


@pytest.mark.parametrize(("file", "rung"), [("anomaly.npz", "gbdt"), ("trees.npz", "rules"), ("gbdt.txt", "rules")])
def test_a_release_that_lost_a_branch_answers_on_the_next_rung_and_says_so(
    workspace: Workspace, start: Start, file: str, rung: str
) -> None:
    first = start()
    whole = decide(first, claim("whole", amount=9_000))
    assert whole["rung"] == "full"
    first.service.stop()
    (release,) = workspace.releases_dir.iterdir()
    (release / file).unlink()
    service = start()
    answer = decide(service, claim("left", amount=9_000))
    assert (answer["rung"], answer["degraded"]) == (rung, True)
    assert answer["circumstances"]["degraded"] == f"{file} is broken"
    assert answer["action"] == "approve" or len(answer["reasons"]) >= 3
    assert list(answer["members"]) == (["gbdt"] if rung == "gbdt" else [])
    page = service.ask("GET", "/metrics", key="read").text
    assert 'ringfence_degraded_total{scenario="motor-claims",why="broken release"} 1.0' in page
    assert decide(service, claim("whole", amount=9_000)) == whole


def test_a_full_queue_refuses_with_retry_after(start: Start) -> None:
    service = start(queue_bound=0)
    response = service.ask("POST", "/v1/decisions", claim("busy"))
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert service.ledger.find_event("claim", "c-busy") is None


def spoken_to(service: RunningService, kind: str, messages: list[str]) -> list[dict[str, Any]]:
    """Hand the app a connection that is no HTTP request; return what it sent."""
    waiting, sent = iter(messages), []

    async def receive() -> dict[str, Any]:
        return {"type": next(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    service.run(service.app({"type": kind}, receive, send))
    return sent


def test_a_server_that_asks_is_told_of_start_and_stop(shared: RunningService) -> None:
    sent = spoken_to(shared, "lifespan", ["lifespan.startup", "lifespan.shutdown"])
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_other_protocols_are_refused(shared: RunningService) -> None:
    assert [message["type"] for message in spoken_to(shared, "websocket", ["websocket.connect"])] == ["websocket.close"]
    with pytest.raises(RingfenceError, match="'telepathy' connections are not served"):
        spoken_to(shared, "telepathy", [])


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8473"),
        ("0.0.0.0", "http://127.0.0.1:8473"),
        ("::", "http://[::1]:8473"),
    ],
)
def test_address_can_be_opened(host: str, url: str) -> None:
    assert address(ServiceConfig(host=host)) == url


@pytest.mark.parametrize("path", ["/v1/nothing", "/", "/docs", "/v1/decisions/", "/v1/entities/person"])
def test_unknown_places_are_not_found(shared: RunningService, path: str) -> None:
    response = shared.ask("GET", path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
