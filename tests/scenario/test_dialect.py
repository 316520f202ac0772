# SPDX-License-Identifier: Apache-2.0
"""Files that spell things their own way are read as the door would read them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from ringfence.scenario.dialect import Dialect, Steps, plainly
from ringfence.scenario.errors import ScenarioFileError
from ringfence.scenario.load import scenario_from_mapping
from ringfence.scenario.times import moments_ms
from tests.scenario.claims import claim_scenario

DAY_MS = 86_400_000


def read(values: list[Any], dialect: Dialect, *, number: bool = False) -> list[Any]:
    frame = pl.DataFrame({"c": values}, strict=False)
    return plainly(frame, dialect, {"c"} if number else ())["c"].to_list()


def moments(values: list[Any], how: str | Steps) -> list[int]:
    column = plainly(pl.DataFrame({"c": values}), Dialect(times={"c": how}), ())["c"]
    time_ms, _, bad = moments_ms(column, "UTC")
    assert not bad.any()
    return [int(moment) for moment in time_ms]


@pytest.mark.parametrize(
    ("written", "decimal", "plain"),
    [
        ("1234,5", ",", "1234.5"),
        ("1.234.567,89", ",", "1234567.89"),
        ("-0,25 €", ",", "-0.25"),
        ("1 234,00", ",", "1234.00"),
        ("$1,234.50", ".", "1234.50"),
        ("1'000.25", ".", "1000.25"),
        ("EUR 12.40", ".", "12.40"),
        ("12 %", ".", "12"),
        ("n/a", ",", "n/a"),
        ("12,3,4", ",", "12,3,4"),
        ("12,34,567.50", ".", "1234567.50"),
        ("1,5", ".", "1,5"),
        ("0,123", ".", "0,123"),
        ("1.5E+3", ",", "not with decimal ,: 1.5E+3"),
        ("12.50", ",", "not with decimal ,: 12.50"),
        ("1,5E+3", ",", "1.5E+3"),
        ("nan", ",", "nan"),
    ],
)
def test_numbers_lose_what_is_no_digit_and_what_is_no_number_stays(written: str, decimal: str, plain: str) -> None:
    assert read([written], Dialect(decimal=decimal), number=True) == [plain]
    assert read([written], Dialect(decimal=decimal)) == [written]


@pytest.mark.parametrize(
    ("written", "currency", "plain"),
    [
        ("€ 5", "EUR", "5"),
        ("5 EUR", "EUR", "5"),
        ("$5", "EUR", "$5"),
        ("$5", "CAD", "5"),
        ("USD 5", "CAD", "USD 5"),
        ("5", "USD", "5"),
    ],
)
def test_money_of_another_currency_stays_as_it_is_written(written: str, currency: str, plain: str) -> None:
    frame = pl.DataFrame({"c": [written]})
    assert plainly(frame, Dialect(decimal="."), {"c"}, {"c": currency})["c"].to_list() == [plain]


@pytest.mark.parametrize(
    ("how", "written", "iso"),
    [
        ("day_first", "31.12.2024", "2024-12-31"),
        ("day_first", "3/4/24 9:05", "2024-04-03T09:05:00"),
        ("month_first", "3/4/2024 12:05:06 AM", "2024-03-04T00:05:06"),
        ("month_first", "12/31/1999 12:30 pm", "1999-12-31T12:30:00"),
        ("year_first", "2024/1/5 23:59:59.250", "2024-01-05T23:59:59.250"),
        ("year_first", "20240105", "2024-01-05"),
        ("year_first", "2024-01-05 10:00:00 UTC", "2024-01-05T10:00:00Z"),
        ("%d-%b-%Y", "05-Jan-2024", "2024-01-05"),
        ("day_first", "31.12.2024 01:00:00+02:00", "2024-12-30T23:00:00Z"),
    ],
)
def test_moments_are_read_in_the_order_the_source_names(how: str, written: str, iso: str) -> None:
    expected, _, _ = moments_ms(pl.Series([iso]), "UTC")
    assert moments([written], how) == [int(expected[0])]


def test_a_day_that_no_calendar_has_stays_as_it_was_written() -> None:
    assert read(["31.02.2024", "tomorrow", None], Dialect(times={"c": "day_first"}))[1:] == ["tomorrow", None]
    column = plainly(pl.DataFrame({"c": ["31.02.2024"]}), Dialect(times={"c": "day_first"}), ())["c"]
    assert moments_ms(column, "UTC")[2].tolist() == [True]


@pytest.mark.parametrize("values", [[0, 1, 36], ["0", "1", "36"], [0.0, 1.0, 36.0]])
def test_steps_count_from_a_moment(values: list[Any]) -> None:
    steps = Steps(unit_ms=3_600_000, since_ms=946_684_800_000)
    assert moments(values, steps) == [946_684_800_000 + hours * 3_600_000 for hours in (0, 1, 36)]


def test_whole_numbers_can_be_days() -> None:
    assert moments([20240105, 20231231], "year_first") == [19_727 * DAY_MS, 19_722 * DAY_MS]


def test_missing_words_are_nothing_and_fractions_can_be_names() -> None:
    assert read(["?", "NA", "x"], Dialect(missing=("?", "NA"))) == [None, None, "x"]
    assert read([686082863.1, 5.0, float("nan")], Dialect(as_text=("c",))) == ["686082863.1", "5", None]


def test_a_source_that_says_nothing_changes_nothing() -> None:
    frame = pl.DataFrame({"c": ["1,5"]})
    assert plainly(frame, Dialect(), {"c"}) is frame


def test_what_a_source_says_is_read_from_the_scenario_file() -> None:
    described = claim_scenario()
    described["sources"] = {
        "claim": {
            "files": "a.csv", "separator": ";", "encoding": "latin-1", "decimal": ",", "missing": ["NA"],
            "times": {"at": "day_first", "step": {"unit": "1h", "since": "2000-01-01"}}, "as_text": ["ip"],
        }
    }  # fmt: skip
    scenario = scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    hours = Steps(unit_ms=3_600_000, since_ms=946_681_200_000)  # midnight in Berlin, the scenario's zone
    assert scenario.sources[0].dialect == Dialect(
        separator=";", encoding="iso8859-1", decimal=",", missing=("NA",), times={"at": "day_first", "step": hours},
        as_text=("ip",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("separator", "::", "write one of"),
        ("encoding", "utf-9", "cp1252"),
        ("decimal", ";", "known"),
        ("times", {"at": "dayfirst"}, "did you mean 'day_first'"),
        ("times", {"at": {"unit": "0s"}}, "steps without time"),
        ("times", {"at": {"unit": "1h", "since": "long ago"}}, "ISO 8601"),
    ],
)
def test_what_cannot_be_followed_is_named_with_its_path(key: str, value: Any, hint: str) -> None:
    described = claim_scenario()
    described["sources"] = {"claim": {"files": "a.csv", key: value}}
    with pytest.raises(ScenarioFileError, match=hint) as refusal:
        scenario_from_mapping("motor-claims", described, where="ringfence.yaml")
    assert refusal.value.path.startswith(f"motor-claims.sources.claim.{key}")
