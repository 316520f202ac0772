# SPDX-License-Identifier: Apache-2.0
"""Rows of a lookup file that hold for the same at the same time: which they are, and which of them counts.

wide    [0 ................ 19]   row 1     both overlap; where the narrowest counts,
narrow        [5 .. 9]            row 2     0..4 is of row 1, 5..9 of row 2, 10..19 of row 1
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Overlapping(NamedTuple):
    """Rows that hold where another row does; ascending, each once."""

    rows: Ints  # (k,)
    others: Ints  # (k,) one that each overlaps


def overlapping(cell: Ints, begin: Ints, end: Ints, row: Ints) -> Overlapping:
    """Find all rows that overlap another one of their cell.

    Parameters
    ----------
    cell, row : shape (n,), 0 or more.
    begin, end : shape (n,), ranks from 0 on: an entry holds from `begin`, inclusive, to `end`, exclusive, and begins
        before it ends.
    """
    order = np.lexsort((row, begin, cell))
    cell, begin, end, row = cell[order], begin[order], end[order], row[order]
    n = len(row)
    if n < 2:
        return Overlapping(np.empty(0, np.int64), np.empty(0, np.int64))
    same = cell[1:] == cell[:-1]
    into_next = np.append(same & (begin[1:] < end[:-1]), False)
    # The entry before that ends last: cells keep apart, since those of an earlier cell stay below all of a later one.
    reach = cell * (int(end.max()) + 1) + end
    furthest = np.maximum.accumulate(reach)
    is_new = np.concatenate(([True], furthest[1:] > furthest[:-1]))
    last = np.maximum.accumulate(np.where(is_new, np.arange(n), 0))[:-1]
    from_before = np.concatenate(([False], (cell[last] == cell[1:]) & (end[last] > begin[1:])))
    other = np.where(into_next, np.append(row[1:], 0), np.concatenate(([0], row[last])))
    found = into_next | from_before
    rows, first = np.unique(row[found], return_index=True)
    return Overlapping(rows, other[found][first])


def narrowest(cell: Ints, row: Ints, from_ms: Ints, to_ms: Ints, rank: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Keep of the entries of each cell, at each time, the one of the lowest rank.

    Parameters
    ----------
    cell, row, from_ms, to_ms : shape (n,); entries hold from `from_ms`, inclusive, to `to_ms`, exclusive.
    rank : one per row of the file, all different.

    Returns
    -------
    cell, row, from_ms, to_ms of shape (m,): none of a cell overlaps another one.
    """
    n = len(cell)
    if not n:
        return cell, row, from_ms, to_ms
    # Pieces between all moments at which something begins or ends in a cell, and who holds in each.
    cells, moments = np.concatenate((cell, cell)), np.concatenate((from_ms, to_ms))
    order = np.lexsort((moments, cells))
    cells, moments = cells[order], moments[order]
    is_new = np.concatenate(([True], (cells[1:] != cells[:-1]) | (moments[1:] != moments[:-1])))
    place = np.empty(2 * n, np.int64)
    place[order] = np.cumsum(is_new) - 1
    cuts, first, counts = moments[is_new], place[:n], place[n:] - place[:n]
    owner = np.repeat(np.arange(n), counts)
    piece = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    order = np.lexsort((rank[row[owner]], piece))
    piece, owner = piece[order], owner[order]
    best = np.concatenate(([True], piece[1:] != piece[:-1]))
    piece, owner = piece[best], owner[best]
    return cell[owner], row[owner], cuts[piece], cuts[piece + 1]
