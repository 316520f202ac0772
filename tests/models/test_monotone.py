# SPDX-License-Identifier: Apache-2.0
"""Where a feature may move the score one way only, no row and no pair of values moves it the other way."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ringfence.models import Encoder, Gbdt, fit_calibrator, train_gbdt
from tests.models.test_walker import table

SIGNS = [-1, 0, 0, 1, 0, 0]  # column 0 raises the risk, and is held against that; column 3 goes either way


@cache
def held() -> tuple[Encoder, Gbdt]:
    rows, labels = table(3_000)
    encoder = Encoder.fit(rows, [column == 2 for column in range(6)])
    params = {"num_leaves": 24, "min_data_in_leaf": 5, "learning_rate": 0.2, "feature_fraction": 0.8}
    gbdt = train_gbdt(
        encoder.apply(rows),
        labels,
        n_trees=30,
        seed=4,
        n_seeds=3,
        categories=encoder.category_columns,
        params={**params, "monotone_constraints": SIGNS},
    )
    return encoder, gbdt


def raw(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    encoder, gbdt = held()
    return gbdt.raw(encoder.apply(rows))


def swept(row: NDArray[np.float64], column: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = np.repeat(row[None], values.shape[0], axis=0)
    rows[:, column] = values
    return raw(rows)


@given(
    at=st.integers(0, 2_999),
    column=st.sampled_from([0, 3]),
    values=st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=40),
)
def test_no_pair_of_values_moves_the_score_the_wrong_way(at: int, column: int, values: list[float]) -> None:
    rows, _ = table(3_000)
    found = swept(rows[at], column, np.sort(np.array(values)))
    assert (np.diff(found) * SIGNS[column] >= 0.0).all()  # to the last bit: sums of ordered leaves round in order


def test_every_threshold_is_passed_the_right_way_and_the_calibrated_score_follows() -> None:
    rows, labels = table(3_000)
    nodes = held()[1].walker.nodes
    calibrator = fit_calibrator(raw(rows), labels)
    n_moves = 0
    for column in (0, 3):
        thresholds = nodes["threshold"][(nodes["feature"] == column) & (nodes["category_start"] < 0)]
        values = np.unique(np.concatenate([thresholds, np.nextafter(thresholds, np.inf)]))
        for row in rows[::150]:
            found = swept(row, column, values)
            moves = np.diff(found) * SIGNS[column]
            n_moves += int((moves > 0.0).sum())
            assert (moves >= 0.0).all()
            assert (np.diff(calibrator.apply(found)) * SIGNS[column] >= 0.0).all()
    assert n_moves > 100  # and the score does depend on these columns


def test_labels_alone_would_have_moved_it_the_other_way() -> None:
    rows, labels = table(3_000)
    encoder, _ = held()
    free = train_gbdt(encoder.apply(rows), labels, n_trees=30, seed=4, categories=encoder.category_columns)
    swept_rows = np.repeat(rows[:1], 50, axis=0)
    swept_rows[:, 0] = np.linspace(-3.0, 3.0, 50)
    assert free.raw(encoder.apply(swept_rows))[-1] > free.raw(encoder.apply(swept_rows))[0] + 0.5
