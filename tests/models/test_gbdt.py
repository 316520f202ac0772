# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from weakref import ref

import numpy as np
import pytest

from ringfence.models import (
    Gbdt,
    ModelShapeError,
    TooFewLabelsError,
    average_boosters,
    cut_into_bins,
    grow_curve,
    grow_trees,
    train_gbdt,
)
from tests.models.test_walker import table


def test_same_arguments_give_the_same_model_text_whatever_the_threads() -> None:
    rows, labels = table()
    texts = {
        train_gbdt(rows, labels, n_trees=5, seed=2, categories=(2,), num_threads=threads).text for threads in (1, 1, 2)
    }
    assert len(texts) == 1


def test_seeds_give_different_models() -> None:
    rows, labels = table()
    assert train_gbdt(rows, labels, n_trees=5, seed=2).text != train_gbdt(rows, labels, n_trees=5, seed=3).text


def test_importance_sums_to_one_and_finds_the_signal() -> None:
    rows, labels = table()
    importance = train_gbdt(rows, labels, n_trees=5, seed=2, params={"feature_fraction": 1.0}).gain_importance()
    assert importance.sum() == pytest.approx(1.0)
    assert importance.argmax() == 0


def test_growth_curve_ends_at_the_model_of_that_size() -> None:
    rows, labels = table()
    growth = grow_curve(cut_into_bins(rows, labels, seed=2, categories=(2,)), rows[:50], max_trees=12, step=5)
    assert growth.counts.tolist() == [5, 10, 12]
    fitted = train_gbdt(rows, labels, n_trees=12, seed=2, categories=(2,))
    np.testing.assert_allclose(growth.raw[-1], fitted.raw(rows[:50]), rtol=0, atol=1e-12)
    assert growth.text == fitted.text


def test_growth_tells_other_rows_after_any_number_of_trees() -> None:
    rows, labels = table()
    growth = grow_curve(cut_into_bins(rows, labels, seed=2, categories=(2,)), rows[:50], max_trees=12, step=5)
    for n_trees, raw in zip(growth.counts.tolist(), growth.raw, strict=True):
        np.testing.assert_allclose(growth.raw_after(n_trees, rows[:50]), raw, rtol=0, atol=1e-12)
    fitted = train_gbdt(rows, labels, n_trees=7, seed=2, categories=(2,))
    np.testing.assert_allclose(growth.raw_after(7, rows[50:90]), fitted.raw(rows[50:90]), rtol=0, atol=1e-12)


def test_boosters_that_share_bins_are_those_that_do_not() -> None:
    rows, labels = table()
    alone = [train_gbdt(rows, labels, n_trees=4, seed=seed, categories=(2,)).text for seed in (5, 6, 7)]
    together = train_gbdt(rows, labels, n_trees=4, seed=5, categories=(2,), n_seeds=3)
    assert together.text == average_boosters(alone)


def test_bins_found_from_fewer_rows_still_order_the_labels() -> None:
    rows, labels = table(4_000)
    raw = train_gbdt(rows, labels, n_trees=20, seed=2, categories=(2,), bin_rows=300).raw(rows)
    assert raw[labels == 1].mean() > raw[labels == 0].mean() + 0.5


def test_fewer_bins_of_a_number_leave_it_few_places_to_be_cut_and_categories_theirs() -> None:
    rng = np.random.default_rng(4)
    code = rng.integers(0, 150, 60_000)
    rows = np.column_stack([rng.normal(size=60_000), code.astype(float)])
    risky = rng.random(150) < 0.5
    labels = (rng.random(60_000) < 1.0 / (1.0 + np.exp(3.0 - rows[:, 0] - 2.0 * risky[code]))).astype(np.int64)
    bins = cut_into_bins(rows, labels, seed=2, categories=(1,), params={"feature_fraction": 1.0}, most_bins=8)
    fitted = grow_trees(bins, n_trees=30)
    by_number = fitted.raw(np.column_stack([np.linspace(-4.0, 4.0, 2_001), np.zeros(2_001)]))
    assert 2 <= np.unique(by_number).shape[0] <= 8
    by_code = fitted.raw(np.column_stack([np.zeros(150), np.arange(150.0)]))
    assert np.unique(by_code).shape[0] > 100
    assert by_code[risky].mean() > by_code[~risky].mean() + 0.5


def test_trees_grow_on_bins_after_the_rows_are_gone() -> None:
    rows, labels = table()
    own = rows.copy()
    there = ref(own)
    bins = cut_into_bins(own, labels, seed=2, categories=(2,))
    del own
    assert there() is None
    grown = [
        grow_trees(bins, n_trees=4, n_seeds=2),
        train_gbdt(rows, labels, n_trees=4, seed=2, categories=(2,), n_seeds=2),
    ]
    assert grown[0].text == grown[1].text


def test_progress_counts_every_tree_of_every_seed() -> None:
    rows, labels = table(200)
    seen: list[tuple[int, int]] = []
    fitted = train_gbdt(rows, labels, n_trees=2, seed=2, n_seeds=2, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert isinstance(fitted, Gbdt)
    assert fitted.n_trees == 4


def test_one_class_or_unequal_lengths_are_refused() -> None:
    rows, labels = table(100)
    with pytest.raises(TooFewLabelsError, match="0 fraud and 100 legit"):
        train_gbdt(rows, np.zeros(100, dtype=np.int64), n_trees=2, seed=1)
    with pytest.raises(ModelShapeError, match="do not go with"):
        train_gbdt(rows, labels[:50], n_trees=2, seed=1)
