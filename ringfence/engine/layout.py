# SPDX-License-Identifier: Apache-2.0
"""How state lies in memory: one structured array per concern, indexed by entity slot. Numbers shared with kernels."""

from __future__ import annotations

from typing import Final

import numpy as np

STATE_FORMAT: Final = 7  # raise on any change below: older snapshots are then refused and rebuilt by replay

MISSING_AMOUNT: Final = -(2**63)  # as in scenario.batch
NEVER: Final = -(2**63)  # a time that has not come
FIRST_ORDER: Final = 0  # the smallest block of a log holds 2**0 entries: most entities are seen once
N_ORDERS: Final = 40
RECENT: Final = 32  # maxima, deviations and runs look at this many newest entries
RECENT_MEAN: Final = 5  # events in `amount_to_recent_mean`
RECENT_LABELS: Final = 10  # labels in `recent_fraud_share`
PAIR_FAN: Final = 32  # entities of a `many` role that take part in pairs, per event
LARGE: Final = 3.0  # an amount counts as large above this multiple of the entity's own mean
LEAST_MEAN: Final = 1e-6  # minor units: amounts of either sign that sum to zero leave a running mean just above it
RATE_STRENGTH: Final = 10.0  # pseudo-count of the prior in smoothed rates, in labels
MAX_WINDOWS: Final = 8
MARKS: Final = 1 << 16  # rows of search marks, a power of two, shared by slots: a wrong mark costs steps, not truth
MARKED_ORDER: Final = 3  # smaller blocks are searched from their end, and leave the marks to others
IDLE_GROUP: Final = 8  # rows that are looked at together for one to forget
IDLE_GROUPS: Final = 16  # groups looked at before the best so far is taken
LAST: Final = 16  # events that an entity refers back to, and that features of links read
MOST_LAST: Final = 32  # a power of two: to so many it refers where more than LAST are sampled
STORED_LINKS: Final = 9  # links that a stored event keeps; with the rest of it one cache line
MOST_SLOTS: Final = 1 << 27
ROLE_BITS: Final = 5  # of a stored link; the slot has the other 27
MOST_NODES: Final = 16  # entities of one event whose neighbourhood is read
MOST_REACHED: Final = 8_192  # a power of two, well above MOST_NODES * (1 + LAST * STORED_LINKS)
LEAST_REACHED: Final = 64  # a power of two
MOST_STORED: Final = 1 << 24  # events; a power of two; the oldest are forgotten beyond it, or beyond the memory
SIMILAR_MS: Final = 14 * 86_400_000  # similar events are looked for so far back
SIMILAR: Final = 0.2  # and within this share of the amount

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

TABLE = np.dtype([("key", "<u8"), ("slot", "<i8")])
BUCKET = np.dtype([("n", "<i4"), ("depth", "<i4")])  # keys in it, and the bits that they share at their beginning
TABLE_SHIFT: Final = 0  # positions in IdTable.counts
TABLE_BUCKETS: Final = 1
KEY = np.dtype(  # one cache line
    [
        ("key", "<u8"),
        ("check", "<u8"),  # high half of the digest: a different one under the same key is a collision
        ("n_events", "<i4"),
        ("n_amounts", "<i4"),
        ("first_ms", "<i8"),
        ("newest_ms", "<i8"),
        ("last_amount", "<i8"),  # of the newest record with an amount, in seq order
        ("mean", "<f8"),  # running mean and squared deviation (Welford 1962), amounts in minor units, seq order
        ("deviation", "<f8"),
    ]
)
RISK = np.dtype(
    [
        ("n_known", "<i4"),
        ("n_fraud", "<i4"),
        ("last_fraud_known_ms", "<i8"),
        ("last_fraud_event_ms", "<i8"),
        ("born_seq", "<i8"),  # of the first event since the slot is this entity's; labels of earlier ones do not count
    ]
)
RING = np.dtype(
    [
        ("start", "<i8"),  # 0: no block yet
        ("head", "<i4"),
        ("size", "<i4"),
        ("order", "<i4"),
        ("n_new", "<i4"),  # `new_before` of the entry that will come next
    ]
)
EVENT_ENTRY = np.dtype(
    [
        ("time_ms", "<i8"),
        ("amount", "<i8"),
        ("sum_before", "<i8"),
        ("n_before", "<i4"),
        ("new_before", "<i4"),  # partners met for the first time
    ]
)
LABEL_ENTRY = np.dtype(
    [
        ("time_ms", "<i8"),  # known_at
        ("event_seq", "<i8"),
        ("event_time_ms", "<i8"),
        ("fraud_before", "<i4"),
        ("value", "<i4"),
    ]
)
PAIR = np.dtype(
    [
        ("key", "<u8"),
        ("first_ms", "<i8"),
        ("newest_ms", "<i8"),
        ("born_seq", "<i8"),
        ("check", "<u4"),
        ("n_events", "<i4"),
        ("n_known", "<i4"),
        ("n_fraud", "<i4"),
    ]
)
NODE = np.dtype(
    [
        ("n_events", "<i4"),  # of the decided type, in any role
        ("n_known", "<i4"),
        ("n_fraud", "<i4"),
        ("n_near", "<i4"),  # known frauds of entities met, counted when met and when confirmed
        ("born", "<i8"),  # number of the next stored event when the slot became this entity's: older links are not its
        ("lives", "<i4"),  # entities that had this slot before
        ("pad", "<i4"),
    ]
)
STORED = np.dtype(
    [
        ("time_ms", "<i8"),
        ("amount", "<i8"),
        ("seq", "<i8"),
        ("links", "<u4", (STORED_LINKS,)),  # slot << ROLE_BITS | role
        ("n_links", "<u1"),
        ("label", "<i1"),  # FRAUD, LEGIT, NO_LABEL
        ("n_left_out", "<u1"),  # links for which there was no room
        ("event_type", "<u1"),
    ]
)
NODE_RING = np.dtype(
    [
        ("risk", "<f8"),
        ("ring_risk", "<f8"),
        ("founded_ms", "<i8"),
        ("ring", "<i4"),  # row of the last tick's rings + 1; 0 outside rings
        ("n_entities", "<i4"),
        ("n_events", "<i4"),
        ("grown_entities", "<i4"),
        ("grown_events", "<i4"),
        ("n_known", "<i4"),
        ("n_fraud", "<i4"),
        ("life", "<i4"),  # NODE.lives of the entity that the row is about: of another life it says nothing
    ]
)
REACHED = np.dtype([("slot", "<i4"), ("own", "<i2"), ("pad", "<i2"), ("stamp", "<u4"), ("mask", "<u4")])

# Positions in State.meta
N_KEYS: Final = 0
N_PAIRS: Final = 1
EVENT_TOP: Final = 2
LABEL_TOP: Final = 3
SEQ: Final = 4
N_EVENTS: Final = 5  # of every type
N_LABELS: Final = 6
ALL_KNOWN: Final = 7  # standing labels of the decided type
ALL_FRAUD: Final = 8
NEWEST_MS: Final = 9  # newest event_time of the decided type
N_LATE: Final = 10
KEY_COLLISIONS: Final = 11
PAIR_COLLISIONS: Final = 12
ORPHAN_LABELS: Final = 13  # entity of a label that no event ever named
PAIRS_CAPPED: Final = 14  # links beyond PAIR_FAN
N_STORED: Final = 15  # events of the decided type that were ever stored
WATERMARK_MS: Final = 16  # newest event_time or known_at so far; kept only where rings are computed
NEXT_TICK_MS: Final = 17  # when the watermark reaches it, rings are computed from the state as it stands
EFFECT_MS: Final = 18  # when the watermark reaches it, the last tick is read from; NEVER where it is already
TICK_MS: Final = 19  # the T of the last tick
KEY_HAND: Final = 20  # where the search for an entity to forget goes on
PAIR_HAND: Final = 21
KEY_IDLE_MS: Final = 22  # running mean of how long those that were forgotten had been idle
PAIR_IDLE_MS: Final = 23
KEYS_FORGOTTEN: Final = 24
PAIRS_FORGOTTEN: Final = 25
TEXTS_FORGOTTEN: Final = 26  # while they were young enough to be read
META: Final = 27

# What a kernel asks for when it stops before a record
DONE: Final = 0
GROW_EVENTS: Final = 3
GROW_LABELS: Final = 4
TICK: Final = 6
EFFECT: Final = 7

# Statistics of an entity, as positions in the scratch row. From WINDOWED on: WINDOWED + stat * n_windows + window.
IS_NEW: Final = 0
COUNT: Final = 1
AGE: Final = 2
GAP: Final = 3
MEAN_GAP: Final = 4
AMOUNT_TO_MEAN: Final = 5
AMOUNT_Z: Final = 6
AMOUNT_TO_LAST: Final = 7
AMOUNT_TO_RECENT: Final = 8
AMOUNT_TO_MAX: Final = 9
BURST: Final = 10
FRAUDS: Final = 11
FRAUD_RATE: Final = 12
SINCE_FRAUD_KNOWN: Final = 13
SINCE_FRAUD: Final = 14
FRAUD_RUN: Final = 15
LEGIT_RUN: Final = 16
RUN_AGE: Final = 17
RECENT_FRAUD_SHARE: Final = 18
KNOWN: Final = 19
SINCE_KNOWN_EVENT: Final = 20
MEAN_AMOUNT: Final = 21
PARTNERS: Final = 24  # + 0..7
WINDOWED: Final = 32
W_COUNT: Final = 0
W_SUM: Final = 1
W_MEAN: Final = 2
W_MAX: Final = 3
W_TO_MEAN: Final = 4
W_LARGE: Final = 5
W_FRAUDS: Final = 6
W_KNOWN: Final = 7
W_RATE: Final = 8
W_NEW: Final = 9
N_WINDOWED: Final = 10

# Statistics of a node's links, as positions in its scratch row. From L_WINDOWED on: L_WINDOWED + window.
L_OTHERS: Final = 0
L_REPEAT: Final = 1
L_SHARED: Final = 2
L_SHARED_MOST: Final = 3
L_COMMON: Final = 4
L_SIMILAR: Final = 5
L_EVENTS_MEAN: Final = 6
L_EVENTS_MAX: Final = 7
L_ONCE: Final = 8
L_IS_HUB: Final = 9
L_FRAUDS: Final = 10
L_FRAUD_SHARE: Final = 11
L_RATE_MEAN: Final = 12
L_RATE_MAX: Final = 13
L_SHARED_FRAUD: Final = 14
L_NEAR: Final = 15
L_FAR: Final = 16
L_WINDOWED: Final = 17

# What the last tick says of a node and of all of an event, behind the link statistics of each: + L_WINDOWED + windows
R_ENTITIES: Final = 0
R_EVENTS: Final = 1
R_GREW_ENTITIES: Final = 2
R_GREW_EVENTS: Final = 3
R_AGE: Final = 4
R_FRAUDS: Final = 5
R_FRAUD_SHARE: Final = 6
R_RISK: Final = 7
R_OWN_RISK: Final = 8
R_RINGS: Final = 9
N_RING_STATS: Final = 10

# Statistics of all links of an event together, as positions in the last row of the link statistics
X_EVENTS: Final = 0
X_FRAUDS: Final = 1
X_RATE: Final = 2
X_OTHERS: Final = 3
X_COMMON: Final = 4
X_OTHERS_FRAUDS: Final = 5
X_OTHERS_SHARE: Final = 6
X_OTHERS_RATE: Final = 7
X_OTHERS_RATE_MAX: Final = 8
X_FAR: Final = 9
X_MOST_SHARED: Final = 10

# Features of a sampled event, as columns of Neighbourhoods.events; sentences are in sample_features.py
SAMPLE_AMOUNT: Final = 0
SAMPLE_HAS_AMOUNT: Final = 1
SAMPLE_GAP: Final = 2
SAMPLE_GAP_LOG: Final = 3
SAMPLE_KNOWN: Final = 4
SAMPLE_FRAUD: Final = 5
SAMPLE_SHARED: Final = 6
SAMPLE_LINKS: Final = 7
SAMPLE_AMOUNT_RATIO: Final = 8
SAMPLE_OTHERS: Final = 9
SAMPLE_EVENTS_MEAN: Final = 10
SAMPLE_EVENTS_MAX: Final = 11
SAMPLE_RATE_MEAN: Final = 12
SAMPLE_RATE_MAX: Final = 13
SAMPLE_FRAUDS: Final = 14
SAMPLE_NEAR: Final = 15
SAMPLE_TYPE: Final = 16
N_SAMPLE: Final = 17

# Features of a seat's entity, as columns of Neighbourhoods.nodes
SEAT_PRESENT: Final = 0
SEAT_EVENTS: Final = 1
SEAT_KNOWN: Final = 2
SEAT_FRAUDS: Final = 3
SEAT_NEAR: Final = 4
SEAT_IS_HUB: Final = 5
N_SEAT: Final = 6
MANY_SEATS: Final = 2  # seats of a `many` role

# Statistics of a pair
P_IS_NEW: Final = 0
P_COUNT: Final = 1
P_GAP: Final = 2
P_AGE: Final = 3
P_FRAUDS: Final = 4
P_KNOWN: Final = 5
P_REVERSE_COUNT: Final = 6
P_REVERSE_GAP: Final = 7
N_PAIR_STATS: Final = 8

# Readings of the event itself
E_AMOUNT: Final = 0
E_HOUR: Final = 1
E_WEEKDAY: Final = 2
E_WEEKEND: Final = 3
E_NIGHT: Final = 4
E_MONTH_DAY: Final = 5
E_VALUES: Final = 6  # + column of Batch.values

# How the entities of a role become one number
SINGLE: Final = 0
LARGEST: Final = 1
AVERAGE: Final = 2
NUMBER: Final = 3

# What a reader needs computed
NEED_WINDOWS: Final = 1
NEED_RECENT: Final = 2
NEED_LABEL_WINDOWS: Final = 4
NEED_LABEL_RUNS: Final = 8
NEED_HISTORY: Final = 16  # what needs no log
NEED_MEANS: Final = 32  # averages per window

MAX_PARTNERS: Final = 8

# Control charts: see _kernels_charts.py. One row per slot, all zero until the entity's first event; how many points
# the charts have follows from KEY: `n_amounts`, and `n_events` - 1.
CHART = np.dtype(
    [
        ("amount_mean", "<f8"),  # of the points, with their sum of squared deviations
        ("amount_squares", "<f8"),
        ("amount_ewma", "<f8"),
        ("amount_cusum", "<f8"),
        ("gap_mean", "<f8"),
        ("gap_squares", "<f8"),
        ("gap_ewma", "<f8"),
        ("rate_cusum", "<f8"),
    ]
)
CHART_WEIGHT: Final = 0.2  # of the newest point in an EWMA
CHART_SLACK: Final = 0.5  # standard deviations per point that a CUSUM forgives
CHART_CUT: Final = 4.0  # standard deviations: no single point counts more
CHART_MOST: Final = 20.0  # standard deviations: no CUSUM grows further, so that it comes back
CHART_LEAST_POINTS: Final = 5  # earlier points without which a chart says nothing
CHART_LEAST_SPREAD: Final = 0.05  # on the logarithmic scale of the points
NEED_CHARTS: Final = 1024

# Chart statistics, as positions behind the windowed ones: WINDOWED + N_WINDOWED * n_windows + stat
C_AMOUNT_EWMA: Final = 0
C_AMOUNT_CUSUM: Final = 1
C_RATE_EWMA: Final = 2
C_RATE_CUSUM: Final = 3
C_EXCESS_SHORT: Final = 4
C_EXCESS_LONG: Final = 5
N_CHART_STATS: Final = 6

# Places: see _kernels_places.py. One row per slot, all zero until the entity's first event with a place.
PLACE = np.dtype(  # half a cache line
    [
        ("latitude", "<f8"),  # degrees
        ("longitude", "<f8"),
        ("time_ms", "<i8"),  # of the event that happened there
        ("n_events", "<i8"),  # that gave a place
    ]
)
LEAST_TRAVEL_MS: Final = MINUTE_MS  # no time between two places counts as shorter
NEED_PLACES: Final = 2048

# Travel statistics, as positions behind those of the charts
TRAVEL_KM: Final = 0
TRAVEL_KMH: Final = 1
N_PLACE_STATS: Final = 2

# Texts: see _kernels_text.py
TEXT_ENTRY = np.dtype(
    [
        ("simhash", "<u8"),
        ("time_ms", "<i8"),
        ("event_seq", "<i8"),
        ("value", "<i4"),  # the event's standing label, -1 while there is none
        ("n_links", "<i4"),
        ("back", "<u4", (4,)),  # per band: how many ids before this one is the one before it in its bucket; 0 none
        ("far_back", "<u4", (4,)),  # likewise the one TEXT_NEWEST before it: only to ask the memory for it early
    ]
)
TEXT_BANDS: Final = 4
TEXT_BAND_BITS: Final = 16
TEXT_NEWEST: Final = 4  # of its entries that a bucket itself knows
TEXT_NEAR: Final = 3  # bits in which near duplicates may differ
TEXT_CANDIDATES: Final = 64  # entries that one read looks at, newest first
# Entities of an event, in the order of its links, that count as shared. Each by 32 bits of its keyed digest: of a
# thousand million comparisons of different entities one in four holds them for the same.
TEXT_LINKS: Final = 16
MONTH_MS: Final = 30 * DAY_MS

# Statistics of a text: attribute * N_TEXT_STATS + stat
T_COUNT: Final = 0
T_MONTH: Final = 1
T_HOURS: Final = 2
T_LINKED: Final = 3
T_UNLINKED: Final = 4
T_FRAUDS: Final = 5
N_TEXT_STATS: Final = 6

# Segments: see _kernels_segments.py. A table by open addressing whose size never changes; a row is free while it knows
# no label, and a segment never leaves.
SEGMENT = np.dtype([("key", "<u8"), ("n_known", "<i8"), ("n_fraud", "<i8")])
MOST_SEGMENTS: Final = 1 << 16  # with a label known; events of further ones fall back on the rate of all events
SEGMENT_FRAUDS: Final = 5.0  # pseudo-count of the rate of all events in that of a segment, in frauds at that rate

# Positions in State.segment_counts
N_SEGMENTS: Final = 0
BEYOND_SEGMENTS: Final = 1  # labels that found no room for their segment
SEGMENT_COUNTS: Final = 2

# Statistics of the event's segment
S_KNOWN: Final = 0
S_FRAUDS: Final = 1
S_RATE: Final = 2
