# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import multiprocessing
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.ledger import importer, segment_build
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.errors import (
    LedgerLockedError,
    RejectedRowsError,
    ReplaceRefusedError,
    SourceColumnsError,
    SourceMissingError,
    SourceUnreadableError,
)
from ringfence.ledger.importer import ImportReport, import_files
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import Kind
from ringfence.ledger.writer import Duplicate, Staged
from ringfence.scenario.batch import FRAUD, LABEL, LEGIT, NO_LABEL
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from ringfence.scenario.identity import IdentityKey
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.spec import Scenario
from tests.ledger.claims import DAY, T0, assert_same, claim, claims_frame, claims_scenario, row, whole

NOW = FakeClock(T0 + 400 * DAY)


class Place:
    """A workspace folder with one scenario."""

    def __init__(self, path: Path, scenario: Scenario) -> None:
        self.path, self.scenario = path, msgspec.structs.replace(scenario, sources=scenario.sources[:1])
        self.directory = path / "ledger" / "claims"
        path.mkdir(exist_ok=True)

    def write(self, rows: list[dict[str, Any]], name: str = "claims.parquet") -> Path:
        claims_frame(rows).write_parquet(self.path / name)
        return self.path / name

    def load(self, **options: Any) -> ImportReport:
        return import_files(self.directory, self.scenario, self.path, NOW, **options)

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.directory, self.scenario)

    def rejects(self) -> list[dict[str, str]]:
        with (self.path / "reports" / "claims-rejects.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def place(tmp_path: Path, scenario: Scenario) -> Place:
    return Place(tmp_path / "workspace", scenario)


def seen(ledger: Ledger) -> list[tuple[int, int, int]]:
    records = whole(ledger.batches())
    return list(
        zip(records["kind"].tolist(), records["time_ms"].tolist(), records["label_event_seq"].tolist(), strict=True)
    )


#  t        T0 ------ T0+1 ------ T0+2
#  events   a         b, c (tie: file order)
#  labels             of a        of c
#  order    a(1)  label a(2)  b(3)  c(4)  label c(5): labels come before the events of their moment
def test_labels_come_at_their_own_known_at_before_events_of_the_same_moment(place: Place) -> None:
    place.write(
        [
            row("b", T0 + 1),
            row("c", T0 + 1, fraud=0, known=T0 + 2),
            row("a", T0, fraud=1, known=T0 + 1),
        ]
    )
    report = place.load()
    assert (report.n_events, report.n_labels, report.first_seq, report.last_seq) == (3, 2, 1, 5)
    assert seen(place.ledger) == [(0, T0, -1), (1, T0 + 1, 1), (0, T0 + 1, -1), (0, T0 + 1, -1), (1, T0 + 2, 4)]
    assert place.ledger.events(0)["event_id"].to_list() == ["a", "b", "c"]


def test_label_known_at_once_comes_right_after_its_event(place: Place) -> None:
    place.write([row("a", T0, fraud=1, known=T0), row("b", T0, fraud=0, known=T0)])
    place.load()
    assert seen(place.ledger) == [(0, T0, -1), (1, T0, 1), (0, T0, -1), (1, T0, 3)]


def test_label_from_the_future_is_known_now(place: Place) -> None:
    place.write([row("a", T0, fraud=1, known=T0 + 4_000 * DAY)])
    place.load()
    assert place.ledger.labels()["known_at_ms"].to_list() == [NOW.now_ms()]


def test_same_import_twice_adds_nothing_and_says_so(place: Place) -> None:
    place.write([row(f"c{i}", T0 + i, fraud=i % 2, known=T0 + DAY) for i in range(20)])
    first = place.load()
    before = whole(place.ledger.batches())
    second = place.load()
    assert (first.n_duplicates, second.n_duplicates) == (0, 20)
    assert (second.n_events, second.n_labels, second.last_seq) == (0, 0, 0)
    assert_same(before, whole(place.ledger.batches()))
    assert len(list((place.directory / "segments").iterdir())) == 1


def test_rows_repeated_in_a_file_count_once_and_changed_ones_are_rejected(place: Place) -> None:
    place.write([row("a"), row("a"), row("b"), row("a", amount=1.0)])
    report = place.load()
    assert (report.n_events, report.n_duplicates, report.n_rejected) == (2, 1, 1)
    assert [(line["line"], line["found"]) for line in place.rejects()] == [("4", "a")]
    assert "another payload" in place.rejects()[0]["reason"]


def test_row_that_changes_a_known_event_is_rejected(place: Place) -> None:
    place.write([row("a"), row("b")])
    place.load()
    place.write([row("a", amount=5.0), row("b"), row("c", T0 + 5)])
    report = place.load()
    assert (report.n_events, report.n_duplicates, report.n_rejected) == (1, 1, 1)
    assert place.rejects()[0]["line"] == "1"
    assert place.ledger.events(0)["event_id"].to_list() == ["a", "b", "c"]


def test_new_label_of_a_known_event_is_added_once(place: Place) -> None:
    place.write([row("a", T0), row("b", T0 + 1)])
    place.load()
    place.write([row("a", T0, fraud=1, known=T0 + DAY), row("b", T0 + 1), row("c", T0 + 2 * DAY)])
    report = place.load()
    assert (report.n_events, report.n_labels, report.n_duplicates) == (1, 1, 2)
    assert place.ledger.labels().to_dicts() == [
        {"event_seq": 1, "value": FRAUD, "known_at_ms": T0 + DAY, "source": "import"}
    ]
    assert place.load().last_seq == 0
    place.write([row("a", T0, fraud=0, known=T0 + DAY)])
    assert place.load().n_labels == 1
    records = whole(place.ledger.batches())
    assert records["label_replaces"][records["kind"] == LABEL].tolist() == [NO_LABEL, FRAUD]
    assert audit_ledger(place.ledger).holds


def test_stale_file_does_not_override_a_stronger_or_later_label(place: Place) -> None:
    place.write([row("a", T0, fraud=0, known=T0 + 1)])
    place.load()
    with place.ledger.writer(NOW) as writer:
        writer.stage_label(
            LabelNotice(event_type="claim", event_id="a", value=FRAUD, source="investigator", known_at_ms=None)
        )
        batch = writer.batch()
        writer.commit()
    assert batch.label_replaces.tolist() == [LEGIT]
    assert place.load().last_seq == 0
    assert place.ledger.labels()["value"].to_list() == [FRAUD]


def test_bad_rows_are_listed_with_line_and_reason_and_good_ones_load(place: Place) -> None:
    place.write([row("a"), row("", T0), row("c", amount=float("inf")), row("d", T0 + 500 * DAY), row("e")])
    report = place.load()
    assert (report.n_events, report.n_rejected) == (2, 3)
    assert [(line["line"], line["column"]) for line in place.rejects()] == [("2", "id"), ("3", "amount"), ("4", "at")]
    assert all(line["reason"] for line in place.rejects())


def test_abort_on_bad_rows_loads_nothing(place: Place) -> None:
    place.write([row("a"), row("b", amount=float("inf"))])
    with pytest.raises(RejectedRowsError, match="1 rows are bad"):
        place.load(on_bad_rows="abort")
    assert len(place.rejects()) == 1
    assert place.ledger.last_seq == 0
    assert not (place.directory / "importing").exists()


def write_csv(path: Path, lines: list[str], encoding: str = "utf-8") -> None:
    path.write_bytes("\n".join(lines).encode(encoding))


@pytest.fixture
def payments(tmp_path: Path) -> Place:
    scenario = scenario_from_mapping(
        "claims",
        {
            "decide": "payment",
            "sources": {"payment": "in/*.csv"},
            "events": {
                "payment": {
                    "event_id": "id",
                    "event_time": "at",
                    "amount": {"field": "amount", "currency": "EUR"},
                    "entities": {"card": "card"},
                    "attributes": {"land": "category"},
                }
            },
        },
        where="tests",
    )
    place = Place(tmp_path / "payments", scenario)
    (place.path / "in").mkdir()
    return place


def test_csv_files_of_a_pattern_are_read_in_order_with_their_lines(payments: Place) -> None:
    write_csv(payments.path / "in/1.csv", ["id,at,amount,card,land", "007,2024-01-01,1.5,4711,DE", "8,nonsense,1,1,DE"])
    write_csv(
        payments.path / "in/2.csv",
        ["id,at,amount,card,land,more", "9,2024-01-01", '10,2024-01-02,2,5,"F,R",x', "11,never,1,5,FR,x"],
    )
    report = payments.load()
    assert (report.n_events, report.n_rejected) == (2, 3)
    found = [(Path(line["file"]).name, line["line"], line["column"]) for line in payments.rejects()]
    assert sorted(found) == [("1.csv", "3", "at"), ("2.csv", "2", ""), ("2.csv", "4", "at")]
    ledger = payments.ledger
    assert ledger.events(0)["event_id"].to_list() == ["007", "10"]
    assert ledger.entity_names([hi_lo(ledger.identity, "card", "4711")]) != {}
    assert payments.load().n_duplicates == 2


def hi_lo(identity: IdentityKey, entity_type: str, entity_id: str) -> bytes:
    hi, lo = identity.entity(entity_type, entity_id)
    return hi.to_bytes(8, "big") + lo.to_bytes(8, "big")


def test_csv_and_door_give_the_same_event(payments: Place) -> None:
    write_csv(payments.path / "in/1.csv", ["id,at,amount,card,land", "7,2024-01-01T10:00:00Z,1.5,4711,DE"])
    payments.load()
    door = Door(payments.scenario, payments.ledger.identity)
    raw = {
        "event_id": 7,
        "event_time": "2024-01-01T10:00:00Z",
        "amount": 1.5,
        "entities": {"card": 4711},
        "attributes": {"land": "DE"},
    }
    with payments.ledger.writer(NOW) as writer:
        assert writer.stage_event(door.admit(raw, now_ms=NOW.now_ms())) == Duplicate(seq=1, decision=None)


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("a.csv", b"", SourceUnreadableError, "empty"),
        ("a.csv", b"id,at,amount,card\n1,2024-01-01,1,1\n", SourceColumnsError, "'land'"),
        ("a.csv", b"id,id,at,amount,card,land\n", SourceColumnsError, "twice"),
        ("a.csv", b"id,at,amount,card,land\n1,2024,1,1,DE\n2,2024,1,\xff\xfe,DE\n", SourceUnreadableError, "line 3"),
        ("a.parquet", b"PAR1 and then nothing of worth", SourceUnreadableError, "Parquet"),
        ("a.parquet", b"", SourceUnreadableError, "empty"),
    ],
)  # fmt: skip
def test_unusable_file_is_named_and_nothing_is_imported(
    payments: Place, name: str, content: bytes, error: type[Exception], words: str
) -> None:
    write_csv(payments.path / "in/0.csv", ["id,at,amount,card,land", "1,2024-01-01,1,1,DE"])
    (payments.path / "in" / name).write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        payments.load(files=[payments.path / "in/0.csv", payments.path / "in" / name])
    assert str(payments.path / "in" / name) in str(caught.value)
    assert payments.ledger.last_seq == 0


def test_truncated_parquet_is_refused(place: Place) -> None:
    path = place.write([row(f"c{i}") for i in range(100)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceUnreadableError, match="cannot be read as Parquet"):
        place.load()
    assert place.ledger.last_seq == 0


def test_source_that_matches_nothing_is_refused(place: Place) -> None:
    with pytest.raises(SourceMissingError, match=r"claims\.parquet"):
        place.load()
    with pytest.raises(SourceMissingError, match="nowhere"):
        place.load(files=[Path("nowhere.csv")])


def test_file_with_a_header_only_adds_nothing(payments: Place) -> None:
    write_csv(payments.path / "in/1.csv", ["id,at,amount,card,land", ""])
    assert payments.load().n_events == 0
    assert payments.ledger.last_seq == 0


def test_joined_parties_become_links_in_file_order(tmp_path: Path) -> None:
    scenario = scenario_from_mapping(
        "claims",
        {
            "decide": "claim",
            "sources": {
                "claim": {
                    "files": "claims.csv",
                    "join": {"file": "parties.parquet", "on": "id", "role": "role", "value": "who"},
                }
            },
            "events": {
                "claim": {
                    "event_id": "id",
                    "event_time": "at",
                    "entities": {"garage": "Garage", "person": {"column": "Person", "many": True}, "shop": "shop"},
                }
            },
        },
        where="tests",
    )
    place = Place(tmp_path / "joined", scenario)
    write_csv(place.path / "claims.csv", ["id,at,shop", "1,2024-01-02,s", "2,2024-01-01,s", "3,2024-01-03,"])
    pl.DataFrame(
        {
            "id": [1.0, 2.0, 1.0, 1.0, 9.0],
            "role": ["Person", "Garage", "Person", "Garage", "Person"],
            "who": ["zoe", "g", "ann", "h", "nobody"],
        }
    ).write_parquet(place.path / "parties.parquet")
    assert place.load().n_events == 3
    records = whole(place.ledger.batches())
    assert records["n_links"].tolist() == [2, 4, 0]
    identity = place.ledger.identity
    assert records["link_lo"].tolist() == [
        identity.entity(*name)[1]
        for name in [
            ("garage", "g"),
            ("shop", "s"),
            ("garage", "h"),
            ("person", "zoe"),
            ("person", "ann"),
            ("shop", "s"),
        ]
    ]
    assert place.load().n_duplicates == 3


def test_replace_begins_anew_until_there_are_live_records(place: Place) -> None:
    place.write([row("a", amount=1.0)])
    place.load()
    place.write([row("a", amount=2.0), row("b")])
    report = place.load(replace=True)
    assert (report.n_events, report.first_seq, report.n_rejected) == (2, 1, 0)
    assert len(list((place.directory / "segments").iterdir())) == 1
    assert place.ledger.personal(1) == {"phone": "555"}
    with place.ledger.writer(NOW) as writer:
        writer.stage_event(Door(place.scenario, place.ledger.identity).admit(claim("x"), now_ms=NOW.now_ms()))
        writer.commit()
    with pytest.raises(ReplaceRefusedError, match="1 live"):
        place.load(replace=True)


def test_import_and_writer_exclude_each_other(place: Place) -> None:
    place.write([row("a")])
    with place.ledger.writer(NOW), pytest.raises(LedgerLockedError):
        place.load()


def test_import_after_live_records_keeps_the_watermark_and_flags_late_events(place: Place) -> None:
    with place.ledger.writer(NOW) as writer:
        raw = claim("live", T0 + 10 * DAY)
        writer.stage_event(Door(place.scenario, place.ledger.identity).admit(raw, now_ms=NOW.now_ms()))
        writer.commit()
    place.write([row("old", T0), row("fresh", T0 + 10 * DAY - 5), row("new", T0 + 11 * DAY)])
    report = place.load()
    assert (report.n_events, report.n_late, report.first_seq) == (3, 1, 2)
    assert place.ledger.seq_at(T0 + 10 * DAY) == 3
    assert place.ledger.seq_at(T0 + 11 * DAY) == 5  # the import record included
    assert place.ledger.seq_at(T0 + 10 * DAY - 1) == 0


def test_live_records_continue_after_an_import(place: Place) -> None:
    place.write([row("a", T0, fraud=1, known=T0 + 5)])
    place.load()
    door = Door(place.scenario, place.ledger.identity)
    with place.ledger.writer(NOW) as writer:
        assert writer.stage_event(door.admit(claim("a", T0), now_ms=NOW.now_ms())) == Duplicate(seq=1, decision=None)
        event = writer.stage_event(door.admit(claim("b", T0 + DAY), now_ms=NOW.now_ms()))
        assert isinstance(event, Staged)
        assert event.seq == 4
        writer.commit()
    assert [record.kind for record in place.ledger.records()] == [Kind.IMPORT, Kind.EVENT]
    assert whole(place.ledger.batches())["seq"].tolist() == [1, 2, 4]
    assert whole(place.ledger.batches(after_seq=1, until_seq=3))["seq"].tolist() == [2]
    assert audit_ledger(place.ledger).holds


#  legit_after 10 d      T0        +4d             +10d           +30d
#  a: no label           event                     matured
#  b: fraud at +4d       event     label
#  c: fraud at +30d      event                     matured        label, replaces legit
#  d: at +25d                                              event (due at +35d, live)
def test_unlabelled_events_mature_at_their_moment(tmp_path: Path) -> None:
    place = Place(tmp_path / "maturing", claims_scenario(absent={"legit_after": "10d"}))
    place.write(
        [
            row("a", T0),
            row("b", T0 + 1, fraud=1, known=T0 + 4 * DAY),
            row("c", T0 + 2, fraud=1, known=T0 + 30 * DAY),
            row("d", T0 + 25 * DAY),
        ]
    )
    report = place.load()
    assert (report.n_events, report.n_labels) == (4, 4)
    records = whole(place.ledger.batches())
    labels = records["kind"] == LABEL
    assert records["label_event_seq"][labels].tolist() == [2, 1, 3, 3]
    assert records["label_replaces"][labels].tolist() == [NO_LABEL, NO_LABEL, NO_LABEL, LEGIT]
    assert place.ledger.labels()["source"].to_list() == ["matured", "import", "import"]
    door = Door(place.scenario, place.ledger.identity)
    with place.ledger.writer(NOW) as writer:
        assert writer.mature() == 0
        writer.stage_event(door.admit(claim("e", T0 + 35 * DAY - 1), now_ms=NOW.now_ms()))
        assert writer.mature() == 0
        writer.stage_event(door.admit(claim("f", T0 + 35 * DAY), now_ms=NOW.now_ms()))
        assert writer.mature() == 1
        assert writer.mature() == 0
        writer.stage_event(door.admit(claim("g", T0 + 60 * DAY), now_ms=NOW.now_ms()))
        assert writer.mature(limit=1) == 1
        writer.commit()
        assert writer.mature(limit=1) == 1
        assert writer.mature() == 0
        writer.commit()
    assert place.ledger.labels().height == 6
    assert place.ledger.labels()["known_at_ms"].to_list()[3] == T0 + 35 * DAY


def test_second_import_matures_events_of_the_first(tmp_path: Path) -> None:
    place = Place(tmp_path / "maturing", claims_scenario(absent={"legit_after": "10d"}))
    place.write([row("a", T0), row("b", T0 + DAY)])
    place.load()
    place.write([row("b", T0 + DAY, fraud=1, known=T0 + 3 * DAY), row("z", T0 + 40 * DAY)])
    report = place.load()
    assert (report.n_events, report.n_labels) == (1, 2)
    assert place.ledger.labels().select("event_seq", "value").rows() == [(1, LEGIT), (2, FRAUD)]


def killed(place: Place, stage: str) -> None:
    """Run an import in a child process that dies at `stage`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ringfence.ledger.importer", "tests.ledger.test_importer"])
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
    for i, (at, amount, who, witnesses, make, age, night, bought, fraud, delay) in enumerate(drawn):
        known = None if fraud is None else at + delay * DAY // 2
        source.append(
            row(
                f"c{i}", at, amount=amount, claimant=who, witness=witnesses, make=make, age=age, night=night,
                bought=bought, fraud=fraud, known=known,
            )
        )  # fmt: skip
        entities = {"claimant": who, "witness": witnesses, "shop": 7}
        attributes = {"make": make, "age": age, "night": night, "bought": bought, "story": "rear-ended", "phone": "555"}
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
