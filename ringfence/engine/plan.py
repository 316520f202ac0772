# SPDX-License-Identifier: Apache-2.0
"""The kernel plan: a catalogue turned into flat arrays, so that one compiled fold serves every scenario."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.memory import Kept, Room

READER = np.dtype(
    [
        ("role", "<i8"),  # Role.index whose entities are looked up
        ("stream", "<i8"),
        ("updated", "<i8"),  # 0: own role stream, 1: any-role stream, -1: a context stream, looked up when read
        ("needs", "<i8"),  # NEED_* bits
        ("first", "<i8"),  # gathers first:last of Plan.gathers
        ("last", "<i8"),
    ]
)
PAIRING = np.dtype(
    [
        ("role_a", "<i8"),  # role_a < role_b
        ("role_b", "<i8"),
        ("partner_a", "<i8"),  # column of State.partners in which an entity of role_a counts its role_b, -1 none
        ("partner_b", "<i8"),
        ("first", "<i8"),
        ("last", "<i8"),
        ("reverse", "<i8"),  # 1: the roles share an entity type, and the pair is also looked up the other way round
    ]
)
LINK_READER = np.dtype([("role", "<i8"), ("first", "<i8"), ("last", "<i8")])  # gathers first:last of Plan.gathers
GATHER = np.dtype([("source", "<i8"), ("column", "<i8"), ("how", "<i8")])


class Plan(NamedTuple):
    """What to compute, in the order of the feature row."""

    decided: int  # EventType.index
    n_features: int
    windows_ms: NDArray[np.int64]  # (w,) ascending
    granules_ms: NDArray[np.int64]  # (w,)
    retention_ms: int  # log entries this much older than the newest are forgotten
    max_lateness_ms: int
    minor_per_major: float
    stream_of: NDArray[np.int64]  # (event types, roles) -> stream, -1 where the type lacks the role
    any_of: NDArray[np.int64]  # (event types, roles) -> any-role stream of the decided type, -1 none
    salts: NDArray[np.uint64]  # (streams,)
    pair_salts: NDArray[np.uint64]  # (pairings,)
    readers: NDArray[Any]  # READER
    pairings: NDArray[Any]  # PAIRING
    gathers: NDArray[Any]  # GATHER of readers and pairings
    event_gathers: NDArray[Any]  # GATHER of the event itself
    n_numbers: NDArray[np.int64]  # (k, 2): role, column of `role.n`
    has_pairs: bool  # pair features are switched on, or someone counts partners
    link_readers: NDArray[Any]  # LINK_READER
    together_gathers: NDArray[Any]  # GATHER of all links of the event together
    hub_caps: NDArray[np.int64]  # (roles,) an entity with more events than this is a hub
    room: Room  # the most that is remembered
    kept: Kept
    has_links: bool  # some feature walks links, or neighbourhoods are sampled
    tick_ms: int  # between two computations of rings; 0 where no feature reads them
    tick_lag_ms: int
    has_charts: bool  # someone reads control charts
    quiet_ms: int  # a longer silence than this begins the sums of the charts anew
    n_texts: int  # text attributes whose near duplicates are read, in the order of Batch.simhash
    month_window: int  # index of the 30-day window, -1 none
    text_gathers: NDArray[Any]  # GATHER of texts: source is attribute * N_TEXT_STATS + stat
    seats: NDArray[np.int64]  # (seats, 2): role, place among its links; no row where nothing is sampled
    n_sampled: int  # events sampled per seat; 0 where nothing is
    timelines: NDArray[np.int64]  # (k, 2): seat, context stream that speaks about who sits there and is sampled too
    is_told: NDArray[np.bool_]  # (event types, roles) whether a context event is kept for who it names in the role
    segment_columns: NDArray[np.int64]  # columns of Batch.values that make an event's segment; none without segments
    segment_gathers: NDArray[Any]  # GATHER of the event's segment
    has_places: bool  # someone reads how far an entity came
    place_columns: NDArray[np.int64]  # (2,) columns of Batch.values: latitude, longitude; none without `travel`
    travels: NDArray[np.bool_]  # (roles,) whose last place is remembered


def gathers_of(rows: list[tuple[int, int, int]]) -> NDArray[Any]:
    return np.array(rows, dtype=GATHER) if rows else np.zeros(0, GATHER)
