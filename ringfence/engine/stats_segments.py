# SPDX-License-Identifier: Apache-2.0
"""What is known of an event's segment, and how smoothed shares say that they fall back on it."""

from __future__ import annotations

from typing import Final

import msgspec

from ringfence.engine import layout as at
from ringfence.engine.stats import LABEL_RISK, Stat

_MORE: Final = 100  # on the version of a share that shrinks towards its segment: other numbers than without segments
_ALL: Final = ("that of all entities", "that of all events")
_SEGMENT: Final = "that of the event's segment"

# {segment} becomes the names of the attributes.
SEGMENT_STATS: Final[tuple[Stat, ...]] = (
    Stat(
        name="known_count",
        source=at.S_KNOWN,
        family=LABEL_RISK,
        unit="events",
        missing="never",
        sentence="earlier events of the same {segment} whose truth is known so far",
    ),
    Stat(
        name="fraud_count",
        source=at.S_FRAUDS,
        family=LABEL_RISK,
        unit="events",
        missing="never",
        sentence="earlier events of the same {segment} that are known to be fraud",
    ),
    Stat(
        name="fraud_rate",
        source=at.S_RATE,
        family=LABEL_RISK,
        unit="probability",
        missing="never",
        sentence="share of confirmed frauds among the known events of the same {segment}, "
        "shrunk towards that of all events",
    ),
)


def segment_text(names: tuple[str, ...]) -> str:
    """Name what makes a segment: `region`, `region and product`, `region, product and brand`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def towards_segment(stat: Stat) -> Stat:
    """Return a smoothed statistic as it is where a scenario names segments; others unchanged."""
    if not stat.smoothed:
        return stat
    sentence = stat.sentence
    for everything in _ALL:
        sentence = sentence.replace(everything, _SEGMENT)
    return msgspec.structs.replace(stat, sentence=sentence, version=stat.version + _MORE)
