# SPDX-License-Identifier: Apache-2.0
"""Ticks of rings that the service puts on record, and what happens where a replay does not come by them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ringfence.cli.proofs import state_proof
from ringfence.engine.errors import TickMismatchError
from ringfence.engine.snapshot import write_snapshot
from ringfence.engine.ticks import TickEffect, wrong_ticks
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.records import Kind, TickBody
from ringfence.scenario.clock import FakeClock
from ringfence.serving.config import ServiceConfig
from ringfence.workspace import Workspace
from tests.serving.conftest import DAY_MS, NOW_MS, PATIENT, SCENARIO, RunningService, claim, copy_of, make_workspace

HOUR_MS = 3_600_000
RINGED = SCENARIO.replace("claimant_id, type: person}", "claimant_id, type: person, strong: true}", 1) + (
    "    rings: {every: 6h, lag: 1h}\n    features: {rings: true}\n"
)


@pytest.fixture(scope="module")
def ringed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose service has worked through a day of claims, one an hour, with a tick every six."""
    workspace = make_workspace(tmp_path_factory.mktemp("ringed") / "workspace", RINGED)
    service = RunningService(workspace, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    for hour in range(24):
        raw = claim(f"hour-{hour}", event_time=NOW_MS - DAY_MS + hour * HOUR_MS)
        assert service.ask("POST", "/v1/decisions", raw).status_code == 200
        if hour == 12:  # between two ticks
            assert service.service._live is not None
            write_snapshot(service.service._live.engine, workspace.state_dir(service.scenario))
    service.stop()
    return workspace


@pytest.fixture
def workspace(ringed: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(ringed, tmp_path / "workspace")


@pytest.fixture
def running(workspace: Workspace) -> Iterator[RunningService]:
    service = RunningService(workspace, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    yield service
    service.stop()


def put_on_record(service: RunningService, tick: TickBody) -> None:
    service.service.stop()
    with service.ledger.writer(FakeClock(NOW_MS)) as writer:
        writer.stage(Kind.TICK, tick)
        writer.commit()


def recorded(service: RunningService) -> list[TickBody]:
    assert service.service._live is not None
    return service.ledger.ticks(service.service._live.versions["spec"])


def test_each_tick_is_on_record_once_with_the_seq_from_which_features_read_it(running: RunningService) -> None:
    ticks = recorded(running)
    assert [tick.as_of_ms % (6 * HOUR_MS) for tick in ticks] == [0] * len(ticks)
    assert len({tick.as_of_ms for tick in ticks}) == len(ticks) >= 4
    assert len({tick.digest for tick in ticks}) == len(ticks)
    for record in running.ledger.records(kinds=(Kind.TICK,)):
        assert isinstance(record.body, TickBody)
        batch = next(running.ledger.batches(after_seq=record.body.effect_seq - 1, until_seq=record.body.effect_seq))
        assert record.body.as_of_ms + HOUR_MS <= int(batch.time_ms[0])
        assert record.body.effect_seq < record.seq
    assert audit_ledger(running.ledger).holds


def test_replay_and_recovery_from_a_snapshot_come_by_the_same_ticks(running: RunningService) -> None:
    assert running.service._live is not None
    assert running.service._live.n_wrong_ticks == 0
    proof = state_proof(running.workspace, running.scenario)
    assert proof.holds
    assert proof.snapshot_seq is not None
    assert proof.n_ticks == len(recorded(running))


def test_a_tick_that_a_replay_computes_otherwise_is_named_and_stops_nothing(running: RunningService) -> None:
    tick = recorded(running)[-1]
    put_on_record(running, msgspec.structs.replace(tick, digest=bytes(16)))
    again = RunningService(running.workspace, FakeClock(NOW_MS), ServiceConfig(**PATIENT))
    assert again.service._live is not None
    assert again.service._live.n_wrong_ticks == 1
    assert b'ringfence_tick_mismatches_total{scenario="motor-claims"} 1.0' in again.telemetry.page()
    assert again.ask("POST", "/v1/decisions", claim("still-here")).status_code == 200
    again.stop()
    proof = state_proof(running.workspace, running.scenario)
    assert not proof.holds
    assert proof.recovered == proof.replayed
    assert len(proof.wrong_ticks) == 1
    assert f"from seq {tick.effect_seq}, had digest {bytes(16).hex()}" in proof.wrong_ticks[0]


def test_ticks_of_another_feature_spec_are_not_compared(running: RunningService) -> None:
    tick = recorded(running)[-1]
    put_on_record(running, msgspec.structs.replace(tick, digest=bytes(16), spec="another"))
    assert state_proof(running.workspace, running.scenario).holds


@pytest.mark.parametrize(
    ("as_of_ms", "effect_seq", "digest", "said"),
    [
        (6, 8, b"a", "does not come about"),
        (5, 9, b"a", "takes effect at seq 7"),
        (5, 7, b"b", "had digest 62 and has 61"),
    ],
)
def test_what_differs_is_said(as_of_ms: int, effect_seq: int, digest: bytes, said: str) -> None:
    found = [TickEffect(as_of_ms=5, effect_seq=7, digest=b"a")]
    tick = TickBody(as_of_ms=as_of_ms, effect_seq=effect_seq, digest=digest, spec="")
    assert wrong_ticks([], found) == []
    (error,) = wrong_ticks([tick], found)
    assert isinstance(error, TickMismatchError)
    assert said in str(error)
