# SPDX-License-Identifier: Apache-2.0
"""Drawn timelines: the picture first, then the same as data."""

from __future__ import annotations

import numpy as np

from ringfence.engine import Catalogue, Engine
from ringfence.engine.windows import granule_ms, span_text, window_floor_ms
from ringfence.scenario.batch import FRAUD, LEGIT
from tests.oracles.streams import (
    CLAIMANT,
    DAY,
    HOUR,
    MINUTE,
    START,
    Happening,
    Record,
    Truth,
    batch_of,
    claims_scenario,
)

SECOND = 1_000


def last_row(records: list[Record], windows_ms: tuple[int, ...]) -> dict[str, float]:
    catalogue = Catalogue.build(claims_scenario(windows_ms=windows_ms))
    row = Engine(catalogue).observe(batch_of(records, catalogue.scenario))[-1]
    return dict(zip(catalogue.names, row.tolist(), strict=True))


def claim(at_ms: int, amount: int = 100) -> Happening:
    return Happening(START + at_ms, ((CLAIMANT, 1),), amount)


#  t (s)      0    5    10   15   20   25   30
#  claimant        A    B                   C
#  span 20 s, read by C at 30: window (10, 30] holds nothing but what is later than 10; B lies on the bound
def test_event_on_the_lower_bound_is_outside() -> None:
    row = last_row([claim(5 * SECOND), claim(10 * SECOND), claim(30 * SECOND)], (20 * SECOND,))
    assert row["claimant.count_20s"] == 0


#  t (ms)     10_000  10_001            30_700
#  claimant   A       B                 C
#  span 20 s: the bound 10_700 is floored to the granule of 1 s, so the window is (10_000, 30_700]
def test_lower_bound_is_floored_to_the_granule() -> None:
    row = last_row([claim(10_000), claim(10_001), claim(30_700)], (20 * SECOND,))
    assert row["claimant.count_20s"] == 1


#  t (s)      0    7    7    7
#  claimant        A    B    C          same millisecond: a burst is seen, an event never sees itself
def test_burst_within_one_millisecond_is_seen_and_no_event_sees_itself() -> None:
    row = last_row([claim(7 * SECOND)] * 3, (20 * SECOND,))
    assert row["claimant.count_20s"] == 2
    assert row["claimant.gap_hours"] == 0.0


#  t (h)      0    1    2    3    4    5
#  seq             A         C    B               B is read third, at 2 h: it sees A, and not C, which lies later
#                            ^B reads here
def test_late_event_does_not_see_later_times_in_windows() -> None:
    row = last_row([claim(HOUR), claim(4 * HOUR), claim(2 * HOUR)], (DAY,))
    assert row["claimant.count_1d"] == 1
    assert row["claimant.n_events"] == 2  # state as of seq: both
    assert row["claimant.gap_hours"] == -2.0


#  t (d)      0    1    2    3    4    5    6    7    8
#  claimant   A                                       B      fraud of A becomes known on day 7
#  label                                         *
def test_label_counts_from_the_day_it_is_known() -> None:
    records: list[Record] = [claim(0), Truth(0, START + 7 * DAY, FRAUD), claim(8 * DAY)]
    row = last_row(records, (2 * DAY, 7 * DAY))
    assert row["claimant.fraud_count"] == 1
    assert row["claimant.fraud_count_2d"] == 1
    assert row["claimant.fraud_days"] == 8.0


#  t (d)      0    1    2    3
#  claimant   A              B
#  label           F    L                   the second opinion takes the first one's place
def test_label_that_replaces_another_subtracts_it() -> None:
    records: list[Record] = [
        claim(0),
        Truth(0, START + DAY, FRAUD),
        Truth(0, START + 2 * DAY, LEGIT),
        claim(3 * DAY),
    ]
    row = last_row(records, (DAY, 7 * DAY))
    assert row["claimant.fraud_count"] == 0
    assert row["claimant.fraud_count_7d"] == 0
    assert np.isnan(row["claimant.fraud_days"])


def test_granules_follow_the_span() -> None:
    assert granule_ms(HOUR) == SECOND
    assert granule_ms(HOUR + 1) == MINUTE
    assert granule_ms(DAY) == MINUTE
    assert granule_ms(DAY + 1) == HOUR
    assert window_floor_ms(START + 90 * MINUTE + 1, HOUR) == START + 30 * MINUTE


def test_spans_are_written_in_their_largest_unit() -> None:
    assert [span_text(span) for span in (90 * DAY, 12 * HOUR, 30 * MINUTE, 10 * SECOND, 250)] == [
        "90d",
        "12h",
        "30m",
        "10s",
        "250ms",
    ]
