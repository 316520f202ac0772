# SPDX-License-Identifier: Apache-2.0
"""Which ring of today is which ring of last week: ids that outlive growth, merges and splits."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
KeyArray = NDArray[np.uint64]

_STEP = 0x9E3779B97F4A7C15  # odd, so that stepping by it visits every 64-bit number


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """What the groups of one moment are called. n_groups groups."""

    ring_id: KeyArray  # (n_groups,) distinct
    founded_ms: IntArray  # (n_groups,) first event of the ring, expired ones included
    heir_of: IntArray  # (n_groups,) row of the earlier ring whose id it carries on, or -1


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """Who is in which group at one moment. k members, each in one group, in any order."""

    key: KeyArray  # (k,) distinct
    group: NDArray[np.int32]  # (k,) 0 .. n_groups - 1
    first_ms: IntArray  # (k,) oldest event that a strong role named it in


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """The rings of the tick before."""

    key: KeyArray  # (p,) members, ascending
    ring: NDArray[np.int32]  # (p,) row of the member's ring
    ring_id: KeyArray  # (r,)
    founded_ms: IntArray  # (r,)


def trace(members: Members, n_groups: int, group_first_ms: IntArray, earlier: Earlier | None) -> Lineage:
    """Name the groups.

    1. An earlier ring's heir is the group that holds most of its members; of equals, the one whose oldest member is
       older. So a ring keeps its id as it grows or shrinks, and of a split the larger part keeps it.
    2. A group that is heir to several takes the id of the one founded first (of equals, the smallest id): after a
       merge the older id lives on.
    3. Any other group is new. Its id is the key of its oldest member (of equals, the smallest key) that names no other
       ring at this moment.

    A pure function of its arguments: the order of members does not matter.

    Parameters
    ----------
    members : every group has at least one.
    group_first_ms : shape (n_groups,), the group's oldest active event.
    earlier : None before the first tick.

    Notes
    -----
    O(k log p). Where every key of a new group names another ring already (a part that split off with nobody else in
    it), its id is its oldest member's key, stepped until it is free.
    """
    by_age = np.lexsort((members.key, members.first_ms))
    age_rank = np.empty(len(by_age), np.int64)
    age_rank[by_age] = np.arange(len(by_age))
    by_group = by_age[np.argsort(members.group[by_age], kind="stable")]  # groups in turn, oldest member first
    start = np.searchsorted(members.group[by_group], np.arange(n_groups + 1))
    oldest = by_group[start[:-1]]
    heir_of = np.full(n_groups, -1, np.int64)
    ring_id, founded_ms = members.key[oldest], group_first_ms.copy()
    if earlier is None or not len(earlier.key):
        return Lineage(ring_id=ring_id, founded_ms=founded_ms, heir_of=heir_of)
    rows, heirs = _heirs(members, earlier, age_rank[oldest])
    # Of several claims to one group, the ring founded first wins.
    order = np.lexsort((earlier.ring_id[rows], earlier.founded_ms[rows], heirs))
    rows, heirs = rows[order], heirs[order]
    wins = np.ones(len(heirs), np.bool_)
    wins[1:] = heirs[1:] != heirs[:-1]
    heir_of[heirs[wins]] = rows[wins]
    carried = heir_of >= 0
    ring_id[carried] = earlier.ring_id[heir_of[carried]]
    founded_ms[carried] = np.minimum(founded_ms[carried], earlier.founded_ms[heir_of[carried]])
    taken = {int(key) for key in ring_id[carried]}
    # New groups whose first choice is another ring's name. Rare: a founder that left the ring it is the name of.
    for group in np.flatnonzero(~carried & np.isin(ring_id, ring_id[carried])).tolist():
        ring_id[group] = _free_id(members.key[by_group[start[group] : start[group + 1]]], taken, ring_id)
    return Lineage(ring_id=ring_id, founded_ms=founded_ms, heir_of=heir_of)


def _heirs(members: Members, earlier: Earlier, oldest_rank: IntArray) -> tuple[IntArray, IntArray]:
    """(earlier rings that have an heir, ascending; their heirs)."""
    at = np.minimum(np.searchsorted(earlier.key, members.key), len(earlier.key) - 1)
    stayed = earlier.key[at] == members.key
    ring, group = earlier.ring[at[stayed]].astype(np.int64), members.group[stayed].astype(np.int64)
    n_groups = len(oldest_rank)
    pairs, n_shared = np.unique(ring * n_groups + group, return_counts=True)
    ring, group = pairs // n_groups, pairs % n_groups
    order = np.lexsort((oldest_rank[group], -n_shared, ring))
    ring, group = ring[order], group[order]
    best = np.ones(len(ring), np.bool_)
    best[1:] = ring[1:] != ring[:-1]
    return ring[best], group[best]


def _free_id(keys: KeyArray, taken: set[int], ring_id: KeyArray) -> int:
    choice = next((int(key) for key in keys if int(key) not in taken), None)
    if choice is None:
        choice = int(keys[0])
        while choice in taken or bool((ring_id == choice).any()):
            choice = (choice + _STEP) % (1 << 64)
    taken.add(choice)
    return choice
