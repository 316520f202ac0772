# SPDX-License-Identifier: Apache-2.0
"""The notebook in the docs runs, and is what its source says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))


def executor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("execute_notebook", ROOT / "scripts" / "execute_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shapes(notebook: dict[str, Any]) -> list[list[str]]:
    """What each cell shows, without its numbers: they may differ in their last places on another machine."""
    told = []
    for cell in notebook["cells"]:
        texts = ["".join(one["data"]["text/plain"]) for one in cell.get("outputs", []) if "data" in one]
        told.append(["\n".join(text.split("\n")[:5]) for text in texts])  # shape, names, types
    return told


@pytest.mark.parametrize("source", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebook_runs_and_is_what_is_shown(source: Path, tmp_path: Path) -> None:
    module = executor()
    cells = module.cells_of(source.read_text("utf-8"))
    found = module.notebook_of(cells, module.execute(cells, tmp_path))
    stored = json.loads(source.with_name(source.stem.replace("_", "-") + ".ipynb").read_text("utf-8"))
    again = "run scripts/execute_notebook.py again"
    assert [cell["source"] for cell in stored["cells"]] == [cell["source"] for cell in found["cells"]], again
    assert (stored["nbformat"], stored["metadata"]) == (found["nbformat"], found["metadata"])
    assert len({tuple(text) for text in shapes(found)}) > 5
    assert shapes(stored) == shapes(found), again


def test_there_is_a_notebook() -> None:
    assert [path.name for path in NOTEBOOKS] == ["first_model.py"]


def test_a_cell_that_fails_fails_the_notebook(tmp_path: Path) -> None:
    module = executor()
    with pytest.raises(ZeroDivisionError):
        module.execute(module.cells_of("\n# %%\n1 / 0\n"), tmp_path)
