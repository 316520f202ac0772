# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import multiprocessing
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.ledger import importer, segment_build
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from ringfence.scenario.spec import Scenario
from tests.ledger.claims import DAY, T0, assert_same, claim, row, whole
from tests.ledger.places import NOW, Place, hi_lo


def killed(place: Place, stage: str) -> None:
    """Run an import in a child process that dies at `stage`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ringfence.ledger.importer", "tests.ledger.test_import_interrupted"])
    process = context.Process(target=_run_killed, args=(place, stage))
    process.start()
    process.join()
    assert process.exitcode == 9


def _run_killed(place: Place, stage: str) -> None:
    target, name = {
        "after runs": (importer, "sift"),
        "before the sort": (importer, "write_segment"),
        "before names": (segment_build, "_write_names"),
        "before publishing": (importer, "_publish"),
        "before renaming": (importer.os, "rename"),
        "before the transaction": (importer, "_append_import"),
        "before loading names": (importer, "load_erasable"),
    }[stage]
    setattr(target, name, lambda *_, **__: os._exit(9))
    place.load()


@pytest.mark.parametrize(
    "stage",
    ["after runs", "before the sort", "before names", "before publishing", "before renaming", "before the transaction"],
)
def test_import_killed_at_any_stage_leaves_nothing(place: Place, stage: str) -> None:
    place.write([row(f"c{i}", T0 + i, fraud=i % 2, known=T0 + DAY) for i in range(10)])
    killed(place, stage)
    assert place.ledger.last_seq == 0
    assert list(place.ledger.batches()) == []
    with place.ledger.writer(NOW):
        pass
    assert not (place.directory / "importing").exists()
    assert list((place.directory / "segments").glob("*")) == []
    assert place.ledger.entity_names([hi_lo(place.ledger.identity, "person", "anna")]) == {}
    assert place.load().n_events == 10


def test_import_killed_after_its_transaction_is_finished_by_the_next_writer(place: Place) -> None:
    place.write([row("a")])
    killed(place, "before loading names")
    assert place.ledger.last_seq == 2
    with place.ledger.writer(NOW):
        pass
    assert place.ledger.entity_names([hi_lo(place.ledger.identity, "person", "anna")]) != {}
    assert place.ledger.personal(1) == {"phone": "555"}
    assert [file.name for file in (place.directory / "segments").glob("*/*")] == ["records.parquet"]


def test_audit_names_the_first_record_that_was_changed(place: Place) -> None:
    place.write([row("a")])
    place.load()
    door = Door(place.scenario, place.ledger.identity)
    with place.ledger.writer(NOW) as writer:
        for i in range(5):
            writer.stage_event(door.admit(claim(f"x{i}", T0 + i), now_ms=NOW.now_ms()))
        writer.commit()
    intact = audit_ledger(place.ledger, lambda done, total: None)
    assert (intact.holds, intact.n_records, intact.n_segments, intact.last_seq) == (True, 6, 1, 7)
    with place.ledger.writer(NOW) as writer:
        writer._connection.execute("UPDATE records SET recorded_at_ms = recorded_at_ms + 1 WHERE seq = 5")
    assert audit_ledger(place.ledger).first_broken_seq == 5
    with place.ledger.writer(NOW) as writer:
        writer._connection.execute("DELETE FROM records WHERE seq = 4")
    assert audit_ledger(place.ledger).first_broken_seq == 4
    assert "missing" in audit_ledger(place.ledger).text
    segment = next((place.directory / "segments").glob("*/records.parquet"))
    content = bytearray(segment.read_bytes())
    content[100] ^= 1
    segment.write_bytes(content)
    assert audit_ledger(place.ledger).first_broken_seq == 1


times = st.integers(0, 6).map(lambda step: T0 + step * DAY // 2)
rows = st.lists(
    st.tuples(
        times,
        st.sampled_from([None, 12.345, 0.0, 99.5]),
        st.sampled_from([None, "anna", "bert"]),
        st.lists(st.sampled_from(["anna", "bert", "carl"]), max_size=3),
        st.sampled_from([None, "VW", "Fiat"]),
        st.sampled_from([None, -0.0, 2.5]),
        st.sampled_from([None, True, False]),
        st.sampled_from([None, T0 - DAY]),
        st.sampled_from([None, 0, 1]),
        st.integers(0, 3),
        st.sampled_from([None, "rear-ended", "Ärger an der Ampel – ein Wagen fuhr auf, Stoßstange ab."]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=rows)
def test_import_equals_the_same_stream_sent_live(
    tmp_path_factory: pytest.TempPathFactory, scenario: Scenario, drawn: list[Any]
) -> None:
    place = Place(tmp_path_factory.mktemp("import"), scenario)
    place.directory.mkdir(parents=True)
    live = Ledger.open(tmp_path_factory.mktemp("live"), place.scenario)
    (place.directory / "identity.key").write_bytes((live.identity, live.directory / "identity.key")[1].read_bytes())
    (place.directory / "identity.key").chmod(0o600)
    source, records = [], []
    for i, (at, amount, who, witnesses, make, age, night, bought, fraud, delay, story) in enumerate(drawn):
        known = None if fraud is None else at + delay * DAY // 2
        source.append(
            row(
                f"c{i}", at, amount=amount, claimant=who, witness=witnesses, make=make, age=age, night=night,
                bought=bought, fraud=fraud, known=known, story=story,
            )
        )  # fmt: skip
        entities = {"claimant": who, "witness": witnesses, "shop": 7}
        attributes = {"make": make, "age": age, "night": night, "bought": bought, "story": story, "phone": "555"}
        records.append(((at, 1, i, 0), claim(f"c{i}", at, amount=amount, entities=entities, attributes=attributes)))
        if known is not None:
            at_once = known == at
            notice = LabelNotice(event_type="claim", event_id=f"c{i}", value=fraud, source="import", known_at_ms=known)
            records.append(((known, 1 if at_once else 0, i, 1), notice))
    place.write(source)
    place.load()
    clock = FakeClock(T0)
    door = Door(place.scenario, live.identity)
    with live.writer(clock) as writer:
        for (at, *_), record in sorted(records, key=lambda pair: pair[0]):
            clock.advance(max(0, at - clock.now_ms()))
            if isinstance(record, LabelNotice):
                writer.stage_label(record)
            else:
                writer.stage_event(door.admit(record, now_ms=at))
        writer.commit()
    assert_same(whole(live.batches()), whole(place.ledger.batches()))
    assert_same(whole(live.batches(size=3)), whole(place.ledger.batches(size=5)))
    for as_of_ms in {at for (at, *_), _ in records}:
        assert live.seq_at(as_of_ms) in (place.ledger.seq_at(as_of_ms), place.ledger.seq_at(as_of_ms) - 1)
    until = len(records) // 2
    assert live.labels(until).equals(place.ledger.labels(until))
    assert live.events(T0, T0 + DAY, until).equals(place.ledger.events(T0, T0 + DAY, until))
    for i in range(len(drawn)):
        assert live.find_event("claim", f"c{i}") == place.ledger.find_event("claim", f"c{i}")
    assert np.isfinite(live.watermark_ms)
