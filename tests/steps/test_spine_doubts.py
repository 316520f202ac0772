# SPDX-License-Identifier: Apache-2.0
"""A spine that can be read, and asks for something else than was meant, is told of."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import polars as pl
import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.steps.errors import SpineWarning
from ringfence.steps.opened import OpenWorkspace

FEW = ["card.count_7d"]


@pytest.mark.parametrize("name", ["shopp", "Shop", "SHOPS"])
def test_column_that_nearly_is_a_role_is_told_of(opened: OpenWorkspace, name: str) -> None:
    spine = pl.DataFrame({"time": ["2024-01-20"], "card": [3], name: ["s1"]})
    with pytest.warns(SpineWarning, match=f"column {name!r} is only carried along.*did you mean 'shop'"):
        assert opened.features(spine, only=FEW).columns == ["time", "card", name, *FEW]


@pytest.mark.parametrize("name", ["amout", "chanel"])
def test_column_that_nearly_is_an_amount_or_attribute_is_told_of(opened: OpenWorkspace, name: str) -> None:
    with pytest.warns(SpineWarning, match=f"column {name!r} is only carried along"):
        opened.features(pl.DataFrame({"time": ["2024-01-20"], "card": [3], name: [None]}), only=FEW)


def test_column_beside_the_role_that_it_is_called_like_is_no_doubt(opened: OpenWorkspace) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened.features(pl.DataFrame({"time": ["2024-01-20"], "card": [3], "cards": [9], "paid": [1]}), only=FEW)


def test_role_nobody_of_whom_was_seen_is_told_of(opened: OpenWorkspace) -> None:
    unknown = pl.DataFrame({"time": ["2024-01-20"] * 3, "card": ["c3", "c4", "c3"], "shop": ["s1", None, "nowhere"]})
    with pytest.warns(SpineWarning, match="holds none of the 2 ids in the role 'card'") as told:
        opened.features(unknown, only=FEW)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # whoever comes later is on record
        opened.features(pl.DataFrame({"time": ["2023-01-01"], "card": [3]}), only=FEW)


def test_command_warns_and_writes(opened: OpenWorkspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spine, output = tmp_path / "spine.csv", tmp_path / "features.parquet"
    spine.write_text("time,card,shopp\n2024-01-20,c3,s1\n")
    arguments = ["features", "-w", str(opened.path), "--spine", str(spine), "-o", str(output), "--json"]
    assert run(arguments) == Exit.OK
    said = capsys.readouterr()
    assert len(json.loads(said.out)["warnings"]) == 2
    assert said.err.count("warning: ") == 2
    assert pl.read_parquet(output).height == 1
