# SPDX-License-Identifier: Apache-2.0
"""Walk boosted trees over rows: raw scores bit-equal to LightGBM's, and TreeSHAP contributions.

`nodes` is one structured array over all inner nodes of all trees; `left` and `right` are positions in it, or `~leaf`
for a position in `leaf_value`. A tree that is a single leaf has a negative root.

`steps` lists every node of every tree in preorder, leaves included, one record per edge into it; that is the form in
which contributions are two straight loops, one down and one up, instead of a recursion.
"""

# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 64  # rows that share a group's nodes in the cache
GROUP = 64  # trees that go down side by side

NODE = np.dtype(
    [
        ("threshold", np.float64),
        ("feature", np.int32),
        ("left", np.int32),
        ("right", np.int32),
        ("category_start", np.int32),  # first word of its bitset, or -1 for a numeric split
        ("category_words", np.int32),
        ("nan_left", np.int32),
    ]
)

STEP = np.dtype(
    [
        ("share", np.float64),  # share of training cover that takes this node's splits on `feature`, from the root
        ("value", np.float64),  # leaf value; for an inner node the mean over its leaves by cover
        ("spread", np.float64),  # largest minus smallest leaf value below; 0 for a leaf
        ("node", np.int32),  # inner node it stands for, or -1 for a leaf
        ("parent", np.int32),  # position within its tree's steps; the root is its own
        ("same", np.int32),  # nearest ancestor step with the same feature; the root where there is none
        ("feature", np.int32),  # split feature of the edge into it
        ("is_left", np.int32),
        ("size", np.int32),  # steps below and including it
    ]
)


@njit(cache=True, nogil=True)
def is_within(node, value):
    """Return 1 where a numeric split sends a value left, else 0."""
    # value <= threshold is False for NaN, which then follows the side that training chose for it. Whole numbers instead
    # of truth: LLVM makes jumps of and/or over booleans, and every second one of these is mispredicted.
    return np.int32(value <= node["threshold"]) | (np.int32(value != value) & node["nan_left"])


@njit(cache=True, nogil=True)
def goes_left(category_words, node, value):
    """Return 1 where a split of either kind sends a value left, else 0."""
    if category_words.shape[0] == 0:  # a whole forest of numeric splits: decided once, outside the loop
        return is_within(node, value)
    start = node["category_start"]
    n_codes = np.float64(32 * node["category_words"])
    # What the bitset has no place for, NaN included, reads some word of it and is masked out; numeric splits read one
    # for nothing. Both answers and a choice cost less than a jump that is mispredicted.
    bounded = value if value < n_codes - 1.0 else n_codes - 1.0
    code = np.uint64(np.int64(bounded if bounded > 0.0 else 0.0))
    word = category_words[np.uint64(max(start, 0)) + (code >> np.uint64(5))]
    bit = np.int32((word >> np.uint32(code & np.uint64(31))) & np.uint32(1))
    is_among = bit & np.int32(value >= 0.0) & np.int32(value < n_codes)
    return is_within(node, value) if start < 0 else is_among


@njit(cache=True, nogil=True)
def raw_rows(nodes, category_words, roots, leaf_value, rows, place, unfinished, raw):
    """Fill `raw` (n,) with the sum of the leaves that each row falls into. `place`, `unfinished` (GROUP,) are scratch.

    A group of trees goes down level by level: a step waits for the one above it in its own tree, and not for those
    beside it, so that the processor works on many at once. Trees leave the list of the unfinished without a jump.
    """
    # Blocks of rows inside groups of trees: a group's nodes stay in the first-level cache for the whole block, while
    # every row still adds its leaves in tree order, so that a row alone and a row in a batch get the same bits.
    n_rows, n_trees = rows.shape[0], roots.shape[0]
    for first_row in range(0, n_rows, BLOCK):
        last_row = min(first_row + BLOCK, n_rows)
        for i in range(first_row, last_row):
            raw[i] = 0.0
        for first in range(0, n_trees, GROUP):
            size = np.uint64(min(GROUP, n_trees - first))  # unsigned positions spare numba's check for negative ones
            for i in range(first_row, last_row):
                n = np.uint64(0)
                for tree in range(size):
                    place[tree] = roots[np.uint64(first) + tree]
                    unfinished[n] = tree
                    n += np.uint64(place[tree] >= 0)
                while n > 0:
                    kept = np.uint64(0)
                    for k in range(n):
                        at = np.uint64(unfinished[k])
                        node = nodes[np.uint64(place[at])]
                        value = rows[i, np.uint64(node["feature"])]
                        child = node["left"] if goes_left(category_words, node, value) else node["right"]
                        place[at] = child
                        unfinished[kept] = at
                        kept += np.uint64(child >= 0)
                    n = kept
                total = raw[i]
                for tree in range(size):
                    total += leaf_value[np.uint64(~place[tree])]
                raw[i] = total


@njit(cache=True, nogil=True)
def shapley_rows(nodes, category_words, steps, step_start, times, weights, tolerance, scratch, rows, contributions):
    """Add each tree's Shapley values to `contributions`, integrating over `times` with `weights`.

    The game of a leaf is f(S) = value * prod over path features j of (o_j if j in S else w_j), with o_j = 1 when the
    row satisfies every split on j along the path and w_j the share of training cover that does (path-dependent
    TreeSHAP: Lundberg et al., 2020, algorithm 2). Its multilinear extension gives the Shapley value of j as

        value * (o_j - w_j) * integral over t in (0, 1) of prod over k != j of (w_k + (o_k - w_k) t)

    whose integrand is a polynomial: Gauss-Legendre with n points is exact up to 2 n distinct features on a path. One
    pass down carries the product at each t, one pass up the leaves' sums, and each edge takes its feature's factor
    out again (the idea of Linear TreeShap, Yu et al., 2022, with quadrature in place of polynomial arithmetic).

    A subtree that can move the score by no more than `tolerance` log-odds (product times spread) counts as a leaf of
    its mean value; 0 keeps every leaf. Everything but that choice is free of branches: the root doubles as the
    "ancestor" of features not split on before, with factor 1 and gain 0.
    """
    holds, product, inverse, gain, below, lefts, visited = scratch
    one = np.uint64(1)  # unsigned positions spare numba's check for negative ones, a third of the time here
    for i in range(rows.shape[0]):
        row = rows[i]
        for tree in range(step_start.shape[0] - 1):
            start = np.uint64(step_start[tree])
            size = np.uint64(step_start[tree + 1]) - start
            holds[0] = 1.0
            for q in range(len(times)):
                product[0, q] = 1.0
                inverse[0, q] = 1.0
                gain[0, q] = 0.0
            n_visited = np.uint64(0)
            k = np.uint64(0)
            while k < size:
                step = steps[start + k]
                reach = 1.0
                if k > 0:
                    parent = np.uint64(step["parent"])
                    same = np.uint64(step["same"])
                    share = step["share"]
                    hold = holds[same] * np.float64(lefts[parent] == step["is_left"])
                    holds[k] = hold
                    reach = 0.0
                    for q in range(len(times)):
                        factor = share * (1.0 - times[q]) + hold * times[q]
                        through = 1.0 / factor
                        carried = product[parent, q] * factor * inverse[same, q]
                        inverse[k, q] = through
                        product[k, q] = carried
                        gain[k, q] = weights[q] * (hold - share) * through
                        reach += weights[q] * carried
                visited[n_visited] = k
                n_visited += one
                if reach * step["spread"] <= tolerance:
                    for q in range(len(times)):
                        below[k, q] = step["value"] * product[k, q]
                    k += np.uint64(step["size"])
                else:
                    node = nodes[np.uint64(step["node"])]
                    lefts[k] = goes_left(category_words, node, row[np.uint64(node["feature"])])
                    for q in range(len(times)):
                        below[k, q] = 0.0
                    k += one
            while n_visited > one:
                n_visited -= one
                k = visited[n_visited]
                step = steps[start + k]
                parent = np.uint64(step["parent"])
                same = np.uint64(step["same"])
                change = 0.0
                for q in range(len(times)):
                    # the ancestor's edge will count this subtree too, with a factor that no longer holds below here
                    change += below[k, q] * (gain[k, q] - gain[same, q])
                    below[parent, q] += below[k, q]
                contributions[i, np.uint64(step["feature"])] += change
