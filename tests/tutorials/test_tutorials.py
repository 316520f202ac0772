# SPDX-License-Identifier: Apache-2.0
"""Every command and every block of Python of the tutorials runs, and shows what the page shows."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ringfence.cli.live import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "tutorials"


def _scripts(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


tutorials = _scripts("run_tutorials")
CHAPTERS: dict[str, str | None] = tutorials.CHAPTERS


class Shelf:
    """Pages that were read, each once, and the folders that they left behind."""

    def __init__(self, clones: Path) -> None:
        self._clones = clones
        self._read: dict[str, list[Any]] = {}

    def outputs(self, name: str) -> list[Any]:
        before = CHAPTERS[name]
        if before is not None:
            self.outputs(before)
        if name not in self._read:
            reader = tutorials.Reader(tutorials.begun(name, self._clones), free_port())
            self._read[name] = reader.read((PAGES / f"{name}.md").read_text("utf-8"))
        return self._read[name]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("clones"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_page_runs_and_shows_what_is_shown(name: str, shelf: Shelf) -> None:
    outputs = shelf.outputs(name)
    assert len(outputs) >= 5
    assert sum(bool(output.found) for output in outputs) >= 5
    again = f"docs/tutorials/{name}.md shows something else; run scripts/run_tutorials.py"
    assert [tutorials.shape(one.shown) for one in outputs] == [tutorials.shape(one.kept) for one in outputs], again


@pytest.mark.parametrize("path", tutorials.ALONE, ids=[path.stem for path in tutorials.ALONE])
def test_page_elsewhere_runs_and_shows_what_is_shown(path: Path, tmp_path: Path) -> None:
    outputs = tutorials.Reader(tmp_path / "out", free_port()).read(path.read_text("utf-8"))
    assert sum(bool(output.found) for output in outputs) >= 5
    again = f"{path.name} shows something else; run scripts/run_tutorials.py {path.stem}"
    assert [tutorials.shape(one.shown) for one in outputs] == [tutorials.shape(one.kept) for one in outputs], again


def test_every_page_is_a_chapter_and_listed() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert pages == set(CHAPTERS)
    listed = (PAGES / "README.md").read_text("utf-8")
    assert [name for name in pages if f"({name}.md)" not in listed] == []


def test_pages_that_begin_in_a_clone_all_begin_alike() -> None:
    how = {name: re.findall(r"^```sh\n.*?^```$", (PAGES / f"{name}.md").read_text(), re.M | re.S) for name in CHAPTERS}
    assert {name for name, blocks in how.items() if blocks} == {name for name in CHAPTERS if CHAPTERS[name] is None}
    assert len({block for blocks in how.values() for block in blocks}) == 1
    assert re.search(r"^setup:", (ROOT / "Makefile").read_text(), re.M)
    assert "/out/" in (ROOT / ".gitignore").read_text().splitlines()


def read(page: str, folder: Path) -> list[Any]:
    found: list[Any] = tutorials.Reader(folder / "out", 1).read(page)
    return found


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("```console\n$ ringfence check -w nowhere\n```\n", "ends with code"),
        ("```console\n$ false\n```\n", "ends with code 1"),
        ("```python\n1 + 1\n```\n", "shows something that the page does not"),
        ("```yaml\nwindows: [1d]\n```\n", "stands in none of"),
        ("```console\nnothing\n```\n", "no command"),
        ("```ruby\nputs 1\n```\n", "one of console, diff"),
    ],
)
def test_page_that_does_not_work_is_told(page: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(tutorials.TutorialError, match=why):
        read(page, tmp_path)


def test_diff_needs_the_lines_that_it_changes_once(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "a.yaml"
    file.write_text("one: 1\ntwo: 2\n")
    read("```diff\n--- a.yaml\n one: 1\n-two: 2\n+two: 3\n```\n", tmp_path)
    assert file.read_text() == "one: 1\ntwo: 3\n"
    with pytest.raises(tutorials.TutorialError, match="0 times"):
        read("```diff\n--- a.yaml\n-two: 2\n+two: 3\n```\n", tmp_path)


def test_block_that_raises_fails_the_page(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        read("```python\n1 / 0\n```\n", tmp_path)


def test_what_is_shown_is_written_anew_around_what_is_left_out(tmp_path: Path) -> None:
    page = "```console\n$ printf 'a 1\\nb\\nc\\nd\\n'\na 7\n…\nz\n```\n\n```python\n1 + 1\n```\n\n```text\n```\n"
    outputs = read(page, tmp_path)
    assert tutorials.written_anew(page, outputs) == (
        "```console\n$ printf 'a 1\\nb\\nc\\nd\\n'\na 1\n…\nd\n```\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n"
    )


def test_shape_sees_words_and_not_numbers() -> None:
    told = "release r-0123456789ab from 4,513 examples, known by 2023-01-01T00:00:00Z\nfitting   3.1 s   0.42 GB"
    other = "release r-ba9876543210 from 12 examples, known by 2024-10-11T01:00:00Z\nfitting  13.1 s   1.42 GB"
    assert tutorials.shape(told) == tutorials.shape(other)
    assert tutorials.shape(told) != tutorials.shape(told.replace("examples", "rows"))
    frame = "┌──────┐\n│ name │\n╞══════╡\n│ x    │\n└──────┘\n"
    assert tutorials.shape(frame) == tutorials.shape(frame.replace("x  ", "yes"))
    assert tutorials.shape(frame) != tutorials.shape(frame.replace("name", "sort"))
    assert tutorials.shape("7 events: 6 approve, 1 review; done") == tutorials.shape("7 events: 7 challenge; done")
    assert tutorials.shape("gain +0.08, interval -0.02 .. +0.15") == tutorials.shape(
        "gain -0.08, interval +0.02 .. 0.15"
    )


def test_word_that_a_command_compiles_is_not_shown(tmp_path: Path) -> None:
    from ringfence.cli.terminal import patience

    said: list[str] = []
    with patience(said.append, quiet_s=0.0):
        deadline = time.monotonic() + 10.0
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
    page = f"```console\n$ printf 'a\\n{said[0]}\\nb\\n'\na\nb\n```\n"
    outputs = tutorials.Reader(tmp_path / "out", 1).read(page)
    assert [one.found for one in outputs] == ["a\nb\n"]
