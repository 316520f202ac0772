# SPDX-License-Identifier: Apache-2.0
"""`ringfence check` on a scenario with directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit


@pytest.fixture
def place(tmp_path: Path) -> Path:
    assert run(["init", str(tmp_path / "w"), "--template", "motor-claims"]) == Exit.OK
    return tmp_path / "w"


def ask(place: Path, monotone: str) -> None:
    file = place / "ringfence.yaml"
    file.write_text(f"{file.read_text().rstrip()}\n    monotone: {monotone}\n")


def test_check_tells_the_directions_by_full_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(place, "{amount: increasing, claimant.fraud_count: increasing}")
    capsys.readouterr()
    assert run(["check", "-w", str(place)]) == Exit.OK
    assert "monotone" in (said := capsys.readouterr().out)
    assert "event.amount increasing, claimant.fraud_count increasing" in said
    assert run(["check", "-w", str(place), "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)["scenarios"]["motor-claims"]["monotone"]
    assert told == {"event.amount": "increasing", "claimant.fraud_count": "increasing"}


def test_check_refuses_a_direction_of_no_feature(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(place, "{claimant.fraud_cout: increasing}")
    capsys.readouterr()
    assert run(["check", "-w", str(place)]) == Exit.BAD_INPUT
    told = capsys.readouterr().err
    assert "scenarios.motor-claims.monotone.claimant.fraud_cout: found no feature of this scenario" in told
    assert "did you mean 'claimant.fraud_count'?" in told
