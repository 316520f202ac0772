# SPDX-License-Identifier: Apache-2.0
"""The quickstart's example of a table of parties works as it is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.ledger.ledger import Ledger
from ringfence.workspace import Workspace

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quickstart.md"
HEADING = "### When who takes part stands in a table of its own"


def test_table_of_parties_is_joined_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = PAGE.read_text("utf-8").partition(HEADING)[2].partition("\n###")[0]
    tables = re.findall(r"^```text\n(.*?)^```", section, re.M | re.S)
    [commands] = re.findall(r"^```\n(ringfence .*?)^```", section, re.M | re.S)
    [join, roles] = re.findall(r"^```yaml\n(.*?)^```", section, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    for name, table in zip(("claims.csv", "claim_parties.csv"), tables, strict=True):
        assert f"`{name}`" in section
        Path(name).write_text(table)
    for command in commands.splitlines():
        assert run(shlex.split(command)[1:]) == Exit.OK
    scenario = tmp_path / "claims" / "ringfence.yaml"
    text = scenario.read_text()
    assert join in text
    drafted = [line for line in text.splitlines() if line.lstrip().startswith(("claimant:", "witness:"))]
    for before, after in zip(drafted, roles.splitlines(), strict=True):
        text = text.replace(before, after)
    scenario.write_text(text)
    capsys.readouterr()
    assert run(["check", "-w", "claims"]) == Exit.OK
    [shown] = re.findall(r"`(witness; [^`]*)`", section)
    assert shown in capsys.readouterr().out
    assert run(["import", "-w", "claims"]) == Exit.OK
    here = Workspace(Path("claims"))
    ledger = Ledger.open(here.ledger_dir("claims"), here.scenario())
    people = {("person", name) for name in ("P-17", "P-23", "P-40", "P-41", "P-51")}
    halves = [ledger.identity.entity(*person) for person in people]
    found = ledger.entity_names([hi.to_bytes(8, "big") + lo.to_bytes(8, "big") for hi, lo in halves])
    assert set(found.values()) == people
