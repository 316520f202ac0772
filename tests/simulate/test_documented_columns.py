# SPDX-License-Identifier: Apache-2.0
"""docs/worlds-files.md tells every column of every file, every value that is one of a few, and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from ringfence.simulate import simulate_motor_claims
from ringfence.simulate.motor.for_the_judge import PAIRS_FILE, SHOCKS_FILE
from ringfence.simulate.shocks import BREAKAGES, FIELD_COLUMNS, RENAMED_COLUMNS

DOCS = Path(__file__).resolve().parents[2] / "docs"
SECTIONS = {
    part.split("\n", 1)[0].strip(): part for part in (DOCS / "worlds-files.md").read_text("utf-8").split("\n## ")[1:]
}
OF_A_FEW = {
    "claims.parquet": ("claim_type", "sex"),
    "policy_changes.parquet": ("change",),
    "truth.parquet": ("kind", "claimant_role", "decoy"),
    "truth_rings.parquet": ("entity_type",),
}
SHOCKS = ("broken_field:field=make,how=renamed", "holiday", "new_pattern:size=0.02")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("documented")
    simulate_motor_claims(20_000, 2, output, fraud_rate=0.05, shocks=SHOCKS, planted_pairs=1)
    return output


def rows_of(section: str) -> dict[str, str]:
    """Each column's line of a section's table."""
    return {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", SECTIONS[section], re.MULTILINE)}


@pytest.mark.parametrize("name", [name for name in SECTIONS if name.endswith(".parquet")])
def test_every_column_is_told_in_its_order(folder: Path, name: str) -> None:
    written = [column for column in pl.read_parquet_schema(folder / name) if column != RENAMED_COLUMNS["make"]]
    assert list(rows_of(name)) == written


@pytest.mark.parametrize("name", [name for name in SECTIONS if name.endswith(".parquet")])
def test_a_column_that_can_be_empty_says_so(folder: Path, name: str) -> None:
    table = pl.read_parquet(folder / name).drop("vehicle_make", strict=False)
    told = rows_of(name)
    silent = [
        column
        for column in table.columns
        if column in told and table[column].null_count() and "empty" not in told[column].split("|")[2]
    ]
    assert silent == []


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in OF_A_FEW for column in OF_A_FEW[name]])
def test_values_of_which_there_are_few_are_told(folder: Path, name: str, column: str) -> None:
    values = pl.read_parquet(folder / name)[column].drop_nulls().unique()
    assert len(values) > 1
    assert [value for value in values if f"`{value}`" not in rows_of(name)[column]] == []


def test_every_file_has_a_section(folder: Path) -> None:
    written = {path.name for path in folder.iterdir() if path.suffix in {".parquet", ".json"}}
    assert written == set(SECTIONS)
    assert {PAIRS_FILE, SHOCKS_FILE} <= written


def test_what_the_judge_is_told_of_shocks_is_told(folder: Path) -> None:
    keys = {key for shock in json.loads((folder / SHOCKS_FILE).read_text())["shocks"] for key in shock}
    assert keys == set(re.findall(r"`(\w+)`", SECTIONS[SHOCKS_FILE])) - {"shocks"}


def test_every_field_that_breaks_is_told_with_its_columns() -> None:
    table = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| (`.*) \| `(\w+)` \|$", (DOCS / "worlds.md").read_text(), re.MULTILINE
    )
    assert {field: (column, new) for field, column, _, new in table} == {
        field: (FIELD_COLUMNS[field], RENAMED_COLUMNS[field]) for field in BREAKAGES
    }
    for field, _, ways, _ in table:
        told = re.findall(r"`(\w+)`", re.sub(r" \(.*?\)", "", ways))
        assert tuple(told) == BREAKAGES[field]
