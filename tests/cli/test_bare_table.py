# SPDX-License-Identifier: Apache-2.0
"""A table without times and entities, from the file to scores: what is said about it applies to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from tests.reports.markup import Read

N = 600


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bare")
    draw = np.random.default_rng(5)
    rate = draw.uniform(2.0, 20.0, N).round(2)
    table = {
        "rate": rate,
        "state": draw.choice(["CA", "NY", "TX"], N),
        "defaulted": (draw.random(N) < rate / 30).astype(int),
    }
    pl.DataFrame(table).write_csv(path / "loans.csv")
    folder = str(path / "loans")
    assert run(["init", folder, "--from", str(path / "loans.csv")]) == Exit.OK
    assert run(["import", "-w", folder]) == Exit.OK
    assert run(["train", "-w", folder, "--until", "1970-01-01T00:06:59Z"]) == Exit.OK
    return path / "loans"


def test_the_policy_says_how_many_rows_a_day_is(place: Path) -> None:
    assert "time for in 86,400 rows, a day here" in (place / "policies" / "loans.yaml").read_text()


def test_check_names_the_moment_that_parts_the_rows(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "-w", str(place)]) == Exit.OK
    said = capsys.readouterr().out
    assert "ringfence train --until 1970-01-01T00:06:59Z: the first 420 rows" in said
    assert "one_hop" not in said


def test_the_report_counts_rows_and_names_no_day(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (report,) = (place / "releases").glob("*/report.html")
    page = report.read_text()
    text = Read.of(page).text
    body = text.split("What these figures are not comparable with")[0]
    assert "1970" not in body
    assert "with nothing known after row 419" in body
    assert "Each run of 86,400 rows" in body
    assert "within at once" not in body
    assert "share an entity" not in body
    capsys.readouterr()
    assert run(["evaluate", "-w", str(place)]) == Exit.OK
    assert "known by row 419 (1970-01-01T00:06:59Z)" in capsys.readouterr().out


def test_score_begins_with_the_first_row_unless_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = place / "scores.parquet"
    assert run(["score", "-w", str(place), "--output", str(output)]) == Exit.OK
    assert pl.read_parquet(output)["event_id"].to_list() == [str(row) for row in range(N)]
    assert "of 600 events lie in the span" in capsys.readouterr().err
