# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from ringfence.training.folds import expanding_folds

DAY_MS = 86_400_000


def _history(n: int, *, delay_days: float, share: float = 0.2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 100 * DAY_MS, n))
    return times, times + int(delay_days * DAY_MS), (rng.random(n) < share).astype(np.int8)


def test_every_example_after_the_first_share_is_emitted_once() -> None:
    times, known, fraud = _history(1000, delay_days=2)
    folds = expanding_folds(times, known, fraud, n_blocks=5, first_share=0.3)
    emitted = np.concatenate([fold.emit for fold in folds])
    assert emitted.tolist() == list(range(300, 1000))


def test_no_fold_fits_on_its_own_block_or_later() -> None:
    times, known, fraud = _history(1000, delay_days=2)
    for fold in expanding_folds(times, known, fraud):
        assert times[fold.fit].max() < times[fold.emit].min() == fold.start_ms


#  days    0 ........ 30 .... 100
#  delay 2 d: a fold starting at day 30 fits labels known before day 30, so events before day 28
def test_labels_not_known_at_the_start_of_a_block_are_not_fitted() -> None:
    times, known, fraud = _history(1000, delay_days=2)
    folds = expanding_folds(times, known, fraud)
    assert len(folds) == 5
    for fold in folds:
        assert fold.label_delay
        assert known[fold.fit].max() < fold.start_ms


def test_a_delay_as_long_as_the_span_falls_back_to_plain_time_order() -> None:
    times, known, fraud = _history(1000, delay_days=100)
    folds = expanding_folds(times, known, fraud)
    assert len(folds) == 5
    assert not any(fold.label_delay for fold in folds)


def test_a_burst_in_one_millisecond_is_never_cut_in_two() -> None:
    times = np.repeat(np.arange(10) * DAY_MS, 50)
    fraud = np.tile(np.array([1, 0, 0, 0, 0], dtype=np.int8), 100)
    for fold in expanding_folds(times, times, fraud, n_blocks=4, first_share=0.33):
        assert not set(times[fold.fit]) & set(times[fold.emit])


def test_too_few_frauds_give_no_folds() -> None:
    times, known, _ = _history(100, delay_days=1)
    assert expanding_folds(times, known, np.zeros(100, dtype=np.int8)) == []
    empty = np.zeros(0, dtype=np.int64)
    assert expanding_folds(empty, empty, np.zeros(0, dtype=np.int8)) == []


def test_nonsense_shares_are_refused() -> None:
    times, known, fraud = _history(100, delay_days=1)
    with pytest.raises(ValueError, match="first_share"):
        expanding_folds(times, known, fraud, first_share=1.0)
