# SPDX-License-Identifier: Apache-2.0
"""Which third-party library may be imported where. The arrows between rooms are import-linter's (`.importlinter`)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ringfence"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported_roots(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (top-level package, line) of every import in the file, at any depth of nesting."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


def offenders(library: set[str], allowed: list[str]) -> list[str]:
    """Return `file:line` of each import of a library outside the allowed globs (relative to the package)."""
    return [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports {root}"
        for path in MODULES
        if not any(path.relative_to(PACKAGE).match(glob) for glob in allowed)
        for root, line in imported_roots(path)
        if root in library
    ]


@pytest.mark.parametrize(
    ("libraries", "allowed"),
    [
        pytest.param({"numba", "llvmlite"}, ["**/_kernels*.py", "_kernels*.py"], id="numba-only-in-kernels"),
        pytest.param(
            {"torch", "torch_geometric"}, ["models/*.py", "training/*.py"], id="torch-only-where-models-train"
        ),
        pytest.param(
            {"fastapi", "starlette", "uvicorn", "nicegui", "uvloop", "httptools"},
            ["serving/*.py", "serving/front/*.py", "review/*.py"],
            id="web-framework-only-in-serving-and-review",
        ),
        pytest.param({"mlflow"}, ["rollout/tracking.py"], id="mlflow-only-where-releases-are-mirrored"),
        pytest.param({"opentelemetry", "requests"}, ["serving/tracing.py"], id="tracing-library-only-where-traces-go"),
        pytest.param({"typer", "click", "rich"}, ["cli/*.py"], id="terminal-only-in-cli"),
    ],
)
def test_library_is_imported_only_where_it_belongs(libraries: set[str], allowed: list[str]) -> None:
    assert offenders(libraries, allowed) == []


def test_scoring_and_serving_never_import_torch() -> None:
    assert offenders({"torch"}, ["models/*.py", "training/*.py"]) == []


def test_checked_globs_match_files_that_exist() -> None:
    assert any(path.name.startswith("_kernels") for path in MODULES)
    assert any("serving" in path.parts for path in MODULES)
