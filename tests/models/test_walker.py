# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import cache

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.models import Gbdt, ModelShapeError, TreeWalker, UnsupportedModelError, average_boosters, train_gbdt
from ringfence.models._kernels_trees import GROUP
from tests.oracles import trees as oracle


def table(n: int = 1500, n_features: int = 6, seed: int = 3) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Numbers with NaN in some columns, none in column 0, a category in column 2, many zeros in column 4."""
    g = np.random.default_rng(seed)
    rows = g.normal(size=(n, n_features))
    rows[:, 2] = g.integers(0, 40, n)
    rows[g.random(n) < 0.7, 4] = 0.0
    risk = rows[:, 0] + (rows[:, 2] % 3 == 0) + 0.5 * rows[:, 1] * rows[:, 3] + g.normal(size=n)
    for column in (1, 2, 3):
        rows[g.random(n) < 0.15, column] = np.nan
    return rows, (risk > 1.5).astype(np.int64)


@cache
def model(n_trees: int = 12, n_seeds: int = 1, leaves: int = 12) -> Gbdt:
    rows, labels = table()
    params = {"num_leaves": leaves, "min_data_in_leaf": 10}
    return train_gbdt(rows, labels, n_trees=n_trees, seed=5, categories=(2,), params=params, n_seeds=n_seeds)


def strange_rows() -> NDArray[np.float64]:
    """Rows at the edges: NaN where training had none, thresholds themselves, unseen codes, infinities, denormals."""
    rows, _ = table(400, seed=8)
    rows[:60, 0] = np.nan
    rows[60:90, 4] = np.nan
    thresholds = model().walker.nodes["threshold"]
    features = model().walker.nodes["feature"]
    for at, (threshold, feature) in enumerate(zip(thresholds, features, strict=True)):
        if feature != 2:
            rows[(100 + at) % 400, feature] = threshold
    rows[90:95, 2] = [40.0, 1000.0, 31.0, 32.0, 39.0]
    rows[95:98, 1] = [np.inf, -np.inf, 1e-40]
    rows[98] = np.nan
    return rows


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_raw_score_is_bit_equal_to_lightgbm(n_seeds: int) -> None:
    fitted = model(n_seeds=n_seeds)
    booster = lgb.Booster(model_str=fitted.text)
    assert booster.num_trees() == 12 * n_seeds
    for rows in (table()[0], strange_rows()):
        expected = booster.predict(rows, raw_score=True, num_threads=1)
        assert fitted.raw(rows).tobytes() == np.asarray(expected).tobytes()


@pytest.mark.parametrize("categories", [(), (2,)])
def test_trees_of_several_groups_are_bit_equal_to_lightgbm(categories: tuple[int, ...]) -> None:
    rows, labels = table()
    params = {"num_leaves": 4, "min_data_in_leaf": 10}
    fitted = train_gbdt(rows, labels, n_trees=2 * GROUP + 5, seed=5, categories=categories, params=params)
    assert (fitted.walker.category_words.shape[0] > 0) == bool(categories)
    some = strange_rows()[60:120]
    expected = lgb.Booster(model_str=fitted.text).predict(some, raw_score=True, num_threads=1)
    assert fitted.raw(some).tobytes() == np.asarray(expected).tobytes()


def test_raw_score_equals_the_recursive_walk() -> None:
    dumped = lgb.Booster(model_str=model().text).dump_model()["tree_info"]
    rows = strange_rows()
    expected = []
    for row in rows.tolist():
        total = 0.0
        for tree in dumped:
            total += oracle.tree_value(tree["tree_structure"], row)
        expected.append(total)
    assert model().raw(rows).tolist() == expected


def test_row_alone_scores_the_same_bits_as_in_a_batch() -> None:
    rows = strange_rows()[:60]
    together = model().raw(rows)
    alone = np.concatenate([model().raw(rows[i : i + 1]) for i in range(60)])
    assert together.tobytes() == alone.tobytes()
    fast = model().walker.contributions(rows)
    fast_alone = np.concatenate([model().walker.contributions(rows[i : i + 1]) for i in range(60)])
    assert fast.tobytes() == fast_alone.tobytes()


def test_exact_contributions_equal_lightgbms_treeshap() -> None:
    rows = table()[0][:80]
    expected = np.asarray(lgb.Booster(model_str=model().text).predict(rows, pred_contrib=True, num_threads=1))
    np.testing.assert_allclose(model().contributions(rows), expected[:, :-1], rtol=0, atol=1e-10)
    assert model().walker.base == pytest.approx(expected[0, -1], abs=1e-12)


def test_exact_contributions_equal_shapley_values_by_definition() -> None:
    fitted = model(n_trees=2)
    dumped = lgb.Booster(model_str=fitted.text).dump_model()["tree_info"]
    rows = table()[0][:4]
    expected = [
        np.sum([oracle.shapley_values(tree["tree_structure"], row) for tree in dumped], axis=0) for row in rows.tolist()
    ]
    np.testing.assert_allclose(fitted.contributions(rows), expected, rtol=0, atol=1e-10)


def test_exact_contributions_and_base_sum_to_the_raw_score() -> None:
    rows = strange_rows()
    total = model().contributions(rows).sum(axis=1) + model().walker.base
    np.testing.assert_allclose(total, model().raw(rows), rtol=0, atol=1e-10)


def test_fast_contributions_name_the_same_first_feature_as_exact_ones() -> None:
    fitted = model(n_trees=30, leaves=31)
    rows = table(80, seed=11)[0]
    first = fitted.walker.contributions(rows).argmax(axis=1)
    assert np.mean(first == fitted.contributions(rows).argmax(axis=1)) >= 0.9


def test_walker_survives_its_bytes() -> None:
    walker = model().walker
    data = walker.to_bytes()
    again = TreeWalker.from_bytes(data)
    assert again.to_bytes() == data
    assert again.raw(strange_rows()).tobytes() == walker.raw(strange_rows()).tobytes()
    assert again.n_points_exact == walker.n_points_exact


def test_tree_of_a_single_leaf_adds_its_value() -> None:
    rows, labels = table(60)
    fitted = train_gbdt(rows, labels, n_trees=3, seed=1, params={"min_data_in_leaf": 1000})
    booster = lgb.Booster(model_str=fitted.text)
    assert fitted.raw(rows).tolist() == np.asarray(booster.predict(rows, raw_score=True)).tolist()
    assert not fitted.contributions(rows).any()


def test_mean_of_boosters_scores_the_mean_of_their_scores() -> None:
    rows, labels = table()
    texts = [train_gbdt(rows, labels, n_trees=6, seed=seed, categories=(2,)).text for seed in (5, 6)]
    mean = (Gbdt(texts[0]).raw(rows) + Gbdt(texts[1]).raw(rows)) / 2
    np.testing.assert_allclose(Gbdt(average_boosters(texts)).raw(rows), mean, rtol=0, atol=1e-12)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ModelShapeError, match=r"\(n, 6\)"):
        model().raw(np.zeros((2, 5)))


def test_models_the_walker_cannot_reproduce_are_refused() -> None:
    rows, labels = table(300)
    data = lgb.Dataset(np.nan_to_num(rows), labels % 3, params={"verbosity": -1})
    several = lgb.train({"objective": "multiclass", "num_class": 3, "verbosity": -1}, data, 2)
    with pytest.raises(UnsupportedModelError, match="several outputs"):
        TreeWalker.from_lightgbm(several.model_to_string())
    zero = lgb.train(
        {"objective": "binary", "zero_as_missing": True, "verbosity": -1},
        lgb.Dataset(rows, labels, params={"zero_as_missing": True, "verbosity": -1}),
        2,
    )
    with pytest.raises(UnsupportedModelError, match="zero_as_missing"):
        TreeWalker.from_lightgbm(zero.model_to_string())
