# SPDX-License-Identifier: Apache-2.0
"""`simulate`: shocks and planted pairs on the command line, and a ring's story for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit

SHOCKS = ["--shock", "amounts:onset=0.6,size=0.5", "--shock", "broken_field:field=make,how=renamed"]


@pytest.fixture(scope="module")
def insurer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("insurer")
    arguments = ["simulate", "motor-claims", "--events", "3000", "--seed", "4", "-o", str(output)]
    assert run([*arguments, *SHOCKS, "--planted-pairs", "2"]) == Exit.OK
    return output


def test_shocks_and_pairs_are_made_and_told(insurer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads((insurer / "shocks.json").read_text())["shocks"]
    assert [(shock["name"], shock["size"], shock["begins"]) for shock in told] == [
        ("amounts", 0.5, "2024-03-15"),
        ("broken_field", 1.0, "2024-05-27"),
    ]
    assert "make" in pl.read_parquet_schema(insurer / "claims.parquet")
    assert pl.read_parquet(insurer / "planted_pairs.parquet").height == 2
    arguments = ["simulate", "motor-claims", "--events", "1000", "-o", str(tmp_path), "--planted-pairs", "1"]
    assert run([*arguments, "--shock", "holiday"]) == Exit.OK
    said = capsys.readouterr().out
    assert "shock holiday from 2024-05-27 on: relative change of the number of claims a day -0.45" in said
    assert "1 planted pair, for the judge" in said
    assert "357 of the claims and 21 of the frauds are theirs" in said


@pytest.mark.parametrize(
    ("shock", "code", "message"),
    [
        ("flood", Exit.USAGE, "--shock: simulated world: shock is 'flood'; known shocks: amounts"),
        ("amounts:size=much", Exit.USAGE, "give a number"),
        ("amounts:onset=1999-01-01", Exit.USAGE, "choose a date from"),
        ("holiday:days=1.5", Exit.USAGE, "give a whole number"),
    ],
)
def test_shock_that_cannot_be_is_refused(
    shock: str, code: Exit, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "motor-claims", "-o", str(tmp_path / "new"), "--shock", shock]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_shock_twice_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate", "motor-claims", "-o", str(tmp_path / "new"), "--shock", "amounts"]
    assert run([*arguments, "--shock", "amounts"]) == Exit.USAGE
    assert "give each shock at most once" in capsys.readouterr().err


@pytest.mark.parametrize(
    "outside",
    [
        ["--events", "999"], ["--seed", "-1"], ["--seed", str(2**63)], ["--fraud-rate", "0.3"], ["--days", "100"],
        ["--planted-pairs", "10001"],
    ],
)  # fmt: skip
def test_a_setting_outside_its_bounds_is_a_usage_error(outside: list[str], tmp_path: Path) -> None:
    assert run(["simulate", "motor-claims", "-o", str(tmp_path / "new"), *outside]) == Exit.USAGE
    assert not (tmp_path / "new").exists()


def test_fraud_rate_and_days_are_those_of_the_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a new folder"
    arguments = ["simulate", "motor-claims", "--events", "3000", "-o", str(folder)]
    assert run([*arguments, "--fraud-rate", "0.05", "--days", "200"]) == Exit.OK
    assert f"next: ringfence import -w '{folder}'" in capsys.readouterr().out
    truth = pl.read_parquet(folder / "truth.parquet")
    assert 0.02 < truth["fraud"].sum() / truth.height < 0.09
    assert truth["claim_time"].dt.date().n_unique() in (200, 201)


def test_an_output_without_a_name_or_that_is_a_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "motor-claims", "--output", ""]) == Exit.USAGE
    assert "name a folder" in capsys.readouterr().err
    (tmp_path / "afile").write_text("mine")
    assert run(["simulate", "motor-claims", "--output", str(tmp_path / "afile")]) == Exit.BAD_INPUT
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize("extra", [["--events", "3000"], ["--seed", "4"], ["--planted-pairs", "0"], SHOCKS])
def test_explaining_makes_no_world(insurer: Path, extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "motor-claims", "-o", str(insurer), "--explain", "R1", *extra]) == Exit.USAGE
    assert f"--explain makes no world: leave out {extra[0]}" in capsys.readouterr().err


def test_a_ring_is_explained_for_people(insurer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = pl.read_parquet(insurer / "truth.parquet")
    ring = str(truth.filter(kind="staged_accident")["ring_id"][0])
    assert run(["simulate", "motor-claims", "-o", str(insurer), "--explain", ring]) == Exit.OK
    said = capsys.readouterr().out
    assert said.startswith(f"ring {ring}: a ring that stages accidents\n")
    own = truth.filter(ring_id=ring)
    assert f"{own.height} claims from " in said
    assert all(claim in said for claim in own["claim_id"])
    for heading in ("WHO ", "CLAIM ", "LINK ", "WITNESSES"):
        assert heading in said


def test_a_ring_is_explained_for_programs(insurer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ring = str(pl.read_parquet(insurer / "truth.parquet").filter(kind="planted")["ring_id"][0])
    assert run(["simulate", "motor-claims", "-o", str(insurer), "--explain", ring, "--json"]) == Exit.OK
    story = json.loads(capsys.readouterr().out)
    assert story["kind"] == "planted"
    assert story["n_claims"] == len(story["claims"]) == 21
    assert story["lost"] == story["claimed"] == pytest.approx(sum(claim["amount"] for claim in story["claims"]))
    assert all(claim["parties"]["witness"] for claim in story["claims"])
    # Nobody meets anybody twice but their own car and address.
    assert {tuple(sorted(link["roles"])) for link in story["links"]} == {
        ("claimant", "household"), ("claimant", "vehicle"), ("household", "vehicle"),
    }  # fmt: skip


def test_an_unknown_ring_and_an_empty_folder_are_bad_input(
    insurer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "motor-claims", "-o", str(insurer), "--explain", "R1"]) == Exit.BAD_INPUT
    assert "no ring 'R1'" in capsys.readouterr().err
    assert run(["simulate", "motor-claims", "-o", str(tmp_path), "--explain", "R1"]) == Exit.BAD_INPUT
    assert "truth.parquet does not exist" in capsys.readouterr().err
