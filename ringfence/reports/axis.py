# SPDX-License-Identifier: Apache-2.0
"""Axes: bounds, ticks, and how a value becomes a place between 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from ringfence.reports.numerals import date


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """One axis of a chart."""

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


def linear_axis(
    label: str, low: float, high: float, text: Callable[[float], str] = lambda value: f"{value:g}", n_ticks: int = 4
) -> Axis:
    """Make an axis whose ticks are round numbers (1, 2 or 5 times a power of ten) and cover `low` to `high`."""
    span = max(high - low, 1e-12)
    raw = span / n_ticks
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * (1.0 - 1e-9)))
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    last = max(last, first + 1)
    ticks = tuple(round(step * at, 12) for at in range(first, last + 1))
    return Axis(label=label, low=ticks[0], high=ticks[-1], ticks=ticks, text=text)


def time_axis(label: str, low_ms: int, high_ms: int, n_ticks: int = 4, *, text: Callable[[int], str] = date) -> Axis:
    """Make an axis over `low_ms` to `high_ms`, told by `text`, as UTC dates if left out."""
    high_ms = max(high_ms, low_ms + 1)
    ticks = tuple(float(at) for at in np.linspace(low_ms, high_ms, n_ticks + 1))
    return Axis(label=label, low=float(low_ms), high=float(high_ms), ticks=ticks, text=lambda value: text(int(value)))
