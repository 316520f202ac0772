# SPDX-License-Identifier: Apache-2.0
"""What each feature of an event adds to a linear score, one pass over the row."""

# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
from __future__ import annotations

import math

from numba import njit


@njit(cache=True, nogil=True, _nrt=False)
def share_of(value, feature, slope, centre, low, high, present, missing, begins, table):
    # One feature's part: a table for codes, a bounded logarithm for numbers.
    if math.isnan(value):
        return missing[feature]
    begin, end = begins[feature], begins[feature + 1]
    if end > begin:
        return table[min(begin + int(value), end - 1)]  # a code beyond the table was never seen
    if slope[feature] == 0.0:
        return present[feature]
    size = math.log1p(abs(value))
    if value < 0.0:
        size = -size
    return slope[feature] * (min(max(size, low[feature]), high[feature]) - centre[feature]) + present[feature]


@njit(cache=True, nogil=True, _nrt=False)
def add_up(rows, slope, centre, low, high, present, missing, begins, table, out):
    # In the order of the columns, so that a row alone has the same bits.
    for at in range(rows.shape[0]):
        total = out[at]
        for feature in range(rows.shape[1]):
            total += share_of(rows[at, feature], feature, slope, centre, low, high, present, missing, begins, table)
        out[at] = total


@njit(cache=True, nogil=True, _nrt=False)
def share_out(rows, slope, centre, low, high, present, missing, begins, table, out):
    for at in range(rows.shape[0]):
        for feature in range(rows.shape[1]):
            out[at, feature] = share_of(
                rows[at, feature], feature, slope, centre, low, high, present, missing, begins, table
            )
