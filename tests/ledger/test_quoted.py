# SPDX-License-Identifier: Apache-2.0
"""Where an id stands in the clear: whole words, in any file, at any seam."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringfence.ledger import quoted
from ringfence.ledger.quoted import is_quoted, quoting_files


@pytest.mark.parametrize(
    ("entity_id", "text", "expected"),
    [
        ("anna-7", "by Anna-7.", True),
        ("anna-7", "anna-77", False),
        ("anna-7", "hanna-7", False),
        ("7", "in 2027", False),
        ("7", "(7)", True),
        ("a.c", "abc", False),
        ("müller", "Müller", True),
        ("+49 170", "call +49 170!", True),
    ],
)
def test_an_id_is_quoted_as_a_word_of_its_own(entity_id: str, text: str, expected: bool) -> None:
    assert is_quoted(entity_id, text) is expected


def test_files_are_found_whatever_spells_the_id_and_others_are_not(tmp_path: Path) -> None:
    files = {
        "plain.txt": "x anna&co y",
        "page.html": "<td>anna&amp;co</td>",
        "deep/er/lines.json": '{"id":"ANNA&co"}',
        "longer.txt": "anna&cow",
        "other.txt": "anna and co",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "out.txt").write_text("anna&co")
    (tmp_path / "link").symlink_to(tmp_path)
    found = [
        str(path.relative_to(tmp_path)) for path in quoting_files(tmp_path, "anna&co", frozenset({tmp_path / "left"}))
    ]
    assert found == ["deep/er/lines.json", "page.html", "plain.txt"]


def test_letters_beyond_ascii_are_found_as_json_escapes_them(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["m\\u00fcller"]')
    (tmp_path / "b.json").write_text('["müller"]', "utf-8")
    assert [path.name for path in quoting_files(tmp_path, "müller", frozenset())] == ["a.json", "b.json"]


@pytest.mark.parametrize("before", range(12))
@pytest.mark.parametrize(("text", "expected"), [("anna-7", True), ("anna-7x", False), ("xanna-7", False)])
def test_the_seams_of_reading_hide_nothing_and_invent_nothing(
    before: int, text: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quoted, "_CHUNK", 10)
    for after in (0, 1, 9, 30):
        (tmp_path / "file").write_text(f"{'.' * before}{text}{'.' * after}")
        assert bool(list(quoting_files(tmp_path, "anna-7", frozenset()))) is expected
