# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""How far from an entity's last place an event happens, and how fast that is.

An entity's last place is that of its newest event, by event time, that gives one; of two at one time the later in seq.
An event without a place, or with one off the globe, reads nothing and leaves the last place as it is.

    event time   10:00      10:20        10:40
                 Berlin     (no place)   Madrid       reads Berlin at 10:00: 1,869 km in 40 minutes, 2,804 km/h
                            ^ this one comes last: its own time counts, without a sign, from Madrid at 10:40

Distance is the great circle of `scenario.derivations.distance_km`. Time below LEAST_TRAVEL_MS counts as that long: two
readings of one place differ by some metres, which in a second would be the speed of a train.
"""

from __future__ import annotations

import math

from numba import njit

from ringfence.engine import layout
from ringfence.scenario.derivations import EARTH_KM as EARTH

EARTH_KM = EARTH  # numba freezes it
HOUR_MS, LEAST_TRAVEL_MS = layout.HOUR_MS, layout.LEAST_TRAVEL_MS
WINDOWED, N_WINDOWED, N_CHART_STATS = layout.WINDOWED, layout.N_WINDOWED, layout.N_CHART_STATS
TRAVEL_KM, TRAVEL_KMH = layout.TRAVEL_KM, layout.TRAVEL_KMH


@njit(cache=True, nogil=True, _nrt=False)
def is_place(latitude, longitude):
    """Whether a place lies on the globe; a missing degree is NaN, which does not."""
    return abs(latitude) <= 90.0 and abs(longitude) <= 180.0


@njit(cache=True, nogil=True, _nrt=False)
def km_between(latitude, longitude, to_latitude, to_longitude):
    """Great-circle distance between two places on the globe, degrees to km (Sinnott 1984)."""
    phi = math.radians(latitude)
    to_phi = math.radians(to_latitude)
    half = math.sin((to_phi - phi) / 2.0) ** 2
    half += math.cos(phi) * math.cos(to_phi) * math.sin(math.radians(to_longitude - longitude) / 2.0) ** 2
    return 2.0 * EARTH_KM * math.asin(math.sqrt(min(1.0, half)))


@njit(cache=True, nogil=True, _nrt=False)
def read_place(place, latitude, longitude, time_ms, n_windows, out):
    """Write the travel statistics of one entity, given its row of PLACE as it stands before the event."""
    if place["n_events"] == 0 or not is_place(latitude, longitude):
        return
    at = WINDOWED + N_WINDOWED * n_windows + N_CHART_STATS
    km = km_between(place["latitude"], place["longitude"], latitude, longitude)
    out[at + TRAVEL_KM] = km
    out[at + TRAVEL_KMH] = km * HOUR_MS / max(abs(time_ms - place["time_ms"]), LEAST_TRAVEL_MS)


@njit(cache=True, nogil=True, _nrt=False)
def update_place(place, latitude, longitude, time_ms):
    """Let an event that happened somewhere be where its entity was last, unless it is older than what is known."""
    if not is_place(latitude, longitude):
        return
    if place["n_events"] == 0 or time_ms >= place["time_ms"]:
        place["latitude"] = latitude
        place["longitude"] = longitude
        place["time_ms"] = time_ms
    place["n_events"] += 1


@njit(cache=True, nogil=True, _nrt=False)
def clear_place(place):
    """Make a row of PLACE that of an entity without events."""
    place["latitude"] = 0.0
    place["longitude"] = 0.0
    place["time_ms"] = 0
    place["n_events"] = 0
