# SPDX-License-Identifier: Apache-2.0
"""Sampled neighbourhoods and feature rows as a network reads them: scaled, bounded, and zero where there is nothing.

What a mask leaves out is never looked at, so whatever stands there, NaN included, cannot reach the network.
"""

# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
from __future__ import annotations

import math

import numpy as np
from numba import njit

MOST = 6.0  # standard deviations that a scaled value may lie from the training mean
KNOWN = 128  # gaps whose fading is remembered within a call; some 40 differ around an event
_PER_DAY, _FAR_DAYS = 86_400.0, 1e6  # of a gap's hash: seconds, and where it is too large to be one


@njit(cache=True, nogil=True, _nrt=False)
def _scaled(value, mean, per_spread):
    z = (value - mean) * per_spread
    if z != z:
        return 0.0
    return min(max(z, -MOST), MOST)


@njit(cache=True, nogil=True, _nrt=False)
def scale_samples(
    events,
    mask,
    nodes,
    event_columns,
    event_mean,
    event_per_spread,
    gap_column,
    fading_days,
    type_column,
    n_types,
    seat_columns,
    seat_mean,
    seat_per_spread,
    present_column,
    places,
    known_days,
    known_fading,
    out_events,
    out_per,
    out_nodes,
):
    """Fill the zeroed outputs: events (n, S, K, E), per (n, S, 1, 1), nodes (n, S, 1, D).

    E is 1 where an event was sampled, then `event_columns`, then exp(-gap / days) for each of `fading_days`, then 1 at
    the event's type where that is one of 1 to `n_types`; D is `present`, then `seat_columns`. `per` is 1 / max(sampled
    events, 1). K may be less than what was sampled: the newest are read. Seats are those at `places` of the sample.
    `known_days` (KNOWN,), NaN, and `known_fading` (KNOWN, fadings) are scratch: the last gap of a hash, and its fading.
    """
    n_columns = event_columns.shape[0]
    n_known = np.uint64(KNOWN)
    for i in range(out_nodes.shape[0]):
        for s in range(out_nodes.shape[1]):
            at = places[s]
            out_per[i, s, 0, 0] = 1.0
            if nodes[i, at, present_column] != 1.0:
                continue
            out_nodes[i, s, 0, 0] = 1.0
            for j in range(seat_columns.shape[0]):
                out_nodes[i, s, 0, 1 + j] = _scaled(nodes[i, at, seat_columns[j]], seat_mean[j], seat_per_spread[j])
            n_sampled = 0
            for k in range(out_events.shape[2]):
                if not mask[i, at, k]:
                    continue
                n_sampled += 1
                out_events[i, s, k, 0] = 1.0
                for j in range(n_columns):
                    value = events[i, at, k, event_columns[j]]
                    out_events[i, s, k, 1 + j] = _scaled(value, event_mean[j], event_per_spread[j])
                days = max(events[i, at, k, gap_column], 0.0)
                # An earlier event sits in several seats, and an exponential costs more than all else of an event.
                known = np.uint64(np.int64((days if days < _FAR_DAYS else _FAR_DAYS) * _PER_DAY)) % n_known
                if known_days[known] != days:
                    known_days[known] = days
                    for j in range(fading_days.shape[0]):
                        known_fading[known, j] = math.exp(-days / fading_days[j])
                for j in range(fading_days.shape[0]):
                    out_events[i, s, k, 1 + n_columns + j] = known_fading[known, j]
                first_type = n_columns + fading_days.shape[0]
                for t in range(1, n_types + 1):
                    if events[i, at, k, type_column] == t:
                        out_events[i, s, k, first_type + t] = 1.0
            out_per[i, s, 0, 0] = 1.0 / max(n_sampled, 1)


@njit(cache=True, nogil=True, _nrt=False)
def scale_rows(rows, columns, knots, scores, n_knots, flag_of, categories, first_code, n_codes, out_numbers, out_codes):
    """Fill `out_numbers` (n, numbers + flags), zeroed, and `out_codes` (n, categories).

    A number becomes its score, interpolated between `knots` and constant beyond them, and 0 where it is missing, which
    the flag at `flag_of` (-1: none) then says. A category becomes a position in the table of all categories' vectors:
    `first_code` + its code, where all codes from `n_codes` - 2 on share a place, and missing has the last.
    """
    for i in range(rows.shape[0]):
        for j in range(columns.shape[0]):
            value = rows[i, columns[j]]
            if value != value:
                if flag_of[j] >= 0:
                    out_numbers[i, flag_of[j]] = 1.0
                continue
            low, high = 0, n_knots[j] - 1
            if value <= knots[j, low]:
                out_numbers[i, j] = scores[j, low]
                continue
            if value >= knots[j, high]:
                out_numbers[i, j] = scores[j, high]
                continue
            while high - low > 1:
                middle = (low + high) // 2
                if knots[j, middle] <= value:
                    low = middle
                else:
                    high = middle
            share = (value - knots[j, low]) / (knots[j, high] - knots[j, low])
            out_numbers[i, j] = scores[j, low] + share * (scores[j, high] - scores[j, low])
        for j in range(categories.shape[0]):
            value = rows[i, categories[j]]
            if value != value:
                out_codes[i, j] = first_code[j] + n_codes[j] - 1
            else:
                out_codes[i, j] = first_code[j] + min(max(int(value), 0), n_codes[j] - 2)
