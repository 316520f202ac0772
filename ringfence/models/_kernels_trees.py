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

BLOCK = 64  # rows that share a tree's nodes in the cache

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
def goes_left(nodes, category_words, node, value):
    start = nodes[node]["category_start"]
    if start < 0:
        # value <= threshold is False for NaN, which then follows the side that training chose for it
        return (value <= nodes[node]["threshold"]) | ((value != value) & (nodes[node]["nan_left"] == 1))
    if value != value or value < 0.0 or value >= 32.0 * nodes[node]["category_words"]:
        return False
    code = int(value)
    return ((category_words[start + (code >> 5)] >> np.uint32(code & 31)) & np.uint32(1)) == np.uint32(1)


@njit(cache=True, nogil=True)
def raw_rows(nodes, category_words, roots, leaf_value, rows, raw):
    # Blocks of rows inside trees: a tree's nodes stay in the first-level cache for the whole block, while every row
    # still adds its leaves in tree order, so that a row alone and a row in a batch get the same bits.
    n_rows = rows.shape[0]
    for first in range(0, n_rows, BLOCK):
        last = min(first + BLOCK, n_rows)
        for i in range(first, last):
            raw[i] = 0.0
        for tree in range(roots.shape[0]):
            root = roots[tree]
            for i in range(first, last):
                node = root
                while node >= 0:
                    if goes_left(nodes, category_words, node, rows[i, nodes[node]["feature"]]):
                        node = nodes[node]["left"]
                    else:
                        node = nodes[node]["right"]
                raw[i] += leaf_value[~node]


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
                    node = np.uint64(step["node"])
                    lefts[k] = goes_left(nodes, category_words, node, row[np.uint64(nodes[node]["feature"])])
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
