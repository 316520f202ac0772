# SPDX-License-Identifier: Apache-2.0
"""The generated pages say what the code says; nothing that a user meets is undocumented."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "scripts" / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_fresh(reference: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"]) == 0, f"run `make docs`: {capsys.readouterr().out}"


def test_every_setting_is_documented(reference: ModuleType) -> None:
    known: set[str] = {"scenarios"}
    for file in sorted((ROOT / "ringfence" / "scenario").glob("load*.py")):
        named = vars(importlib.import_module(f"ringfence.scenario.{file.stem}"))
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"):
                continue
            for key in node.args[0].elts if node.args and isinstance(node.args[0], ast.Tuple) else ():
                if isinstance(key, ast.Starred):
                    known |= set(named[ast.unparse(key.value)])
                else:
                    known.add(ast.literal_eval(key))
        known |= set(named.get("_KNOWN", ()))
    documented = {path.split(".")[-1] for path, *_ in reference.SETTINGS}
    assert known - documented == set()
    assert documented - known == set()
