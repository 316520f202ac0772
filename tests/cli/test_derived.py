# SPDX-License-Identifier: Apache-2.0
"""Derived values on the command line: what is told, and what is asked for when they change."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.ledger.ledger import Ledger
from ringfence.policy.load import default_policy_text
from ringfence.workspace import Workspace

SCENARIO = """
scenarios:
  signups:
    decide: signup
    sources: {signup: signups.csv}
    events:
      signup:
        event_id: id
        event_time: at
        entities: {device: device}
        derive:
          network: {ip_prefix: ip, role: true}
          country: {lookup: {file: countries.csv, from: low, to: high, value: country}, field: ip}
        label: {field: fraud, delay: 7d}
"""
TABLE = "low,high,country\n10.0.0.0,10.255.255.255,inside\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "ringfence.yaml").write_text(SCENARIO)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "signups.yaml").write_text(default_policy_text("signups"))
    (tmp_path / "countries.csv").write_text(TABLE)
    rows = [f"{i},2024-01-{i:02},d{i % 3},{'10.0.0.7' if i % 2 else '8.8.8.8'},{i % 2}" for i in range(1, 21)]
    (tmp_path / "signups.csv").write_text("\n".join(["id,at,device,ip,fraud", *rows, ""]))
    return tmp_path


def test_check_and_import_name_what_is_derived(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "-w", str(place)]) == Exit.OK
    told = capsys.readouterr()
    out = " ".join(told.out.split())
    assert "entity network ip_prefix of ip" in out
    assert "derived country category; lookup of ip in countries.csv" in out
    assert "10 of 20 rows give what `country` is made of, and it yields none" in told.err
    assert run(["import", "-w", str(place)]) == Exit.OK
    assert "10 of 20 signup rows give what `country` is made of" in capsys.readouterr().err


def test_a_newer_table_asks_for_a_new_import(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", "-w", str(place)]) == Exit.OK
    (place / "countries.csv").write_text(TABLE + "8.0.0.0,8.255.255.255,outside\n")
    for command in ("train", "import"):
        capsys.readouterr()
        assert run([command, "-w", str(place)]) == Exit.BAD_INPUT
        assert "an older lookup file of 'signup.country'" in capsys.readouterr().err
    assert run(["import", "--replace", "-w", str(place)]) == Exit.OK
    here = Workspace(place)
    Ledger.open(here.ledger_dir("signups"), here.scenario()).check_derived()


def test_a_broken_table_stops_the_import_and_names_the_row(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "countries.csv").write_text(TABLE + "10.9.0.0,10.9.255.255,within\n")
    assert run(["import", "-w", str(place)]) == Exit.BAD_INPUT
    told = capsys.readouterr().err
    assert "countries.csv, row 1: looked up by derive.signup.country" in told
    assert "overlap" in told
    (place / "countries.csv").unlink()
    assert run(["check", "-w", str(place)]) == Exit.BAD_INPUT
    assert "correct `lookup.file`, or add the file" in capsys.readouterr().err
