# SPDX-License-Identifier: Apache-2.0
"""A page of sections: one HTML file that can be opened offline, printed and kept, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import ClassVar

import jinja2
import msgspec
from markupsafe import Markup

WIDE, HALF, NARROW = 940.0, 460.0, 400.0  # widths that figures are drawn for, in px

Cell = str | Markup  # text is escaped, markup is not
Draw = Callable[[float], str]  # width -> SVG text


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """One figure in large type."""

    name: str
    value: str
    interval: str = ""
    aside: str = ""


class Tiles(msgspec.Struct, frozen=True, kw_only=True):
    kind: ClassVar[str] = "tiles"
    tiles: list[Tile]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under headings; `numeric` columns are set to the right."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    numeric: tuple[int, ...] = ()
    folded: bool = False  # shown only when opened
    quiet: tuple[int, ...] = ()  # rows set back, such as those of few frauds
    note: str = ""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A drawing with its caption, legend, and, folded away, the numbers it was drawn from."""

    title: str
    text: str
    draw: Draw
    legend: list[tuple[str, str]] = []  # style of the swatch, text
    wide: bool = False
    table: Table | None = None

    @property
    def drawings(self) -> list[tuple[str, Markup]]:
        """(class, SVG): a wide figure is drawn a second time for narrow screens, so that its texts stay legible."""
        if not self.wide:
            return [("any", Markup(self.draw(HALF)))]
        return [("broad", Markup(self.draw(WIDE))), ("narrow", Markup(self.draw(NARROW)))]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures side by side where the screen is wide enough."""

    kind: ClassVar[str] = "figures"
    figures: list[Figure]


class Callout(msgspec.Struct, frozen=True, kw_only=True):
    """Something to know before reading on."""

    kind: ClassVar[str] = "callout"
    tone: str  # warn | good | note
    title: str
    lines: list[Cell]


class CardLine(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    aside: str = ""
    share: float = 0.0  # of a bar behind it; negative: in the other colour


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A single thing told on a card."""

    title: str
    over: str
    figures: list[tuple[str, str]]
    lines: list[CardLine]


class Cards(msgspec.Struct, frozen=True, kw_only=True):
    kind: ClassVar[str] = "cards"
    title: str
    text: str
    style: str  # hit | miss | alarm
    cards: list[Card]
    empty: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Names and what holds for them."""

    kind: ClassVar[str] = "facts"
    caption: str
    facts: list[tuple[str, Cell]]


Block = Tiles | Table | Figures | Callout | Cards | Facts


class Section(msgspec.Struct, frozen=True, kw_only=True):
    anchor: str
    title: str
    short: str  # in the list of contents
    note: str = ""
    blocks: list[Block]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page, in order."""

    over: str
    title: str
    lede: str
    opening: list[Block]
    sections: list[Section]
    footer: str

    def html(self) -> str:
        """Write the page as HTML text; it needs nothing but itself to be shown."""
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        source = resources.files("ringfence.reports").joinpath("templates/page.html").read_text(encoding="utf-8")
        return environment.from_string(source).render(page=self)
