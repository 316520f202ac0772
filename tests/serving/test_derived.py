# SPDX-License-Identifier: Apache-2.0
"""The service derives values as its champion says, with the champion's own tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ringfence.ledger.records import EventBody, Kind
from ringfence.scenario.event import Event
from ringfence.scoring import (
    Contents,
    ReleaseDamagedError,
    ReleaseMismatchError,
    load_release,
    write_release,
)
from ringfence.workspace import Workspace
from tests.serving.conftest import SCENARIO, RunningService, claim, make_workspace

DERIVE = """\
        derive:
          network: {ip_prefix: {field: ip, bits: 24}, role: true}
          area: {lookup: {file: areas.csv, from: low, to: high, value: area}, field: ip}
"""
TABLE = "low,high,area\n10.0.0.0,10.0.0.255,north\n10.0.1.0,10.0.1.255,south\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    path = tmp_path_factory.mktemp("derived") / "workspace"
    path.mkdir()
    (path / "areas.csv").write_text(TABLE)
    text = SCENARIO.replace("        label: {field: is_fraud", DERIVE + "        label: {field: is_fraud")
    return make_workspace(path, text)


def event_on_record(service: RunningService, event_id: str) -> Event:
    bodies = [record.body for record in service.ledger.records(kinds=(Kind.EVENT,))]
    return next(body.event for body in bodies if isinstance(body, EventBody) and body.event.event_id == event_id)


def test_a_decision_reads_the_tables_of_its_release(workspace: Workspace, start: Callable[..., RunningService]) -> None:
    (workspace.path / "areas.csv").write_text("low,high,area\n10.0.0.0,10.0.1.255,everywhere\n")
    service = start()
    answer = service.ask("POST", "/v1/decisions", claim(1, attributes={"ip": "10.0.1.9", "vehicle_make": "vw"}))
    assert answer.status_code == 200
    event = event_on_record(service, "c-1")
    assert event.attributes == {"vehicle_make": "vw", "area": "south"}
    hi, lo = service.ledger.identity.entity("network", "10.0.1.0/24")
    assert (hi, lo) in [(link.hi, link.lo) for link in event.links]
    entity = service.ask("GET", "/v1/entities/network/10.0.1.0%2F24")
    assert entity.json()["entity_id"] == "10.0.1.0/24"
    again = service.ask("POST", "/v1/decisions", claim(1, attributes={"ip": "10.0.1.9", "vehicle_make": "vw"}))
    assert again.content == answer.content
    moved = service.ask("POST", "/v1/decisions", claim(1, attributes={"ip": "10.0.1.8", "vehicle_make": "vw"}))
    assert moved.status_code == 409


def test_a_workspace_without_the_table_still_answers(
    workspace: Workspace, start: Callable[..., RunningService]
) -> None:
    (workspace.path / "areas.csv").unlink()
    service = start()
    assert service.ask("POST", "/v1/decisions", claim(2, attributes={"ip": "10.0.0.1"})).status_code == 200
    assert event_on_record(service, "c-2").attributes == {"area": "north"}


def test_what_yields_nothing_is_counted_and_no_error(start: Callable[..., RunningService]) -> None:
    service = start()
    answer = service.ask("POST", "/v1/decisions", claim(3, attributes={"ip": {"v4": "10.0.0.1"}}))
    assert answer.status_code == 200
    assert event_on_record(service, "c-3").attributes == {}
    page = service.ask("GET", "/metrics").text
    for value in ("network", "area"):
        assert f'ringfence_underived_total{{scenario="motor-claims",value="{value}"}} 1.0' in page


def test_derived_values_are_not_for_clients_to_give(start: Callable[..., RunningService]) -> None:
    service = start()
    assert service.ask("POST", "/v1/decisions", claim(4, entities={"network": "10.0.0.0/24"})).status_code == 422
    assert service.ask("POST", "/v1/decisions", claim(4, attributes={"area": "north"})).status_code == 422
    schema = service.ask("GET", "/openapi.json").json()["components"]["schemas"]["Event_motor_claims_claim"]
    assert "ip" in schema["properties"]["attributes"]["properties"]
    assert "area" not in schema["properties"]["attributes"]["properties"]
    assert "network" not in schema["properties"]["entities"]["properties"]


def test_a_release_holds_its_tables(workspace: Workspace) -> None:
    (release,) = workspace.releases_dir.iterdir()
    (table,) = release.glob("lookup-*.csv")
    assert table.read_text() == TABLE


def test_a_changed_table_of_a_release_is_noticed(workspace: Workspace) -> None:
    (path,) = workspace.releases_dir.iterdir()
    (table,) = path.glob("lookup-*.csv")
    table.chmod(0o644)
    table.write_text(TABLE.replace("north", "south"))
    with pytest.raises(ReleaseDamagedError, match="digest") as raised:
        load_release(path)
    assert raised.value.file == table.name


def test_a_release_is_not_written_without_its_tables(workspace: Workspace, tmp_path: Path) -> None:
    (path,) = workspace.releases_dir.iterdir()
    release = load_release(path)
    given = Contents(
        scenario=release.scenario,
        ensemble=release.ensemble,
        calibrator=release.calibrator,
        gbdt_calibrator=release.gbdt_calibrator,
        policy=release.policy,
        made=release.manifest.made,
    )
    with pytest.raises(ReleaseMismatchError, match=r"the lookup file of claim\.area"):
        write_release(tmp_path, given)
    whole = write_release(tmp_path, msgspec.structs.replace(given, lookup_files={"areas.csv": TABLE.encode()}))
    assert whole.id == release.id
