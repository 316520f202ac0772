# SPDX-License-Identifier: Apache-2.0
"""The whole path in processes of its own: simulate, import, train, serve, decide, crash, recover."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit


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
