# SPDX-License-Identifier: Apache-2.0
"""Boosted trees as flat arrays: LightGBM's raw score bit for bit, and TreeSHAP contributions cheap enough to serve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models._kernels_trees import GROUP, NODE, STEP, raw_rows, shapley_rows
from ringfence.models.errors import ModelShapeError, UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

FloatArray = NDArray[np.float64]

FAST_POINTS: Final = 2  # Gauss-Legendre points of `contributions` on the answer; measured in docs/adr/0004
FAST_COARSENESS: Final = 0.08
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_ZERO, _MISSING_NAN = 1, 2, 4, 8


@dataclass(frozen=True, eq=False)
class TreeWalker:
    """One or more LightGBM boosters of a single output, in tree order.

    Attributes
    ----------
    nodes : (n_inner,) NODE records of all trees.
    category_words : (n_words,) uint32, bitsets of the categorical splits.
    roots : (n_trees,) position of each root in `nodes`, or `~leaf`.
    leaf_value : (n_leaves,) float64.
    steps, step_start : (n_nodes,) STEP records in preorder, (n_trees + 1,) where each tree begins.
    n_features : columns of a row.
    base : mean of the raw score over the training rows, the contributions' starting point.
    """

    nodes: NDArray[np.void]
    category_words: NDArray[np.uint32]
    roots: NDArray[np.int32]
    leaf_value: FloatArray
    steps: NDArray[np.void]
    step_start: NDArray[np.int64]
    n_features: int
    base: float

    @classmethod
    def from_lightgbm(cls, text: str) -> TreeWalker:
        """Read the text form of a LightGBM model (`Booster.model_to_string()`).

        Raises
        ------
        UnsupportedModelError
            For linear leaves, several outputs, averaged outputs, or `zero_as_missing`.
        """
        return _Reader(text).walker()

    def raw(self, rows: FloatArray) -> FloatArray:
        """Return the log-odds of each row, bit-equal to `Booster.predict(rows, raw_score=True)`.

        Parameters
        ----------
        rows : shape (n, n_features), encoded float64, C order; NaN where missing.

        Returns
        -------
        shape (n,). A row's value does not depend on the rows beside it.
        """
        rows = self._checked(rows)
        raw = np.empty(rows.shape[0])
        place, unfinished = np.empty((2, GROUP), dtype=np.int32)
        raw_rows(self.nodes, self.category_words, self.roots, self.leaf_value, rows, place, unfinished, raw)
        return raw

    def contributions(
        self, rows: FloatArray, *, n_points: int = FAST_POINTS, coarseness: float = FAST_COARSENESS
    ) -> FloatArray:
        """Return what each feature adds to the log-odds: path-dependent TreeSHAP by quadrature.

        Parameters
        ----------
        rows : shape (n, n_features), encoded float64; NaN where missing.
        n_points : quadrature points, >= 1. Exact from half the largest number of distinct features on a path
            (`n_points_exact`); two differ from exact by far less than one reason from the next.
        coarseness : >= 0; a subtree that can move the score by no more than this share of a whole tree's mean spread
            counts as one leaf of its mean value. 0 looks at every leaf.

        Returns
        -------
        shape (n, n_features). With `n_points_exact` points and coarseness 0 this is TreeSHAP up to rounding, and a row
        sums to its raw score minus `base`. A row's bits do not depend on the rows beside it.
        """
        rows = self._checked(rows)
        out = np.zeros((rows.shape[0], self.n_features))
        shapley_rows(
            self.nodes,
            self.category_words,
            self.steps,
            self.step_start,
            *_quadrature(n_points),
            coarseness * self._tree_spread,
            _scratch(self._longest, n_points),
            rows,
            out,
        )
        return out

    @cached_property
    def _tree_spread(self) -> float:
        """Largest minus smallest leaf value of a tree, log-odds, mean over the trees."""
        return float(self.steps["spread"][self.step_start[:-1]].mean()) if self.roots.shape[0] else 0.0

    @cached_property
    def _longest(self) -> int:
        return int(np.diff(self.step_start).max(initial=1))

    @cached_property
    def n_points_exact(self) -> int:
        """Quadrature points from which `contributions` is exact TreeSHAP up to rounding."""
        n_distinct = np.zeros(self.steps.shape[0], dtype=np.int64)
        for start, stop in zip(self.step_start[:-1], self.step_start[1:], strict=True):
            for k in range(int(start) + 1, int(stop)):
                step = self.steps[k]
                n_distinct[k] = n_distinct[int(start) + step["parent"]] + (step["same"] == 0)
        return max(1, (int(n_distinct.max(initial=0)) + 1) // 2)

    def to_bytes(self) -> bytes:
        """Return an uncompressed npz; equal walkers give equal bytes."""
        buffer = BytesIO()
        np.savez(
            buffer,
            nodes=self.nodes,
            category_words=self.category_words,
            roots=self.roots,
            leaf_value=self.leaf_value,
            steps=self.steps,
            step_start=self.step_start,
            n_features=np.int64(self.n_features),
            base=np.float64(self.base),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> TreeWalker:
        with np.load(BytesIO(data), allow_pickle=False) as arrays:
            return cls(
                nodes=np.ascontiguousarray(arrays["nodes"]),
                category_words=np.ascontiguousarray(arrays["category_words"]),
                roots=np.ascontiguousarray(arrays["roots"]),
                leaf_value=np.ascontiguousarray(arrays["leaf_value"]),
                steps=np.ascontiguousarray(arrays["steps"]),
                step_start=np.ascontiguousarray(arrays["step_start"]),
                n_features=int(arrays["n_features"]),
                base=float(arrays["base"]),
            )

    def _checked(self, rows: FloatArray) -> FloatArray:
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ModelShapeError(
                f"rows for a tree model: found shape {rows.shape}, expected (n, {self.n_features}); "
                f"score with the release that belongs to this feature catalogue"
            )
        return np.ascontiguousarray(rows, dtype=np.float64)


class _Reader:
    """LightGBM's text format, `Tree=i` blocks of `key=value` lines, into the walker's arrays."""

    def __init__(self, text: str) -> None:
        header, *blocks = text.split("\n\n\nend of trees")[0].split("\nTree=")
        self._header = _pairs(header)
        if self._header.get("num_class", "1") != "1" or self._header.get("num_tree_per_iteration", "1") != "1":
            raise UnsupportedModelError("several outputs", "train a binary objective")
        if "average_output" in header.split("\n"):
            raise UnsupportedModelError("averaged output", "train with boosting=gbdt")
        self._trees = [_pairs(block) for block in blocks]
        self._nodes: list[tuple[float, int, int, int, int, int, int]] = []
        self._words: list[int] = []
        self._leaves: list[float] = []
        self._steps: list[tuple[float, float, float, int, int, int, int, int, int]] = []
        self._base = 0.0

    def walker(self) -> TreeWalker:
        roots, step_start = [], [0]
        for index, tree in enumerate(self._trees):
            roots.append(self._read_tree(index, tree))
            step_start.append(len(self._steps))
        return TreeWalker(
            nodes=np.array(self._nodes, dtype=NODE),
            category_words=np.array(self._words, dtype=np.uint32),
            roots=np.array(roots, dtype=np.int32),
            leaf_value=np.array(self._leaves, dtype=np.float64),
            steps=np.array(self._steps, dtype=STEP),
            step_start=np.array(step_start, dtype=np.int64),
            n_features=int(self._header["max_feature_idx"]) + 1,
            base=self._base,
        )

    def _read_tree(self, index: int, tree: dict[str, str]) -> int:
        if tree.get("is_linear", "0") != "0":
            raise UnsupportedModelError(f"linear leaves in tree {index}", "train with linear_tree=false")
        first_node, first_leaf = len(self._nodes), len(self._leaves)
        leaf_value = [float(value) for value in tree["leaf_value"].split()]
        self._leaves.extend(leaf_value)
        if len(leaf_value) == 1:
            self._steps.append((1.0, leaf_value[0], 0.0, -1, 0, 0, 0, 0, 1))
            self._base += leaf_value[0]
            return ~first_leaf
        feature = [int(value) for value in tree["split_feature"].split()]
        threshold = [float(value) for value in tree["threshold"].split()]
        decision = [int(value) for value in tree["decision_type"].split()]
        left = [int(value) for value in tree["left_child"].split()]
        right = [int(value) for value in tree["right_child"].split()]
        bounds = [int(value) for value in tree.get("cat_boundaries", "").split()]
        first_word = len(self._words)
        self._words.extend(int(value) for value in tree.get("cat_threshold", "").split())
        for node, kind in enumerate(decision):
            if kind & 12 == _MISSING_ZERO:
                raise UnsupportedModelError(f"zero_as_missing in tree {index}", "train with zero_as_missing=false")
            start, words = -1, 0
            if kind & _CATEGORICAL:
                at = int(threshold[node])
                start, words = first_word + bounds[at], bounds[at + 1] - bounds[at]
            # Where training saw no NaN in a feature, LightGBM reads a NaN as 0.
            nan_left = bool(kind & _DEFAULT_LEFT) if kind & 12 == _MISSING_NAN else threshold[node] >= 0.0
            to_left, to_right = (
                first_node + child if child >= 0 else ~(first_leaf + ~child) for child in (left[node], right[node])
            )
            self._nodes.append((threshold[node], feature[node], to_left, to_right, start, words, int(nan_left)))
        counts = [int(value) for value in tree["internal_count"].split()]
        leaf_counts = [int(value) for value in tree["leaf_count"].split()]
        self._base += sum(n * value for n, value in zip(leaf_counts, leaf_value, strict=True)) / counts[0]
        self._lay_steps(first_node, feature, left, right, counts, leaf_counts, leaf_value)
        return first_node

    def _lay_steps(
        self,
        first_node: int,
        feature: list[int],
        left: list[int],
        right: list[int],
        counts: list[int],
        leaf_counts: list[int],
        leaf_value: list[float],
    ) -> None:
        def cover(child: int) -> int:
            return counts[child] if child >= 0 else leaf_counts[~child]

        def measure(child: int) -> tuple[int, float, float, float]:
            """Steps, sum of value times cover, smallest and largest leaf value at and below."""
            if child < 0:
                value = leaf_value[~child]
                return 1, value * cover(child), value, value
            if child not in measured:
                a, b = measure(left[child]), measure(right[child])
                measured[child] = (1 + a[0] + b[0], a[1] + b[1], min(a[2], b[2]), max(a[3], b[3]))
            return measured[child]

        measured: dict[int, tuple[int, float, float, float]] = {}
        for child in range(len(counts) - 1, -1, -1):  # children have larger numbers, so that nothing recurses deeply
            measure(child)
        first = len(self._steps)
        # (node, parent step, is_left, feature -> its last step and share on the way here)
        pending: list[tuple[int, int, int, dict[int, tuple[int, float]]]] = [(0, 0, 0, {})]
        while pending:
            node, parent, is_left, seen = pending.pop()
            at = len(self._steps) - first
            share, same, split = 1.0, 0, 0
            if at > 0:
                above = self._steps[first + parent][3] - first_node
                split = feature[above]
                same, before = seen.get(split, (0, 1.0))
                share = before * cover(node) / cover(above)
                seen = {**seen, split: (at, share)}
            size, total, low, high = measure(node)
            inner = first_node + node if node >= 0 else -1
            mean = total / cover(node) if node >= 0 else leaf_value[~node]
            self._steps.append((share, mean, high - low, inner, parent, same, split, is_left, size))
            if node >= 0:
                pending.append((right[node], at, 0, seen))
                pending.append((left[node], at, 1, seen))


@cache
def _quadrature(n_points: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Gauss-Legendre points and weights on (0, 1)."""
    points, weights = np.polynomial.legendre.leggauss(n_points)
    return tuple(((points + 1.0) / 2.0).tolist()), tuple((weights / 2.0).tolist())


def _scratch(n_steps: int, n_points: int) -> tuple[NDArray[np.generic], ...]:
    points = (n_steps, n_points)
    return (
        np.empty(n_steps),  # holds
        np.empty(points),  # product
        np.empty(points),  # inverse
        np.empty(points),  # gain
        np.empty(points),  # below
        np.empty(n_steps, dtype=np.int32),  # lefts
        np.empty(n_steps, dtype=np.uint64),  # visited
    )


def _pairs(block: str) -> dict[str, str]:
    def lines() -> Iterator[tuple[str, str]]:
        for line in block.split("\n"):
            key, equals, value = line.partition("=")
            if equals:
                yield key, value

    return dict(lines())
