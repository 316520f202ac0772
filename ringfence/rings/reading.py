# SPDX-License-Identifier: Apache-2.0
"""What a feature reads of a tick: one row per entity, everything about its ring beside it, nothing to look up."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ringfence.rings.graph import NEVER_MS
from ringfence.rings.survey import Tick

READING: Final = np.dtype(
    [
        ("key", "<u8"),  # as in the links: the low half of the digest, or the engine's slot
        ("risk", "<f8"),  # its own BiRank; 0 for hubs
        ("ring_risk", "<f8"),  # mean over the ring's decided events
        ("founded_ms", "<i8"),  # first event of the ring; NEVER_MS outside rings
        ("n_entities", "<i4"),  # of the ring; 0 outside rings
        ("n_events", "<i4"),
        ("grown_entities", "<i4"),  # since the tick before
        ("grown_events", "<i4"),
        ("n_known", "<i4"),  # labels known at T; the fraud share is n_fraud / n_known, missing where n_known is 0
        ("n_fraud", "<i4"),
        ("degree", "<i4"),  # active events that name the entity
        ("is_hub", "<i4"),
    ]
)


def readings(tick: Tick) -> NDArray[np.void]:
    """Spread the rings of a tick over their members.

    Returns
    -------
    shape (v,) of READING, row i about `tick.entities[i]`. Entities that no active event names at T are not in it: they
    read as entities outside rings, risk 0, degree 0.
    """
    rows = np.zeros(len(tick.entities), READING)
    for name in ("key", "risk", "degree", "is_hub"):
        rows[name] = tick.entities[name]
    rows["founded_ms"] = NEVER_MS
    inside = tick.entities["ring"] >= 0
    rings = tick.rings[tick.entities["ring"][inside]]
    rows["ring_risk"][inside] = rings["risk"]
    for name in ("founded_ms", "n_entities", "n_events", "grown_entities", "grown_events", "n_known", "n_fraud"):
        rows[name][inside] = rings[name]
    return rows
