# SPDX-License-Identifier: Apache-2.0
"""Lookup tables answer as reading them row by row would, and say where they contradict themselves."""

from __future__ import annotations

import io
import ipaddress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.scenario.errors import LookupFileError, LookupRowsError, ScenarioFileError
from ringfence.scenario.load import load_scenarios, scenario_from_mapping
from ringfence.scenario.lookup_files import prepare_lookups, read_lookup_files, with_digests
from ringfence.scenario.lookup_table import LookupTable
from tests.oracles.lookup_twin import Row, contradicts, narrowest_at, overlapping, value_at
from tests.scenario.derived import signup_mapping, signup_scenario

RANGE = {"file": "t.parquet", "from": "low", "to": "high", "value": "value"}
TIMED = RANGE | {"valid_from": "since", "valid_to": "until"}
KEYED = {"file": "t.parquet", "key": "key", "value": "value"}


def table_of(frame: pl.DataFrame, lookup: dict[str, Any], **entry: Any) -> LookupTable:
    derive = {"found": {"lookup": lookup, "field": "ip", **entry}}
    scenario = scenario_from_mapping("signups", signup_mapping(derive), where="ringfence.yaml")
    data = io.BytesIO()
    if lookup["file"].endswith(".csv"):
        frame.write_csv(data)
    else:
        frame.write_parquet(data)
    return prepare_lookups(scenario, {lookup["file"]: data.getvalue()}, tells=True)["signup.found"]


def frame_of(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"low": r.low, "high": r.high, "since": r.from_ms, "until": r.to_ms, "value": r.value} for r in rows],
        schema={"low": pl.Float64, "high": pl.Float64, "since": pl.Int64, "until": pl.Int64, "value": pl.String},
    ).with_columns(pl.from_epoch("since", "ms"), pl.from_epoch("until", "ms"))


@st.composite
def drawn_rows(draw: st.DrawFn) -> list[Row]:
    """A few ranges within 0 to 12 and times within 0 to 6."""
    rows = []
    for at in range(draw(st.integers(1, 5))):
        low, high = sorted(draw(st.tuples(st.integers(0, 12), st.integers(0, 12))))
        begin, end = draw(st.none() | st.integers(0, 5)), draw(st.none() | st.integers(1, 6))
        if begin is not None and end is not None and begin >= end:
            begin = None
        rows.append(Row(float(low), float(high), begin, end, f"v{at}"))
    return rows


@settings(max_examples=150, deadline=None)
@given(drawn_rows())
def test_ranges_answer_as_reading_all_rows_would(rows: list[Row]) -> None:
    if contradicts(rows):
        with pytest.raises(LookupFileError, match="overlap"):
            table_of(frame_of(rows), TIMED)
        return
    table = table_of(frame_of(rows), TIMED)
    asked = [(float(number), time) for number in range(-1, 14) for time in range(-1, 8)]
    expected = [value_at(rows, number, time) for number, time in asked]
    assert [table.value_at(f"{number:g}", time) for number, time in asked] == expected
    texts = [f"{number:g}" for number in range(-1, 14)]
    codes = np.array([int(number) + 1 for number, _ in asked])
    asked_for = pl.Series(texts)
    assert table.values_at(asked_for, codes, np.array([time for _, time in asked])) == expected
    assert table.values_at(asked_for, np.full(3, -1), np.zeros(3, np.int64)) == [None] * 3


@settings(max_examples=150, deadline=None)
@given(drawn_rows(), st.booleans())
def test_the_narrowest_of_overlapping_ranges_counts_as_reading_all_rows_would(rows: list[Row], timed: bool) -> None:
    lookup = TIMED if timed else RANGE
    rows = rows if timed else [row._replace(from_ms=None, to_ms=None) for row in rows]
    table = table_of(frame_of(rows), lookup | {"overlaps": "narrowest"})
    asked = [(float(number), time) for number in range(-1, 14) for time in range(-1, 8)]
    expected = [narrowest_at(rows, number, time) for number, time in asked]
    assert [table.value_at(f"{number:g}", time) for number, time in asked] == expected
    codes = np.array([int(number) + 1 for number, _ in asked])
    texts = pl.Series([f"{number:g}" for number in range(-1, 14)])
    assert table.values_at(texts, codes, np.array([time for _, time in asked])) == expected
    assert table.faults is not None
    found = [row for kind in table.faults.kinds for row in kind.rows]
    assert sorted(found) == overlapping(rows)
    if not found:
        table_of(frame_of(rows), lookup)
        return
    with pytest.raises(LookupRowsError) as refused:
        table_of(frame_of(rows), lookup)
    assert refused.value.faults.kinds[0].rows == tuple(found)


@settings(max_examples=60, deadline=None)
@given(drawn_rows(), st.sampled_from(["10.0.0.{}", "2001:db8::{:x}"]))
def test_addresses_overlap_as_numbers_do(rows: list[Row], written: str) -> None:
    rows = [row._replace(from_ms=None, to_ms=None) for row in rows]
    bounds = [(written.format(int(row.low)), written.format(int(row.high))) for row in rows]
    frame = pl.DataFrame(
        {"low": [low for low, _ in bounds], "high": [high for _, high in bounds], "value": [row.value for row in rows]}
    )
    table = table_of(frame, RANGE | {"overlaps": "narrowest"})
    expected = [narrowest_at(rows, float(number), 0) for number in range(13)]
    texts = [written.format(number) for number in range(13)]
    assert [table.value_at(text, 0) for text in texts] == expected
    assert table.values_at(pl.Series(texts), np.arange(13), np.zeros(13, np.int64)) == expected


FAULTY = pl.DataFrame(
    {
        "low": ["10", "50", "", "60", "x", "0", "30", "1700000"],
        "high": ["19", "40", "5", "69", "7", "99", "39", "1600000"],
        "value": ["a", "b", "c", "d", "e", "wide", "f", "g"],
    }
)


def test_all_faults_are_told_at_once_each_row_once(tmp_path: Path) -> None:
    with pytest.raises(LookupRowsError) as refused:
        table_of(FAULTY, RANGE | {"file": "t.csv"})
    faults = refused.value.faults
    assert {kind.what: kind.rows for kind in faults.kinds} == {
        "a range without a bound": (3,), "no number as a bound": (5,),
        "a range whose `from` lies above its `to`": (2, 8), "a range that overlaps another": (1, 4, 6, 7),
    }  # fmt: skip
    assert (faults.n_bad, faults.n_rows, faults.n_rounded) == (8, 8, 1)
    told = str(refused.value)
    assert "t.csv, row 1: looked up by derive.signup.found: found 8 of 8 rows that cannot be followed" in told
    assert "write `bad_rows: skip` and `overlaps: narrowest` under `lookup`" in told
    assert "4 x a range that overlaps another: row 1 (10..19 and row 6, 0..99), row 4 (60..69 and row 6, 0..99)" in told
    assert "and 1 more" in told
    assert faults.frame()["row"].to_list() == list(range(1, 9))


def test_bad_rows_can_be_skipped_and_are_as_if_they_were_not_there() -> None:
    table = table_of(FAULTY, RANGE | {"file": "t.csv", "bad_rows": "skip", "overlaps": "narrowest"})
    good = FAULTY.filter(pl.col("value").is_in(["a", "d", "wide", "f"]))
    mended = table_of(good, RANGE | {"file": "t.csv", "overlaps": "narrowest"})
    texts = [str(number) for number in (-1, 0, 5, 7, 10, 19, 20, 35, 45, 65, 99, 100, 1_650_000)]
    found = [table.value_at(text, 0) for text in texts]
    assert found == [mended.value_at(text, 0) for text in texts]
    assert found[2:6] == ["wide", "wide", "a", "a"]
    with pytest.raises(LookupRowsError, match=r"found 4 of 8 rows that cannot be followed; .* write `overlaps"):
        table_of(FAULTY, RANGE | {"file": "t.csv", "bad_rows": "skip"})
    with pytest.raises(LookupFileError, match="no row that can be followed"):
        table_of(pl.DataFrame({"low": [5], "high": [4], "value": ["x"]}), RANGE | {"bad_rows": "skip"})


def test_a_key_that_says_two_things_says_nothing_where_bad_rows_are_skipped() -> None:
    frame = pl.DataFrame({"key": ["a", "b", "a", None], "value": ["x", "y", "z", "w"]})
    table = table_of(frame, KEYED | {"bad_rows": "skip"})
    assert [table.value_at(text, 0) for text in ("a", "b")] == [None, "y"]
    with pytest.raises(ScenarioFileError, match="keys have no width"):
        table_of(frame, KEYED | {"overlaps": "narrowest"})


def test_what_a_file_says_changes_with_how_its_faults_are_read_and_a_definition_does_not() -> None:
    def derived(**settings: str) -> Any:
        derive = {"found": {"lookup": RANGE | settings, "field": "ip"}}
        return scenario_from_mapping("signups", signup_mapping(derive), where="ringfence.yaml").decided.derived[0]

    plain, skips = derived(), derived(bad_rows="skip")
    assert plain.definition == skips.definition
    assert plain.table_digest != skips.table_digest
    assert plain.table_digest == derived(bad_rows="refuse", overlaps="refuse").table_digest == plain.how.digest


@settings(max_examples=40, deadline=None)
@given(st.lists(st.ip_addresses(network="2000::/3"), min_size=2, max_size=6, unique=True), st.booleans())
def test_ranges_of_addresses_reach_from_bound_to_bound(found: list[ipaddress.IPv6Address], swap: bool) -> None:
    bounds = sorted(found)[: len(found) // 2 * 2]
    pairs = list(zip(bounds[::2], bounds[1::2], strict=True))
    rows = [{"low": str(low).upper(), "high": str(high), "value": str(i)} for i, (low, high) in enumerate(pairs)]
    rows.append({"low": "10.0.0.0", "high": "10.0.0.9", "value": "v4"})
    table = table_of(pl.DataFrame(rows[::-1] if swap else rows), RANGE | {"file": "t.csv"})
    for i, (low, high) in enumerate(pairs):
        assert table.value_at(str(low), 0) == table.value_at(str(high), 0) == str(i)
        above = int(high) + 1
        outside = above < 1 << 128 and all(above != int(other) for other in bounds)
        assert not outside or table.value_at(str(ipaddress.IPv6Address(above)), 0) is None
    asked = ["10.0.0.9", "10.0.0.10", "::ffff:10.0.0.1", "167772165", "9.255.255.255", "x"]
    expected = ["v4", None, "v4", "v4", None, None]
    assert [table.value_at(text, 0) for text in asked] == expected
    asked += [str(low) for low, _ in pairs]
    expected += [str(i) for i in range(len(pairs))]
    codes, at_ms = np.arange(len(asked)), np.zeros(len(asked), np.int64)
    assert table.values_at(pl.Series(asked), codes, at_ms) == expected


def test_the_last_address_of_all_can_be_a_bound() -> None:
    last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    table = table_of(pl.DataFrame({"low": ["ffff::"], "high": [last], "value": ["end"]}), RANGE)
    assert [table.value_at(text, 0) for text in (last, "ffff::", "fffe::")] == ["end", "end", None]


def test_an_ipv4_bound_may_be_written_inside_ipv6() -> None:
    frame = pl.DataFrame(
        {"low": ["10.0.0.0", "::ffff:10.0.1.0"], "high": ["10.0.0.9", "10.0.1.9"], "value": ["a", "b"]}
    )
    table = table_of(frame, RANGE)
    assert [table.value_at(text, 0) for text in ("10.0.0.9", "10.0.1.9", "10.0.0.10")] == ["a", "b", None]


def test_fractions_count_where_bounds_have_them() -> None:
    whole = table_of(pl.DataFrame({"low": [18, 25], "high": [24, 34], "value": ["young", "older"]}), RANGE)
    assert whole.value_at("24.5", 0) == "young"
    parts = table_of(pl.DataFrame({"low": [0.0, 0.75], "high": [0.5, 1.0], "value": ["a", "b"]}), RANGE)
    assert [parts.value_at(text, 0) for text in ("0.5", "0.6", "0.75")] == ["a", None, "b"]


def test_a_range_can_be_open() -> None:
    frame = pl.DataFrame({"low": ["-inf", "65"], "high": ["17", "inf"], "value": ["minor", "senior"]})
    table = table_of(frame, RANGE | {"file": "t.csv"})
    assert [table.value_at(text, 0) for text in ("-3", "17", "18", "1e300")] == ["minor", "minor", None, "senior"]


def test_keys_are_exact() -> None:
    frame = pl.DataFrame({"key": ["A", "a", "5"], "value": ["capital", "small", "five"]})
    table = table_of(frame, KEYED)
    assert [table.value_at(text, 0) for text in ("A", "a", "5", "b")] == ["capital", "small", "five", None]


def test_a_row_without_a_value_is_as_good_as_none() -> None:
    table = table_of(pl.DataFrame({"key": ["a", "b"], "value": [None, "x"]}), KEYED)
    assert [table.value_at(text, 0) for text in ("a", "b")] == [None, "x"]


BROKEN: list[tuple[str, dict[str, list[Any]], dict[str, Any], dict[str, Any], str]] = [
    ("no such column", {"ky": ["a"], "value": ["x"]}, KEYED, {}, "no column 'key'; did you mean 'ky'"),
    ("no rows", {"key": [], "value": []}, KEYED, {}, "no rows"),
    (
        "a key twice",
        {"key": ["a", "b", "a"], "value": ["x", "y", "z"]},
        KEYED,
        {},
        r"row 1: .*2 x the same key twice: row 1 \(also in row 3\), row 3 \(also in row 1\);",
    ),
    ("a key missing", {"key": ["a", None], "value": ["x", "y"]}, KEYED, {}, "row 2: .*no key"),
    (
        "overlapping ranges",
        {"low": [5, 0, 20], "high": [9, 5, 21], "value": ["x", "y", "z"]},
        RANGE,
        {},
        r"row 1: .*2 x a range that overlaps another: row 1 \(5\.\.9 and row 2, 0\.\.5\), row 2 \(0\.\.5 and row 1, 5",
    ),
    ("a range upside down", {"low": [5], "high": [4], "value": ["x"]}, RANGE, {}, "row 1: .*lies above its `to`"),
    ("a range without end", {"low": ["5"], "high": [None], "value": ["x"]}, RANGE, {}, "without a bound"),
    ("a bound in words", {"low": ["5"], "high": ["six"], "value": ["x"]}, RANGE, {}, "row 1: .*no number as a bound"),
    ("a bound too large", {"low": [0], "high": [2**53], "value": ["x"]}, RANGE, {}, "2\\^53"),
    ("two versions", {"low": ["10.0.0.1"], "high": ["::1"], "value": ["x"]}, RANGE, {}, "one version"),
    ("ips upside down", {"low": ["::2"], "high": ["::1"], "value": ["x"]}, RANGE, {}, "lies above its `to`"),
    ("a word for a number", {"key": ["a"], "value": ["x"]}, KEYED, {"type": "number"}, "row 1: .*'x' as a value"),
    ("a long id", {"key": ["a"], "value": ["x" * 513]}, KEYED, {"role": True}, "an id is a text of 1 to 512"),
]


@pytest.mark.parametrize(
    ("columns", "lookup", "entry", "told"), [case[1:] for case in BROKEN], ids=[c[0] for c in BROKEN]
)
def test_a_table_that_contradicts_itself_says_where(
    columns: dict[str, list[Any]], lookup: dict[str, Any], entry: dict[str, Any], told: str
) -> None:
    with pytest.raises(LookupFileError, match=f"(?s){told}") as raised:
        table_of(pl.DataFrame(columns), lookup, **entry)
    assert "t.parquet" in str(raised.value)
    assert "derive.signup.found" in str(raised.value)


def test_times_that_are_none_say_where() -> None:
    frame = pl.DataFrame({"key": ["a", "a"], "value": ["x", "y"], "since": ["", "May"]})
    with pytest.raises(LookupFileError, match=r"(?s)row 2: .*no moment in 'since'"):
        table_of(frame, KEYED | {"valid_from": "since"})
    frame = frame.with_columns(since=pl.Series(["2024-05-01", "2024-06-01"]), until=pl.Series(["2024-05-01", ""]))
    with pytest.raises(LookupFileError, match=r"(?s)row 1: .*not before `valid_to`"):
        table_of(frame, KEYED | {"valid_from": "since", "valid_to": "until"})


def test_a_missing_file_is_asked_for_when_it_is_needed(tmp_path: Path) -> None:
    scenario = signup_scenario(tmp_path)
    (tmp_path / "risk.csv").unlink()
    scenario = with_digests(scenario, tmp_path)
    assert scenario.lookups["signup.domain_risk"].digest == ""
    with pytest.raises(LookupFileError, match=r"risk.csv: looked up by derive.signup.domain_risk: .*add the file"):
        read_lookup_files(scenario, tmp_path)


def test_a_file_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    scenario = signup_scenario(tmp_path)
    (tmp_path / "risk.csv").write_text("domain,risk,since,until\n")
    with pytest.raises(LookupFileError, match=r"a change since ringfence\.yaml was read"):
        read_lookup_files(scenario, tmp_path)


def test_a_link_out_of_the_workspace_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "workspace"
    inside.mkdir()
    scenario = signup_scenario(inside)
    (tmp_path / "outside.csv").write_bytes((inside / "risk.csv").read_bytes())
    (inside / "risk.csv").unlink()
    (inside / "risk.csv").symlink_to(tmp_path / "outside.csv")
    with pytest.raises(LookupFileError, match="a place outside the workspace"):
        read_lookup_files(scenario, inside)
    assert with_digests(scenario, inside).lookups["signup.domain_risk"].digest == ""


def test_a_file_that_is_no_table_says_so(tmp_path: Path) -> None:
    scenario = signup_scenario(tmp_path)
    files = read_lookup_files(scenario, tmp_path) | {"risk.csv": b"PAR1 and nothing more"}
    with pytest.raises(LookupFileError, match="neither CSV"):
        prepare_lookups(scenario, files)


def test_a_workspace_notes_what_its_tables_hold(tmp_path: Path) -> None:
    signup_scenario(tmp_path)
    (tmp_path / "ringfence.yaml").write_text(
        "scenarios:\n  s:\n    decide: e\n    events:\n      e:\n        event_id: id\n        derive:\n"
        "          risk: {lookup: {file: risk.csv, key: domain, value: risk}, field: domain}\n"
    )
    before = load_scenarios(tmp_path / "ringfence.yaml")["s"].lookups["e.risk"].digest
    (tmp_path / "risk.csv").write_text("domain,risk\nx.com,1\n")
    after = load_scenarios(tmp_path / "ringfence.yaml")["s"].lookups["e.risk"].digest
    assert len(before) == len(after) == 32
    assert before != after
