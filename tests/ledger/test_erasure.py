# SPDX-License-Identifier: Apache-2.0
"""One entity erased: nothing of it is left in the clear, and no record, feature or hash is another one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.engine import Engine
from ringfence.ledger import erasable as erasable_module
from ringfence.ledger import erasure
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.erasure import Erasure, erase_entity
from ringfence.ledger.errors import LedgerLockedError, NotScrubbedError, UnknownEntityError
from ringfence.ledger.held import HeldEvent, held_on
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.lock import writer_lock
from ringfence.ledger.writer import Staged
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.load import scenario_from_mapping
from tests.ledger.claims import DAY, T0, assert_same, claim, row, whole
from tests.ledger.places import Place, hi_lo

ANNA, PHONE = "anna-katharina-4711", "+49-170-5550100"
EVENT = {"claimant": ANNA, "shop": 7, "witness": ["bert-9", "carl-9"]}


def fill(place: Place) -> Ledger:
    """Import two claims, of which one names Anna, and learn two more."""
    place.write([row("past-1", claimant=ANNA, phone=PHONE), row("past-2", T0 + 1, claimant="dora-9", phone="777-dora")])
    place.load()
    (place.path / "claims.parquet").unlink()  # the source is its owner's; here only what ringfence keeps counts
    ledger, clock = place.ledger, FakeClock(T0 + DAY)
    door = Door(ledger.scenario, ledger.identity)
    with ledger.writer(clock) as writer:
        for number, who in enumerate((ANNA, "dora-9")):
            raw = claim(f"live-{number}", T0 + DAY + number, entities=EVENT | {"claimant": who})
            raw["attributes"]["phone"] = PHONE if who == ANNA else "778-dora"
            writer.stage_event(door.admit(raw, now_ms=clock.now_ms()))
        writer.commit()
    return ledger


def erase(ledger: Ledger, who: str = ANNA, acts: list[str] | None = None) -> Erasure:
    record = (lambda digest: None) if acts is None else acts.append
    return erase_entity(ledger, "person", who, at_ms=T0 + 2 * DAY, record=record)


def files_with(folder: Path, text: str) -> list[str]:
    return [file.name for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


def state_and_rows(ledger: Ledger) -> tuple[str, bytes]:
    engine = Engine(Catalogue.build(ledger.scenario))
    rows = b"".join(engine.observe(batch).tobytes() for batch in ledger.batches())
    return engine.state_hash(), rows


def test_the_id_and_the_personal_values_of_its_events_are_in_no_file(place: Place) -> None:
    ledger, acts = fill(place), list[str]()
    assert files_with(place.path, ANNA)
    assert files_with(place.path, PHONE)
    done = erase(ledger, acts=acts)
    assert (done.n_events, done.n_names, done.n_personal, done.was_erased_at_ms) == (2, 1, 2, None)
    assert acts == [done.digest] == [hi_lo(ledger.identity, "person", ANNA).hex()]
    assert files_with(place.path, ANNA) == []
    assert files_with(place.path, PHONE) == []
    assert files_with(place.path, "dora-9")
    events = [held for held in held_on(ledger, "person", "dora-9") if isinstance(held, HeldEvent)]
    assert [event.personal for event in events] == [{"phone": "777-dora"}, {"phone": "778-dora"}]


def test_chain_batches_state_and_feature_rows_are_the_same_bytes_after_it(place: Place) -> None:
    ledger = fill(place)
    before, batches, built = audit_ledger(ledger), whole(ledger.batches()), state_and_rows(ledger)
    assert before.holds
    erase(ledger)
    assert audit_ledger(place.ledger) == before
    assert_same(whole(place.ledger.batches()), batches)
    assert state_and_rows(place.ledger) == built


def test_a_second_erasure_does_nothing_and_puts_nothing_on_record(place: Place) -> None:
    ledger, acts = fill(place), list[str]()
    erase(ledger, acts=acts)
    again = erase(ledger, acts=acts)
    assert (again.was_due, again.n_names, again.n_personal, again.was_erased_at_ms) == (False, 0, 0, T0 + 2 * DAY)
    assert len(acts) == 1


@pytest.mark.parametrize("who", ["Anna-Katharina-4711", "nobody", "7"])
def test_whom_nothing_names_is_an_error_that_does_not_repeat_the_id(place: Place, who: str) -> None:
    ledger = fill(place)
    with pytest.raises(UnknownEntityError) as caught:
        erase(ledger, who)
    assert who not in str(caught.value)
    assert files_with(place.path, ANNA)


def test_its_name_stays_out_when_it_is_sent_again_live_or_imported(place: Place) -> None:
    ledger = fill(place)
    erase(ledger)
    digest = hi_lo(ledger.identity, "person", ANNA)
    clock = FakeClock(T0 + 3 * DAY)
    door = Door(ledger.scenario, ledger.identity)
    with ledger.writer(clock) as writer:
        staged = writer.stage_event(door.admit(claim("later", T0 + 3 * DAY, entities=EVENT), now_ms=clock.now_ms()))
        writer.commit()
    place.write([row("past-9", claimant=ANNA, witness=["emil-9"], phone=None)])
    place.load()
    assert isinstance(staged, Staged)
    assert ledger.entity_names([digest]) == {}
    assert ledger.entity_names([hi_lo(ledger.identity, "person", "emil-9")])
    # What came since is new, and can be erased as well.
    assert ledger.personal(staged.seq) == {"phone": "555"}
    later = erase(ledger)
    assert (later.was_due, later.n_names, later.n_personal, later.n_events) == (True, 0, 1, 4)
    assert ledger.personal(staged.seq) == {}
    place.write([row("past-1", claimant=ANNA, phone=PHONE)])
    place.load(replace=False)
    assert ledger.entity_names([digest]) == {}


def test_an_id_in_what_is_not_personal_is_told_since_it_stays(place: Place) -> None:
    ledger, clock = fill(place), FakeClock(T0 + DAY)
    door = Door(ledger.scenario, ledger.identity)
    raw = claim(f"of-{ANNA}", T0 + DAY, entities=EVENT)
    raw["attributes"]["story"] = f"Hit by {ANNA.upper()}, who left."
    with ledger.writer(clock) as writer:
        writer.stage_event(door.admit(raw, now_ms=clock.now_ms()))
        writer.commit()
    done = erase(ledger)
    assert (done.n_quoting, done.quoting) == (1, ("event_id", "story"))


@contextlib.contextmanager
def written(ledger: Ledger) -> Iterator[None]:
    with ledger.writer(FakeClock(T0 + DAY)):
        yield


def test_it_works_beside_a_writer_that_goes_on_writing(place: Place) -> None:
    ledger = fill(place)
    clock = FakeClock(T0 + DAY)
    door = Door(ledger.scenario, ledger.identity)
    stop, n_written = threading.Event(), 0

    def write() -> None:
        nonlocal n_written
        with ledger.writer(clock) as writer:
            while not stop.is_set():
                raw = claim(f"beside-{n_written}", T0 + DAY, entities={"claimant": f"guest-{n_written}"})
                writer.stage_event(door.admit(raw, now_ms=clock.now_ms()))
                writer.commit()
                n_written += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while n_written < 20:
            assert thread.is_alive()
        erase(ledger)
        reached = n_written
        while n_written < reached + 20:
            assert thread.is_alive()
    finally:
        stop.set()
        thread.join()
    assert files_with(place.path, ANNA) == []
    assert files_with(place.path, PHONE) == []
    assert audit_ledger(ledger).holds


@pytest.mark.parametrize(
    "stage", ["at the act", "before the name", "before values", "before the bytes", "in the bytes"]
)
def test_killed_anywhere_the_next_call_finishes(place: Place, stage: str) -> None:
    ledger = fill(place)
    before = audit_ledger(ledger)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_erase_killed, args=(place, stage))
    process.start()
    process.join()
    assert process.exitcode == 9
    acts = list[str]()
    done = erase(place.ledger, acts=acts)
    assert done.was_due
    assert len(acts) == (1 if stage in ("at the act", "before the name") else 0)  # else it is on record
    assert files_with(place.path, ANNA) == []
    assert files_with(place.path, PHONE) == []
    assert audit_ledger(place.ledger) == before
    assert not erase(place.ledger).was_due


def _erase_killed(place: Place, stage: str) -> None:
    def die(*_: object, **__: object) -> None:
        os._exit(9)

    if stage == "at the act":
        erase_entity(place.ledger, "person", ANNA, at_ms=T0, record=die)
    name = {
        "before the name": "erase",
        "before values": "drop_personal",
        "before the bytes": "scrub",
        "in the bytes": "_empty_log",
    }[stage]
    setattr(Erasable, name, die)
    erase(place.ledger)


def test_an_interrupted_import_is_finished_first_and_one_under_way_is_waited_for(place: Place) -> None:
    ledger = fill(place)
    place.write([row("past-3", claimant="emil-4712", phone="779-emil")])
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_import_killed, args=(place,))
    process.start()
    process.join()
    assert process.exitcode == 9
    (place.path / "claims.parquet").unlink()
    with writer_lock(place.directory), pytest.raises(LedgerLockedError):
        erase(ledger, "emil-4712")
    done = erase(ledger, "emil-4712")
    assert (done.n_names, done.n_personal) == (1, 1)
    assert files_with(place.path, "emil-4712") == []
    assert files_with(place.path, "779-emil") == []


def _import_killed(place: Place) -> None:
    from ringfence.ledger import importer

    importer.load_erasable = lambda *_: os._exit(9)
    place.load()


def test_a_file_of_an_earlier_ringfence_is_rewritten_since_copies_lie_in_its_free_space(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = fill(place)
    database = sqlite3.connect(place.directory / "erasable.db", isolation_level=None)
    database.executescript(
        "PRAGMA secure_delete = OFF; DROP TRIGGER erased_stays_out; DROP TABLE erased; PRAGMA user_version = 0;"
        "DELETE FROM directory; PRAGMA wal_checkpoint(TRUNCATE);"
    )
    database.close()
    assert files_with(place.path, ANNA) == ["erasable.db"]  # deleted, and there for who reads the bytes
    monkeypatch.setattr(erasable_module, "VACUUM_BESIDE_WRITER_BYTES", 1)
    with written(ledger), pytest.raises(NotScrubbedError, match="the service stopped"):
        erase(place.ledger)
    monkeypatch.undo()
    with written(ledger):  # so small a file is rewritten before the writer's patience ends
        assert erase(place.ledger).was_due
        assert files_with(place.path, ANNA) == []
        assert files_with(place.path, PHONE) == []


def test_a_reader_that_stays_in_the_way_is_told_and_the_next_call_finishes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = fill(place)
    monkeypatch.setattr(erasable_module, "_ATTEMPTS", 2)
    with ledger.writer(FakeClock(T0 + DAY)):  # whose open file keeps the log from being emptied at each close
        reader = sqlite3.connect(place.directory / "erasable.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM directory").fetchone()
        with pytest.raises(NotScrubbedError, match="reading"):
            erase(ledger)
        reader.execute("COMMIT")
        assert erase(ledger).was_due
        assert files_with(place.path, ANNA) == []
        reader.close()


def test_many_names_written_and_erased_leave_nothing_behind(tmp_path: Path) -> None:
    store = Erasable(tmp_path)
    digests = [n.to_bytes(16, "big")[::-1] for n in range(6_000)]
    for start in range(0, 6_000, 50):  # small groups, as the service writes them: pages split all over the file
        names = [(digest, "person", f"name-of-{digest.hex()}-{'x' * 40}") for digest in digests[start : start + 50]]
        values = [(start + i, "phone", f"value-of-{start + i}-{'y' * 40}".encode()) for i in range(50)]
        store.add(names, values)
    long = "".join(f"word-{i}-of-a-long-text " for i in range(2_000))  # lies on pages of its own
    store.add([], [(9_000, "story", long.encode()), (9_001, "story", long.replace("word", "kept").encode())])
    store.drop_personal([9_000])
    store.erase(digests[::3], at_ms=1)
    store.drop_personal(range(0, 6_000, 3))
    store.scrub(lambda: False)
    store.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"word-" not in content
    assert content.count(b"kept-") > 1_900  # pages cut a few in two
    for i in range(6_000):
        is_kept = i % 3 != 0
        assert (b"name-of-" + digests[i].hex().encode() in content) == is_kept
        assert (f"value-of-{i}-".encode() in content) == is_kept


def test_what_is_made_of_its_personal_values_alone_is_erased_with_it(tmp_path: Path) -> None:
    scenario = scenario_from_mapping(
        "mail",
        {
            "decide": "signup",
            "events": {
                "signup": {
                    "event_id": "id",
                    "event_time": "at",
                    "entities": {"user": "user"},
                    "attributes": {"email": {"type": "text", "personal": True}},
                    "derive": {"mail_domain": {"email_domain": "email", "role": True}},
                }
            },
        },
        where="tests",
    )
    ledger, clock = Ledger.open(tmp_path / "ledger" / "mail", scenario), FakeClock(T0)
    door = Door(scenario, ledger.identity)
    with ledger.writer(clock) as writer:
        for number, email in enumerate(["ann@own-domain.example", "ann@shared.example", "bob@shared.example"]):
            entities = {"user": "user-ann" if "ann" in email else "user-bob"}
            raw = {"event_id": str(number), "event_time": T0, "entities": entities, "attributes": {"email": email}}
            writer.stage_event(door.admit(raw, now_ms=T0))
        writer.commit()
    done = erase_entity(ledger, "user", "user-ann", at_ms=T0, record=lambda digest: None)
    assert (done.n_names, done.n_personal) == (2, 2)
    assert files_with(tmp_path, "own-domain.example") == []
    assert files_with(tmp_path, "shared.example")
    assert not erase_entity(ledger, "user", "user-ann", at_ms=T0, record=lambda digest: None).was_due


def test_values_of_an_event_that_was_never_durable_are_not_given_to_the_next(place: Place) -> None:
    ledger, clock = fill(place), FakeClock(T0 + DAY)
    with contextlib.closing(Erasable(place.directory)) as store:
        store.add((), [(ledger.last_seq + 1, "phone", msgspec.msgpack.encode("of somebody else"))])
    raw = claim("next", T0 + DAY)
    del raw["attributes"]["phone"]
    with ledger.writer(clock) as writer:
        staged = writer.stage_event(Door(ledger.scenario, ledger.identity).admit(raw, now_ms=clock.now_ms()))
        writer.commit()
    assert isinstance(staged, Staged)
    assert ledger.personal(staged.seq) == {}


def test_whether_somebody_writes_is_found_out_without_waiting(place: Place) -> None:
    ledger = fill(place)
    assert not erasure.is_written(ledger.directory)
    with written(ledger):
        assert erasure.is_written(ledger.directory)
