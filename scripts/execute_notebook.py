# SPDX-License-Identifier: Apache-2.0
"""Run docs/notebooks/*.py, cell by cell, and write each with its outputs as a Jupyter notebook beside it.

Sources are plain Python with `# %%` before each cell, `# %% [markdown]` before text, so that they can be read in a
diff, linted and run by a test. No kernel is needed: cells are executed here, in a folder that is gone afterwards.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

NOTEBOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"


class Cell(NamedTuple):
    is_code: bool
    text: str


def cells_of(source: str) -> list[Cell]:
    """Take a source apart. What stands before the first cell is not shown."""
    cells = []
    for part in source.split("\n# %%")[1:]:
        head, _, body = part.partition("\n")
        is_code = head.strip() != "[markdown]"
        lines = body.strip("\n").split("\n")
        text = "\n".join(lines if is_code else [line.removeprefix("#").removeprefix(" ") for line in lines])
        cells.append(Cell(is_code, text))
    return cells


def execute(cells: list[Cell], folder: Path) -> list[list[dict[str, Any]]]:
    """Run code cells in a folder, one namespace for all; return each cell's outputs as a notebook has them."""
    names: dict[str, Any] = {"__name__": "__main__"}
    before = Path.cwd()
    os.chdir(folder)
    try:
        return [_outputs(cell.text, names) if cell.is_code else [] for cell in cells]
    finally:
        os.chdir(before)


def _outputs(code: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, shown = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if shown is not None:
        data = {"text/plain": _lines(repr(shown))}
        if hasattr(shown, "_repr_html_"):
            data["text/html"] = _lines(shown._repr_html_())
        outputs.append({"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data})
    return outputs


def notebook_of(cells: list[Cell], outputs: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Lay out a notebook of format 4.5. Cells are counted, so that the same source gives the same bytes."""
    laid_out: list[dict[str, Any]] = []
    n_run = 0
    for i, (cell, found) in enumerate(zip(cells, outputs, strict=True)):
        if not cell.is_code:
            laid_out.append({"cell_type": "markdown", "id": f"cell-{i}", "metadata": {}, "source": _lines(cell.text)})
            continue
        n_run += 1
        numbered = [{**one, "execution_count": n_run} if "execution_count" in one else one for one in found]
        laid_out.append(
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {},
                "execution_count": n_run,
                "source": _lines(cell.text),
                "outputs": numbered,
            }
        )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": laid_out, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main() -> None:
    for source in sorted(NOTEBOOKS.glob("*.py")):
        cells = cells_of(source.read_text("utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            found = notebook_of(cells, execute(cells, Path(folder)))
        target = source.with_name(source.stem.replace("_", "-") + ".ipynb")
        target.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        print(f"wrote {target.relative_to(NOTEBOOKS.parents[1])}")


if __name__ == "__main__":
    sys.exit(main())
