# SPDX-License-Identifier: Apache-2.0
"""What every file of the repository must look like."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 500
DRAWERS = {"utils", "util", "core", "common", "helpers", "helper", "manager", "managers", "base", "misc", "tools"}
# What `init`, `simulate` and the examples hand out becomes the user's own: no licence of ours on top.
HANDED_OUT = ("examples/", "ringfence/scenario/templates/", "ringfence/simulate/motor/workspace/")
NEEDS_HEADER = {".py", ".sh", ".c", ".toml", ".yaml", ".yml"}


def tracked_files() -> list[Path]:
    """Files in the checkout that git does not ignore, whether committed yet or not."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_every_source_file_carries_its_licence() -> None:
    bare = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if path.suffix in NEEDS_HEADER
        and path.stat().st_size > 0
        and not path.relative_to(ROOT).as_posix().startswith(HANDED_OUT)
        and "SPDX-License-Identifier: Apache-2.0" not in "\n".join(path.read_text("utf-8").splitlines()[:3])
    ]
    assert bare == []


def test_no_module_is_a_drawer() -> None:
    drawers = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "ringfence").rglob("*.py")
        if path.stem.lstrip("_") in DRAWERS or path.parent.name in DRAWERS
    ]
    assert drawers == []


def test_no_module_is_longer_than_two_nouns() -> None:
    long = {
        str(path.relative_to(ROOT)): n_lines
        for folder in ("ringfence", "tests", "scripts", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if (n_lines := len(path.read_text("utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_no_file_names_a_place_on_one_machine() -> None:
    machine_path = re.compile(r"(?<![\w./-])/(?:work|root|home/\w+|Users/\w+|tmp/\w+)/")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked_files()
        if path.suffix in NEEDS_HEADER | {".md", ".cfg", ".ini", ".txt", ""} and path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8", errors="ignore").splitlines(), 1)
        if machine_path.search(line)
    ]
    assert found == []


def test_no_binary_or_data_file_is_tracked() -> None:
    kinds = {".parquet", ".db", ".npz", ".pkl", ".pickle", ".so", ".joblib", ".zip", ".whl"}
    assert [str(path.relative_to(ROOT)) for path in tracked_files() if path.suffix in kinds] == []
