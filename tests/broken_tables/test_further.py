# SPDX-License-Identifier: Apache-2.0
"""Where the first commands succeed and a later one speaks: clocks that change, few labels, many columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.cli.exits import Exit
from tests.broken_tables.walk import N, Walk, payments, replaced, text

HOUR_MS = 3_600_000


def test_local_times_around_a_change_of_the_clocks_are_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    #  Berlin, 31 March 2024     01:59 | 03:00        02:30 never was: read as 03:30, which is 01:30 UTC
    #  Berlin, 27 October 2024   02:59 | 02:00 again  02:30 was twice: the first is taken, which is 00:30 UTC
    moments = ["2024-03-31T02:30:00", "2024-03-31T02:59:59", "2024-10-27T02:30:00", "2024-10-27T02:30:00+01:00"]
    moments += ["2024-10-27T00:00:00", "2024-10-27T03:00:00", "2024-03-31T01:59:59", "2024-03-31T03:00:00"]
    walk = Walk(tmp_path, capsys)
    assert walk.init(walk.file(text(payments(**replaced("paid_at", list(range(8)), moments))))).code == Exit.OK
    walk.edit("time_zone: UTC", "time_zone: Europe/Berlin")
    said = walk.load()
    assert said.code == Exit.OK
    assert "2 of 120 payment rows have a `paid_at` that never was: the clocks of `time_zone` went forward" in said.err
    assert "1 of 120 payment rows have a `paid_at` that was twice: the clocks of `time_zone` went back" in said.err
    time_ms = dict(walk.events().select("event_id", "time_ms").iter_rows())
    ids = payments()["payment_id"]
    day_ms = 1_711_843_200_000  # 2024-03-31T00:00Z
    assert time_ms[ids[0]] == day_ms + 3 * HOUR_MS // 2
    assert time_ms[ids[7]] == day_ms + HOUR_MS
    assert time_ms[ids[3]] - time_ms[ids[2]] == HOUR_MS


def test_a_zone_without_changes_tells_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = Walk(tmp_path, capsys)
    walk.init(walk.file(text(payments(**replaced("paid_at", [0], ["2024-03-31T02:30:00"])))))
    said = walk.load()
    assert (said.code, said.err) == (Exit.OK, "")


@pytest.mark.parametrize(
    ("columns", "loaded", "piece"),
    [
        (
            {name: column[:10] for name, column in payments().items()},
            "10 events",
            "at least 10 of each are needed to fit",
        ),
        (payments(is_fraud=["0"] * N), "120 events and 0 labels", "no example to train on: 120 decided events"),
        (payments(is_fraud=[""] * N), "120 events and 0 labels", "no example to train on: 120 decided events"),
    ],
)
def test_train_says_what_it_lacks(
    columns: dict[str, list[str]], loaded: str, piece: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk = Walk(tmp_path, capsys)
    assert walk.init(walk.file(text(columns))).code == Exit.OK
    assert loaded in walk.load().out
    said = walk.train()
    assert said.code == Exit.BAD_INPUT
    assert piece in said.err
    assert not list(walk.workspace.glob("releases/*/release.json"))


def test_more_columns_than_a_model_can_want_are_drafted_in_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(5)
    frame = pl.DataFrame(payments()).with_columns(
        pl.Series(f"v{at}", values) for at, values in enumerate(rng.normal(size=(1_020, N)))
    )
    walk = Walk(tmp_path, capsys)
    said = walk.init(walk.frame(frame))
    assert said.code == Exit.OK
    assert "1,028 columns: every one is looked up in each event" in said.err
    assert "v1019: beyond the first 1,000 attributes" in walk.scenario
    assert walk.load().code == Exit.OK
    assert walk.events().height == N


def test_names_that_differ_in_case_alone_are_refused_in_a_scenario(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk = Walk(tmp_path, capsys)
    walk.init(walk.file(text()))
    walk.edit("hour: number", "hour: number\n          Channel: category")
    said = walk.check()
    assert said.code == Exit.BAD_INPUT
    assert "'Channel' beside 'channel'; rename one: names that differ in case alone are one name" in said.err
