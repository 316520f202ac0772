# SPDX-License-Identifier: Apache-2.0
"""Who gets through while the service runs: keys that end, rotate and are revoked, and keys that ask too often."""

from __future__ import annotations

import json
from collections.abc import Callable

from ringfence.serving.keys import KeySource, create_key, revoke_key, rotate_key
from ringfence.serving.rates import Rate

from .conftest import DAY_MS, NOW_MS, RunningService, claim

Start = Callable[..., RunningService]


def test_a_key_is_refused_from_its_end_on_and_the_answer_says_why(start: Start) -> None:
    service = start()
    path = service.workspace.keys_path
    service.tokens["brief"] = create_key(path, "brief", {"read"}, until_ms=NOW_MS + DAY_MS)
    source = KeySource(path)
    service.app.accept(source.ring)
    assert service.ask("GET", "/openapi.json", key="brief").status_code == 200
    service.clock.advance(DAY_MS)
    refused = service.ask("GET", "/openapi.json", key="brief")
    assert (refused.status_code, refused.json()["type"]) == (401, "urn:ringfence:problem:key-expired")
    assert refused.headers["www-authenticate"] == "Bearer"


def test_a_running_service_takes_up_rotated_and_revoked_keys(start: Start) -> None:
    service = start()
    path = service.workspace.keys_path
    source = KeySource(path)
    token, _ = rotate_key(path, "read", now_ms=NOW_MS, old_until_ms=NOW_MS + 1000)
    service.tokens["rotated"] = token
    assert service.ask("GET", "/openapi.json", key="rotated").status_code == 401
    assert source.look()
    service.app.accept(source.ring)
    assert [service.ask("GET", "/openapi.json", key=key).status_code for key in ("read", "rotated")] == [200, 200]
    service.clock.advance(1000)
    assert [service.ask("GET", "/openapi.json", key=key).status_code for key in ("read", "rotated")] == [401, 200]
    revoke_key(path, "read")
    assert source.look()
    service.app.accept(source.ring)
    assert service.ask("GET", "/openapi.json", key="rotated").status_code == 401
    assert service.ask("GET", "/openapi.json", key="admin").status_code == 200


def test_a_missing_scope_is_named(start: Start) -> None:
    refused = start().ask("POST", "/v1/labels", {"event_id": "past-1", "label": "fraud"}, key="decide")
    assert refused.status_code == 403
    assert "lacks the scope 'label'" in refused.json()["detail"]


def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_nothing_is_recorded(start: Start) -> None:
    service = start(rate=Rate(0.5, 2))
    assert service.ask("POST", "/v1/decisions", claim("one"), key="decide").status_code == 200
    assert service.ask("POST", "/v1/events", claim("two"), key="decide").status_code == 202
    last_seq = service.ledger.last_seq
    refused = service.ask("POST", "/v1/decisions", claim("three"), key="decide")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:ringfence:problem:rate-limited"
    assert service.ledger.last_seq == last_seq
    assert service.ask("GET", "/openapi.json", key="read").status_code == 200  # another key, another bucket
    service.clock.advance(2_000)
    assert service.ask("POST", "/v1/decisions", claim("three"), key="decide").status_code == 200


def test_a_batch_counts_by_its_lines_and_is_answered_whole(start: Start) -> None:
    service = start(rate=Rate(10, 10))
    lines = "\n\n".join(json.dumps(claim(f"line-{number}")) + "\n" for number in range(50)).encode()
    ndjson = {"content-type": "application/x-ndjson"}
    answered = service.ask("POST", "/v1/decisions/batch", lines, key="decide", headers=ndjson)
    assert (answered.status_code, answered.text.count("decision_id")) == (200, 50)
    refused = service.ask("POST", "/v1/decisions", claim("after"), key="decide")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")  # 40 owed, and one to take
    service.clock.advance(4_100)
    assert service.ask("POST", "/v1/decisions", claim("after"), key="decide").status_code == 200


def test_the_rate_of_a_key_stands_before_that_of_the_service_and_survives_its_rotation(start: Start) -> None:
    service = start(rate=Rate(100, 100))
    path = service.workspace.keys_path
    service.tokens["slow"] = create_key(path, "slow", {"read"}, rate=Rate(1, 1))
    service.app.accept(KeySource(path).ring)
    assert service.ask("GET", "/openapi.json", key="slow").status_code == 200
    token, _ = rotate_key(path, "slow", now_ms=NOW_MS, old_until_ms=NOW_MS + DAY_MS)
    service.tokens["slow, rotated"] = token
    service.app.accept(KeySource(path).ring)
    assert service.ask("GET", "/openapi.json", key="slow, rotated").status_code == 429
    assert service.ask("GET", "/openapi.json", key="slow").status_code == 429
    service.clock.advance(1_000)
    assert service.ask("GET", "/openapi.json", key="slow, rotated").status_code == 200


def test_uses_are_counted_by_key_and_written_nowhere(start: Start) -> None:
    service = start()
    before = service.workspace.keys_path.stat()
    for _ in range(3):
        service.ask("GET", "/openapi.json", key="read")
    page = service.ask("GET", "/metrics", key="admin").text
    assert 'ringfence_key_uses_total{key="read"} 3.0' in page
    after = service.workspace.keys_path.stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)


def test_without_a_key_nothing_is_counted_and_no_bucket_is_made(start: Start) -> None:
    service = start(rate=Rate(1, 1))
    assert [service.ask("GET", "/openapi.json", key=None).status_code for _ in range(5)] == [401] * 5
    assert service.ask("GET", "/openapi.json", key="read").status_code == 200
