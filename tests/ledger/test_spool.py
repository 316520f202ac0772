# SPDX-License-Identifier: Apache-2.0
"""What waited in the spool reaches the ledger as it would have come there, or is refused, and is never half there."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.erasure import Erasure, erase_entity
from ringfence.ledger.errors import CommitFailedError, SpoolForeignError, SpoolHoldsNamesError, SpoolWaitsError
from ringfence.ledger.groups import Group
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.outcomes import DELETE_AWAITED, INSERT_AWAITED, INSERT_OUTCOME
from ringfence.ledger.retention import sweep
from ringfence.ledger.spool import SPOOL, SpoolFiles, frames, n_spooled
from ringfence.ledger.writer import Writer
from ringfence.scenario.batch import FRAUD, LEGIT
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from ringfence.scenario.spec import Scenario

from .claims import DAY, T0, claim, claims_scenario, decision_on

TABLES = ("records", "identity", "decisions", "standing", "maturing")


def notice(event_id: str, value: int, source: str) -> LabelNotice:
    return LabelNotice(event_type="claim", event_id=event_id, value=value, source=source, known_at_ms=None)


def turns(writer: Writer, door: Door, clock: FakeClock, n: int = 5) -> Iterator[int]:
    """Stage a turn of each kind of record, and yield, `n` times."""
    for number in range(n):
        clock.advance(DAY)
        event = claim(f"c{number}", clock.now_ms() - 5_000)
        seq = writer.stage_event(door.admit(event, now_ms=clock.now_ms())).seq
        writer.stage_event(door.admit(claim(f"nobody-labels-{number}", clock.now_ms()), now_ms=clock.now_ms()))
        writer.stage_label(notice(f"c{number}", FRAUD if number % 2 else LEGIT, "investigator"))
        writer.stage_label(notice(f"c{number}", LEGIT, "court"))
        writer.stage_decision(decision_on(seq, f"c{number}"))
        writer.mature()
        writer.batch()
        yield number


def spooled(ledger: Ledger, door: Door, clock: FakeClock, *, beside: bytes = b"", n: int = 5) -> None:
    """Leave turns in the spool as a process does that dies while the ledger is locked."""
    files = SpoolFiles(ledger.directory)
    with ledger.writer(clock) as writer:
        for _ in turns(writer, door, clock, n):
            group = writer.seal()
            assert group is not None
            files.append(group, beside)
    files.close()


def tables_of(ledger: Ledger) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(ledger.directory / "ledger.db")) as connection:
        found = {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in TABLES}
    with closing(sqlite3.connect(ledger.directory / "erasable.db")) as connection:
        found["names"] = connection.execute("SELECT * FROM directory ORDER BY 1").fetchall()
        found["personal"] = connection.execute("SELECT * FROM personal ORDER BY 1, 2").fetchall()
    return found


@pytest.fixture
def scenario() -> Scenario:
    return claims_scenario(absent={"legit_after": "2d"})


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    with closing(sqlite3.connect(ledger.directory / "ledger.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        yield


def test_the_next_writer_appends_what_waits_as_a_commit_would_have(
    tmp_path: Path, ledger: Ledger, door: Door, scenario: Scenario
) -> None:
    spooled(ledger, door, FakeClock(T0))
    assert ledger.last_seq == 0
    with ledger.writer(FakeClock(T0 + 9 * DAY)) as writer:
        last_seq = writer.last_seq
    assert last_seq == ledger.last_seq > 5 * 5, "with labels that matured meanwhile"
    assert list((ledger.directory / SPOOL).iterdir()) == []
    assert audit_ledger(ledger).holds
    twin = Ledger.open(tmp_path / "twin", scenario)
    shutil.copy(ledger.directory / "identity.key", twin.directory)
    clock = FakeClock(T0)
    with twin.writer(clock) as writer:
        for _ in turns(writer, door, clock):
            writer.commit()
    assert tables_of(twin) == tables_of(ledger)


def test_what_the_ledger_has_already_does_not_come_twice(ledger: Ledger, door: Door) -> None:
    clock, files = FakeClock(T0), SpoolFiles(ledger.directory)
    with ledger.writer(clock) as writer:
        for number in turns(writer, door, clock):
            group = writer.seal()
            assert group is not None
            files.append(group, b"")
            if number == 2:
                writer.commit()
    files.close()
    before = ledger.last_seq
    with ledger.writer(clock) as writer:
        assert writer.last_seq > before > 0
    assert audit_ledger(ledger).holds


@pytest.mark.parametrize("n_cut", [1, 7, 200])
def test_a_frame_that_was_cut_off_ends_the_spool_and_those_before_it_count(
    ledger: Ledger, door: Door, n_cut: int
) -> None:
    spooled(ledger, door, FakeClock(T0))
    (path,) = (ledger.directory / SPOOL).iterdir()
    whole = n_spooled(ledger.directory)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - n_cut)
    left = n_spooled(ledger.directory)
    assert 0 < left < whole
    with ledger.writer(FakeClock(T0)) as writer:
        assert writer.last_seq == left
    assert audit_ledger(ledger).holds


def test_a_byte_that_changed_ends_the_spool_there(ledger: Ledger, door: Door) -> None:
    spooled(ledger, door, FakeClock(T0))
    (path,) = (ledger.directory / SPOOL).iterdir()
    data, whole = bytearray(path.read_bytes()), n_spooled(ledger.directory)
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)
    with ledger.writer(FakeClock(T0)) as writer:
        assert 0 < writer.last_seq < whole
    assert audit_ledger(ledger).holds


def test_records_of_another_history_are_refused_and_stay(ledger: Ledger, door: Door) -> None:
    spooled(ledger, door, FakeClock(T0))
    (path,) = (ledger.directory / SPOOL).iterdir()
    aside = path.rename(ledger.directory / path.name)
    clock = FakeClock(T0 + DAY)
    with ledger.writer(clock) as writer:
        for _ in turns(writer, door, clock, n=1):
            writer.commit()
    before = tables_of(ledger)
    aside.rename(path)
    with pytest.raises(SpoolForeignError, match="does not follow"), ledger.writer(clock):
        raise AssertionError("opened")
    assert tables_of(ledger) == before
    assert path.exists()


def test_a_ledger_that_still_cannot_be_written_keeps_the_spool(
    ledger: Ledger, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled(ledger, door, FakeClock(T0))
    n = n_spooled(ledger.directory)
    from ringfence.ledger import spool

    write = spool.write_groups

    def blocked(*given: Any, **options: Any) -> None:
        with locked(ledger):
            write(*given, **options)

    monkeypatch.setattr(spool, "write_groups", blocked)
    with pytest.raises(CommitFailedError, match="locked"), ledger.writer(FakeClock(T0)):
        raise AssertionError("opened")
    monkeypatch.undo()
    assert n_spooled(ledger.directory) == n
    with ledger.writer(FakeClock(T0)) as writer:
        assert writer.last_seq == n


def test_what_goes_beside_is_written_before_the_records_and_by_nobody_who_cannot(ledger: Ledger, door: Door) -> None:
    spooled(ledger, door, FakeClock(T0), beside=b"rows", n=2)
    with pytest.raises(SpoolWaitsError), ledger.writer(FakeClock(T0)):
        raise AssertionError("opened")
    told: list[tuple[list[bytes], int]] = []
    with ledger.writer(FakeClock(T0), lambda payloads: told.append((payloads, ledger.last_seq))):
        pass
    assert told == [([b"rows", b"rows"], 0)]


def test_files_end_after_so_many_records_and_go_when_the_ledger_has_them(
    ledger: Ledger, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ringfence.ledger import spool

    monkeypatch.setattr(spool, "RECORDS_A_FILE", 8)
    clock, files, folder = FakeClock(T0), SpoolFiles(ledger.directory), ledger.directory / SPOOL
    with ledger.writer(clock) as writer:
        lasts = []
        for _ in turns(writer, door, clock, n=6):
            group = writer.seal()
            assert group is not None
            files.append(group, b"")
            lasts.append(group.records[-1][0])
        assert len(list(folder.iterdir())) == 3
        files.drop(lasts[1] - 1)
        assert len(list(folder.iterdir())) == 3
        files.drop(lasts[1])
        assert len(list(folder.iterdir())) == 2
        files.drop(lasts[-1])
        assert list(folder.iterdir()) == []
    files.close()


def test_changes_of_outcomes_come_back_as_they_were(tmp_path: Path) -> None:
    changes = [(INSERT_AWAITED, (b"k", 5, 1)), (DELETE_AWAITED, (b"k", 4, 0)), (INSERT_OUTCOME, (b"k", 6, 7))]
    group = Group(records=[(1, 0, 5, 5, b"body", bytes(16))], outcomes=[*changes])
    files = SpoolFiles(tmp_path)
    files.append(group, b"beside")
    files.close()
    (path,) = (tmp_path / SPOOL).iterdir()
    (found,) = frames(path)
    assert found.group == group
    assert found.beside == b"beside"


def test_only_its_owner_may_read_the_spool(ledger: Ledger, door: Door) -> None:
    spooled(ledger, door, FakeClock(T0))
    (path,) = (ledger.directory / SPOOL).iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_groups_that_another_hand_made_durable_are_known_until_then_and_afterwards(
    ledger: Ledger, door: Door, clock: FakeClock
) -> None:
    """Two sealed groups, the first one written and settled: what either says is found at each step."""
    from ringfence.ledger.erasable import Erasable
    from ringfence.ledger.groups import write_groups
    from ringfence.ledger.schema import connect

    with ledger.writer(clock) as writer, closing(connect(ledger.directory)) as other:
        groups = []
        for _ in turns(writer, door, clock, n=3):
            group = writer.seal()
            assert group is not None
            groups.append(group)
        with closing(Erasable(ledger.directory)) as erasable:
            for at, group in enumerate(groups):
                with pytest.raises(ValueError, match="order"):
                    writer.settle(groups[-1] if at < 2 else groups[0])
                write_groups(other, erasable, [group])
                writer.settle(group)
                assert writer.n_staged == sum(len(one.records) for one in groups[at + 1 :])
                for number in range(3):
                    event = claim(f"c{number}", T0 + (number + 1) * DAY - 5_000)
                    again = writer.stage_event(door.admit(event, now_ms=clock.now_ms()))
                    standing = writer.standing_label(notice(f"c{number}", LEGIT, "court"))
                    assert again.decision is not None  # type: ignore[union-attr]
                    assert standing is not None
                    assert standing.source == "court"
    assert audit_ledger(ledger).holds


def test_nothing_is_erased_while_names_wait_in_the_spool(ledger: Ledger, door: Door, tmp_path: Path) -> None:
    spooled(ledger, door, FakeClock(T0))
    entity_type, entity_id = next(iter(door.admit(claim("c0", T0), now_ms=T0).entity_ids.values()))
    acts: list[str] = []

    def erase() -> Erasure:
        return erase_entity(ledger, entity_type, entity_id, at_ms=T0 + 99 * DAY, record=acts.append)

    with pytest.raises(SpoolHoldsNamesError, match=r"start `ringfence serve` once"):
        erase()
    with pytest.raises(SpoolHoldsNamesError):
        sweep(ledger, tmp_path, retain_ms=DAY, now_ms=T0 + 99 * DAY, record=lambda swept: acts.append(swept.text))
    assert acts == []
    with ledger.writer(FakeClock(T0 + 9 * DAY)):
        pass
    assert erase().n_names == 1
    assert len(acts) == 1
