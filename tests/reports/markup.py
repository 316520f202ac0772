# SPDX-License-Identifier: Apache-2.0
"""Reads HTML as strictly as a test wants it: what is open, what would be fetched, what lacks a name."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Self

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Read(HTMLParser):
    """What a page consists of. `open_tags` is empty exactly when every tag was closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open_tags: list[str] = []
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.classes: list[str] = []
        self.unnamed_drawings = 0
        self.text = ""

    @classmethod
    def of(cls, page: str) -> Self:
        read = cls()
        read.feed(page)
        read.close()
        if "url(" in page or "@import" in page:
            read.fetched.append("a style sheet's url")
        return read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag not in VOID:
            self.open_tags.append(tag)
        for name in ("src", "href", "srcset", "data", "poster", "xlink:href"):
            if name in given:
                (self.links if given[name].startswith("#") else self.fetched).append(given[name].removeprefix("#"))
        self.ids |= {given["id"]} if "id" in given else set()
        self.classes += [given["class"]] if "class" in given else []
        self.unnamed_drawings += tag == "svg" and not (given.get("aria-label") or given.get("aria-hidden"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open_tags and self.open_tags[-1] == tag:
            self.open_tags.pop()
        else:
            self.open_tags.append(f"stray {tag}")

    def handle_data(self, data: str) -> None:
        self.text += data
