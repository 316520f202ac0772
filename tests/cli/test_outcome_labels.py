# SPDX-License-Identifier: Apache-2.0
"""The page's example of labels by a later event, from two files to a release."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.policy.load import default_policy_text
from ringfence.workspace import Workspace

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text("utf-8")
SECTION = PAGE.split("\n## Labels by a later event\n")[1].split("\n## ")[0]
SCENARIO = SECTION.split("```yaml\n")[1].split("```")[0]
N = 600
BEGIN = datetime(2021, 1, 1, tzinfo=UTC)
HORIZON = timedelta(days=180)
CUT = datetime(2022, 7, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def applications() -> list[dict[str, Any]]:
    """Two years of applications by people of their own; holidays are paid back less often."""
    draw = np.random.default_rng(11)
    rows = []
    for i in range(N):
        purpose = "holiday" if draw.random() < 0.4 else "home"
        at = BEGIN + timedelta(hours=i * 730 * 24 / N)
        goes_bad = draw.random() < (0.45 if purpose == "holiday" else 0.08)
        after = timedelta(days=float(draw.uniform(20, 200)))
        bad = at + after if goes_bad else None
        rows.append({"id": f"a{i}", "at": at, "who": f"p{i}", "purpose": purpose, "bad": bad})
    return rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, applications: list[dict[str, Any]]) -> Path:
    path = tmp_path_factory.mktemp("credit")
    (path / "ringfence.yaml").write_text(SCENARIO)
    (path / "policies").mkdir()
    (path / "policies" / "credit.yaml").write_text(default_policy_text("credit-applications"))
    lines = ["application_id,applied_at,loan_amount,applicant_id,employer_id,purpose"]
    for i, a in enumerate(applications):
        lines.append(f"{a['id']},{a['at'].isoformat()},100,{a['who']},e{i % 9},{a['purpose']}")
    (path / "applications.csv").write_text("\n".join(lines))
    lines = ["default_id,defaulted_at,applicant_id"]
    lines += [f"d{i},{a['bad'].isoformat()},{a['who']}" for i, a in enumerate(applications) if a["bad"]]
    (path / "defaults.csv").write_text("\n".join(lines))
    assert run(["import", "-w", str(path)]) == Exit.OK
    return path


def test_the_example_means_the_same_without_by(place: Path) -> None:
    scenario = Workspace(place).scenario()
    (place / "ringfence.yaml").write_text(SCENARIO.replace(", by: applicant", ""))
    assert Workspace(place).scenario() == scenario
    (place / "ringfence.yaml").write_text(SCENARIO)


def test_check_says_the_rule_in_words(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["check", "-w", str(place)]) == Exit.OK
    told = capsys.readouterr()
    out = " ".join(told.out.split())
    assert "label fraud when default of the same applicant follows within 180d, known from then on; legit when" in out
    assert "means fraud" not in told.err
    (place / "ringfence.yaml").write_text(SCENARIO.replace(", default: defaults.csv", ""))
    assert run(["check", "-w", str(place)]) == Exit.OK
    told = capsys.readouterr()
    assert "no source of default, which labels: every application of the files would be legit" in told.err
    (place / "ringfence.yaml").write_text(SCENARIO)


def test_training_learns_from_applications_whose_horizon_is_over(
    place: Path, applications: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    settled = [a for a in applications if a["at"] + HORIZON < CUT]
    bad = [a for a in settled if a["bad"] is not None and a["bad"] <= a["at"] + HORIZON]
    too_early = [a for a in applications if a not in settled and a["bad"] is not None and a["bad"] < CUT]
    assert 20 < len(bad) < len(settled) / 2
    assert len(too_early) > 10  # frauds known by the cut, from months of which no legit one is
    capsys.readouterr()
    assert run(["train", "-w", str(place), "--until", CUT.date().isoformat(), "--json"]) == Exit.OK
    release = json.loads(capsys.readouterr().out)["release"]
    folder = Workspace(place).releases_dir / release
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["n_examples"], metrics["n_fraud"]) == (len(settled), len(bad))
    end = max(max(a["at"], a["bad"] or a["at"]) for a in applications)
    later = [a for a in applications if a["at"] > CUT and a["at"] + HORIZON < end]
    assert metrics["evaluations"][0]["n"] == len(later)
    report = (folder / "report.html").read_text()
    assert "fraud means that default of the same applicant followed within 180d" in report


def test_another_horizon_asks_for_a_new_import(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "ringfence.yaml").write_text(SCENARIO.replace("180d", "90d"))
    for command in ("train", "import"):
        capsys.readouterr()
        assert run([command, "-w", str(place)]) == Exit.BAD_INPUT
        assert "import --replace" in capsys.readouterr().err
    (place / "ringfence.yaml").write_text(SCENARIO)
