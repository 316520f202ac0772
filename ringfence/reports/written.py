# SPDX-License-Identifier: Apache-2.0
"""A page that was written before, taken apart: without what it tells of single events, and its drawings alone."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from typing import Final, NamedTuple

EXAMPLES: Final = "examples"  # the section of single events
_EMPTY: Final = frozenset({"br", "hr", "img", "input", "link", "meta"})  # tags that nothing closes
_ROOM: Final = "svg { background: var(--card); font-family: system-ui, sans-serif; width: auto; }"
_SIDE: Final = 24.0  # px around a drawing that stands alone
_ABOVE: Final = 36.0


class _Element(NamedTuple):
    tag: str
    attributes: dict[str, str]
    begins: int  # in the text
    opened: int  # after its first tag
    ends: int  # after its last tag

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()


class _Elements(HTMLParser):
    """Every element of a page with its place in the text, those inside before those around them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[_Element] = []
        self._open: list[_Element] = []
        self._text = text
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _EMPTY:
            begins = self._place()
            opened = begins + len(self.get_starttag_text() or "")
            named = {name: value or "" for name, value in attrs}
            self._open.append(_Element(tag, named, begins, opened, begins))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass  # <line …/> of a drawing: it holds nothing

    def handle_endtag(self, tag: str) -> None:
        if all(element.tag != tag for element in self._open):
            return
        ends = self._text.index(">", self._place()) + 1
        while True:
            element = self._open.pop()
            if element.tag == tag:
                self.found.append(element._replace(ends=ends))
                return

    def _place(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column


def without_examples(page: str) -> str:
    """Return a page without the section that shows single events, and without any other card."""

    def is_cut(element: _Element) -> bool:
        told = element.attributes
        return (
            element.tag == "article"
            or (element.tag == "section" and told.get("id") == EXAMPLES)
            or (element.tag == "a" and told.get("href") == f"#{EXAMPLES}")
        )

    kept, at = [], 0
    for element in sorted(filter(is_cut, _Elements(page).found), key=lambda one: one.begins):
        if element.begins >= at:  # else it lies inside of what was cut
            kept.append(page[at : element.begins])
            at = element.ends
    return "".join((*kept, page[at:]))


def drawings(page: str) -> dict[str, str]:
    """Take the figures out of a page, each as an SVG file of its own, under its caption and above its legend.

    Returns
    -------
    By name, in the order of the page: the drawing's title in lower case with dashes, numbered from the second of a
    title on. Drawings inside of tables, and those for narrow screens, are left out.
    """
    elements = sorted(_Elements(page).found, key=lambda one: one.begins)
    styles = [page[one.opened : page.rindex("</", one.opened, one.ends)] for one in elements if one.tag == "style"]
    style = "\n".join((*styles, _ROOM)).replace("]]>", "")
    found: dict[str, str] = {}
    for figure in (one for one in elements if one.tag == "figure"):
        within = [one for one in elements if figure.begins < one.begins and one.ends <= figure.ends]
        aside = [one for one in within if one.tag == "table" or "narrow" in one.classes]
        caption = next((_text(page, one) for one in within if one.tag == "figcaption"), "")
        legend = [
            (one.classes[-1], page[one.ends : page.index("<", one.ends)])
            for one in within
            if one.classes[:1] == ["key"]
        ]
        for drawing in within:
            if drawing.tag == "svg" and not any(one.begins < drawing.begins < one.ends for one in aside):
                name = _free(_slug(drawing.attributes.get("aria-label", "")), found)
                found[name] = _alone(page, drawing, style, caption, legend)
    return found


def _alone(page: str, drawing: _Element, style: str, caption: str, legend: list[tuple[str, str]]) -> str:
    """Write one drawing with room at its sides, which a page has and a file has not, and what stands around it."""
    left, top, width, height = (float(part) for part in drawing.attributes["viewbox"].split())
    rows = "".join(
        f'<rect x="{left:g}" y="{top + height + 9 + 20 * at:g}" width="10" height="10" '
        f'style="fill: var(--{"soft" if key == "s0" else key})"/>'
        f'<text x="{left + 16:g}" y="{top + height + 18 + 20 * at:g}">{text}</text>'
        for at, (key, text) in enumerate(legend)
    )
    box = (left - _SIDE, top - _ABOVE, width + 2 * _SIDE, height + _ABOVE + _SIDE + 20 * len(legend))
    named = escape(drawing.attributes.get("aria-label", ""))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{" ".join(f"{one:g}" for one in box)}" '
        f'width="{box[2]:g}" height="{box[3]:g}" role="img" aria-label="{named}">'
        f"<style><![CDATA[{style}]]></style>"
        f'<text class="name" x="{left:g}" y="{top - 14:g}">{caption}</text>{rows}'
        f"{page[drawing.opened : drawing.ends]}\n"
    )


def _text(page: str, caption: _Element) -> str:
    """What a caption begins with, as markup; the explanation in it is left out."""
    return page[caption.opened : page.index("<", caption.opened)].strip()


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "figure"


def _free(name: str, taken: dict[str, str]) -> str:
    number = 1
    while (free := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return free
