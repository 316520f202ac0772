# SPDX-License-Identifier: Apache-2.0
"""How far and how fast an entity came from where it was last, as features. What counts is in `_kernels_places`."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from ringfence.engine import layout as at
from ringfence.engine.stats import BRIEF, NO_ENTITY, NOVELTY_GAPS, Stat

_NO_PLACE: Final = f"{NO_ENTITY}, the event has no place, or no earlier event of the entity has one"

PLACE_STATS: Final[tuple[Stat, ...]] = (
    Stat(
        name="travel_km",
        source=at.TRAVEL_KM,
        family=NOVELTY_GAPS,
        unit="km",
        needs=at.NEED_HISTORY | at.NEED_PLACES,
        detail=BRIEF,
        missing=_NO_PLACE,
        sentence="kilometres from where {role} was last, by its newest earlier event with a place, to this event",
    ),
    Stat(
        name="travel_kmh",
        source=at.TRAVEL_KMH,
        family=NOVELTY_GAPS,
        unit="km/h",
        needs=at.NEED_HISTORY | at.NEED_PLACES,
        detail=BRIEF,
        missing=_NO_PLACE,
        sentence="speed at which {role} came from where it was last to this event (less than a minute counts as one)",
    ),
)


def place_stats(n_windows: int) -> list[Stat]:
    """Return the statistics with their place behind the windowed ones and the charts."""
    behind = at.WINDOWED + at.N_WINDOWED * n_windows + at.N_CHART_STATS
    return [structs.replace(stat, source=behind + stat.source) for stat in PLACE_STATS]
