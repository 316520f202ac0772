# SPDX-License-Identifier: Apache-2.0
"""The whole path in processes of its own: simulate, import, train, serve, decide, crash, recover."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DecisionBody, Kind
from ringfence.workspace import Workspace


@pytest.mark.services
@pytest.mark.timeout(900)
def test_demo_checks_itself_and_its_decisions_can_be_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "ringfence.cli", "demo", "--once", "--workspace", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == Exit.OK, ended.stdout + ended.stderr
    assert "all checks hold" in ended.stdout
    assert run(["verify", "decision", "--newest", "50", "-w", str(folder), "--json"]) == Exit.OK
    proofs = json.loads(capsys.readouterr().out)["decisions"]
    assert len(proofs) == 50
    assert run(["verify", "audit", "-w", str(folder)]) == Exit.OK
    assert run(["verify", "state", "-w", str(folder)]) == Exit.OK
    _scores_equal_what_the_service_answered(folder, tmp_path / "scores.parquet")


def _scores_equal_what_the_service_answered(folder: Path, output: Path) -> None:
    workspace = Workspace(folder)
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    bodies = [record.body for record in ledger.records(kinds=(Kind.DECISION,))]
    answered = pl.DataFrame(
        [(body.event_id, body.score, body.members["gbdt"]) for body in bodies if isinstance(body, DecisionBody)],
        schema=["event_id", "answered", "gbdt_answered"],
        orient="row",
    )
    assert answered.height >= 50
    window = ["--from", "2000-01-01", "--to", "2100-01-01"]
    assert run(["score", *window, "-w", str(folder), "--output", str(output)]) == Exit.OK
    both = pl.read_parquet(output).join(answered, on="event_id", how="right")
    assert both["score"].to_list() == both["answered"].to_list()
    assert both["gbdt"].to_list() == both["gbdt_answered"].to_list()
