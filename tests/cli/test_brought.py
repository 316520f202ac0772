# SPDX-License-Identifier: Apache-2.0
"""`ringfence check` on a scenario with networks that were trained elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from tests.oracles.onnx_graphs import linear


@pytest.fixture
def place(tmp_path: Path) -> Path:
    assert run(["init", str(tmp_path / "w"), "--template", "motor-claims"]) == Exit.OK
    file = tmp_path / "w" / "ringfence.yaml"
    branch = "{name: my-net, onnx: my_net.onnx, features: [event.amount, claimant.n_events], trained_until: 2024-06-30}"
    file.write_text(f"{file.read_text().rstrip()}\n    branches: [{branch}]\n")
    return tmp_path / "w"


def test_check_tells_what_was_brought(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "my_net.onnx").write_bytes(linear(np.ones(2), 0.0))
    capsys.readouterr()
    assert run(["check", "-w", str(place)]) == Exit.OK
    assert "my_net.onnx, 2 features to probability; trained until 2024-06-" in capsys.readouterr().out


def test_check_refuses_a_branch_without_its_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["check", "-w", str(place)]) == Exit.BAD_INPUT
    assert "scenarios.motor-claims.branches[0].onnx: my_net.onnx: found No such file" in capsys.readouterr().err
