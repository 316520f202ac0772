# SPDX-License-Identifier: Apache-2.0
"""Moments in every type that a Parquet file may give them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import polars as pl
import pytest

from ringfence.scenario.clock import FakeClock, SystemClock
from ringfence.scenario.duration import duration_ms
from ringfence.scenario.times import moments_ms

NOON_MS = 1_714_559_400_000  # 2024-05-01 12:30 in Berlin, 10:30 UTC
LOCAL = datetime(2024, 5, 1, 12, 30, 0, 999)  # noqa: DTZ001 - naive on purpose
BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([LOCAL], dtype=pl.Datetime("us")),
        pl.Series([LOCAL], dtype=pl.Datetime("ns")),
        pl.Series([datetime(2024, 5, 1, 10, 30)], dtype=pl.Datetime("ms", "UTC")),  # noqa: DTZ001 - polars adds it
        pl.Series([NOON_MS]),
        pl.Series([float(NOON_MS)]),
        pl.Series([str(NOON_MS)]),
        pl.Series(["2024-05-01T12:30:00"], dtype=pl.Categorical),
    ],
)
def test_typed_moment_is_the_same_moment(column: pl.Series) -> None:
    time_ms, missing, bad = moments_ms(column, BERLIN)
    assert (time_ms.tolist(), missing.tolist(), bad.tolist()) == ([NOON_MS], [False], [False])


def test_date_is_its_midnight() -> None:
    time_ms, _, _ = moments_ms(pl.Series([date(2024, 5, 1), None]), BERLIN)
    assert time_ms.tolist() == [1_714_514_400_000, 0]


@pytest.mark.parametrize(
    ("column", "missing", "bad"),
    [
        (pl.Series([None, None]), [True, True], [False, False]),
        (pl.Series([float("nan"), 1.5]), [True, False], [False, True]),
        (pl.Series([None, float("inf")]), [True, False], [False, True]),
        (pl.Series([None, 2**63], dtype=pl.UInt64), [True, False], [False, True]),
        (pl.Series([None, 2**60]), [True, False], [False, True]),
        (pl.Series([True, None]), [False, True], [True, False]),
        (pl.Series([[1], None]), [False, True], [True, False]),
        (pl.Series(["", "2024"]), [True, False], [False, True]),
    ],
)
def test_what_is_no_moment_is_missing_or_bad(column: pl.Series, missing: list[bool], bad: list[bool]) -> None:
    time_ms, found_missing, found_bad = moments_ms(column, BERLIN)
    assert time_ms.tolist() == [0, 0]
    assert (found_missing.tolist(), found_bad.tolist()) == (missing, bad)


@pytest.mark.parametrize(
    ("text", "ms"), [("10s", 10_000), ("30m", 1_800_000), ("12h", 43_200_000), ("90d", 7_776_000_000), ("0d", 0)]
)
def test_duration_is_read(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "d", "1", 1, True, None, "1w", "1.5d", "-1d", " 1d", "1d ", "1D", "١d", "9" * 10 + "d"]
)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="whole number and a unit"):
        duration_ms(text)


def test_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(5)
    clock.advance(10)
    assert clock.now_ms() == 15
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1)


def test_system_clock_is_in_milliseconds_since_1970() -> None:
    assert 1_700_000_000_000 < SystemClock().now_ms() < 4_000_000_000_000
