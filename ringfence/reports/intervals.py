# SPDX-License-Identifier: Apache-2.0
"""Rows of points with their intervals on one axis: differences side by side, and which of them chance would explain."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec
import numpy as np

from ringfence.reports.axis import Axis

ROW_HEIGHT, TOP, BOTTOM = 30.0, 8.0, 10.0
_ASIDE = 74.0  # width of the number at the right


class IntervalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One point; `low` and `high` may be NaN, and then there is no whisker."""

    name: str
    value: float
    low: float
    high: float
    told: str  # the value in words, at the right
    series: int = 1  # colour, 0 to 3


def interval_rows(
    rows: Sequence[IntervalRow], *, axis: Axis, guide: float, title: str, description: str, width: float = 940.0
) -> str:
    """Draw one row per point, names at the left, with a vertical guide that all share."""
    narrow = width < 600
    # On narrow screens names stand above their points.
    left = 10.0 if narrow else 24.0 + 6.7 * max(len(row.name) for row in rows)
    step = ROW_HEIGHT + (16.0 if narrow else 0.0)
    height = TOP + step * len(rows) + BOTTOM
    right = width - _ASIDE

    def place(at: float) -> float:
        return left + axis.place(at) * (right - left)

    parts = [
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<desc>{escape(description)}</desc>",
        f'<line class="cut" x1="{place(guide):.1f}" x2="{place(guide):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>',
    ]
    for index, row in enumerate(rows):
        y = TOP + step * index + step - ROW_HEIGHT / 2
        if narrow:
            parts.append(f'<text class="row" x="0" y="{y - 14:.1f}">{escape(row.name)}</text>')
        else:
            parts.append(
                f'<text class="row" x="{left - 14:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(row.name)}</text>'
            )
        if not np.isfinite(row.value):
            continue
        if np.isfinite(row.low) and np.isfinite(row.high):
            parts.append(
                f'<line class="whisker s{row.series}" x1="{place(row.low):.1f}" x2="{place(row.high):.1f}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
            )
        note = f"{row.name}: {row.told}"
        parts.append(
            f'<circle class="dot s{row.series}" cx="{place(row.value):.1f}" cy="{y:.1f}" r="4.6">'
            f"<title>{escape(note)}</title></circle>"
        )
        parts.append(f'<text class="row" x="{width:g}" y="{y + 4:.1f}" text-anchor="end">{escape(row.told)}</text>')
    return "".join(parts) + "</svg>"
