# SPDX-License-Identifier: Apache-2.0
"""Links and anchors lead somewhere, all pages can be reached, decision records are listed, quoted commands exist."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ringfence.cli.application import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))


class Read(NamedTuple):
    """A page as those who link to it see it."""

    links: list[str]
    anchors: set[str]


def read(text: str) -> Read:
    """Take links, pictures and the anchors of headings out of Markdown."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    links = [
        str(address)
        for token in tokens
        for inline in (token, *(token.children or ()))
        if (address := inline.attrs.get("href", inline.attrs.get("src"))) is not None
    ]
    slugs: Counter[str] = Counter()
    anchors = set()
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            slug = slug_of(inline)
            anchors.add(f"{slug}-{slugs[slug]}" if slugs[slug] else slug)
            slugs[slug] += 1
    return Read(links, anchors)


def slug_of(heading: Token) -> str:
    """Return a heading's anchor as the forges and the site make it."""
    words = "".join(part.content for part in heading.children or () if part.type in ("text", "code_inline"))
    return re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")


def text_of(page: Path) -> str:
    if page.suffix != ".ipynb":
        return page.read_text("utf-8")
    cells = json.loads(page.read_text("utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def lost(page: Path, read_pages: dict[Path, Read]) -> list[str]:
    """Return the links of a page that lead nowhere."""
    told = []
    for link in read_pages[page].links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.exists():
            told.append(f"{link}: no such file")
        elif parts.fragment and unquote(parts.fragment) not in read_pages.get(target, Read([], set())).anchors:
            told.append(f"{link}: no such heading")
    return told


@pytest.fixture(scope="module")
def read_pages() -> dict[Path, Read]:
    return {page: read(text_of(page)) for page in (*PAGES, *NOTEBOOKS)}


def test_links_and_anchors_lead_somewhere(read_pages: dict[Path, Read]) -> None:
    assert sum(len(page.links) for page in read_pages.values()) > 100
    assert {str(page.relative_to(ROOT)): told for page in read_pages if (told := lost(page, read_pages))} == {}


def test_every_page_can_be_reached_from_the_front_door(read_pages: dict[Path, Read]) -> None:
    reached, ahead = set(), [ROOT / "docs" / "index.md"]
    while ahead:
        page = ahead.pop()
        if page in read_pages and page not in reached:
            reached.add(page)
            ahead += [(page.parent / urlsplit(link).path).resolve() for link in read_pages[page].links]
    assert set(read_pages) - reached == set()


def test_lost_links_are_found(tmp_path: Path) -> None:
    one, other = tmp_path / "one.md", tmp_path / "other.md"
    one.write_text(
        "# One: `a` & b\n## Same\n## Same\n"
        "[a](#one-a--b) [b](#same-1) [c](#same-2) [d](other.md#two) [e](other.md#no)\n"
        "[f](gone.md) ![g](gone.png) [h](https://example.com/#x) `[i](gone.md)`\n\n"
        "| [j](gone/) |\n|-|\n\n[k]\n\n[k]: gone.txt\n"
    )
    other.write_text("# Two\n")
    found = lost(one, {page: read(page.read_text()) for page in (one, other)})
    assert [link.split(":")[0] for link in found] == [
        "#same-2",
        "other.md#no",
        "gone.md",
        "gone.png",
        "gone/",
        "gone.txt",
    ]


def test_every_decision_record_is_listed() -> None:
    listed = (ROOT / "docs" / "adr" / "README.md").read_text("utf-8")
    records = [path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md")]
    assert [name for name in records if f"({name})" not in listed] == []


def test_commands_that_the_docs_quote_exist() -> None:
    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    in_code = re.compile(r"`ringfence ([a-z]+)|^(?:    |\$ )?ringfence ([a-z]+) (?!\w+ )", re.MULTILINE)
    unknown = {
        f"{page.name}: ringfence {quoted or shown}"
        for page in PAGES
        for quoted, shown in in_code.findall(page.read_text("utf-8"))
        if (quoted or shown) not in known
    }
    assert unknown == set()
