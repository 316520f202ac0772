# SPDX-License-Identifier: Apache-2.0
"""A draft asks which moment is decided, says who identifies whom, and leaves out moments that lie after the event."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.drafting import checks_of, draft_scenario, outlook_of, yaml_of
from ringfence.drafting.evidence import span_text
from ringfence.workspace import Workspace
from tests.drafting.tables import N, draft_of, imported, payments

RNG = np.random.default_rng(5)
PAID_AT = [datetime.fromisoformat(text) for text in payments()["paid_at"]]


def moments(hours: Any) -> list[str]:
    """Moments that lie so many hours after each payment."""
    return [(at + timedelta(hours=float(by))).isoformat() for at, by in zip(PAID_AT, hours, strict=True)]


def told(text: str) -> str:
    """A scenario file with its comments as one line each."""
    return re.sub(r"\s*\n\s*#\s*", " ", text)


@pytest.mark.parametrize("name", ["begin_derived", "contract_start", "opened_on"])
def test_moment_after_the_event_in_some_rows_is_left_out_whatever_its_name_says(name: str, tmp_path: Path) -> None:
    hours = np.where(np.arange(N) % 10 == 0, 24.0 * (1 + np.arange(N) % 7), -100.0 - RNG.integers(0, 9_000, N))
    draft = draft_of(tmp_path, payments(**{name: moments(hours)}))
    [leak] = draft.leaks
    assert leak.column == name
    assert leak.why == "it lies after the event in 60 of 600 rows looked at, by 4 days at the median and 7 days at most"
    text = told(yaml_of(draft, directory=tmp_path))
    assert f"leak? {name}: {leak.why}. CHECK: in more than 1 % of the rows" in text
    assert f"it follows {name} in 540 of 600 rows" in text
    assert any(name in check and "CHECK: in more than 1 %" in check for check in checks_of(draft, directory=tmp_path))
    assert name not in {attribute.name for attribute in draft.attributes}


def test_moment_after_the_event_in_hardly_any_row_is_kept_and_asked_about(tmp_path: Path) -> None:
    hours = np.where(np.arange(N) == 77, 3.0, -100.0 - RNG.integers(0, 9_000, N))
    draft = draft_of(tmp_path, payments(opened_on=moments(hours)))
    assert not draft.leaks
    assert {attribute.name: attribute.type for attribute in draft.attributes}["opened_on"] == "time"
    text = told(yaml_of(draft, directory=tmp_path))
    assert "CHECK: it lies after the event in 1 of 600 rows looked at, by 3 hours at the median" in text
    imported(draft, tmp_path)
    [found] = outlook_of(Workspace(tmp_path).scenario(), tmp_path).suspicions
    assert (found.column, found.is_leak) == ("opened_on", False)


def test_of_two_moments_the_draft_asks_which_is_decided_and_says_what_is_known_then(tmp_path: Path) -> None:
    columns = payments(signup_time=moments(-50.0 - RNG.integers(0, 2_000, N)), browser=["a", "b"] * (N // 2))
    columns["paid_value"] = columns.pop("amount")
    draft = draft_of(tmp_path, columns)
    assert draft.clock is not None
    assert draft.clock.column.name == "paid_at"
    [check] = [check for check in checks_of(draft, directory=tmp_path) if "which moment is decided" in check]
    assert check.startswith("CHECK which moment is decided: at paid_at, by a guess")
    assert re.search(r"`event_time: signup_time`.* decides \d+ days earlier at the median: nothing of paid_at", check)
    assert check.endswith("such as paid_value")


@pytest.mark.parametrize(
    "column",
    [
        {"opened_on": ["2020-01-05"] * 300 + ["2021-03-01"] * 300},  # of two days, no moment of an event
        {"booked_at": moments(np.full(N, -2.0))},  # the same again
        {"label_time": moments(np.full(N, 500.0) + np.arange(N))},  # when the truth was known
    ],
)
def test_moment_that_is_no_rival_raises_no_question(column: dict[str, list[str]], tmp_path: Path) -> None:
    draft = draft_of(tmp_path, payments(**column))
    assert "which moment is decided" not in yaml_of(draft, directory=tmp_path)


def test_draft_says_which_roles_are_strong_and_why(tmp_path: Path) -> None:
    text = told(yaml_of(draft_of(tmp_path, payments()), directory=tmp_path))
    assert "strong (card): it identifies one person or thing, so events that share one are tied into rings" in text
    assert "strong, for its name says 'card'" in text
    assert "CHECK strong" not in text


def test_draft_without_a_strong_role_says_what_is_off_and_who_might_be(tmp_path: Path) -> None:
    columns = payments(policy_id=[f"k{number}" for number in RNG.integers(0, 400, N)])
    columns["client"] = columns.pop("card_no")
    draft = draft_of(tmp_path, columns)
    [check] = [check for check in checks_of(draft, directory=tmp_path) if check.startswith("CHECK strong")]
    assert "`ringfence rings` refuses, and the feature family `rings` stays off" in check
    likely, _, hardly = check.partition("; hardly ")
    assert "policy (" in likely
    assert "client (" in likely
    assert hardly == "merchant (20.0 events each): strangers may share one"
    imported(draft, tmp_path)
    assert run(["rings", "-w", str(tmp_path)]) == Exit.BAD_INPUT


def test_check_counts_who_is_named_in_a_long_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = payments()
    pl.DataFrame(columns).write_csv(tmp_path / "claims.csv")
    people = {
        "payment_id": columns["payment_id"] * 2,
        "part": ["witness"] * N + ["driver"] * N,
        "who": [f"w{number}" for number in [*(np.arange(N) % 200), *(np.arange(N) % 300)]],
    }
    pl.DataFrame(people).write_csv(tmp_path / "people.csv")
    draft = draft_scenario("drafted", [tmp_path / "claims.csv", tmp_path / "people.csv"])
    imported(draft, tmp_path)
    assert run(["check", "-w", str(tmp_path)]) == Exit.OK
    out = " ".join(capsys.readouterr().out.split())
    assert "entity witness witness; 200, 3.0 events each" in out
    assert "entity driver driver; 300, 2.0 events each" in out


@pytest.mark.parametrize(
    ("span_ms", "text"),
    [(86_400_000 * 3, "3 days"), (86_400_000, "24 hours"), (3_600_000, "60 minutes"), (90_000, "90 seconds")],
)
def test_spans_are_told_in_the_largest_unit_of_which_there_are_two(span_ms: int, text: str) -> None:
    assert span_text(span_ms) == text
