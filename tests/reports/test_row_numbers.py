# SPDX-License-Identifier: Apache-2.0
"""Where the order of a file stands for the time, a moment is a row."""

from __future__ import annotations

from ringfence.reports.numerals import row


def test_a_second_is_a_row_and_the_first_has_the_number_of_its_id() -> None:
    assert [row(0), row(1_000), row(2_956_000)] == ["row 0", "row 1", "row 2,956"]


def test_what_was_decided_live_is_told_by_its_day() -> None:
    assert row(1_795_377_590_000) == "2026-11-22"
