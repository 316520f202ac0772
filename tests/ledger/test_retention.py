# SPDX-License-Identifier: Apache-2.0
"""`retain`: what is older goes, what is younger stays, whoever kills the sweep."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.erasable import Erasable
from ringfence.ledger.last_seen import LAST_SEEN, LastSeen
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.retention import Sweep, sweep
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from tests.ledger.claims import DAY, T0, assert_same, claim, row, whole
from tests.ledger.places import Place, hi_lo

#  day      0        10        20        30        40
#  old      import   .         .         .         .       named at day 0 alone
#  back     import   .         live      .         .       named again at day 20
#  young    .        .         .         live      .
#  late     .        .         .         (day 1)   .       happened at day 1, told at day 30
RETAIN = 15 * DAY


def fill(place: Place) -> Ledger:
    place.write(
        [
            row("e-old", T0, claimant="old-1", witness=[], phone="p-old"),
            row("e-back", T0, claimant="back-1", witness=[], phone="p-back"),
        ]
    )
    place.load()
    (place.path / "claims.parquet").unlink()
    ledger = place.ledger
    learn(ledger, "e-again", 20, "back-1", "p-again")
    learn(ledger, "e-young", 30, "young-1", "p-young")
    learn(ledger, "e-late", 30, "late-1", "p-late", happened=1)
    return ledger


def learn(ledger: Ledger, event_id: str, day: int, who: str, phone: str, happened: int | None = None) -> None:
    clock = FakeClock(T0 + day * DAY)
    raw = claim(event_id, T0 + (day if happened is None else happened) * DAY, entities={"claimant": who, "shop": 7})
    raw["attributes"]["phone"] = phone
    with ledger.writer(clock) as writer:
        writer.stage_event(Door(ledger.scenario, ledger.identity).admit(raw, now_ms=clock.now_ms()))
        writer.commit()


def swept(place: Place, day: float, record: Callable[[Sweep], None] = lambda due: None) -> Sweep:
    now_ms = T0 + int(day * DAY)
    return sweep(place.ledger, place.path / "state", retain_ms=RETAIN, now_ms=now_ms, record=record)


def kept(place: Place) -> tuple[list[str], list[str]]:
    """Who has a name, and which phones are known."""
    ledger = place.ledger
    digests = {
        hi_lo(ledger.identity, kind, name): name
        for kind, name in (*(("person", f"{who}-1") for who in ("old", "back", "young", "late")), ("shop", "7"))
    }
    phones = (ledger.personal(seq).get("phone") for seq in range(1, ledger.last_seq + 1))
    return sorted(digests[digest] for digest in ledger.entity_names(digests)), sorted(filter(None, phones))


def test_what_is_older_goes_and_what_is_younger_stays(place: Place) -> None:
    fill(place)
    assert swept(place, 14.9) == Sweep(until_seq=0, n_names=0, n_personal=0)
    assert len(kept(place)[1]) == 5
    told: list[Sweep] = []
    done = swept(place, 15, told.append)
    assert (done.n_names, done.n_personal) == (1, 2)
    assert told == [done]
    assert kept(place) == (["7", "back-1", "late-1", "young-1"], ["p-again", "p-late", "p-young"])
    assert swept(place, 36).n_names == 1  # back-1, last named at day 20
    assert kept(place) == (["7", "late-1", "young-1"], ["p-late", "p-young"])
    assert swept(place, 46).n_names == 3
    assert kept(place) == ([], [])
    files = b"".join(file.read_bytes() for file in place.path.rglob("*.db*"))
    for word in (b"old-1", b"back-1", b"young-1", b"late-1", b"p-old", b"p-late"):
        assert word not in files.replace(b"e-", b"")


def test_sweeping_again_does_nothing_and_puts_nothing_on_record(place: Place) -> None:
    fill(place)
    swept(place, 40)
    told: list[Sweep] = []
    again = swept(place, 40, told.append)
    assert (again.n_names, again.n_personal, told) == (0, 0, [])


def test_chain_and_batches_are_the_same_after_it(place: Place) -> None:
    ledger = fill(place)
    before, batches = audit_ledger(ledger), whole(ledger.batches())
    swept(place, 60)
    assert audit_ledger(place.ledger) == before
    assert_same(whole(place.ledger.batches()), batches)


def test_a_name_that_was_dropped_comes_back_when_its_entity_does(place: Place) -> None:
    ledger = fill(place)
    swept(place, 60)
    learn(ledger, "e-return", 61, "old-1", "p-return")
    assert kept(place) == (["7", "old-1"], ["p-return"])
    assert swept(place, 62).n_names == 0
    assert swept(place, 80).n_names == 2


def test_a_writer_that_goes_on_brings_a_dropped_name_back_within_a_day(place: Place) -> None:
    ledger, clock = fill(place), FakeClock(T0 + 31 * DAY)
    door = Door(ledger.scenario, ledger.identity)
    with ledger.writer(clock) as writer:
        for number, days in enumerate((0, 20, 40)):
            clock.advance(T0 + (31 + days) * DAY - clock.now_ms())
            raw = claim(f"on-{number}", clock.now_ms(), entities={"claimant": "young-1"})
            writer.stage_event(door.admit(raw, now_ms=clock.now_ms()))
            writer.commit()
            assert "young-1" in kept(place)[0]
            swept(place, 31 + days + 16)
            assert "young-1" not in kept(place)[0]


def test_a_name_without_any_record_counts_as_seen_when_it_is_first_swept(place: Place) -> None:
    ledger = fill(place)
    ghost = hi_lo(ledger.identity, "person", "ghost-1")
    store = Erasable(place.directory)
    store.add([(ghost, "person", "ghost-1")], ())
    store.close()
    swept(place, 20)
    assert ledger.entity_names([ghost])
    swept(place, 60)
    assert not ledger.entity_names([ghost])


@pytest.mark.parametrize("stage", ["in the reading", "at the act", "after values", "in the names", "before the bytes"])
def test_killed_anywhere_the_next_sweep_finishes(place: Place, stage: str) -> None:
    fill(place)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_sweep_killed, args=(place, stage))
    process.start()
    process.join()
    assert process.exitcode == 9
    swept(place, 36)
    assert kept(place) == (["7", "late-1", "young-1"], ["p-late", "p-young"])
    assert swept(place, 36).n_names == 0
    assert audit_ledger(place.ledger).holds
    content = b"".join(file.read_bytes() for file in place.directory.glob("erasable.db*"))
    assert b"p-old" not in content
    assert b"old-1" not in content


def _sweep_killed(place: Place, stage: str) -> None:
    def die(*_: object, **__: object) -> None:
        os._exit(9)

    if stage == "at the act":
        swept(place, 36, die)
    owner, name = {
        "in the reading": (LastSeen, "_read_live"),
        "after values": (LastSeen, "names"),
        "in the names": (Erasable, "drop_names"),
        "before the bytes": (Erasable, "scrub"),
    }[stage]
    setattr(owner, name, die)
    swept(place, 36)


def test_who_was_last_seen_is_read_on_from_where_it_was_and_equals_reading_all(place: Place, tmp_path: Path) -> None:
    ledger = fill(place)
    on = LastSeen(ledger, tmp_path / "on")
    on.catch_up()
    learn(ledger, "e-more", 33, "back-1", "p-more")
    place.write([row("e-past", T0 + DAY, claimant="old-1", witness=["wit-1"])])
    place.load()
    learn(ledger, "e-most", 34, "young-1", "p-most")
    on.catch_up()
    afresh = LastSeen(place.ledger, tmp_path / "afresh")
    afresh.catch_up()
    expected: dict[bytes, int] = {}
    for batch in place.ledger.batches():  # no labels here
        for event, start in enumerate(batch.link_start[:-1]):
            for at in range(start, batch.link_start[event + 1]):
                pair = int(batch.link_hi[at]).to_bytes(8, "big") + int(batch.link_lo[at]).to_bytes(8, "big")
                expected[pair] = int(batch.seq[event])
    assert rows(tmp_path / "on") == rows(tmp_path / "afresh") == expected


def rows(folder: Path) -> dict[bytes, int]:
    connection = sqlite3.connect(folder / LAST_SEEN)
    found = dict(connection.execute("SELECT digest, seq FROM seen").fetchall())
    connection.close()
    return found


def test_of_a_ledger_that_was_begun_anew_nothing_old_is_believed(place: Place) -> None:
    place.write([row(f"e-{n}", T0 + n, claimant=f"who-{n}") for n in range(5)])
    place.load()
    swept(place, 15.5)
    place.write([row("f-1", T0 + 20 * DAY, claimant="who-1"), row("f-2", T0 + 21 * DAY, claimant="old-1")])
    place.load(replace=True)
    assert swept(place, 30).n_names == 0
    assert "old-1" in kept(place)[0]
    assert swept(place, 50).n_names > 0
