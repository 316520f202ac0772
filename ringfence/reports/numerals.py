# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them: shares, money, dates; a dash where a figure is not defined."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

DASH = "–"
MOST_ROWS = 1_000_000_000  # as seconds since 1970 they end in 2001, before any live event


def decimal(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else DASH


def share(value: float) -> str:
    """Write a share as a percentage with a decimal; the smallest with two digits that count."""
    if not np.isfinite(value):
        return DASH
    return f"{100 * value:.1f} %" if abs(value) >= 0.001 or value == 0 else f"{100 * value:.2g} %"


def compact(value: float) -> str:
    """Write a number with three digits that count, and no exponent where it is large."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def short_share(value: float) -> str:
    return f"{100 * value:.3g} %"


def counted(n: int, noun: str) -> str:
    """Write a number with its noun, given in the singular: `1 review`, `2 reviews`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def decade(value: float) -> str:
    """Write a power of ten as a percentage, for logarithmic axes."""
    return f"{100 * value:.6g} %"


def money(value: float, currency: str = "") -> str:
    """Write an amount in whole units where it is large; the sign comes first."""
    if not np.isfinite(value):
        return DASH
    text = f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:,.2f}"
    return f"{text.replace('-', '−')} {currency}".rstrip()


def short_money(value: float) -> str:
    """Write an amount for an axis: 1.2k, 3M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def days(value: float) -> str:
    if value < 1.0:
        return f"{24 * value:.1f} hours" if value > 0 else "at once"
    return f"{value:.0f} days" if value >= 10 else f"{value:.1f} days"


def n_days(value: float) -> str:
    """Write a number of whole days."""
    return "1 day" if round(value) == 1 else f"{value:,.0f} days"


def date(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%d")


def row(time_ms: int) -> str:
    """Write the place in a file whose order stands for the time, a second a row; the first is row 0, as its id says.

    What was decided live since has a time of its own, which lies behind any file of less than 1e9 rows: that is a day.
    """
    at = time_ms // 1000
    return f"row {at:,}" if at < MOST_ROWS else date(time_ms)


def moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")
