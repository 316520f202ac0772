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
    assert "1 planted pairs" in said


@pytest.mark.parametrize(
    ("shock", "code", "message"),
    [
        ("flood", Exit.USAGE, "--shock: simulated world: shock is 'flood'; known shocks: amounts"),
        ("amounts:size=much", Exit.USAGE, "give a number"),
        ("amounts:onset=1999-01-01", Exit.BAD_INPUT, "choose a date from"),
    ],
)
def test_shock_that_cannot_be_is_refused(
    shock: str, code: Exit, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "motor-claims", "-o", str(tmp_path / "new"), "--shock", shock]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


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
