# SPDX-License-Identifier: Apache-2.0
# mypy: allow-untyped-defs
"""Read what the tick in effect says of an event's entities, and notice when a tick or its effect is due."""

from __future__ import annotations

import numpy as np
from numba import njit

from ringfence.engine import layout

MOST_NODES, DAY_MS, NEVER = layout.MOST_NODES, layout.DAY_MS, layout.NEVER
DONE, TICK, EFFECT = layout.DONE, layout.TICK, layout.EFFECT
WATERMARK_MS, NEXT_TICK_MS, EFFECT_MS = layout.WATERMARK_MS, layout.NEXT_TICK_MS, layout.EFFECT_MS
R_ENTITIES, R_EVENTS, R_AGE, R_RINGS = layout.R_ENTITIES, layout.R_EVENTS, layout.R_AGE, layout.R_RINGS
R_GREW_ENTITIES, R_GREW_EVENTS = layout.R_GREW_ENTITIES, layout.R_GREW_EVENTS
R_FRAUDS, R_FRAUD_SHARE = layout.R_FRAUDS, layout.R_FRAUD_SHARE
R_RISK, R_OWN_RISK, N_RING_STATS = layout.R_RISK, layout.R_OWN_RISK, layout.N_RING_STATS


@njit(cache=True, nogil=True, _nrt=False)
def tick_due(plan, meta, time_ms):
    # Asked before a record is folded, so a tick sees the state without it. Effects come before the next tick.
    watermark_ms = max(meta[WATERMARK_MS], time_ms)
    if meta[EFFECT_MS] != NEVER and watermark_ms >= meta[EFFECT_MS]:
        return EFFECT
    if meta[NEXT_TICK_MS] == NEVER:
        meta[NEXT_TICK_MS] = (watermark_ms // plan.tick_ms + 1) * plan.tick_ms
    elif watermark_ms >= meta[NEXT_TICK_MS]:
        return TICK
    meta[WATERMARK_MS] = watermark_ms
    return DONE


@njit(cache=True, nogil=True, _nrt=False)
def _ring_of(state, slot):
    # Row of the last tick's rings + 1, or 0 outside rings; a row about an entity forgotten since says nothing.
    row = state.node_rings[slot]
    return row["ring"] if row["life"] == state.nodes[slot]["lives"] else np.int32(0)


@njit(cache=True, nogil=True, _nrt=False)
def read_rings(nodes, n_nodes, time_ms, state, behind, stats):
    """Write ring statistics behind column `behind` of each node's row, and of the last row for all together."""
    together = stats[MOST_NODES]
    for s in range(N_RING_STATS):
        together[behind + s] = 0.0
    together[behind + R_AGE] = np.nan
    together[behind + R_FRAUD_SHARE] = np.nan
    for a in range(n_nodes):
        out = stats[a]
        for s in range(N_RING_STATS):
            out[behind + s] = 0.0
        out[behind + R_AGE] = np.nan
        out[behind + R_FRAUD_SHARE] = np.nan
        if nodes[a, 0] < 0:
            continue
        row = state.node_rings[nodes[a, 0]]
        if row["life"] != state.nodes[nodes[a, 0]]["lives"]:
            continue
        out[behind + R_OWN_RISK] = row["risk"]
        together[behind + R_OWN_RISK] = max(together[behind + R_OWN_RISK], row["risk"])
        if row["ring"] == 0:
            continue
        out[behind + R_ENTITIES] = row["n_entities"]
        out[behind + R_EVENTS] = row["n_events"]
        out[behind + R_GREW_ENTITIES] = row["grown_entities"]
        out[behind + R_GREW_EVENTS] = row["grown_events"]
        out[behind + R_AGE] = (time_ms - row["founded_ms"]) / DAY_MS
        out[behind + R_FRAUDS] = row["n_fraud"]
        out[behind + R_RISK] = row["ring_risk"]
        if row["n_known"] > 0:
            out[behind + R_FRAUD_SHARE] = row["n_fraud"] / row["n_known"]
        another = True
        for earlier in range(a):
            if nodes[earlier, 0] >= 0 and _ring_of(state, nodes[earlier, 0]) == row["ring"]:
                another = False
        if not another:
            continue
        together[behind + R_RINGS] += 1.0
        for s in range(N_RING_STATS):
            # The largest of the rings; a comparison with NaN is false, so NaN gives way to any number.
            larger = out[behind + s] > together[behind + s] or together[behind + s] != together[behind + s]
            if s != R_OWN_RISK and s != R_RINGS and larger:
                together[behind + s] = out[behind + s]
