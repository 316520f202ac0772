# SPDX-License-Identifier: Apache-2.0
"""What the shadow would have done otherwise gets on record, once, whatever happens in between."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DisagreementBody, Kind
from ringfence.ledger.writer import Writer
from ringfence.scenario.clock import FakeClock
from ringfence.serving.disagreements import Disagreements
from ringfence.serving.errors import NotReadyError, OutcomeUnknownError
from ringfence.serving.opinions import Opinions
from ringfence.workspace import Workspace

from .conftest import NOW_MS
from .test_opinions import SHADOW, compared, other


class Desk:
    """A ledger, what waits to be recorded in it, and a recorder that fails as it is told."""

    def __init__(self, workspace: Workspace, writer: Writer, ledger: Ledger) -> None:
        self.state_dir = workspace.state_dir(workspace.scenario())
        self.writer, self.ledger = writer, ledger
        self.fails: list[Exception] = []
        self.first_seq = ledger.last_seq
        with contextlib.closing(Opinions(self.state_dir)) as opinions:
            opinions.begin(SHADOW)

    def found(self, *decision_seqs: int, shadow: str = "r-2") -> None:
        with contextlib.closing(Opinions(self.state_dir)) as opinions:
            opinions.put(60, compared=[compared(seq - 1, other(seq, shadow=shadow)) for seq in decision_seqs])

    @property
    def left(self) -> list[int]:
        with contextlib.closing(Opinions(self.state_dir)) as opinions:
            return [body.decision_seq for body in opinions.disagreements(100)]

    def record(self, body: DisagreementBody) -> None:
        self.writer.stage(Kind.DISAGREEMENT, body)
        if self.fails:
            raise self.fails.pop(0)
        self.writer.commit()

    @contextlib.contextmanager
    def recording(self) -> Iterator[Disagreements]:
        with contextlib.closing(Disagreements(self.ledger, self.state_dir, self.record)) as disagreements:
            yield disagreements

    @property
    def on_record(self) -> list[tuple[int, str]]:
        bodies = [record.body for record in self.ledger.records(self.first_seq, (Kind.DISAGREEMENT,))]
        return [(body.decision_seq, body.shadow) for body in bodies if isinstance(body, DisagreementBody)]


@pytest.fixture
def desk(workspace: Workspace) -> Iterator[Desk]:
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    with ledger.writer(FakeClock(NOW_MS)) as writer:
        yield Desk(workspace, writer, ledger)


def test_all_that_waits_is_recorded_oldest_first_and_survives_the_audit(desk: Desk) -> None:
    desk.found(54, 52, 58)
    with desk.recording() as disagreements:
        while disagreements.record_next():
            pass
        assert (desk.on_record, desk.left) == ([(52, "r-2"), (54, "r-2"), (58, "r-2")], [])
        desk.found(60)
        assert disagreements.record_next()
        assert not disagreements.record_next()
    assert desk.on_record[-1] == (60, "r-2")
    assert audit_ledger(desk.ledger).holds


def test_after_a_crash_between_ledger_and_file_nothing_is_recorded_twice(desk: Desk) -> None:
    desk.found(52, 54, 56)
    for seq in (52, 54):
        desk.record(other(seq))  # durable, and the process ended before the file knew
    with desk.recording() as disagreements:
        assert [disagreements.record_next() for _ in range(4)] == [True, True, True, False]
    assert (desk.on_record, desk.left) == ([(52, "r-2"), (54, "r-2"), (56, "r-2")], [])


def test_two_shadows_may_each_differ_from_a_decision(desk: Desk) -> None:
    desk.found(52)
    desk.record(other(52, shadow="r-9"))
    with desk.recording() as disagreements:
        assert disagreements.record_next()
    assert desk.on_record == [(52, "r-9"), (52, "r-2")]


def test_what_may_yet_become_durable_is_waited_for(desk: Desk) -> None:
    desk.found(52, 54)
    desk.fails = [OutcomeUnknownError()]
    with desk.recording() as disagreements:
        assert [disagreements.record_next() for _ in range(3)] == [False, False, False]
        assert (desk.on_record, desk.left) == ([], [52, 54])
        desk.writer.commit()  # the batch is kept and tried again
        assert [disagreements.record_next() for _ in range(3)] == [True, True, False]
    assert (desk.on_record, desk.left) == ([(52, "r-2"), (54, "r-2")], [])


def test_what_was_refused_waits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.found(52)
    refusals: list[Exception] = [NotReadyError("stopping")]

    def record(body: DisagreementBody) -> None:
        if refusals:
            raise refusals.pop()
        Desk.record(desk, body)

    monkeypatch.setattr(desk, "record", record)
    with desk.recording() as disagreements:
        assert not disagreements.record_next()
        assert desk.left == [52]
        assert disagreements.record_next()
    assert desk.on_record == [(52, "r-2")]


def test_a_file_that_was_lost_and_found_again_records_nothing_anew(desk: Desk, tmp_path: Path) -> None:
    desk.found(52, 54)
    with desk.recording() as disagreements:
        while disagreements.record_next():
            pass
    for path in desk.state_dir.glob("shadow.db*"):
        path.unlink()
    with contextlib.closing(Opinions(desk.state_dir)) as opinions:
        assert opinions.begin(SHADOW) == SHADOW.since_seq
    desk.found(52, 54, 56)
    with desk.recording() as disagreements:
        while disagreements.record_next():
            pass
    assert desk.on_record == [(52, "r-2"), (54, "r-2"), (56, "r-2")]
