# SPDX-License-Identifier: Apache-2.0
"""The linear model: a score is its shares and nothing else, whatever is asked beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ringfence.models.branches import LINEAR, STORED
from ringfence.models.errors import ModelShapeError
from ringfence.models.linear import LinearModel
from ringfence.models.seen import Seen

N_CODES = 4


def model(seed: int = 0) -> LinearModel:
    """Five numbers, of which one says nothing, and a category in the third column."""
    rng = np.random.default_rng(seed)
    n = 6
    slope = rng.normal(size=n)
    slope[[2, 4]] = 0.0
    return LinearModel(
        slope=slope,
        centre=rng.normal(size=n),
        low=np.full(n, -3.0),
        high=np.full(n, 5.0),
        present=rng.normal(size=n),
        missing=rng.normal(size=n),
        begins=np.array([0, 0, 0, N_CODES + 1, N_CODES + 1, N_CODES + 1, N_CODES + 1]),
        table=rng.normal(size=N_CODES + 1),
        intercept=-2.5,
    )


def drawn(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 6)) * 10.0 ** rng.integers(-3, 6, (n, 6))
    rows[:, 2] = rng.integers(0, N_CODES + 1, n)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    rows[0] = [np.inf, -np.inf, N_CODES, 0.0, np.inf, 1e300]
    rows[1] = np.nan
    return rows


def share(one: LinearModel, value: float, at: int) -> float:
    """The slow twin of the kernel, as the module's docstring has it."""
    if math.isnan(value):
        return float(one.missing[at])
    codes = one.table[one.begins[at] : one.begins[at + 1]]
    if codes.shape[0]:
        return float(codes[int(value)])
    if one.slope[at] == 0.0:
        return float(one.present[at])
    size = math.copysign(math.log1p(abs(value)), value) if math.isfinite(value) else value
    return float(one.slope[at] * (min(max(size, one.low[at]), one.high[at]) - one.centre[at]) + one.present[at])


def test_shares_are_those_of_the_equation_and_add_up_to_the_score() -> None:
    rows = drawn(200)
    shares = model().shares(Seen(rows), rows)
    slow = np.array([[share(model(), value, at) for at, value in enumerate(row)] for row in rows.tolist()])
    np.testing.assert_allclose(shares, slow, rtol=1e-14, atol=1e-14)
    assert np.isfinite(shares).all()
    np.testing.assert_allclose(shares.sum(axis=1) + model().intercept, model().raw(Seen(rows), rows), rtol=1e-12)


def test_a_row_has_the_same_bits_alone_in_any_order_and_in_a_batch() -> None:
    rows = drawn(50)
    whole = model().raw_of(rows)
    np.testing.assert_array_equal(np.concatenate([model().raw_of(row[None, :]) for row in rows]), whole)
    np.testing.assert_array_equal(model().raw_of(rows[::-1]), whole[::-1])


def test_what_is_kept_is_what_was_fitted() -> None:
    data = model().to_bytes()
    again = STORED[LINEAR].read(data)
    rows = drawn(20)
    np.testing.assert_array_equal(again.raw(Seen(rows), rows), model().raw_of(rows))
    assert again.to_bytes() == data == model().to_bytes()
    assert again.n_features == 6
    assert not again.needs


def test_another_base_rate_moves_all_scores_alike() -> None:
    rows = drawn(20)
    np.testing.assert_allclose(model().shifted(0.7).raw_of(rows), model().raw_of(rows) + 0.7, rtol=1e-12)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ModelShapeError, match=r"expected \(n, 6\)"):
        model().raw_of(np.zeros((3, 5)))
