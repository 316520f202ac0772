# SPDX-License-Identifier: Apache-2.0
"""Times that count from a moment nobody told: steps, months, seconds; and days whose clock stands beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ringfence.drafting import Draft, yaml_of
from ringfence.scenario.dialect import Steps
from tests.drafting.tables import N, draft_of, imported, let_in, payments

HOUR, DAY = 3_600_000, 86_400_000


def counted(folder: Path, name: str, values: object) -> Draft:
    columns = {name if key == "paid_at" else key: cells for key, cells in payments().items()}
    columns[name] = values
    return draft_of(folder, columns)


def test_a_rhythm_of_a_day_makes_hours_of_steps(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    by_day = rng.integers(0, 12, N) * 24 + rng.integers(8, 16, N)
    draft = counted(tmp_path, "step", np.sort(by_day))
    assert draft.clock is not None
    assert draft.clock.how == Steps(unit_ms=HOUR, since_ms=946_684_800_000)
    assert "a rhythm of 24 steps" in " ".join(yaml_of(draft, directory=tmp_path).replace("#", "").split())
    assert let_in(draft, tmp_path).n_events == N


@pytest.mark.parametrize(
    ("name", "highest", "unit_ms"), [("step", 180, DAY), ("step", 743, HOUR), ("Time", 172_792, 1_000)]
)
def test_a_shuffled_count_is_the_time_where_its_name_says_nothing_else(
    name: str, highest: int, unit_ms: int, tmp_path: Path
) -> None:
    draft = counted(tmp_path, name, np.random.default_rng(2).integers(0, highest, N))
    assert draft.clock is not None
    assert (draft.clock.column.name, draft.clock.how) == (name, Steps(unit_ms=unit_ms, since_ms=946_684_800_000))
    assert "is made up" in " ".join(yaml_of(draft, directory=tmp_path).split("#")[2:]).replace("\n", " ")
    assert imported(draft, tmp_path).n_events == N


@pytest.mark.parametrize("name", ["call_time", "time_on_page", "days_to_ship"])
def test_a_duration_is_no_time(name: str, tmp_path: Path) -> None:
    draft = counted(tmp_path, name, np.random.default_rng(2).integers(0, 700, N))
    assert draft.clock is None


def test_months_from_nought_are_the_time_and_months_of_a_calendar_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    draft = counted(tmp_path / "counted", "month", rng.integers(0, 8, N))
    assert draft.clock is not None
    assert draft.clock.how == Steps(unit_ms=30 * DAY, since_ms=946_684_800_000)
    assert let_in(draft, tmp_path / "counted").n_events == N
    parts = payments(year=2024, month=np.resize(np.arange(1, 13), N), day=rng.integers(1, 29, N))
    del parts["paid_at"]
    calendar = draft_of(tmp_path / "calendar", parts)
    assert calendar.clock is None
    assert any("year, month, day may say together when" in warning for warning in calendar.warnings)


def test_a_date_comes_before_a_count(tmp_path: Path) -> None:
    draft = draft_of(tmp_path, payments(step=np.arange(N) // 2))
    assert draft.clock is not None
    assert draft.clock.column.name == "paid_at"


@pytest.mark.parametrize(
    ("written", "how"),
    [(["Dec-2015", "Jan-2016"], "%b-%Y"), (["2015-12", "2016-01"], "%Y-%m"), (["12/2015", "01/2016"], "%m/%Y"),
     (["Dec-15", "Jan-16"], "%b-%y")],
)  # fmt: skip
def test_a_month_without_a_day_is_its_first(written: list[str], how: str, tmp_path: Path) -> None:
    draft = counted(tmp_path, "issue_d", np.repeat(written, N // 2))
    assert draft.clock is not None
    assert (draft.clock.column.name, draft.clock.how) == ("issue_d", how)
    first = np.array(["2015-12-01", "2016-01-01"], "datetime64[ms]").astype(float)
    assert np.array_equal(np.unique(draft.clock.column.values), first)
    assert let_in(draft, tmp_path).n_events == N


def test_days_take_the_time_of_day_that_stands_beside_them(tmp_path: Path) -> None:
    day = [f"{1 + at // 30:02d}.03.2024" for at in range(N)]
    clock = [f"{8 + at % 30 // 3}:{at % 3 * 20:02d}" for at in range(N)]
    columns = payments(Buchungstag=day, Uhrzeit=clock)
    del columns["paid_at"]
    draft = draft_of(tmp_path, columns)
    assert draft.clock is not None
    assert draft.clock.column.name == "Buchungstag"
    assert draft.dialect.clocks == {"Buchungstag": "Uhrzeit"}
    assert "Uhrzeit" not in [guess.column.name for guess in draft.roles]
    assert draft.clock.column.values[1] == np.datetime64("2024-03-01T08:20", "ms").astype(float)
    assert imported(draft, tmp_path).n_events == N


def test_a_year_of_two_digits_is_not_one_of_the_first_century(tmp_path: Path) -> None:
    draft = counted(tmp_path, "paid_at", np.repeat(["1-Jan-24", "13-Feb-24"], N // 2))
    assert draft.clock is not None
    assert draft.clock.how == "%d-%b-%y"
    assert draft.clock.column.values[0] == np.datetime64("2024-01-01", "ms").astype(float)
