# SPDX-License-Identifier: Apache-2.0
"""Links lead somewhere, decision records are listed, commands that the docs quote exist."""

from __future__ import annotations

import re
from pathlib import Path

from ringfence.cli.application import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_links_lead_somewhere() -> None:
    lost = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert lost == []


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
