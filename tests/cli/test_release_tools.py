# SPDX-License-Identifier: Apache-2.0
"""`ringfence release …` beyond promotion: calibrated anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from tests.training.conftest import POLICY, payments

Run = Callable[..., Any]

SCENARIO: dict[str, Any] = {
    "decide": "payment",
    "sources": {"payment": "payments.csv"},
    "windows": ["1d", "7d"],
    "events": {
        "payment": {
            "event_id": "id",
            "event_time": "at",
            "amount": {"field": "amount", "currency": "EUR"},
            "entities": {"card": "card", "shop": "shop"},
            "attributes": {"channel": "category"},
            "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "3d"},
        }
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of payments with one release, the champion, made of their first month."""
    folder = tmp_path_factory.mktemp("tools")
    payments(2_500).write_csv(folder / "payments.csv")
    (folder / "ringfence.yaml").write_text(yaml.safe_dump({"scenarios": {"payments": SCENARIO}}))
    (folder / "policies").mkdir()
    (folder / "policies" / "payments.yaml").write_text(POLICY)
    assert run(["import", "-w", str(folder)]) == Exit.OK
    assert run(["train", "-w", str(folder), "--until", "2024-01-31"]) == Exit.OK
    return folder


@pytest.fixture
def result(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json, expect success, and return what it printed."""

    def call(*arguments: str) -> Any:
        capsys.readouterr()
        assert run([*arguments, "-w", str(place), "--json"]) == Exit.OK
        return json.loads(capsys.readouterr().out)

    return call


def test_recalibrated_release_waits_beside_the_champion(place: Path, result: Run) -> None:
    champion = result("release", "show")["release"]
    made = result("release", "recalibrate", "--until", "2024-02-28")
    assert made["models_of"] == champion != made["release"]
    assert made["n"] > 1_000
    assert made["n_fraud"] > 30
    assert {rung["name"] for rung in made["rungs"]} == {"full", "gbdt"}
    entries = {entry["release"]: entry for entry in result("release", "list")}
    assert entries[champion]["champion"] is True
    assert entries[made["release"]]["champion"] is False
    assert entries[made["release"]]["note"] == f"calibration of {champion} anew"
    assert Path(made["report"]).is_file()


def test_recalibrating_tells_the_figures_and_what_to_do_next(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["release", "recalibrate", "-w", str(place), "--until", "2024-02-28"]) == Exit.OK
    said = capsys.readouterr()
    assert "calibration error" in said.out
    assert "it waits: ringfence release promote r-" in said.out


def test_recalibrating_without_new_labels_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["release", "recalibrate", "-w", str(place), "--until", "2024-02-01"]) == Exit.BAD_INPUT
    assert "cannot be calibrated anew" in capsys.readouterr().err
