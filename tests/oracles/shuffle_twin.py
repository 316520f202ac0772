# SPDX-License-Identifier: Apache-2.0
"""What shuffled links must keep, counted the slow way: who took part how often, in which role, on which local day."""

from __future__ import annotations

from collections import Counter

from ringfence.scenario.batch import EVENT, Batch

DAY_MS = 86_400_000


def links_at(batch: Batch, record: int) -> list[tuple[int, int, int]]:
    """Return (role, low half, high half) of one record's links, in order."""
    places = range(int(batch.link_start[record]), int(batch.link_start[record + 1]))
    return [(int(batch.link_role[at]), int(batch.link_lo[at]), int(batch.link_hi[at])) for at in places]


def took_part(batch: Batch) -> Counter[tuple[int, int, int, int, int]]:
    """Count events by event type, local day, role and entity."""
    found: Counter[tuple[int, int, int, int, int]] = Counter()
    for record in range(len(batch)):
        if batch.kind[record] == EVENT:
            day = (int(batch.time_ms[record]) + int(batch.offset_ms[record])) // DAY_MS
            for role, lo, hi in links_at(batch, record):
                found[int(batch.event_type[record]), day, role, lo, hi] += 1
    return found


def met(batch: Batch, roles: tuple[int, int]) -> set[tuple[int, int]]:
    """Return who met whom: entities of two roles that an event names together."""
    pairs = set()
    for record in range(len(batch)):
        links = links_at(batch, record)
        for role, lo, _ in links:
            pairs |= {(lo, other) for other_role, other, _ in links if (role, other_role) == roles}
    return pairs
