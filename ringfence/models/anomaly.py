# SPDX-License-Identifier: Apache-2.0
"""How unusual is an event? An isolation forest on engine features, which needs no label (Liu, Ting & Zhou, 2008).

Trees of random splits: what few splits set apart from all others is unusual. scikit-learn grows them; the walker that
serves boosted trees serves these as well, since a forest's path lengths add up as leaves do. A path's length says
nothing by itself, so that the model answers in *surprise*: minus the logarithm of the share of events seen in training
that are at least as unusual. 0 is the most ordinary, ln 1,000 = 6.9 is as rare as one event in a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.errors import ModelShapeError, TooFewEventsError
from ringfence.models.walker import TreeWalker

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = NDArray[np.float64]

N_TREES: Final = 100
SAMPLE: Final = 256  # events a tree; more of them hide what they should show (swamping and masking)
LEAST_EVENTS: Final = 32
MOST_EVENTS: Final = 20_000  # drawn of more: no tree sees more than SAMPLE, and these say what is usual
N_KNOTS: Final = 400
_LEAST_SHORTENED: Final = 1e-6  # splits, summed over the trees
_EULER_GAMMA: Final = 0.5772156649015329
_LARGEST: Final = float(np.finfo(np.float32).max)
_LEFT_IF_MISSING, _RIGHT_IF_MISSING = 10, 8  # decision types of LightGBM: NaN is told from numbers


@dataclass(frozen=True, eq=False)
class AnomalyModel:
    """A forest and what its path lengths mean.

    Attributes
    ----------
    walker : its trees, where a leaf's value is the length of the path to it; shorter is more unusual.
    lengths : (k,) summed path lengths of training events, strictly ascending.
    surprise : (k,) minus the logarithm of the share of them that is at least as unusual, descending.
    """

    walker: TreeWalker
    lengths: FloatArray
    surprise: FloatArray

    @property
    def n_features(self) -> int:
        return self.walker.n_features

    @property
    def n_trees(self) -> int:
        return int(self.walker.roots.shape[0])

    def raw(self, rows: FloatArray) -> FloatArray:
        """Return each row's surprise, shape (n,), >= 0; a row's bits do not depend on the rows beside it.

        Parameters
        ----------
        rows : shape (n, n_features), encoded float64; NaN where missing.

        Notes
        -----
        Between what training saw it is interpolated; beyond the most unusual of its events it goes on at the slope of
        the last tenth of the knots, so that the order of events never collapses.
        """
        total = self.walker.raw(_as_grown(rows))
        inside = np.interp(total, self.lengths, self.surprise)
        return np.asarray(inside + self.slope_beyond * np.maximum(self.lengths[0] - total, 0.0))

    def contributions(self, rows: FloatArray) -> FloatArray:
        """Return how much each feature shortens the way to a row, shape (n, n_features), in splits; TreeSHAP.

        Positive: the feature makes the event unusual.
        """
        return -self.walker.contributions(_as_grown(rows))

    def surprise_shares(self, rows: FloatArray) -> FloatArray:
        """Return each feature's part of a row's surprise above 1, the mean of all events; shape (n, n_features).

        In proportion to `contributions`; nothing where these add up to nothing.
        """
        splits = self.contributions(rows)
        shortened = splits.sum(axis=1)
        scale = np.zeros(rows.shape[0])
        np.divide(self.raw(rows) - 1.0, shortened, out=scale, where=np.abs(shortened) > _LEAST_SHORTENED)
        # A way shorter than the mean with less than the mean surprise is rounding between two means: it tells nothing.
        return np.asarray(np.maximum(scale, 0.0)[:, None] * splits)

    @cached_property
    def slope_beyond(self) -> float:
        """How much surprise each split adds by which a path is shorter than all that training saw."""
        tail = max(1, self.lengths.shape[0] // 10)
        gap = float(self.lengths[tail] - self.lengths[0])
        return float(self.surprise[0] - self.surprise[tail]) / gap

    def to_bytes(self) -> bytes:
        """Return an uncompressed npz; equal models give equal bytes."""
        buffer = BytesIO()
        trees = np.frombuffer(self.walker.to_bytes(), dtype=np.uint8)
        np.savez(buffer, trees=trees, lengths=self.lengths, surprise=self.surprise)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> AnomalyModel:
        with np.load(BytesIO(data), allow_pickle=False) as arrays:
            return cls(
                walker=TreeWalker.from_bytes(arrays["trees"].tobytes()),
                lengths=np.ascontiguousarray(arrays["lengths"]),
                surprise=np.ascontiguousarray(arrays["surprise"]),
            )


def train_anomaly(rows: FloatArray, *, seed: int, n_trees: int = N_TREES, sample: int = SAMPLE) -> AnomalyModel:
    """Grow a forest on events, whatever their labels. The same arguments give the same model.

    Parameters
    ----------
    rows : shape (n, n_features), encoded float64; NaN where missing.
    n_trees : >= 1.
    sample : events a tree, >= 2.

    Raises
    ------
    TooFewEventsError
        Where there are fewer than `LEAST_EVENTS` rows, or all rows are equal.
    """
    from sklearn.ensemble import IsolationForest  # late: serving reads forests and grows none

    if rows.ndim != 2:
        raise ModelShapeError(f"rows for an anomaly model: found shape {rows.shape}, expected (n, n_features)")
    if rows.shape[0] < LEAST_EVENTS:
        raise TooFewEventsError("an anomaly model", rows.shape[0], LEAST_EVENTS)
    if rows.shape[0] > MOST_EVENTS:
        rows = rows[np.sort(np.random.default_rng(seed).choice(rows.shape[0], MOST_EVENTS, replace=False))]
    grown = _as_grown(rows)
    forest = IsolationForest(n_estimators=n_trees, max_samples=min(sample, rows.shape[0]), random_state=seed)
    forest.fit(grown)
    columns = zip(forest.estimators_, forest.estimators_features_, strict=True)
    walker = TreeWalker.from_lightgbm(_text_of([(tree.tree_, kept) for tree, kept in columns], rows.shape[1]))
    return _ranked(walker, walker.raw(grown))


def _ranked(walker: TreeWalker, lengths: FloatArray) -> AnomalyModel:
    # Knots are closest where it matters, among the shortest paths: at evenly spaced surprise.
    ordered = np.sort(lengths)
    n = ordered.shape[0]
    places = np.unique(np.concatenate([np.geomspace(1, n, N_KNOTS), np.linspace(1, n, N_KNOTS)]).astype(np.int64)) - 1
    knots = np.unique(ordered[places])
    if knots.shape[0] < 2:
        raise TooFewEventsError("an anomaly model, which needs events that differ", 1, 2)
    share = np.searchsorted(ordered, knots, side="right") / n
    return AnomalyModel(walker=walker, lengths=knots, surprise=-np.log(share) + 0.0)


def _as_grown(rows: FloatArray) -> FloatArray:
    # scikit-learn grows trees on 32-bit values: compare the same ones, or an event at a threshold goes astray.
    bounded: FloatArray = np.clip(rows, -_LARGEST, _LARGEST).astype(np.float32).astype(np.float64)
    return bounded


def _text_of(trees: Sequence[tuple[Any, NDArray[np.int64]]], n_features: int) -> str:
    """Write a forest as LightGBM writes trees, which is what the walker reads."""
    blocks = [f"tree\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx={n_features - 1}\n"]
    blocks += [f"Tree={index}\n{_block_of(tree, columns)}\n" for index, (tree, columns) in enumerate(trees)]
    return "\n".join(blocks) + "\n\nend of trees\n"


def _block_of(tree: Any, columns: NDArray[np.int64]) -> str:
    is_leaf = tree.children_left < 0
    inner, leaf = np.cumsum(~is_leaf) - 1, np.cumsum(is_leaf) - 1
    place = np.where(is_leaf, ~leaf, inner)  # as in the text: an inner node by its number, a leaf by its complement
    depth = np.zeros(tree.node_count)
    for node in np.flatnonzero(~is_leaf):  # a child comes after its parent
        depth[tree.children_left[node]] = depth[tree.children_right[node]] = depth[node] + 1.0
    counts = tree.n_node_samples
    splits = np.flatnonzero(~is_leaf)
    missing = np.where(tree.missing_go_to_left[splits] == 1, _LEFT_IF_MISSING, _RIGHT_IF_MISSING)
    lines: dict[str, NDArray[Any]] = {
        "split_feature": columns[tree.feature[splits]],
        "threshold": tree.threshold[splits],
        "decision_type": missing,
        "left_child": place[tree.children_left[splits]],
        "right_child": place[tree.children_right[splits]],
        "internal_count": counts[splits],
        "leaf_value": depth[is_leaf] + expected_length(counts[is_leaf]),
        "leaf_count": counts[is_leaf],
    }
    return "\n".join(f"{name}={' '.join(map(repr, values.tolist()))}" for name, values in lines.items())


def expected_length(n_events: NDArray[np.integer[Any]]) -> FloatArray:
    """Return the mean length of a failed search among n events, c(n) of Liu et al.: what a leaf's own events add."""
    n = np.asarray(n_events, dtype=np.float64)
    many = np.maximum(n, 3.0)
    found = 2.0 * (np.log(many - 1.0) + _EULER_GAMMA) - 2.0 * (many - 1.0) / many
    return np.where(n <= 1.0, 0.0, np.where(n == 2.0, 1.0, found))
