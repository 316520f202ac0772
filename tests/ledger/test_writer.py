# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ringfence.ledger.checkpoint import EVERY_COMMITS
from ringfence.ledger.erasable import ERASABLE
from ringfence.ledger.errors import (
    AlreadyDecidedError,
    CommitFailedError,
    LabelFromFutureError,
    LedgerDamagedError,
    LedgerLockedError,
    LedgerSchemaError,
    PayloadConflictError,
    UnknownEventError,
)
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.lock import LOCK, writer_of
from ringfence.ledger.records import DecisionBody, Kind, LabelBody, ReleaseBody
from ringfence.ledger.schema import DATABASE
from ringfence.ledger.writer import Duplicate, Staged
from ringfence.scenario.batch import FRAUD, LABEL, LEGIT, NO_LABEL
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from ringfence.scenario.spec import Scenario
from tests.ledger.claims import DAY, T0, assert_same, claim, decision_on, whole


def notice(event_id: str, value: int, source: str = "api", known_at_ms: int | None = None) -> LabelNotice:
    return LabelNotice(event_type="claim", event_id=event_id, value=value, source=source, known_at_ms=known_at_ms)


def staged(result: Staged | Duplicate) -> Staged:
    assert isinstance(result, Staged)
    return result


def test_empty_ledger_begins_at_seq_zero(ledger: Ledger) -> None:
    assert ledger.last_seq == 0
    assert ledger.watermark_ms == 0
    assert list(ledger.batches()) == []
    assert ledger.seq_at(T0) == 0
    assert ledger.events(0).height == 0
    assert ledger.labels().height == 0
    assert ledger.find_event("claim", "c") is None


def test_a_new_ledger_is_for_its_owner_alone(ledger: Ledger) -> None:
    assert ledger.directory.stat().st_mode & 0o777 == 0o700


def test_records_get_consecutive_seqs_and_are_read_back(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer:
        event = staged(writer.stage_event(door.admit(claim("c1"), now_ms=T0)))
        decided = writer.stage_decision(decision_on(event.seq, "c1"))
        label = writer.stage_label(notice("c1", FRAUD))
        release = writer.stage(Kind.RELEASE, ReleaseBody(release="r-1", act="registered"))
        assert writer.n_staged == 4
        assert ledger.last_seq == 0
        writer.commit()
        assert writer.n_staged == 0
    assert (event.seq, decided, label.seq, release) == (1, 2, 3, 4)
    assert [record.kind for record in ledger.records()] == [Kind.EVENT, Kind.DECISION, Kind.LABEL, Kind.RELEASE]
    assert [record.seq for record in ledger.records(1, limit=2)] == [2, 3]
    assert [record.seq for record in ledger.records(kinds=(Kind.LABEL, Kind.RELEASE))] == [3, 4]
    assert [record.body for record in ledger.releases()] == [ReleaseBody(release="r-1", act="registered")]
    found = ledger.find_event("claim", "c1")
    assert found is not None
    assert (found.seq, found.event_time_ms, len(found.links)) == (1, T0, 4)
    decision = ledger.decision("d-2")
    assert decision is not None
    assert decision == ledger.decision_of(1)
    assert isinstance(decision.body, DecisionBody)
    assert decision.body.event_id == "c1"


@pytest.mark.parametrize("wrong", ["d-1", "d-99", "x-2", "d-", "", "d--2", "d-²", "d-" + "9" * 40])
def test_unknown_decision_ids_are_none(ledger: Ledger, door: Door, clock: FakeClock, wrong: str) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_decision(decision_on(staged(writer.stage_event(door.admit(claim("c"), now_ms=T0))).seq))
        writer.commit()
    assert ledger.decision(wrong) is None


def test_same_event_again_is_a_duplicate_with_its_decision(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    admission = door.admit(claim("c1"), now_ms=T0)
    with ledger.writer(clock) as writer:
        first = staged(writer.stage_event(admission))
        again = writer.stage_event(admission)
        assert again == Duplicate(seq=first.seq, decision=None)
        writer.stage_decision(decision_on(first.seq))
        before = writer.stage_event(admission)
        writer.commit()
        after = writer.stage_event(admission)
    assert isinstance(before, Duplicate)
    assert before == after
    assert before.decision is not None
    assert before.decision.seq == 2
    assert ledger.last_seq == 2


def test_looking_events_up_at_once_changes_no_answer(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    known, fresh = door.admit(claim("c1"), now_ms=T0), door.admit(claim("c2"), now_ms=T0)
    with ledger.writer(clock) as writer:
        first = staged(writer.stage_event(known))
        writer.commit()
        writer.foresee([known.event, fresh.event, fresh.event])
        assert writer.stage_event(known) == Duplicate(seq=first.seq, decision=None)
        second = staged(writer.stage_event(fresh))
        assert writer.stage_event(fresh) == Duplicate(seq=second.seq, decision=None)
        with pytest.raises(PayloadConflictError):
            writer.stage_event(door.admit(claim("c1", amount=1.0), now_ms=T0))
        writer.commit()
        assert writer.stage_event(fresh) == Duplicate(seq=second.seq, decision=None)  # what was foreseen is no more
        writer.foresee([])
        assert writer.stage_event(known) == Duplicate(seq=first.seq, decision=None)
    assert ledger.last_seq == 2


def test_other_payload_under_the_same_id_is_refused(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("c1"), now_ms=T0))
        with pytest.raises(PayloadConflictError, match="seq 1"):
            writer.stage_event(door.admit(claim("c1", amount=1.0), now_ms=T0))
        writer.commit()
        with pytest.raises(PayloadConflictError):
            writer.stage_event(door.admit(claim("c1", amount=1.0), now_ms=T0))
    assert ledger.last_seq == 1


def test_an_event_is_decided_once(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer:
        seq = staged(writer.stage_event(door.admit(claim("c1"), now_ms=T0))).seq
        writer.stage_decision(decision_on(seq))
        with pytest.raises(AlreadyDecidedError):
            writer.stage_decision(decision_on(seq))
        writer.commit()
        with pytest.raises(AlreadyDecidedError):
            writer.stage_decision(decision_on(seq))


def test_kinds_with_a_method_of_their_own_cannot_be_staged_by_kind(ledger: Ledger, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer, pytest.raises(ValueError, match="method of their own"):
        writer.stage(Kind.EVENT, {})


def test_label_for_an_unknown_event_is_refused(ledger: Ledger, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer, pytest.raises(UnknownEventError, match="nobody"):
        writer.stage_label(notice("nobody", FRAUD))


def test_live_label_is_never_known_before_it_is_recorded(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("c1"), now_ms=T0))
        writer.stage_label(notice("c1", FRAUD, known_at_ms=T0 - 30 * DAY))
        with pytest.raises(LabelFromFutureError):
            writer.stage_label(notice("c1", LEGIT, known_at_ms=T0 + DAY))
        writer.commit()
    assert ledger.labels()["known_at_ms"].to_list() == [T0]


#   label of   api: fraud   investigator: legit   api: fraud   court: fraud   investigator: legit
#   stands     fraud        legit                 legit        fraud          fraud
def test_label_revisions_follow_precedence(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("c1"), now_ms=T0))
        for value, source in [
            (FRAUD, "api"),
            (LEGIT, "investigator"),
            (FRAUD, "api"),
            (FRAUD, "court"),
            (LEGIT, "investigator"),
        ]:
            clock.advance(1_000)
            writer.stage_label(notice("c1", value, source))
        live = writer.batch()
        writer.commit()
    bodies = [record.body for record in ledger.records(kinds=(Kind.LABEL,)) if isinstance(record.body, LabelBody)]
    assert [body.stands for body in bodies] == [True, True, False, True, False]
    assert [body.replaces for body in bodies] == [NO_LABEL, FRAUD, LEGIT, LEGIT, FRAUD]
    assert live.seq.tolist() == [1, 2, 3, 5]
    assert_same(whole(iter([live])), whole(ledger.batches()))
    standing = [ledger.labels(seq)["value"].to_list() for seq in range(1, 7)]
    assert standing == [[], [FRAUD], [LEGIT], [LEGIT], [FRAUD], [FRAUD]]
    assert ledger.labels()["source"].to_list() == ["court"]


def test_staged_batch_equals_what_is_read_back(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    live = []
    with ledger.writer(clock) as writer:
        for i in range(50):
            entities = {"claimant": f"p{i % 7}", "witness": [f"p{j}" for j in range(i % 4)]}
            raw = claim(f"c{i}", T0 - i * 1_000, entities=entities, amount=None if i % 3 else i / 7)
            writer.stage_event(door.admit(raw, now_ms=T0))
            if i % 5 == 0:
                writer.stage_label(notice(f"c{i}", i % 2))
            if i % 8 == 7:
                live.append(writer.batch())
                writer.commit()
        live.append(writer.batch())
        assert len(writer.batch()) == 0
        writer.commit()
    assert_same(whole(iter(live)), whole(ledger.batches()))
    assert_same(whole(ledger.batches()), whole(ledger.batches(size=7)))
    cut = whole(ledger.batches(after_seq=10, until_seq=20))["seq"]
    assert cut.tolist() == list(range(11, 21))


def test_late_event_is_accepted_flagged_and_counted(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("new"), now_ms=T0))
        at_bound = staged(writer.stage_event(door.admit(claim("bound", T0 - DAY), now_ms=T0)))
        late = staged(writer.stage_event(door.admit(claim("late", T0 - DAY - 1), now_ms=T0)))
        assert (at_bound.late, late.late, writer.n_late) == (False, True, 1)
        assert late.watermark_ms == T0
        writer.commit()


def test_watermark_never_falls_and_is_bounded_by_the_clock(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer:
        ahead = staged(writer.stage_event(door.admit(claim("a", T0 + 300_000), now_ms=T0)))
        clock_far_behind = FakeClock(T0 - DAY)
        writer._clock = clock_far_behind
        behind = staged(writer.stage_event(door.admit(claim("b", T0 + 1), now_ms=T0)))
        writer.commit()
    assert ahead.watermark_ms == T0 + 300_000
    assert behind.watermark_ms == T0 + 300_000
    assert ledger.seq_at(T0 + 299_999) == 0
    assert ledger.seq_at(T0 + 300_000) == 2


def test_seq_at_is_the_last_seq_whose_watermark_is_not_later(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    rng = np.random.default_rng(5)
    with ledger.writer(clock) as writer:
        for i, late in enumerate(rng.integers(0, 40, 60)):
            writer.stage_event(door.admit(claim(f"c{i}", T0 - 1_000_000 + i * 10 - int(late)), now_ms=T0))
        writer.commit()
    marks = [(record.seq, record.watermark_ms) for record in ledger.records()]
    for as_of_ms in range(T0 - 1_000_050, T0 - 1_000_000 + 620):
        assert ledger.seq_at(as_of_ms) == max((seq for seq, mark in marks if mark <= as_of_ms), default=0)


def test_uncommitted_records_are_gone_after_reopening_and_their_seqs_free(
    ledger: Ledger, door: Door, clock: FakeClock
) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("kept"), now_ms=T0))
        writer.commit()
        writer.stage_event(door.admit(claim("lost"), now_ms=T0))
    assert [record.seq for record in ledger.records()] == [1]
    with ledger.writer(clock) as writer:
        assert staged(writer.stage_event(door.admit(claim("lost"), now_ms=T0))).seq == 2
        writer.commit()
    assert [record.seq for record in ledger.records()] == [1, 2]


def test_killed_writer_leaves_exactly_what_it_committed(ledger: Ledger, scenario: Scenario, clock: FakeClock) -> None:
    directory = ledger.directory

    def work() -> None:
        own = Ledger.open(directory, scenario)
        with own.writer(clock) as writer:
            own_door = Door(scenario, own.identity)
            writer.stage_event(own_door.admit(claim("a"), now_ms=T0))
            writer.commit()
            writer.stage_event(own_door.admit(claim("b"), now_ms=T0))
            os._exit(9)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 9
    assert ledger.last_seq == 1
    assert (directory / LOCK).read_text().strip() == str(process.pid)
    assert writer_of(directory) is None  # whatever is left in the file
    with ledger.writer(clock) as writer:  # the lock died with its holder
        assert writer.last_seq == 1


def test_second_writer_is_told_who_holds_the_lock(ledger: Ledger, clock: FakeClock) -> None:
    message = pytest.raises(LedgerLockedError, match=str(os.getpid()))
    with ledger.writer(clock), message as caught, ledger.writer(clock):
        raise AssertionError("two writers")
    assert caught.value.holder_pid == os.getpid()
    with ledger.writer(clock):
        assert writer_of(ledger.directory) == f"process {os.getpid()}"
    assert writer_of(ledger.directory) is None
    (ledger.directory / LOCK).unlink()
    assert writer_of(ledger.directory) is None


def test_other_processes_cannot_write_but_can_read(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    script = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1])\n"
        "try:\n    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError:\n    print('locked')\n"
    )
    with ledger.writer(clock) as writer:
        command = [sys.executable, "-c", script, str(ledger.directory / "writer.lock")]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "locked\n"
        writer.stage_event(door.admit(claim("a"), now_ms=T0))
        writer.commit()
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.append(ledger.last_seq))
        reader.start()
        reader.join()
        assert seen == [1]


def test_locked_database_keeps_the_group_and_retries_it_unchanged(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer:
        writer._connection.execute("PRAGMA busy_timeout = 10")
        event = staged(writer.stage_event(door.admit(claim("a"), now_ms=T0)))
        writer.stage_decision(decision_on(event.seq))
        blocker = sqlite3.connect(ledger.directory / "ledger.db", isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CommitFailedError, match="locked") as caught:
            writer.commit()
        assert (caught.value.first_seq, caught.value.last_seq) == (1, 2)
        later = staged(writer.stage_event(door.admit(claim("b"), now_ms=T0)))
        assert isinstance(writer.stage_event(door.admit(claim("a"), now_ms=T0)), Duplicate)
        with pytest.raises(CommitFailedError):
            writer.commit()
        assert writer.n_staged == 3
        blocker.execute("ROLLBACK")
        blocker.close()
        writer.commit()
        assert writer.n_staged == 0
    assert later.seq == 3
    assert [record.seq for record in ledger.records()] == [1, 2, 3]


def test_full_disk_keeps_the_group_and_writes_it_once_there_is_room(
    ledger: Ledger, door: Door, clock: FakeClock
) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("before"), now_ms=T0))
        writer.commit()
        pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
        writer._connection.execute(f"PRAGMA max_page_count = {pages}")
        for i in range(200):
            writer.stage_event(door.admit(claim(f"c{i}"), now_ms=T0))
        for _ in range(2):
            with pytest.raises(CommitFailedError, match="full"):
                writer.commit()
        assert ledger.last_seq == 1
        writer._connection.execute("PRAGMA max_page_count = 1000000")
        writer.commit()
    assert [record.seq for record in ledger.records()] == list(range(1, 202))


def test_group_whose_commit_reached_the_file_after_all_is_not_written_twice(
    ledger: Ledger, door: Door, clock: FakeClock
) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("a"), now_ms=T0))
        group = writer._open
        writer.commit()
        writer._sealed.append(group)  # as if the failure had been reported after the write
        writer.commit()
    assert ledger.last_seq == 1


def test_entity_names_and_personal_values_stay_out_of_the_records(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    admission = door.admit(claim("c1"), now_ms=T0)
    with ledger.writer(clock) as writer:
        writer.stage_event(admission)
        writer.commit()
    names = ledger.entity_names([*admission.entity_ids, bytes(16)])
    assert sorted(names.values()) == [("person", "anna"), ("person", "bert"), ("person", "carl"), ("shop", "7")]
    assert ledger.personal(1) == {"phone": "555"}
    stored = b"".join(file.read_bytes() for file in sorted(ledger.directory.glob("ledger.db*")))
    assert b"VW" in stored
    for secret in (b"anna", b"bert", b"555"):
        assert secret not in stored


def test_context_events_have_no_values(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    raw = {"event_type": "policy_change", "event_id": "p", "event_time": T0, "entities": {"claimant": "anna"}}
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(raw, now_ms=T0))
        live = writer.batch()
        writer.commit()
    assert np.isnan(live.values).all()
    assert_same(whole(iter([live])), whole(ledger.batches()))
    assert ledger.events(0).height == 0


def test_reordered_roles_are_refused_and_new_ones_at_the_end_are_not(
    ledger: Ledger, door: Door, clock: FakeClock, scenario: Scenario
) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("c1"), now_ms=T0))
        writer.commit()
    roles = scenario.roles
    swapped = msgspec.structs.replace(scenario, roles=(roles[1], roles[0], *roles[2:]))
    with pytest.raises(LedgerSchemaError, match="roles"):
        Ledger.open(ledger.directory, swapped)
    more = msgspec.structs.replace(scenario, roles=(*roles, msgspec.structs.replace(roles[0], name="lawyer", index=3)))
    grown = Ledger.open(ledger.directory, more)
    with grown.writer(clock):
        pass
    with pytest.raises(LedgerSchemaError):
        Ledger.open(ledger.directory, scenario)


def test_file_that_is_no_database_is_named(tmp_path: Path, scenario: Scenario) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(LedgerDamagedError, match=r"ledger\.db"):
        Ledger.open(tmp_path, scenario)


def test_label_records_carry_the_links_and_time_of_their_event(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(claim("c1", T0 - 5_000), now_ms=T0))
        writer.commit()
        clock.advance(DAY)
        writer.stage_label(notice("c1", FRAUD, "investigator"))
        batch = writer.batch()
        writer.commit()
    event, label = batch.kind.tolist().index(0), batch.kind.tolist().index(LABEL)
    links = [batch.link_lo[batch.link_start[i] : batch.link_start[i + 1]].tolist() for i in (event, label)]
    assert links[0] == links[1]
    assert batch.label_event_time_ms[label] == T0 - 5_000
    assert batch.label_event_seq[label] == 1
    assert batch.time_ms[label] == T0 + DAY


def test_records_and_names_reach_their_files_beside_the_commits(ledger: Ledger, door: Door, clock: FakeClock) -> None:
    # Far fewer pages than those from which SQLite would copy its log inside a commit.
    files = [ledger.directory / name for name in (DATABASE, ERASABLE)]
    with ledger.writer(clock) as writer:
        began = [file.stat().st_size for file in files]
        for i in range(3 * EVERY_COMMITS):
            claimant = {"entities": {"claimant": f"p-{i}", "shop": i}}
            writer.stage_event(door.admit(claim(f"c{i}", **claimant), now_ms=T0))
            writer.commit()
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline and not all(
            file.stat().st_size > size + 8_192 for file, size in zip(files, began, strict=True)
        ):
            time.sleep(0.01)
        assert [file.stat().st_size > size + 8_192 for file, size in zip(files, began, strict=True)] == [True, True]
