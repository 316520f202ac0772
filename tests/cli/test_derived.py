# SPDX-License-Identifier: Apache-2.0
"""Derived values on the command line: what is told, and what is asked for when they change."""

from __future__ import annotations

import json
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
    yields = "10 of 20 signup rows that give what `country` is made of yield none (10 not in the lookup file); it is"
    assert f"of the rows tried, {yields}" in told.err
    assert run(["import", "-w", str(place)]) == Exit.OK
    assert yields in capsys.readouterr().err


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
    assert "2 x a range that overlaps another: row 1 (10.0.0.0..10.255.255.255 and row 2, 10.9.0.0..10." in told
    listed = place / "reports" / "signups-lookup-rejects.csv"
    assert f"each is listed in {listed}" in told
    assert listed.read_text().splitlines()[0] == "file,row,looked_up_by,found,reason"
    assert listed.read_text().splitlines()[2].startswith('countries.csv,2,signup.country,"10.9.0.0..10.9.255.255 and')
    (place / "countries.csv").write_text(TABLE)
    assert run(["import", "-w", str(place)]) == Exit.OK
    assert not listed.exists()
    capsys.readouterr()
    (place / "countries.csv").unlink()
    assert run(["check", "-w", str(place)]) == Exit.BAD_INPUT
    assert "correct `lookup.file`, or add the file" in capsys.readouterr().err


def test_a_broken_table_can_be_used_as_it_is_and_what_is_let_be_is_told(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = place / "ringfence.yaml"
    scenario.write_text(SCENARIO.replace("value: country}", "value: country, bad_rows: skip, overlaps: narrowest}"))
    (place / "countries.csv").write_text(
        TABLE + "10.0.0.7,10.0.0.7,within\n9.9.9.9,1.1.1.1,nowhere\n9.9.9.9,,nowhere\n"
    )
    rows = ["21,2024-01-21,d1,no address,0", "22,2024-01-22,d1,,0", "23,2024-01-23,d1,9.9.9.9,1", ""]
    with (place / "signups.csv").open("a") as file:
        file.write("\n".join(rows))
    settings = "4 of 4 rows have a fault, and are read by `bad_rows: skip, overlaps: narrowest`: 1 x a range without a"
    yields = (
        "12 of 22 signup rows that give what `country` is made of yield none (11 not in the lookup file, 1 malformed); "
        "it is missing there; 1 more does not give it"
    )
    assert run(["check", "-w", str(place)]) == Exit.OK
    told = capsys.readouterr().err
    assert settings in told
    assert yields in told
    assert not (place / "reports").exists()
    assert run(["import", "-w", str(place), "--json"]) == Exit.OK
    said = capsys.readouterr()
    assert settings in said.err
    assert yields in said.err
    report = json.loads(said.out)
    assert report["lookup_faults"]["signup.country"]["kinds"] == {
        "a range without a bound": 1, "a range whose `from` lies above its `to`": 1, "a range that overlaps another": 2,
    }  # fmt: skip
    assert len(Path(report["lookup_rejects"]).read_text().splitlines()) == 5
    [odd] = [odd for odd in report["underived"] if odd["column"] == "country"]
    assert (odd["n"], odd["n_given"], odd["n_rows"], odd["n_unlisted"]) == (12, 22, 23, 11)
