# SPDX-License-Identifier: Apache-2.0
"""The shadow of the real thing: asked for on the command line, killed in the middle, every decision compared once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ringfence.cli.application import run
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.records import DecisionBody, Kind
from ringfence.workspace import Workspace

from .conftest import claim, copy_of
from .releases import OTHER_WINDOWS, make_release
from .test_shadow import OTHER_COSTS, on_record
from .test_swap_process import Place

pytestmark = pytest.mark.services


@pytest.fixture
def place(template: Workspace, tmp_path: Path) -> Iterator[Place]:
    made = Place(copy_of(template, tmp_path / "workspace"), tmp_path)
    yield made
    made.service.kill_all()


def test_every_decision_is_held_against_the_shadow_once_whatever_is_killed(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shadow = make_shadow(place)
    here = ["-w", str(place.workspace.path)]
    monkeypatch.setenv("RINGFENCE_TOKEN", place.token)
    url = ["--url", f"http://127.0.0.1:{place.service.port}"]
    assert run(["release", "shadow", shadow, "--note", "cheaper reviews", *here, *url]) == 0
    assert f"{shadow} scores along from seq" in capsys.readouterr().out
    n = 0
    for wait_s in (0.0, 0.7, 1.5):
        n += decided(place, f"before-{wait_s}", 25)
        time.sleep(wait_s)
        place.service.kill_all()
        place.service = place.serve()
    n += decided(place, "after", 25)
    found = settled(place, n)
    assert found["impossible"] == 0
    bodies = {
        record.seq: record.body
        for record in place.ledger.records(found["since_seq"], (Kind.DECISION,))
        if isinstance(record.body, DecisionBody)
    }
    assert len(bodies) == n
    deadline = time.monotonic() + 60
    while len(on_record(place.ledger)) < found["different"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    different = on_record(place.ledger)
    assert len(different) == len({one.decision_seq for one in different}) == found["different"] > 0
    assert all(bodies[one.decision_seq].action == one.action != one.shadow_action for one in different)
    assert audit_ledger(place.ledger).holds

    deadline = time.monotonic() + 30
    while place.ask("GET", "/v1/releases")[1]["shadow"]["records_behind"]:  # nothing comes any more
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert run(["release", "shadow", *here]) == 0
    told = capsys.readouterr().out
    assert f"{found['different']} of {n} decisions would have been others" in told
    assert "\n0 records of the ledger it has not read yet" in told
    assert run(["release", "list", *here, "--json"]) == 0
    assert [one["release"] for one in json.loads(capsys.readouterr().out) if one["shadow"]] == [shadow]
    url = ["--url", f"http://127.0.0.1:{place.service.port}"]
    assert run(["release", "shadow", "--off", *here, *url]) == 0
    assert f"{shadow} scores along no more" in capsys.readouterr().out
    assert place.ask("GET", "/v1/releases")[1]["shadow"] is None


def make_shadow(place: Place) -> str:
    """Another release of other features and other costs, which the running service does not know yet."""
    return make_release(place.workspace, OTHER_WINDOWS, seed=4, policy=OTHER_COSTS, register=False).id


def decided(place: Place, tag: str, n: int) -> int:
    """Have events decided, and return how many were: on a busy machine one may be answered 503, and is asked again."""
    for number in range(n):
        deadline = time.monotonic() + 30
        while place.ask("POST", "/v1/decisions", claim(f"{tag}-{number}"))[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return n


def settled(place: Place, n: int) -> dict[str, Any]:
    deadline = time.monotonic() + 90
    while True:
        found: dict[str, Any] = place.ask("GET", "/v1/releases")[1]["shadow"]
        if found["same"] + found["different"] + found["impossible"] >= n:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
