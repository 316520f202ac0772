# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Control charts per entity: is it still the process that its own past describes?

Two charts, one of amounts and one of rate. Their points are x = sign(a) ln(1 + |a|), a the amount in minor units, and
y = ln(1 + g), g the seconds since the entity's newest event (0 for a late event or an equal time). Points enter in seq
order. Mean and standard deviation of all points so far (Welford 1962) are what the process is expected to do.

EWMA (Roberts 1959): z = z + W (x - z), begun at the first point; its standard deviation is that of the points times
sqrt(W / (2 - W)), its limit for many points (Lucas and Saccucci 1990). CUSUM (Page 1954), one-sided, up:
c = min(MOST, max(0, c + s - K)), with s the point's distance from the mean in standard deviations, cut at +-CUT. For
the rate, shorter gaps count upwards. Both sums begin again at 0 after a silence longer than the longest window.

A row shows the charts with the event itself as their newest point, measured by the points before it.
"""

from __future__ import annotations

import math

from numba import njit

from ringfence.engine import layout

MISSING_AMOUNT, SECOND_MS = layout.MISSING_AMOUNT, layout.SECOND_MS
WEIGHT, SLACK, CUT, MOST = layout.CHART_WEIGHT, layout.CHART_SLACK, layout.CHART_CUT, layout.CHART_MOST
LEAST_POINTS, LEAST_SPREAD = layout.CHART_LEAST_POINTS, layout.CHART_LEAST_SPREAD
EWMA_SPREAD = math.sqrt(WEIGHT / (2.0 - WEIGHT))
WINDOWED, N_WINDOWED, W_COUNT = layout.WINDOWED, layout.N_WINDOWED, layout.W_COUNT
NEED_WINDOWS = layout.NEED_WINDOWS
C_AMOUNT_EWMA, C_AMOUNT_CUSUM = layout.C_AMOUNT_EWMA, layout.C_AMOUNT_CUSUM
C_RATE_EWMA, C_RATE_CUSUM = layout.C_RATE_EWMA, layout.C_RATE_CUSUM
C_EXCESS_SHORT, C_EXCESS_LONG = layout.C_EXCESS_SHORT, layout.C_EXCESS_LONG


@njit(cache=True, nogil=True, _nrt=False)
def _amount_point(amount):
    return math.copysign(math.log1p(abs(float(amount))), float(amount))


@njit(cache=True, nogil=True, _nrt=False)
def _gap_point(gap_ms):
    return math.log1p(gap_ms / SECOND_MS)


@njit(cache=True, nogil=True, _nrt=False)
def _spread(squares, n_points):
    # An entity that always did the same would find every change infinite: about 5 % of an amount is the least.
    return max(math.sqrt(squares / (n_points - 1)), LEAST_SPREAD)


@njit(cache=True, nogil=True, _nrt=False)
def _cusum(sum_before, step):
    return min(MOST, max(0.0, sum_before + min(CUT, max(-CUT, step)) - SLACK))


@njit(cache=True, nogil=True, _nrt=False)
def read_chart(chart, key, time_ms, amount, floors, quiet_ms, needs, out):
    """Write the chart statistics of one entity, given its row of KEY as it stands before the event."""
    n_windows = floors.shape[0]
    at = WINDOWED + N_WINDOWED * n_windows
    n_amounts = key["n_amounts"]
    n_gaps = key["n_events"] - 1
    gap_ms = max(0, time_ms - key["newest_ms"])
    goes_on = gap_ms <= quiet_ms
    if amount != MISSING_AMOUNT and n_amounts >= LEAST_POINTS:
        point = _amount_point(amount)
        mean = chart["amount_mean"]
        spread = _spread(chart["amount_squares"], n_amounts)
        level = chart["amount_ewma"] + WEIGHT * (point - chart["amount_ewma"])
        out[at + C_AMOUNT_EWMA] = (level - mean) / (spread * EWMA_SPREAD)
        out[at + C_AMOUNT_CUSUM] = _cusum(chart["amount_cusum"] if goes_on else 0.0, (point - mean) / spread)
    if n_gaps >= LEAST_POINTS:
        point = _gap_point(gap_ms)
        mean = chart["gap_mean"]
        spread = _spread(chart["gap_squares"], n_gaps)
        level = chart["gap_ewma"] + WEIGHT * (point - chart["gap_ewma"])
        out[at + C_RATE_EWMA] = (mean - level) / (spread * EWMA_SPREAD)
        out[at + C_RATE_CUSUM] = _cusum(chart["rate_cusum"] if goes_on else 0.0, (mean - point) / spread)
    if needs & NEED_WINDOWS and n_windows > 0 and time_ms >= key["newest_ms"]:
        counts = WINDOWED + W_COUNT * n_windows
        _put_excess(key, time_ms, floors[0], out[counts], out, at + C_EXCESS_SHORT)
        _put_excess(key, time_ms, floors[n_windows - 1], out[counts + n_windows - 1], out, at + C_EXCESS_LONG)


@njit(cache=True, nogil=True, _nrt=False)
def _put_excess(key, time_ms, floor_ms, seen, out, place):
    # Events in the window against what the rate outside it leads to expect, on the scale on which a Poisson count has
    # standard deviation one (Anscombe 1948). The time before the window must be as long as the window. A late event
    # would take what came after it for the past, and may reach beyond what is remembered: it reads nothing.
    before_ms = floor_ms - key["first_ms"]
    window_ms = time_ms - floor_ms
    if before_ms >= window_ms:
        expected = (key["n_events"] - seen) / before_ms * window_ms
        out[place] = 2.0 * (math.sqrt(seen + 0.375) - math.sqrt(expected + 0.375))


@njit(cache=True, nogil=True, _nrt=False)
def update_chart(chart, key, time_ms, amount, quiet_ms):
    """Add an event's points, given the entity's row of KEY as it stands before the event."""
    n_events = key["n_events"]
    n_amounts = key["n_amounts"]
    gap_ms = max(0, time_ms - key["newest_ms"]) if n_events > 0 else 0
    if gap_ms > quiet_ms:
        chart["amount_cusum"] = 0.0
        chart["rate_cusum"] = 0.0
    if amount != MISSING_AMOUNT:
        point = _amount_point(amount)
        if n_amounts == 0:
            chart["amount_ewma"] = point
        if n_amounts >= LEAST_POINTS:
            step = (point - chart["amount_mean"]) / _spread(chart["amount_squares"], n_amounts)
            chart["amount_cusum"] = _cusum(chart["amount_cusum"], step)
        chart["amount_ewma"] += WEIGHT * (point - chart["amount_ewma"])
        off = point - chart["amount_mean"]
        chart["amount_mean"] += off / (n_amounts + 1)
        chart["amount_squares"] += off * (point - chart["amount_mean"])
    if n_events > 0:
        n_gaps = n_events - 1
        point = _gap_point(gap_ms)
        if n_gaps == 0:
            chart["gap_ewma"] = point
        if n_gaps >= LEAST_POINTS:
            step = (chart["gap_mean"] - point) / _spread(chart["gap_squares"], n_gaps)
            chart["rate_cusum"] = _cusum(chart["rate_cusum"], step)
        chart["gap_ewma"] += WEIGHT * (point - chart["gap_ewma"])
        off = point - chart["gap_mean"]
        chart["gap_mean"] += off / (n_gaps + 1)
        chart["gap_squares"] += off * (point - chart["gap_mean"])


@njit(cache=True, nogil=True, _nrt=False)
def clear_chart(chart):
    """Make a row of CHART that of an entity without events."""
    chart["amount_mean"] = 0.0
    chart["amount_squares"] = 0.0
    chart["amount_ewma"] = 0.0
    chart["amount_cusum"] = 0.0
    chart["gap_mean"] = 0.0
    chart["gap_squares"] = 0.0
    chart["gap_ewma"] = 0.0
    chart["rate_cusum"] = 0.0
