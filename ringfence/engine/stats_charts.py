# SPDX-License-Identifier: Apache-2.0
"""Control charts as features. What they compute, and after whom, is written down in `_kernels_charts`."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from ringfence.engine import layout as at
from ringfence.engine.stats import BRIEF, COMPACT, CONTROL_CHARTS, FULL, NO_ENTITY, Stat

_NEEDS: Final = at.NEED_HISTORY | at.NEED_CHARTS
_FEW_AMOUNTS: Final = (
    f"{NO_ENTITY}, the event has no amount, or the entity has fewer than {at.CHART_LEAST_POINTS} earlier ones"
)
_FEW_GAPS: Final = f"{NO_ENTITY}, or it has fewer than {at.CHART_LEAST_POINTS + 1} earlier events"
_SHORT_PAST: Final = f"{NO_ENTITY}, it was first seen less than two windows ago, or this event is older than its newest"
_UNIT: Final = "standard deviations"

CHART_STATS: Final[tuple[Stat, ...]] = (
    Stat(
        name="amount_ewma_z",
        source=at.C_AMOUNT_EWMA,
        family=CONTROL_CHARTS,
        unit=_UNIT,
        needs=_NEEDS,
        detail=COMPACT,
        missing=_FEW_AMOUNTS,
        amount=True,
        sentence="how far the level of the newest amounts of {role}, this one included, lies above that of all its "
        f"amounts (EWMA of log amounts, weight {at.CHART_WEIGHT:g})",
    ),
    Stat(
        name="amount_cusum",
        source=at.C_AMOUNT_CUSUM,
        family=CONTROL_CHARTS,
        unit=_UNIT,
        needs=_NEEDS,
        detail=BRIEF,
        missing=_FEW_AMOUNTS,
        amount=True,
        sentence="how much larger than usual the amounts of {role} have been in a row, this one included (upper CUSUM "
        f"of log amounts, slack {at.CHART_SLACK:g}, 0 to {at.CHART_MOST:g})",
    ),
    Stat(
        name="rate_ewma_z",
        source=at.C_RATE_EWMA,
        family=CONTROL_CHARTS,
        unit=_UNIT,
        needs=_NEEDS,
        detail=COMPACT,
        missing=_FEW_GAPS,
        sentence="how much faster than usual the newest events of {role}, this one included, follow each other "
        f"(EWMA of log gaps, weight {at.CHART_WEIGHT:g})",
    ),
    Stat(
        name="rate_cusum",
        source=at.C_RATE_CUSUM,
        family=CONTROL_CHARTS,
        unit=_UNIT,
        needs=_NEEDS,
        detail=BRIEF,
        missing=_FEW_GAPS,
        sentence="how much faster than usual the events of {role} have come in a row, this one included (upper CUSUM "
        f"of log gaps, slack {at.CHART_SLACK:g}, 0 to {at.CHART_MOST:g})",
    ),
    Stat(
        name="excess",
        source=at.C_EXCESS_SHORT,
        family=CONTROL_CHARTS,
        unit=_UNIT,
        needs=_NEEDS | at.NEED_WINDOWS,
        detail=FULL,
        missing=_SHORT_PAST,
        windowed=True,
        sentence="events of {role} in the last {span} above what its own rate before leads to expect",
    ),
)


def chart_stats(detail: int, windows_ms: tuple[int, ...]) -> list[tuple[Stat, int | None]]:
    """Return the statistics of a reader, each with its window: `excess` has the shortest and the longest."""
    found: list[tuple[Stat, int | None]] = []
    for stat in CHART_STATS:
        if stat.detail <= detail:
            found += [(stat, None)] if not stat.windowed else _excess(stat, windows_ms)
    return found


def _excess(stat: Stat, windows_ms: tuple[int, ...]) -> list[tuple[Stat, int]]:
    if not windows_ms:
        return []
    longest = structs.replace(stat, source=at.C_EXCESS_LONG)
    return [(stat, windows_ms[0]), (longest, windows_ms[-1])][: len(windows_ms)]
