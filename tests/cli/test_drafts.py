# SPDX-License-Identifier: Apache-2.0
"""`init` from templates and from files, and `check`."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.drafts import Template
from ringfence.cli.exits import Exit
from ringfence.policy.load import load_policy
from ringfence.scenario.workspace import template_names
from ringfence.workspace import Workspace
from tests.drafting.tables import N, payments


@pytest.fixture
def table(tmp_path: Path) -> Path:
    columns = payments(outcome_code=["X" if fraud else "Y" for fraud in payments()["is_fraud"]])
    pl.DataFrame(columns).write_csv(tmp_path / "payments.csv")
    return tmp_path / "payments.csv"


def test_every_template_can_be_asked_for_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(template.value for template in Template) == template_names()
    for template in template_names():
        folder = tmp_path / template
        assert run(["init", str(folder), "--template", template]) == Exit.OK
        capsys.readouterr()
        assert run(["check", "-w", str(folder)]) == Exit.OK
        said = capsys.readouterr()
        assert said.out.startswith(f"{template}: decides ")
        assert "only ringfence.yaml was checked" in said.err


def test_init_without_a_choice_writes_motor_claims(tmp_path: Path) -> None:
    assert run(["init", str(tmp_path / "w")]) == Exit.OK
    assert list(Workspace(tmp_path / "w").scenarios) == ["motor-claims"]


def test_init_from_a_file_drafts_a_workspace_that_imports(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "My Table"
    assert run(["init", str(folder), "--from", str(table)]) == Exit.OK
    said = capsys.readouterr()
    assert "CHECK delay" in said.out
    assert "left out as a likely leak: outcome_code: it almost determines the label" in said.err
    here = Workspace(folder)
    spec = here.scenario()
    assert spec.name == "my-table"
    assert spec.sources[0].files == ("../payments.csv",)
    policy = load_policy(here.policy_path(spec))
    assert policy.costs.currency == "EUR"
    assert policy.capacity.reviews_per_day == 1.0  # of 600 payments in 200 days
    assert "CHECK: 2 % of the 3 rows a day" in here.policy_path(spec).read_text()
    assert "policies/my-table.yaml: CHECK what a mistake costs you" in said.out
    assert {"CARD.md", "RISKS.md", ".gitignore"} <= {path.name for path in folder.iterdir()}
    assert run(["check", "-w", str(folder)]) == Exit.OK
    capsys.readouterr()
    assert run(["import", "-w", str(folder), "--json"]) == Exit.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["n_events"], report["n_rejected"]) == (N, 0)


def test_several_files_may_follow_from(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "more.csv"
    other.write_bytes(table.read_bytes())
    assert run(["init", str(tmp_path / "w"), "--from", str(table), str(other), "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["event"] == "payment"
    assert Workspace(tmp_path / "w").scenario().sources[0].files == ("../payments.csv", "../more.csv")


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["--from", "nowhere.csv"], Exit.BAD_INPUT, "no such file"),
        (["--from", "t.csv", "--template", "signups"], Exit.USAGE, "two ways to begin"),
        (["t.csv"], Exit.USAGE, "--from t.csv"),
    ],
)
def test_init_that_cannot_begin_writes_nothing(
    arguments: list[str], code: Exit, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(tmp_path / "w"), *arguments]) == code
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_init_looks_at_no_file_where_a_workspace_is(table: Path, tmp_path: Path) -> None:
    assert run(["init", str(tmp_path / "w"), "--template", "signups"]) == Exit.OK
    before = (tmp_path / "w" / "ringfence.yaml").read_bytes()
    assert run(["init", str(tmp_path / "w"), "--from", str(table)]) == Exit.BAD_INPUT
    assert (tmp_path / "w" / "ringfence.yaml").read_bytes() == before


def test_check_says_what_is_learned_and_warns_of_leaks_and_rejects(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "w"
    assert run(["init", str(folder), "--from", str(table)]) == Exit.OK
    scenario = (folder / "ringfence.yaml").read_text()
    leaky = scenario.replace(
        "          channel: category", "          channel: number\n          outcome_code: category"
    )
    assert leaky != scenario
    (folder / "ringfence.yaml").write_text(leaky)
    capsys.readouterr()
    assert run(["check", "-w", str(folder)]) == Exit.CHECK_FAILED  # every row has a channel that is no number
    said = capsys.readouterr()
    assert "600 rows of payments.csv, named by payment_id, at paid_at" in said.out
    assert "is_fraud, known 7d after the event: 60 fraud (10 %), 540 legit" in said.out
    assert "frauds known by then" in said.out
    assert "features: " in said.out
    assert "likely leak outcome_code: it almost determines the label (alone it has ROC-AUC 1.000)" in said.err
    assert "600 of 600 rows would be rejected, channel is" in said.err
    assert run(["check", "-w", str(folder), "--json"]) == Exit.CHECK_FAILED
    report = json.loads(capsys.readouterr().out)["scenarios"]["w"]
    assert report["files"]["n_rejected"] == N
    assert report["label"] == "is_fraud"


def test_check_of_a_missing_column_names_it(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "w"
    assert run(["init", str(folder), "--from", str(table)]) == Exit.OK
    scenario = (folder / "ringfence.yaml").read_text()
    (folder / "ringfence.yaml").write_text(scenario.replace("event_time: paid_at", "event_time: payed_at"))
    assert run(["check", "-w", str(folder)]) == Exit.BAD_INPUT
    assert "did you mean 'paid_at'" in capsys.readouterr().err


def test_check_tells_journeys_and_warns_where_their_family_is_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "lat": [50.0 + row * 37 % 601 / 99 for row in range(N)],
        "lon": [8.0 + row * 53 % 97 / 9 for row in range(N)],
    }
    pl.DataFrame(payments(**places)).write_csv(tmp_path / "payments.csv")
    folder = tmp_path / "w"
    assert run(["init", str(folder), "--from", str(tmp_path / "payments.csv")]) == Exit.OK
    capsys.readouterr()
    assert run(["check", "-w", str(folder)]) == Exit.OK
    said = capsys.readouterr()
    assert "of card, by lat and lon" in said.out
    assert "is off" not in said.err
    scenario = folder / "ringfence.yaml"
    scenario.write_text(scenario.read_text() + "    features: {novelty_gaps: false}\n")
    assert run(["check", "-w", str(folder)]) == Exit.OK
    assert "`novelty_gaps` is off, the family that tells how far and how fast" in capsys.readouterr().err
