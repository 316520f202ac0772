# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from msgspec import structs

from ringfence.ledger import segment_build
from ringfence.ledger.audit import audit_ledger
from ringfence.ledger.errors import LedgerDamagedError, SourceColumnsError, SourceUnreadableError
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.sources import column_names, is_parquet, n_rows, read_frames
from ringfence.scenario.batch import EVENT, LABEL
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.simhash import simhash_of
from ringfence.scenario.spec import AttributeUse, Join, Scenario
from tests.ledger.claims import DAY, T0, assert_same, claim, claims_frame, claims_scenario, row, whole

NOW = FakeClock(T0 + 400 * DAY)


@pytest.fixture
def history(tmp_path: Path, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """120 claims, 60 labels and 20 policy changes in row groups of 7 records."""
    monkeypatch.setattr(segment_build, "_BATCH", 7)
    monkeypatch.setattr(segment_build, "ROW_GROUP", 7)
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for i, step in enumerate(rng.integers(0, 90, 120).tolist()):
        known = {"fraud": i % 3 % 2, "known": T0 + step * DAY + DAY * (i % 5)} if i % 2 else {}
        rows.append(row(f"c{i}", T0 + step * DAY, witness=[f"w{j}" for j in range(i % 4)], **known))
    claims_frame(rows).write_parquet(tmp_path / "claims.parquet")
    changes = {"id": [f"p{i}" for i in range(20)], "at": [T0 + i * 5 * DAY for i in range(20)], "person": ["anna"] * 20}
    pl.DataFrame(changes).write_parquet(tmp_path / "changes.parquet")
    report = import_files(tmp_path / "ledger", scenario, tmp_path, NOW)
    assert (report.n_events, report.n_labels, report.last_seq) == (140, 60, 200)
    return Ledger.open(tmp_path / "ledger", scenario)


def test_batches_are_the_same_whatever_their_size_and_cut(history: Ledger) -> None:
    everything = whole(history.batches())
    assert everything["seq"].tolist() == list(range(1, 201))
    assert np.all(np.diff(everything["time_ms"]) >= 0)
    for size in (1, 3, 7, 1_000):
        assert_same(everything, whole(history.batches(size=size)))
    for after, until in [(0, 1), (6, 7), (7, 14), (13, 100), (199, 200), (5, 5_000)]:
        part = whole(history.batches(after, until))
        keep = (everything["seq"] > after) & (everything["seq"] <= until)
        np.testing.assert_array_equal(part["seq"], everything["seq"][keep])
        np.testing.assert_array_equal(part["link_lo"], everything["link_lo"][np.repeat(keep, everything["n_links"])])
    assert list(history.batches(200)) == []


def test_seq_at_equals_a_scan_of_all_watermarks(history: Ledger) -> None:
    records = whole(history.batches())
    watermarks = np.maximum.accumulate(records["time_ms"])
    for as_of_ms in range(T0 - DAY, T0 + 95 * DAY, DAY // 2):
        expected = int(records["seq"][watermarks <= as_of_ms].max(initial=0))
        found = history.seq_at(as_of_ms)
        assert found == (expected if expected < 200 else 201)  # 201 is the import record


def test_context_events_are_in_batches_but_are_not_decided(history: Ledger) -> None:
    records = whole(history.batches())
    context = (records["event_type"] == 1) & (records["kind"] == EVENT)
    assert context.sum() == 20
    assert np.isnan(records["values"][context]).all()
    assert history.events(0).height == 120
    change = history.find_event("policy_change", "p3")
    assert change is not None
    assert [link.role for link in change.links] == [0]


def test_every_imported_event_is_found_with_its_links(history: Ledger) -> None:
    records = whole(history.batches())
    ends = np.cumsum(records["n_links"])
    for seq, event_id, time_ms, _ in history.events(0).iter_rows():
        found = history.find_event("claim", event_id)
        assert found is not None
        assert (found.seq, found.event_time_ms) == (seq, time_ms)
        lows = records["link_lo"][ends[seq - 1] - records["n_links"][seq - 1] : ends[seq - 1]]
        assert [link.lo for link in found.links] == lows.tolist()


def test_labels_until_a_seq_are_those_recorded_by_then(history: Ledger) -> None:
    records = whole(history.batches())
    is_label = records["kind"] == LABEL
    for until in (0, 50, 120, 200):
        expected = np.sort(records["label_event_seq"][is_label & (records["seq"] <= until)])
        assert history.labels(until)["event_seq"].to_list() == expected.tolist()


def test_events_are_cut_by_time_and_seq(history: Ledger) -> None:
    every = history.events(0)
    cut = history.events(T0 + 10 * DAY, T0 + 20 * DAY, until_seq=30)
    time_ms = every["event_time_ms"]
    wanted = every.filter((time_ms >= T0 + 10 * DAY) & (time_ms < T0 + 20 * DAY) & (every["seq"] <= 30))
    assert cut.equals(wanted)
    assert every["amount_minor"].unique().to_list() == [120_050]


def test_values_are_encoded_at_read_as_at_the_door(history: Ledger) -> None:
    door = Door(history.scenario, history.identity)
    seq, event_id, time_ms, _ = history.events(0).row(0)
    admission = door.admit(claim(event_id, time_ms), now_ms=time_ms)
    records = whole(history.batches(until_seq=seq))
    np.testing.assert_array_equal(records["values"][-1], np.array(admission.values))
    assert records["offset_ms"][-1] == admission.offset_ms


def test_a_text_that_is_personal_or_for_audit_only_is_never_hashed(tmp_path: Path) -> None:
    long = "a text of more than eight words is here for all"
    for changes in ({"personal": True}, {"use": AttributeUse.AUDIT_ONLY}, {"name": "story"}):
        scenario = claims_scenario()
        story, *others = sorted(scenario.decided.attributes, key=lambda attribute: attribute.name != "story")
        event = structs.replace(scenario.decided, attributes=(structs.replace(story, **changes), *others))
        changed = structs.replace(scenario, event_types=(event, *scenario.event_types[1:]))
        ledger = Ledger.open(tmp_path / next(iter(changes)), changed)
        with ledger.writer(NOW) as writer:
            raw = claim("c", T0, attributes={"story": long})
            writer.stage_event(Door(changed, ledger.identity).admit(raw, now_ms=T0))
            simhash = writer.batch().simhash
            writer.commit()
        assert simhash.tolist() == ([[simhash_of(long)]] if "name" in changes else [[]])
        np.testing.assert_array_equal(whole(ledger.batches())["simhash"], simhash)


def test_segments_hold_no_name_and_nothing_personal(history: Ledger) -> None:
    segment = next((history.directory / "segments").glob("*/records.parquet"))
    frame = pl.read_parquet(segment)
    assert "claim.phone" not in frame.columns
    assert "claim.make" in frame.columns
    texts = frame.select(pl.col(pl.String)).unpivot()["value"].drop_nulls().unique().to_list()
    assert not {"anna", "w1", "555"} & set(texts)


def test_damaged_segment_is_named(history: Ledger) -> None:
    segment = next((history.directory / "segments").glob("*/records.parquet"))
    content = segment.read_bytes()
    segment.write_bytes(content[: len(content) // 2])
    with pytest.raises(LedgerDamagedError, match=r"records\.parquet"):
        list(Ledger.open(history.directory, history.scenario).batches())
    assert audit_ledger(history).first_broken_seq == 1
    segment.unlink()
    with pytest.raises(LedgerDamagedError):
        list(Ledger.open(history.directory, history.scenario).batches())
    assert "missing" in audit_ledger(history).text


def test_foreign_segment_of_the_same_size_breaks_the_audit(history: Ledger) -> None:
    with history.writer(NOW) as writer:
        writer._connection.execute("UPDATE segments SET path = 'elsewhere'")
        assert "not the one" in audit_ledger(history).text
        writer._connection.execute("DELETE FROM segments")
    assert audit_ledger(history).first_broken_seq == 1


def refuse(line: int, found: str, reason: str) -> None:
    raise AssertionError((line, found, reason))


def test_tab_separated_and_unnamed_formats_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('id\tname\n1\t"x\ny"\n2\t\n')
    (tmp_path / "b").write_text("id,name\n1,x\n")
    pl.DataFrame({"id": [1], "name": ["x"]}).write_parquet(tmp_path / "c")
    assert [is_parquet(tmp_path / name) for name in ("a.tsv", "b", "c")] == [False, False, True]
    assert [column_names(tmp_path / name) for name in ("a.tsv", "b", "c")] == [["id", "name"]] * 3
    assert n_rows(tmp_path / "c") == 1
    [frame] = read_frames(tmp_path / "a.tsv", ["id", "name"], refuse)
    assert frame.rows.rows() == [("1", "x\ny"), ("2", None)]
    assert frame.lines.tolist() == [2, 4]  # the first record takes two lines


def test_rows_keep_their_lines_among_bad_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    good = [line for line in range(2, 402) if rng.random() < 0.7]
    lines = ["id,name", *(f"{i},x" if i in good else f"{i}" for i in range(2, 402))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    refused: list[int] = []
    frames = list(read_frames(tmp_path / "a.csv", ["id"], lambda line, found, reason: refused.append(line)))
    assert [int(text) for frame in frames for text in frame.rows["id"]] == good
    assert [line for frame in frames for line in frame.lines.tolist()] == good
    assert refused == [line for line in range(2, 402) if line not in good]


def test_byte_order_mark_belongs_to_no_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfid,name\n1,x\n")
    assert column_names(tmp_path / "a.csv") == ["id", "name"]
    [frame] = read_frames(tmp_path / "a.csv", ["id"], refuse)
    assert frame.rows.rows() == [("1",)]


def test_missing_join_column_is_named(tmp_path: Path, scenario: Scenario) -> None:
    join = Join(file="parties.csv", on="id", role="role", value="who")
    joined = msgspec.structs.replace(scenario, sources=(msgspec.structs.replace(scenario.sources[0], join=join),))
    claims_frame([row("a")]).drop("witness").write_parquet(tmp_path / "claims.parquet")
    (tmp_path / "parties.csv").write_text("id,role\na,witness\n")
    with pytest.raises(SourceColumnsError, match="'who'"):
        import_files(tmp_path / "ledger", joined, tmp_path, NOW)
    (tmp_path / "parties.csv").write_text("id,role,who\na,witness,bert,more\n")
    with pytest.raises(SourceUnreadableError, match="line 2"):
        import_files(tmp_path / "ledger", joined, tmp_path, NOW)
    (tmp_path / "parties.csv").write_text("id,role,who\na,witness,bert\n")
    assert import_files(tmp_path / "ledger", joined, tmp_path, NOW).n_events == 1
