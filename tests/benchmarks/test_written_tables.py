# SPDX-License-Identifier: Apache-2.0
"""A benchmark replaces its own table in a page and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.written import write_table

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n<!-- b: begin -->\n<!-- b: end -->\n")
    write_table(page, "b", "| new |")
    write_table(page, "a", "| newer |\n")
    found = page.read_text()
    assert found == (
        "before\n<!-- a: begin -->\n| newer |\n<!-- a: end -->\nafter\n<!-- b: begin -->\n| new |\n<!-- b: end -->\n"
    )
    with pytest.raises(SystemExit, match="c: begin"):
        write_table(page, "c", "| new |")


@pytest.mark.parametrize(
    ("example", "names"),
    [
        ("card-payments-handbook", ["p1"]),
        ("motor-claims-network", ["p2"]),
        ("vehicle-claims", ["p3"]),
        ("signups-ecommerce", ["p4"]),
        ("tabular", ["german_credit", "modeldata_credit_data", "modeldata_lending_club", "modeldata_mlc_churn"]),
    ],
)
def test_every_example_has_room_for_its_tables(example: str, names: list[str], tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text((EXAMPLES / example / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    for name in names:
        write_table(page, name, "| a table |")
    assert page.read_text(encoding="utf-8").count("| a table |") == len(names)
