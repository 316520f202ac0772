# SPDX-License-Identifier: Apache-2.0
"""Small things that stand in a table's cell: a figure with its interval, a bar, a whisker, two histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup, escape

NOT_DEFINED = "–"


def figure(value: float, low: float, high: float, text: Callable[[float], str]) -> Markup:
    """Write a figure with its interval, or a dash where it is not defined."""
    if not np.isfinite(value):
        return Markup("<span>–</span> <small>not defined</small>")
    if not (np.isfinite(low) and np.isfinite(high)):
        return Markup("<span>{}</span>").format(text(value))
    return Markup("<span>{}</span> <small>{} to {}</small>").format(text(value), text(low), text(high))


def small(main: str, aside: str) -> Markup:
    """Write a text with a quieter one behind it."""
    return Markup("{} <small>{}</small>").format(main, aside)


def bar(share: float, *, series: int = 1) -> Markup:
    """Draw a horizontal bar, `share` of the cell's width; the cell beside it holds the number."""
    if not np.isfinite(share):
        return Markup("")
    width = 100.0 * min(max(share, 0.0), 1.0)
    return Markup('<span class="bar s{}" style="width:{}%" aria-hidden="true"></span>').format(series, f"{width:.1f}")


def whisker(
    value: float, low: float, high: float, *, axis: tuple[float, float], guide: float, log: bool = False
) -> Markup:
    """Draw a point with its interval on a shared axis, and a guide where nothing is out of the ordinary.

    What lies outside the axis ends at its edge; the number stands in another cell.
    """
    if not np.isfinite(value):
        return Markup("")
    low, high = (value if not np.isfinite(bound) else bound for bound in (low, high))
    width, height = 130.0, 18.0

    def place(at: float) -> float:
        first, last = axis
        if log:
            at, first, last = (float(np.log(max(x, 1e-9))) for x in (at, first, last))
        return 4.0 + (width - 8.0) * min(max((at - first) / (last - first), 0.0), 1.0)

    middle = height / 2
    return Markup(
        f'<svg class="cell" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">'
        f'<line class="guide" x1="{place(guide):.1f}" x2="{place(guide):.1f}" y1="0" y2="{height:g}"/>'
        f'<line class="whisker s1" x1="{place(low):.1f}" x2="{place(high):.1f}" y1="{middle:g}" y2="{middle:g}"/>'
        f'<circle class="dot s1" cx="{place(value):.1f}" cy="{middle:g}" r="3.4"/></svg>'
    )


def histograms(before: Sequence[float], after: Sequence[float]) -> Markup:
    """Draw two histograms over the same bins, one filled and one as an outline; heights are shares."""
    n = len(before)
    width, height = 130.0, 26.0
    top = max(*before, *after, 1e-9)

    def outline(shares: Sequence[float]) -> str:
        points = [f"0,{height:g}"]
        for at, share in enumerate(shares):
            y = height - 1.0 - (height - 3.0) * share / top
            points += [f"{at * width / n:.1f},{y:.1f}", f"{(at + 1) * width / n:.1f},{y:.1f}"]
        return " ".join([*points, f"{width:g},{height:g}"])

    return Markup(
        f'<svg class="cell" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">'
        f'<polygon class="old" points="{outline(before)}"/><polyline class="new" points="{outline(after)}"/></svg>'
    )


def code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(escape(text))
