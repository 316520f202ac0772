# SPDX-License-Identifier: Apache-2.0
"""Features that tell the time are found, others that merely drift are not."""

from __future__ import annotations

import numpy as np
import pytest

from ringfence.training.clocks import clocks
from ringfence.training.examples import Examples
from ringfence.training.fitting import fit
from ringfence.training.folds import expanding_folds

N = 3_000
TIME = np.arange(N, dtype=np.int64) * 60_000


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Draw rows of (age, month, drifting number, late, sparse, signal) and labels whose rate jumps half-way."""
    rng = np.random.default_rng(3)
    signal = rng.normal(size=N)
    at = np.arange(N) / N
    rate = np.where(at < 0.5, 0.3, 0.02)
    fraud = (rng.random(N) < rate * np.exp(signal) / np.exp(0.5)).astype(np.int8)
    late = np.where(at > 0.35, rng.normal(size=N), np.nan)
    sparse = np.where(np.arange(N) % 300 == 0, at, np.nan)
    rows = np.column_stack([at * 100, np.floor(at * 12), rng.normal(size=N) + at, late, sparse, signal])
    return rows, fraud


def test_columns_with_values_that_never_come_back_are_clocks() -> None:
    rows, fraud = drawn()
    folds = expanding_folds(TIME, TIME, fraud)
    assert clocks(rows, folds, [False, True, False, False, False, False]).tolist() == [0, 1]


def test_distance_of_a_category_is_the_share_that_would_have_to_move() -> None:
    fraud = np.tile([0, 1], N // 2).astype(np.int8)
    folds = expanding_folds(TIME, TIME, fraud, n_blocks=1, first_share=0.5)
    later = np.arange(N) >= N // 2
    for share, expected in ((0.7, []), (0.9, [0])):
        # a share of the later events has a code of its own between codes of the earlier ones
        own = later & (np.arange(N) % 10 < 10 * share)
        codes = np.where(own, 1.0, np.where(np.arange(N) % 2 == 0, 0.0, 2.0))
        assert clocks(codes[:, None], folds, [True]).tolist() == expected


@pytest.mark.parametrize("has_times", [True, False])
def test_trees_never_ask_a_clock_unless_the_file_has_no_times(has_times: bool) -> None:
    rows, fraud = drawn()
    examples = Examples(
        seq=np.arange(N),
        event_id=tuple(map(str, range(N))),
        event_time_ms=TIME,
        known_at_ms=TIME,
        settled_at_ms=TIME,
        amount_minor=np.zeros(N, dtype=np.int64),
        fraud=fraud,
        until_seq=N,
        n_unlabelled=0,
    )
    before = rows.copy()
    fitted = fit(rows, examples, is_category=[False, True, False, False, False, False], has_times=has_times)
    assert np.array_equal(rows, before, equal_nan=True)
    gain = fitted.ensemble.gbdt.gain_importance()
    assert fitted.clocks.tolist() == ([0, 1] if has_times else [])
    assert (gain[:2].sum() > 0) is not has_times
