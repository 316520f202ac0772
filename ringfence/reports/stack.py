# SPDX-License-Identifier: Apache-2.0
"""Bars cut into parts: how a whole divides, one row per whole."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec

ROW_HEIGHT = 54.0


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """One whole and its parts, in the same order in every row."""

    name: str
    parts: list[tuple[str, str, float, str]]  # style, name, share of the whole, note on hover


def stacks(rows: Sequence[Stack], *, title: str, description: str, width: float = 940.0) -> str:
    """Draw each row's parts side by side over its full width; shares below a hundredth keep a visible sliver."""
    parts = [
        f'<svg viewBox="0 0 {width:g} {ROW_HEIGHT * len(rows):g}" role="img" aria-label="{escape(title)}">'
        f"<desc>{escape(description)}</desc>"
    ]
    for index, row in enumerate(rows):
        y = index * ROW_HEIGHT
        parts.append(f'<text class="row" x="0" y="{y + 15:g}">{escape(row.name)}</text>')
        shown = [(style, name, max(share, 0.004), share, note) for style, name, share, note in row.parts if share > 0]
        whole = sum(visible for _, _, visible, _, _ in shown) or 1.0
        x = 0.0
        for style, name, visible, share, note in shown:
            size = visible / whole * width
            parts.append(
                f'<rect class="part {style}" x="{x:.1f}" y="{y + 22:g}" width="{max(size - 1.5, 1.0):.1f}" '
                f'height="24" rx="3"><title>{escape(note)}</title></rect>'
            )
            text = f"{name} {100 * share:.3g} %"
            if size > 7.4 * len(text):
                parts.append(f'<text class="inside {style}" x="{x + 8:.1f}" y="{y + 38:g}">{escape(text)}</text>')
            x += size
    return "".join(parts) + "</svg>"
