# SPDX-License-Identifier: Apache-2.0
"""The one definition of a window.

An event at time t reads, in a window of span w, what has `floor < event_time <= t`, where `floor` is t - w rounded
down to a granule: 1 s for spans up to 1 h, 1 min up to 1 d, 1 h above.
"""

from __future__ import annotations

from ringfence.engine.layout import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS


def granule_ms(span_ms: int) -> int:
    """Return the granule of a window's lower bound."""
    if span_ms <= HOUR_MS:
        return SECOND_MS
    return MINUTE_MS if span_ms <= DAY_MS else HOUR_MS


def window_floor_ms(time_ms: int, span_ms: int) -> int:
    """Return the exclusive lower bound of a window; the kernels hold the same formula."""
    granule = granule_ms(span_ms)
    return (time_ms - span_ms) // granule * granule


def span_text(span_ms: int) -> str:
    """Write a span as in feature names: 90d, 12h, 30m, 10s, 250ms."""
    for unit_ms, unit in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s")):
        if span_ms % unit_ms == 0:
            return f"{span_ms // unit_ms}{unit}"
    return f"{span_ms}ms"
