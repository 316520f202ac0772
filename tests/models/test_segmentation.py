# SPDX-License-Identifier: Apache-2.0
"""Segments by k-means: against a plain twin and scikit-learn, and what is promised about missing values and bits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from ringfence.models import ModelShapeError, Segmentation, TooFewDistinctError
from ringfence.models.segmentation import MOST_ROWS

#  feature rows: column 0 is not looked at; amount in column 1, age in column 2
NAMES, COLUMNS = ("amount", "age"), (1, 2)
PLACES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])


def heaps(n: int = 600, seed: int = 1) -> NDArray[np.float64]:
    """Three heaps of 1/2, 1/3 and 1/6 of the rows around PLACES."""
    rng = np.random.default_rng(seed)
    heap = np.repeat([0, 1, 2], [n // 2, n // 3, n - n // 2 - n // 3])
    points = PLACES[heap] + rng.normal(scale=0.5, size=(n, 2))
    return np.column_stack([rng.normal(size=n), points])[rng.permutation(n)]


def fitted(rows: NDArray[np.float64], k: int = 3, seed: int = 0) -> Segmentation:
    return Segmentation.fit(rows, NAMES, COLUMNS, k=k, seed=seed)


def twin_of(segmentation: Segmentation, row: NDArray[np.float64]) -> int:
    """The nearest centre of one row, by plain loops."""
    point = []
    for scale, column in zip(segmentation.scales, segmentation.columns, strict=True):
        value = row[column]
        point.append(0.0 if math.isnan(value) else (min(max(value, scale.low), scale.high) - scale.mean) / scale.spread)
        if scale.tells_missing:
            point.append(float(math.isnan(value)))
    squares = [sum((a - b) ** 2 for a, b in zip(point, centre, strict=True)) for centre in segmentation.centres]
    return 1 + squares.index(min(squares))


def test_heaps_become_segments_the_largest_first() -> None:
    segmentation = fitted(heaps())
    assert segmentation.sizes == (300, 200, 100)
    assert segmentation.of(np.column_stack([np.zeros(3), PLACES])).tolist() == [1, 2, 3]
    assert segmentation.names == ("1: low amount", "2: high amount", "3: high age, low amount")


def test_rows_are_given_to_the_centre_that_plain_loops_find() -> None:
    rows = heaps(200, seed=5)
    rows[::7, 1], rows[::11, 2] = np.nan, np.nan
    segmentation = fitted(rows, k=5)
    assert any(scale.tells_missing for scale in segmentation.scales)
    assert segmentation.of(rows).tolist() == [twin_of(segmentation, row) for row in rows]


def test_sum_of_squares_is_no_worse_than_that_of_scikit_learn() -> None:
    rows = np.random.default_rng(3).normal(size=(500, 3))
    segmentation = fitted(rows, k=6)
    scales = segmentation.scales
    points = np.stack(
        [(np.clip(rows[:, c], s.low, s.high) - s.mean) / s.spread for c, s in zip(COLUMNS, scales, strict=True)], axis=1
    )
    ours = ((points - np.array(segmentation.centres)[segmentation.of(rows) - 1]) ** 2).sum()
    theirs = KMeans(n_clusters=6, n_init=5, random_state=0).fit(points).inertia_
    assert ours <= 1.03 * theirs


def test_each_centre_is_the_mean_of_its_rows() -> None:
    rows = np.random.default_rng(4).normal(size=(400, 3))
    segmentation = fitted(rows, k=4)
    segment = segmentation.of(rows)
    for number, centre in enumerate(segmentation.centres, start=1):
        mine = rows[segment == number][:, [1, 2]]
        scaled = [(np.clip(mine[:, i], s.low, s.high) - s.mean) / s.spread for i, s in enumerate(segmentation.scales)]
        np.testing.assert_allclose(np.mean(scaled, axis=1), centre, rtol=1e-9, atol=1e-12)
    assert np.bincount(segment, minlength=5)[1:].tolist() == list(segmentation.sizes)


def test_a_missing_value_is_a_place_of_its_own_where_it_is_common_and_the_mean_where_it_is_not() -> None:
    rows = heaps()
    few, many = rows.copy(), rows.copy()
    few[:2, 1] = np.nan
    many[:240, 1] = np.nan
    assert [scale.tells_missing for scale in fitted(few).scales] == [False, False]
    assert [scale.tells_missing for scale in fitted(many).scales] == [True, False]
    apart = Segmentation.fit(many, ("amount",), (1,), k=3, seed=0)
    assert any("no amount" in name for name in apart.names)
    blank = np.full((1, 3), np.nan)
    assert 1 <= fitted(few).of(blank)[0] <= 3


def test_one_wild_row_does_not_take_a_segment_for_itself() -> None:
    rows = heaps()
    rows[0, 1] = 1e12
    assert min(fitted(rows).sizes) > 90


def test_a_feature_that_never_varies_or_never_is_there_moves_nothing() -> None:
    rows = heaps()
    rows[:, 2] = 7.0
    assert len({*fitted(rows, k=2).of(rows).tolist()}) == 2
    rows[:, 2] = np.nan
    assert len({*fitted(rows, k=2).of(rows).tolist()}) == 2


def test_the_same_rows_and_seed_give_the_same_bytes_and_json_keeps_them() -> None:
    rows = heaps()
    one = fitted(rows)
    assert fitted(rows).to_json() == one.to_json()
    assert Segmentation.from_json(one.to_json()) == one
    assert Segmentation.from_json(one.to_json()).of(rows).tobytes() == one.of(rows).tobytes()


def test_a_row_alone_has_the_segment_that_it_has_in_a_batch() -> None:
    rows = np.random.default_rng(6).normal(size=(300, 3))
    segmentation = fitted(rows, k=7)
    alone = [int(segmentation.of(rows[i : i + 1])[0]) for i in range(len(rows))]
    assert alone == segmentation.of(rows).tolist()


def test_many_rows_are_drawn_from() -> None:
    rows = heaps(MOST_ROWS + 2_000)
    assert sum(fitted(rows).sizes) == MOST_ROWS


def test_fewer_points_than_segments_are_refused() -> None:
    rows = np.array(list(itertools.product([1.0], [1.0, 2.0], [5.0]))).repeat(20, axis=0)
    assert fitted(rows, k=2).sizes == (20, 20)
    with pytest.raises(TooFewDistinctError, match=r"found 2 different rows of amount, age, fewer than the 3"):
        fitted(rows, k=3)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ModelShapeError, match=r"\(n, 3\)"):
        fitted(heaps()).of(np.zeros((1, 2)))
