# SPDX-License-Identifier: Apache-2.0
"""What is said before a model is believed or used: at the check, after training, in the report, and with the scores."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit

N = 1_500


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drafted, imported workspace of payments that tell nothing about fraud, at odd seconds of forty days."""
    path = tmp_path_factory.mktemp("told")
    draw = np.random.default_rng(11)
    seconds = np.sort(draw.uniform(0, 40 * 86_400, N))
    start = datetime(2024, 1, 1, tzinfo=UTC)
    table = {
        "payment_id": [f"p{at}" for at in range(N)],
        "paid_at": [(start + timedelta(seconds=float(s))).isoformat(timespec="milliseconds") for s in seconds],
        "amount": draw.gamma(2.0, 30.0, N).round(2),
        "card_id": draw.integers(0, 300, N),
        "channel": draw.choice(["web", "app", "till"], N),
        "is_fraud": (draw.random(N) < 0.1).astype(int),
    }
    pl.DataFrame(table).write_csv(path / "payments.csv")
    folder = path / "w"
    assert run(["init", str(folder), "--from", str(path / "payments.csv")]) == Exit.OK
    assert run(["import", "-w", str(folder)]) == Exit.OK
    return folder


@pytest.fixture(scope="module")
def suggested(checked: Path) -> tuple[str, dict[str, Any]]:
    """The cut that `check` suggests, as a person reads it, and what `check --json` counts there."""
    import contextlib
    import io

    told, counted = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told):
        assert run(["check", "-w", str(checked)]) == Exit.OK
    with contextlib.redirect_stdout(counted):
        assert run(["check", "-w", str(checked), "--json"]) == Exit.OK
    found = re.search(r"ringfence train --until (\S+): ", told.getvalue())
    assert found is not None
    return found[1], json.loads(counted.getvalue())["scenarios"]["w"]["files"]


@pytest.fixture(scope="module")
def trained(checked: Path, suggested: tuple[str, dict[str, Any]]) -> Path:
    command = ["train", "-w", str(checked), "--until", suggested[0], "--without", "gnn", "--without", "anomaly"]
    assert run(command) == Exit.OK
    return checked


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == Exit.OK
    return json.loads(capsys.readouterr().out)


def test_train_at_the_suggested_cut_counts_the_frauds_that_check_counted(
    trained: Path, suggested: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    made = _json(capsys, "evaluate", "-w", str(trained))
    assert made["n_fraud"] == suggested[1]["n_fraud_known"] > 0
    assert made["headline"]["name"] == "later_window"
    assert made["headline"]["n_fraud"] == suggested[1]["n_fraud_after"] > 0


def test_placeholder_costs_are_named_beside_the_money(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = _json(capsys, "evaluate", "-w", str(trained))
    assert "placeholder_costs" in [one["kind"] for one in made["reservations"]]
    page = Path(made["report"]).read_text()
    assert page.count("costs are placeholders") >= 4  # the box, the tile, what alerts save, and the actions
    assert "policies/w.yaml" in page


def test_the_report_is_printed_in_plain_text(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["evaluate", "-w", str(trained), "--text"]) == Exit.OK
    said = capsys.readouterr().out
    assert said.index("before you believe it:") < said.index("Later window: ") < said.index("alert capacity; *: ")
    assert "on placeholder costs" in said
    assert "what it looks at" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("other", [["--json"], ["--study", "branches"]])
def test_plain_text_is_asked_for_alone(trained: Path, other: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["evaluate", "-w", str(trained), "--text", *other]) == Exit.USAGE
    assert "--text prints the report" in capsys.readouterr().err


def test_score_warns_once_of_an_answer_that_nearly_all_events_get(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = trained / "policies" / "w.yaml"
    careless = re.sub(r"friction: [0-9.]+", "friction: 0.001", policy.read_text())
    assert careless != policy.read_text()
    policy.write_text(careless)
    assert run(["train", "-w", str(trained), "--until", "2024-02-01", "--without", "gnn", "--seed", "5"]) == Exit.OK
    capsys.readouterr()
    command = ["score", "-w", str(trained), "--release", "latest", "-o", str(tmp_path / "s.parquet"), "--json"]
    assert run([*command, "--from", "2024-02-02"]) == Exit.OK
    told = capsys.readouterr()
    (warning,) = json.loads(told.out)["warnings"]
    assert re.match(r"[0-9.]+ % of [0-9]+ events get challenge", warning)
    assert "a challenge costs 0.001 and a missed fraud" in warning
    assert told.err.count("events get challenge") == 1
