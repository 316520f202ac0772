# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.errors import (
    LedgerLockedError,
    RejectedRowsError,
    ReplaceRefusedError,
    SourceColumnsError,
    SourceMissingError,
    SourceUnreadableError,
)
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import Kind
from ringfence.ledger.writer import Duplicate, Staged
from ringfence.scenario.batch import FRAUD, LABEL, LEGIT, NO_LABEL
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from ringfence.scenario.load import scenario_from_mapping
from tests.ledger.claims import DAY, T0, assert_same, claim, claims_scenario, row, whole
from tests.ledger.places import NOW, Place, hi_lo


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


def test_an_event_dated_centuries_ahead_is_rejected_and_moves_no_watermark(place: Place) -> None:
    place.write([row("a", T0), row("absurd", T0 + 175 * 365 * DAY), row("b", T0 + DAY)])
    report = place.load()
    assert (report.n_events, report.n_rejected) == (2, 1)
    assert "five minutes in the future" in place.rejects()[0]["reason"]
    assert place.ledger.watermark_ms == T0 + DAY


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


@pytest.mark.parametrize("folder", ["joined", "joined [2024]*"])  # what readers take for a pattern is a name here
def test_joined_parties_become_links_in_file_order(tmp_path: Path, folder: str) -> None:
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
    place = Place(tmp_path / folder, scenario)
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
