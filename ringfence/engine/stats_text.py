# SPDX-License-Identifier: Apache-2.0
"""Near duplicates of a text as features. How they are found is written down in `_kernels_text`."""

from __future__ import annotations

from typing import Final

from ringfence.engine import layout as at
from ringfence.engine.stats import TEXT, Stat
from ringfence.scenario.simhash import LEAST_WORDS

_NO_TEXT: Final = f"the event does not give it, or it has fewer than {LEAST_WORDS} words"

# Counted among the newest TEXT_CANDIDATES similar texts; entities are shared among the first TEXT_LINKS of an event.
# {name} is the text attribute, {span} the window. `windowed`: also for 30 days, where that is another window.
TEXT_STATS: Final[tuple[Stat, ...]] = (
    Stat(
        name="near_duplicates",
        source=at.T_COUNT,
        family=TEXT,
        unit="events",
        missing=_NO_TEXT,
        windowed=True,
        sentence="earlier events of the last {span} with nearly the same {name}",
    ),
    Stat(
        name="near_duplicates_linked",
        source=at.T_LINKED,
        family=TEXT,
        unit="events",
        missing=_NO_TEXT,
        sentence="earlier events of the last {span} with nearly the same {name} that share an entity with this one",
    ),
    Stat(
        name="near_duplicates_unlinked",
        source=at.T_UNLINKED,
        family=TEXT,
        unit="events",
        missing=_NO_TEXT,
        sentence="earlier events of the last {span} with nearly the same {name} that share no entity with this one",
    ),
    Stat(
        name="near_duplicate_frauds",
        source=at.T_FRAUDS,
        family=TEXT,
        unit="events",
        missing=_NO_TEXT,
        sentence="earlier events of the last {span} with nearly the same {name} that are known to be fraud by now",
    ),
)
TEXT_GAP: Final = Stat(
    name="near_duplicate_hours",
    source=at.T_HOURS,
    family=TEXT,
    unit="hours",
    missing=f"{_NO_TEXT}, or no earlier event of the last {{span}} has nearly the same",
    sentence="hours since the newest event of the last {span} with nearly the same {name}",
)
