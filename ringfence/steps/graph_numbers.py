# SPDX-License-Identifier: Apache-2.0
"""Entities as nodes: numbered from 0 in the order in which the ledger first named them. Numbers never change."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
KeyArray = NDArray[np.uint64]


class Numbered(NamedTuple):
    """The nodes of m links, and where k new ones were first named."""

    node: IntArray  # (m,)
    first: IntArray  # (k,) links, ascending; of the nodes n, n + 1, … in this order


class Numbering:
    """Nodes of one entity type, by the low half of an entity's digest, which is what the engine knows them by."""

    def __init__(self) -> None:
        self._keys: KeyArray = np.zeros(0, np.uint64)  # ascending
        self._nodes: IntArray = np.zeros(0, np.int64)  # theirs

    def __len__(self) -> int:
        return int(self._keys.shape[0])

    def number(self, lo: KeyArray) -> Numbered:
        """Return the nodes of some links in ledger order, shape (m,); those not met yet get the next numbers."""
        distinct, first = np.unique(lo, return_index=True)
        place = np.searchsorted(self._keys, distinct)
        is_new = np.ones(distinct.shape[0], np.bool_)
        inside = place < len(self)
        is_new[inside] = self._keys[place[inside]] != distinct[inside]
        order = np.argsort(first[is_new])  # by the link that named them first
        nodes = np.empty(order.shape[0], np.int64)
        nodes[order] = len(self) + np.arange(order.shape[0])
        self._keys = np.insert(self._keys, place[is_new], distinct[is_new])
        self._nodes = np.insert(self._nodes, place[is_new], nodes)
        return Numbered(self._nodes[np.searchsorted(self._keys, lo)], np.sort(first[is_new]).astype(np.int64))
