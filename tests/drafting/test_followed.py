# SPDX-License-Identifier: Apache-2.0
"""`check` on labels by a later event: the truth of the files' rows, against what an import and its ledger say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.drafting import outlook_of
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.workspace import Workspace

DAY_MS = 86_400_000
N = 500
NOW_MS = 1_800_000_000_000

SCENARIO = """scenarios:
  credit:
    decide: application
    sources: {application: applications.csv, default: {files: [early.csv, late.csv], separator: ";"}}
    events:
      application:
        event_id: id
        event_time: at
        entities: {applicant: {column: applicant, type: person}, guarantor: GUARANTOR}
        attributes: {purpose: category}
        label: {event: default, horizon: 60d, by: BY}
      default:
        event_id: id
        event_time: at
        entities: {applicant: {column: who, type: person}, guarantor: {column: other, type: person, many: true}}
"""
MANY = '{column: guarantors, type: person, many: true, separator: "|"}'


@pytest.fixture(params=["applicant", "guarantor"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """500 applications of 90 people over 300 days, and 120 defaults in two files; the label goes by one or by many."""
    rng = np.random.default_rng(11)
    start = np.datetime64("2024-01-01T00:00:00")
    days = np.sort(rng.integers(0, 300, N))
    people = rng.integers(0, 90, N)
    pl.DataFrame(
        {
            "id": np.arange(N),
            "at": [str(start + np.timedelta64(int(day), "D")) for day in days],
            "applicant": [None if rng.random() < 0.05 else int(who) for who in people],
            "guarantors": ["|".join(str(who) for who in rng.integers(0, 90, rng.integers(0, 3))) for _ in range(N)],
            "purpose": rng.choice(["car", "debts"], N),
        }
    ).write_csv(tmp_path / "applications.csv")
    for name, low, high in (("early", 0, 150), ("late", 150, 320)):
        pl.DataFrame(
            {
                "id": [f"{name}{i}" for i in range(60)],
                "at": [str(start + np.timedelta64(int(day), "D")) for day in rng.integers(low, high, 60)],
                "who": rng.integers(0, 90, 60),
                "other": rng.integers(0, 90, 60),
            }
        ).write_csv(tmp_path / f"{name}.csv", separator=";")
    text = SCENARIO.replace("BY", request.param).replace("GUARANTOR", MANY)
    (tmp_path / "ringfence.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "credit.yaml").write_text(
        "costs:\n  currency: EUR\n  missed_fraud: {fixed: 100}\n  review: {cost: 5, detects: 0.9}\n"
        "  false_decline: {fixed: 50}\n",
        encoding="utf-8",
    )
    return tmp_path


def test_what_check_counts_is_what_the_ledger_labels(workspace: Path) -> None:
    here = Workspace(workspace)
    spec = here.scenario()
    told = outlook_of(spec, workspace)
    import_files(here.ledger_dir(spec), spec, workspace, FakeClock(NOW_MS))
    ledger = Ledger.open(here.ledger_dir(spec), spec)
    labels = ledger.labels(ledger.last_seq)
    assert told.n_fraud == int((labels["value"] == 1).sum()) > 20
    assert told.n_fraud + told.n_legit + told.n_silent == told.n_looked_at == N
    # The ledger matures what is settled at its watermark, as the files' end does here.
    assert told.n_legit == int((labels["value"] == 0).sum()) > 20
    assert told.split_ms is not None
    known = labels.filter((pl.col("known_at_ms") <= told.split_ms) & (pl.col("value") == 1))
    assert told.n_fraud_known == known.height


def test_check_tells_share_and_split(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "-w", str(workspace)]) == Exit.OK
    said = capsys.readouterr()
    told = outlook_of(Workspace(workspace).scenario(), workspace)
    share = 100 * told.n_fraud / (told.n_fraud + told.n_legit)
    assert f": {told.n_fraud} fraud ({share:.2g} %), {told.n_legit} legit, {told.n_silent} not settled" in said.out
    assert "frauds known by then" in said.out
    assert "follows any row" not in said.err
    assert run(["check", "-w", str(workspace), "--json"]) == Exit.OK
    files = json.loads(capsys.readouterr().out)["scenarios"]["credit"]["files"]
    assert (files["n_fraud"], files["n_legit"]) == (told.n_fraud, told.n_legit)


def test_outcomes_of_nobody_are_told(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("early", "late"):
        file = workspace / f"{name}.csv"
        frame = pl.read_csv(file, separator=";").with_columns(pl.col("who", "other").cast(pl.String) + "x")
        frame.write_csv(file, separator=";")
    assert run(["check", "-w", str(workspace)]) == Exit.OK
    said = capsys.readouterr()
    assert ": 0 fraud (0 %)" in said.out
    assert "follows any row looked at: do both columns hold the same ids" in said.err


def test_an_outcome_of_a_role_that_is_joined_is_left_untold(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (workspace / "ringfence.yaml").read_text()
    pl.read_csv(workspace / "applications.csv").select("id", "at", "purpose").write_csv(workspace / "applications.csv")
    pl.DataFrame({"id": [1], "role": ["applicant"], "who": [3]}).write_csv(workspace / "parties.csv")
    joined = "{files: applications.csv, join: {file: parties.csv, on: id, role: role, value: who}}"
    (workspace / "ringfence.yaml").write_text(text.replace("application: applications.csv", f"application: {joined}"))
    assert run(["check", "-w", str(workspace)]) == Exit.OK
    said = capsys.readouterr()
    assert "fraud when default of the same" in said.out
    assert "not settled" not in said.out
