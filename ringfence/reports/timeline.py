# SPDX-License-Identifier: Apache-2.0
"""Bars over a shared time axis: who looked at which stretch of time, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import msgspec

from ringfence.reports.numerals import date

ROW_HEIGHT, TOP = 28.0, 30.0


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A bar of a timeline."""

    row: str
    style: str  # a class of the page's style: fit | gap | emit | later
    from_ms: int
    to_ms: int
    note: str


def timeline(
    spans: Sequence[Span],
    *,
    marks: Sequence[tuple[int, str]],
    title: str,
    description: str,
    width: float = 940.0,
    text: Callable[[int], str] = date,
) -> str:
    """Draw one row of bars per name, in order of appearance; marks are vertical lines with a text above.

    `text` tells a time below the bars, as a UTC date if left out.
    """
    rows = list(dict.fromkeys(span.row for span in spans))
    left = 20.0 + 6.6 * max(len(row) for row in rows)
    low = min(min(span.from_ms for span in spans), min((at for at, _ in marks), default=spans[0].from_ms))
    high = max(max(span.to_ms for span in spans), max((at for at, _ in marks), default=low + 1), low + 1)
    bottom = TOP + ROW_HEIGHT * len(rows)

    def place(at: int) -> float:
        return left + (at - low) / (high - low) * (width - left - 14)

    parts = [
        f'<svg viewBox="0 0 {width:g} {bottom + 30:g}" role="img" aria-label="{escape(title)}">'
        f"<desc>{escape(description)}</desc>"
    ]
    for at, said in marks:
        half = 3.2 * len(said)
        middle = min(max(place(at), left + half), width - half)
        parts.append(f'<line class="cut" x1="{place(at):.1f}" x2="{place(at):.1f}" y1="{TOP - 6}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{middle:.1f}" y="{TOP - 12}" text-anchor="middle">{escape(said)}</text>')
    for index, row in enumerate(rows):
        y = TOP + index * ROW_HEIGHT
        parts.append(f'<text class="tick" x="{left - 10}" y="{y + 17}" text-anchor="end">{escape(row)}</text>')
        for span in (span for span in spans if span.row == row):
            x = place(span.from_ms)
            parts.append(
                f'<rect class="span {span.style}" x="{x:.1f}" y="{y + 5}" rx="3" height="{ROW_HEIGHT - 10}" '
                f'width="{max(2.0, place(span.to_ms) - x):.1f}"><title>{escape(span.note)}</title></rect>'
            )
    n_ticks = 4 if width > 600 else 2
    for tick in range(n_ticks + 1):
        at = int(low + tick / n_ticks * (high - low))
        anchor = "start" if tick == 0 else "end" if tick == n_ticks else "middle"
        parts.append(
            f'<text class="tick" x="{place(at):.1f}" y="{bottom + 18}" text-anchor="{anchor}">{escape(text(at))}</text>'
        )
    return "".join(parts) + "</svg>"
