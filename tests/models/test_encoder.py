# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from ringfence.models import Encoder, ModelShapeError

#  column 0 a number, column 1 a category: 7.0 three times, 9.0 twice, 5.0 once, one missing
ROWS = np.array([[0.5, 7.0], [1.5, 9.0], [np.nan, 7.0], [2.0, 5.0], [2.5, 7.0], [3.0, np.nan], [3.5, 9.0]])


def test_codes_go_by_frequency_with_rare_unseen_and_missing_apart() -> None:
    encoder = Encoder.fit(ROWS, [False, True])
    assert encoder.category_columns == (1,)
    given = np.array([[1.0, 7.0], [1.0, 9.0], [1.0, 5.0], [1.0, 123.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(encoder.apply(given)[:, 1], [0.0, 1.0, 2.0, 2.0, np.nan])
    np.testing.assert_array_equal(encoder.apply(given)[:, 0], given[:, 0])


def test_encoding_does_not_change_the_given_rows() -> None:
    before = ROWS.copy()
    Encoder.fit(ROWS, [False, True]).apply(ROWS)
    np.testing.assert_array_equal(ROWS, before)


def test_a_copy_of_ones_own_is_encoded_where_it_lies() -> None:
    rows = np.array([[5.0, 1.0], [5.0, 2.0], [9.0, 3.0], [9.0, np.nan]])
    encoder = Encoder.fit(rows, [True, False])
    own = rows.copy()
    assert encoder.apply(own, in_place=True).tobytes() == encoder.apply(rows).tobytes()
    assert own.tobytes() == encoder.apply(rows).tobytes()


def test_vocabulary_is_capped_at_the_most_frequent() -> None:
    encoder = Encoder.fit(ROWS, [False, True], max_codes=1, min_count=1)
    np.testing.assert_array_equal(encoder.apply(ROWS)[:, 1], [0.0, 1.0, 0.0, 1.0, 0.0, np.nan, 1.0])


def test_column_without_any_value_encodes_everything_as_unseen() -> None:
    encoder = Encoder.fit(np.full((3, 1), np.nan), [True])
    np.testing.assert_array_equal(encoder.apply(np.array([[4.0], [np.nan]])), [[0.0], [np.nan]])


def test_row_alone_encodes_as_in_a_batch() -> None:
    encoder = Encoder.fit(ROWS, [False, True])
    together = encoder.apply(ROWS)
    assert together.tobytes() == np.concatenate([encoder.apply(ROWS[i : i + 1]) for i in range(7)]).tobytes()


def test_encoder_survives_its_json() -> None:
    g = np.random.default_rng(1)
    hashes = np.floor(g.random((50, 1)) * 2**52)
    encoder = Encoder.fit(np.repeat(hashes, 2, axis=0), [True])
    assert Encoder.from_json(encoder.to_json()) == encoder


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ModelShapeError, match=r"\(n, 2\)"):
        Encoder.fit(ROWS, [False, True]).apply(np.zeros((1, 3)))
    with pytest.raises(ModelShapeError, match="category flags"):
        Encoder.fit(ROWS, [True])
