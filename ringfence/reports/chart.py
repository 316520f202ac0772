# SPDX-License-Identifier: Apache-2.0
"""Small charts as inline SVG text: no script, no font, no file to fetch; colours come from the page's CSS variables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ringfence.reports.axis import Axis

LEFT, RIGHT, TOP, BOTTOM = 60.0, 14.0, 12.0, 42.0


class Chart:
    """A plot area that marks are added to; series 1 to 3 are the page's colours."""

    def __init__(
        self, x: Axis, y: Axis, *, title: str, description: str = "", width: float = 460.0, height: float = 300.0
    ) -> None:
        self.x, self.y, self.title, self.description = x, y, title, description
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

    def dot(
        self,
        x: float,
        y: float,
        note: str,
        *,
        low: float | None = None,
        high: float | None = None,
        series: int = 1,
        radius: float = 3.6,
    ) -> Chart:
        """Add a point; its note shows on hover. With `low` and `high`, a vertical interval."""
        whisker = ""
        if low is not None and high is not None:
            whisker = (
                f'<line class="whisker s{series}" x1="{self.px(x):.1f}" x2="{self.px(x):.1f}" '
                f'y1="{self.py(low):.1f}" y2="{self.py(high):.1f}"/>'
            )
        self._marks.append(
            f'<g>{whisker}<circle class="dot s{series}" cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" r="{radius:g}">'
            f"<title>{escape(note)}</title></circle></g>"
        )
        return self

    def label(self, x: float, y: float, text: str, *, series: int = 0, anchor: str = "start", up: float = 6.0) -> Chart:
        """Write beside a point of the plot, in the colour of a series; 0: in grey. It stays inside the picture."""
        at, half = self.px(x), 3.2 * len(text)
        if anchor == "middle":
            at = min(max(at, LEFT + half), self.width - RIGHT - half)
        place = f'x="{at:.1f}" y="{max(self.py(y) - up, TOP + 8):.1f}" text-anchor="{anchor}"'
        self._marks.append(f'<text class="name s{series}" {place}>{escape(text)}</text>')
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
        if self.description:
            parts.append(f"<desc>{escape(self.description)}</desc>")
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        for tick in self.y.ticks:
            y = self.py(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            text = escape(self.y.text(tick))
            parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 3.6:.1f}" text-anchor="end">{text}</text>')
        last = len(self.x.ticks) - 1
        for at, tick in enumerate(self.x.ticks):
            x, text = self.px(tick), escape(self.x.text(tick))
            # Long texts at either end would be cut off, or pushed into the other axis.
            ends = {0: "start", last: "end"} if len(text) > 6 else {}
            anchor = ends.get(at, "middle")
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
            parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{text}</text>')
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
