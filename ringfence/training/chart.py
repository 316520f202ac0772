# SPDX-License-Identifier: Apache-2.0
"""Small charts as inline SVG text: no script, no font, no file to fetch; colours come from the page's CSS variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import msgspec
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LEFT, RIGHT, TOP, BOTTOM = 60.0, 14.0, 12.0, 42.0


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """One axis: its bounds, ticks, and how a value becomes a place between 0 and 1."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False
    text: Callable[[float], str] = lambda value: f"{value:g}"

    def place(self, value: float) -> float:
        if self.log:
            low, high = np.log10(self.low), np.log10(self.high)
            share = (np.log10(max(value, self.low)) - low) / (high - low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return float(min(1.0, max(0.0, share)))


class Chart:
    """A plot area that marks are added to; series 1 and 2 are the page's two colours."""

    def __init__(self, x: Axis, y: Axis, *, title: str, width: float = 460.0, height: float = 300.0) -> None:
        self.x, self.y, self.title = x, y, title
        self.width, self.height = width, height
        self._marks: list[str] = []

    def px(self, value: float) -> float:
        return LEFT + self.x.place(value) * (self.width - LEFT - RIGHT)

    def py(self, value: float) -> float:
        return self.height - BOTTOM - self.y.place(value) * (self.height - TOP - BOTTOM)

    def line(self, xs: Sequence[float], ys: Sequence[float], *, series: int = 1, dashed: bool = False) -> Chart:
        points = " ".join(f"{self.px(a):.1f},{self.py(b):.1f}" for a, b in zip(xs, ys, strict=True))
        style = f"line s{series}" + (" dashed" if dashed else "")
        self._marks.append(f'<polyline class="{style}" points="{points}"/>')
        return self

    def band(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], *, series: int = 1) -> Chart:
        there = [f"{self.px(a):.1f},{self.py(b):.1f}" for a, b in zip(xs, high, strict=True)]
        back = [f"{self.px(a):.1f},{self.py(b):.1f}" for a, b in zip(xs, low, strict=True)]
        self._marks.append(f'<polygon class="band s{series}" points="{" ".join(there + back[::-1])}"/>')
        return self

    def guide(self, x1: float, y1: float, x2: float, y2: float) -> Chart:
        self._marks.append(
            f'<line class="guide" x1="{self.px(x1):.1f}" y1="{self.py(y1):.1f}" '
            f'x2="{self.px(x2):.1f}" y2="{self.py(y2):.1f}"/>'
        )
        return self

    def dot(self, x: float, y: float, note: str, *, low: float | None = None, high: float | None = None) -> Chart:
        """Add a point; its note shows on hover. With `low` and `high`, a vertical interval."""
        whisker = ""
        if low is not None and high is not None:
            whisker = (
                f'<line class="whisker s1" x1="{self.px(x):.1f}" x2="{self.px(x):.1f}" '
                f'y1="{self.py(low):.1f}" y2="{self.py(high):.1f}"/>'
            )
        self._marks.append(
            f'<g>{whisker}<circle class="dot s1" cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" r="3.6">'
            f"<title>{escape(note)}</title></circle></g>"
        )
        return self

    def steps(self, edges: Sequence[float], heights: Sequence[float], *, series: int = 1) -> Chart:
        """Add a filled histogram outline: heights[i] over edges[i]..edges[i + 1]."""
        points = [f"{self.px(edges[0]):.1f},{self.py(self.y.low):.1f}"]
        for low, high, height in zip(edges[:-1], edges[1:], heights, strict=True):
            points += [f"{self.px(low):.1f},{self.py(height):.1f}", f"{self.px(high):.1f},{self.py(height):.1f}"]
        points.append(f"{self.px(edges[-1]):.1f},{self.py(self.y.low):.1f}")
        self._marks.append(f'<polygon class="steps s{series}" points="{" ".join(points)}"/>')
        return self

    def svg(self) -> str:
        parts = [f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(self.title)}">']
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        for tick in self.y.ticks:
            y = self.py(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(
                f'<text class="tick" x="{LEFT - 7}" y="{y + 3.6:.1f}" text-anchor="end">{self.y.text(tick)}</text>'
            )
        for tick in self.x.ticks:
            x = self.px(tick)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{self.x.text(tick)}</text>'
            )
        parts += self._marks
        middle = (LEFT + right) / 2
        parts.append(
            f'<text class="axis" x="{middle}" y="{self.height - 6}" text-anchor="middle">{escape(self.x.label)}</text>'
        )
        up = (TOP + bottom) / 2
        parts.append(
            f'<text class="axis" transform="translate(11 {up}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.label)}</text></svg>"
        )
        return "".join(parts)


def percent(value: float) -> str:
    return f"{100 * value:g} %"


def share_axis(label: str) -> Axis:
    """Make an axis from 0 to 100 %."""
    return Axis(label=label, low=0.0, high=1.0, ticks=(0.0, 0.25, 0.5, 0.75, 1.0), text=percent)


def log_axis(label: str, low: float, high: float, text: Callable[[float], str] = lambda value: f"{value:g}") -> Axis:
    """Make a logarithmic axis over whole decades that cover `low` to `high`, both > 0."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    last = max(last, first + 1)
    ticks = tuple(float(10.0**power) for power in range(first, last + 1))
    return Axis(label=label, low=ticks[0], high=ticks[-1], ticks=ticks, log=True, text=text)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A bar of the split timeline."""

    row: str
    style: str  # fit | gap | emit | later
    from_ms: int
    to_ms: int
    note: str


def timeline(spans: Sequence[Span], *, marks: Sequence[tuple[int, str]], date: Callable[[int], str]) -> str:
    """Draw when each model was fitted and scored, one row per model, over a shared time axis."""
    rows = list(dict.fromkeys(span.row for span in spans))
    width, left, row_height, top = 940.0, 120.0, 26.0, 24.0
    low = min(span.from_ms for span in spans)
    high = max(max(span.to_ms for span in spans), max((at for at, _ in marks), default=low + 1), low + 1)
    bottom = top + row_height * len(rows)

    def place(at: int) -> float:
        return left + (at - low) / (high - low) * (width - left - 20)

    parts = [f'<svg viewBox="0 0 {width:g} {bottom + 30:g}" role="img" aria-label="split timeline">']
    for at, text in marks:
        anchor = "end" if place(at) > width - 120 else "middle"
        parts.append(f'<line class="cut" x1="{place(at):.1f}" x2="{place(at):.1f}" y1="{top - 6}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{place(at):.1f}" y="{top - 10}" text-anchor="{anchor}">{escape(text)}</text>'
        )
    for index, row in enumerate(rows):
        y = top + index * row_height
        parts.append(f'<text class="tick" x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(row)}</text>')
        for span in (span for span in spans if span.row == row):
            x = place(span.from_ms)
            parts.append(
                f'<rect class="span {span.style}" x="{x:.1f}" y="{y + 4}" rx="3" height="{row_height - 9}" '
                f'width="{max(2.0, place(span.to_ms) - x):.1f}"><title>{escape(span.note)}</title></rect>'
            )
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = int(low + share * (high - low))
        anchor = "start" if share == 0 else "end" if share == 1 else "middle"
        parts.append(
            f'<text class="tick" x="{place(at):.1f}" y="{bottom + 18}" text-anchor="{anchor}">{date(at)}</text>'
        )
    return "".join(parts) + "</svg>"
