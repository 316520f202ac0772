# SPDX-License-Identifier: Apache-2.0
"""Local time from the table is the standard library's local time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ringfence.scenario.calendar import (
    is_time_zone,
    local_offset_ms,
    local_offset_ms_at,
    to_utc_ms,
    to_utc_ms_at,
)
from tests.oracles import local_time

ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata"]
YEAR_2200_MS = 7_258_118_400_000
moments = st.integers(0, YEAR_2200_MS - 86_400_000)


@given(st.sampled_from(ZONES), st.lists(moments, min_size=1, max_size=20))
def test_offsets_are_those_of_the_standard_library(zone: str, drawn: list[int]) -> None:
    expected = [local_time.offset_ms(zone, time_ms) for time_ms in drawn]
    assert local_offset_ms(zone, np.array(drawn)).tolist() == expected
    assert [local_offset_ms_at(zone, time_ms) for time_ms in drawn] == expected


@given(st.sampled_from(ZONES), st.lists(moments, min_size=1, max_size=20))
@example("Europe/Berlin", [1_711_852_200_000, 1_729_996_200_000])  # 02:30 in the gap and in the fold of 2024
def test_wall_clocks_are_read_as_by_the_standard_library(zone: str, drawn: list[int]) -> None:
    expected = [local_time.utc_ms(zone, local_ms) for local_ms in drawn]
    assert to_utc_ms(zone, np.array(drawn)).tolist() == expected
    assert [to_utc_ms_at(zone, local_ms) for local_ms in drawn] == expected


#  Berlin, 27 October 2024: the clock shows 02:00 to 03:00 twice
#  UTC          00:00        01:00        02:00
#  wall clock   02:00 ...... 02:00 ...... 03:00
def test_offset_changes_at_the_millisecond_of_the_change() -> None:
    change_ms = 1_729_990_800_000
    around = np.array([change_ms - 1, change_ms])
    assert local_offset_ms("Europe/Berlin", around).tolist() == [7_200_000, 3_600_000]


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "/etc/localtime", "a\0b", "../UTC"])
def test_unknown_zone_is_told_apart(zone: str) -> None:
    assert not is_time_zone(zone)
