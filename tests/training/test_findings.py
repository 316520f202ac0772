# SPDX-License-Identifier: Apache-2.0
"""Money, drift, slices, delays and single columns against small cases worked out by hand or by chance alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ringfence.engine.catalogue import Feature
from ringfence.policy.load import policy_from_text
from ringfence.training.drift import drift_between, psi
from ringfence.training.label_delay import DAY_MS, label_delays, through_time
from ringfence.training.money import money_of
from ringfence.training.single_columns import single_columns
from ringfence.training.slices import amount_bands, auc_interval, count_ratio, value_slices

POLICY = policy_from_text(
    """
costs:
  currency: EUR
  missed_fraud: {amount_share: 1.0, fixed: 0}
  review: {cost: 5, detects: 0.9}
  false_decline: {fixed: 50, amount_share: 0}
""",
    where="test",
)


def test_money_is_what_the_actions_cost_at_the_true_label() -> None:
    #  event            fraud, 100 EUR   legit, 100 EUR   legit, 2 EUR   fraud, 1,000 EUR
    #  score            .5               .5               .001           .0001
    #  action           review           review           approve        approve
    #  cost             5 + .1 * 100     5                0              1,000
    found = money_of(
        np.array([1, 0, 0, 1], np.int8),
        np.array([0.5, 0.5, 0.001, 0.0001]),
        np.array([10_000.0, 10_000.0, 200.0, 100_000.0]),
        np.array([1, 2, 3, 4]),
        POLICY,
        n_days=2.0,
        alerts_per_day=[1, 4],
        seed=0,
    )
    assert {a.action: (a.n_fraud, a.n_legit, a.fraud_cost, a.legit_cost) for a in found.actions} == {
        "approve": (1, 1, pytest.approx(1000), 0),
        "review": (1, 1, pytest.approx(15), pytest.approx(5)),
        "decline": (0, 0, 0, 0),
    }
    assert found.cost == pytest.approx(1020)
    assert found.cost_approving_all == pytest.approx(1100)
    assert found.cost_knowing_all == 0
    assert found.saved.value == pytest.approx(80)
    assert [row.saved_per_day.value for row in found.at_capacity] == pytest.approx([42.5, (1100 - 10 - 100 - 20) / 2])
    assert found.actions[1].fraud_amount == pytest.approx(100)


def test_interval_of_the_saving_holds_the_true_mean() -> None:
    rng = np.random.default_rng(0)
    n_held = 0
    for seed in range(150):
        fraud = (rng.random(2_000) < 0.05).astype(np.int8)
        score = np.where(fraud == 1, 0.6, 0.3)  # everything is reviewed: saved = .9 * 100 * frauds - 5 * events
        found = money_of(
            fraud,
            score,
            np.full(2_000, 10_000.0),
            np.ones(2_000, np.int64),
            POLICY,
            n_days=1.0,
            alerts_per_day=[],
            seed=seed,
        )
        n_held += found.saved.low <= 2_000 * (0.05 * 90 - 5) <= found.saved.high
    assert n_held >= 0.9 * 150


def test_without_amounts_there_is_no_money_but_the_fixed_parts() -> None:
    found = money_of(
        np.array([1, 0], np.int8),
        np.array([0.9, 0.1]),
        np.full(2, np.nan),
        np.array([1, 2]),
        POLICY,
        n_days=1.0,
        alerts_per_day=[1],
        seed=0,
    )
    assert not found.has_amounts
    assert all(action.fraud_amount is None for action in found.actions)
    assert found.cost_approving_all == 0


def _feature(name: str, *, is_category: bool = False) -> Feature:
    return Feature(name=name, family="event", sentence=name, unit="", missing="", work="", is_category=is_category)


def test_stability_index_of_equal_samples_averages_what_chance_gives() -> None:
    rng = np.random.default_rng(3)
    features = [_feature(f"f{i}", is_category=i % 2 == 1) for i in range(200)]
    rows = rng.normal(size=(3_000, 200))
    rows[:, 1::2] = np.floor(rng.random((3_000, 100)) * 6)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    found = drift_between(rows, np.arange(2_000), np.arange(2_000, 3_000), features, what="", seed=0).features
    assert np.mean([one.psi for one in found]) == pytest.approx(np.mean([one.by_chance for one in found]), rel=0.1)
    assert max(one.psi for one in found) < 0.1


@pytest.mark.parametrize("is_category", [False, True])
def test_drift_is_seen_in_values_and_in_what_is_missing(is_category: bool) -> None:
    rng = np.random.default_rng(3)
    rows = np.floor(rng.random((2_000, 3)) * 8)
    rows[1_000:, 0] += 4
    rows[1_200:, 1] = np.nan
    features = [_feature(name, is_category=is_category) for name in ("moved", "lost", "same")]
    found = drift_between(rows, np.arange(1_000), np.arange(1_000, 2_000), features, what="", seed=0)
    index = {one.name: one.psi for one in found.features}
    assert found.n_much == 2
    assert index["same"] < 0.05
    assert found.features[-1].name == "same"
    lost = next(one for one in found.features if one.name == "lost")
    assert lost.after[-1] == pytest.approx(0.8)
    assert sum(lost.before) == pytest.approx(1.0)


def test_stability_index_is_symmetric() -> None:
    a, b = np.array([10.0, 20.0, 70.0]), np.array([30.0, 30.0, 40.0])
    assert psi(a, b) == pytest.approx(psi(b, a))


def test_area_of_a_handful_that_all_rank_first_is_not_certain() -> None:
    found = auc_interval(1.0, 2, 300)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.3 < found.low < 0.8
    assert auc_interval(1.0, 200, 300).low > 0.98


def test_area_interval_holds_the_true_area_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    n_held = 0
    for _ in range(400):
        fraud, legit = rng.normal(1.0, 1.0, 8), rng.normal(0.0, 1.0, 200)
        area = float(np.mean(fraud[:, None] > legit[None, :]))
        found = auc_interval(area, 8, 200)
        n_held += found.low <= 0.76025 <= found.high  # Phi(1 / sqrt 2)
    assert n_held / 400 > 0.92


def test_count_ratio_is_exact_where_nothing_was_seen() -> None:
    found = count_ratio(0, 3.0)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(3.689 / 3.0, abs=1e-3)  # 95 % upper bound of a count of 0


def test_largest_values_the_others_and_the_missing_hold_every_event_once() -> None:
    rng = np.random.default_rng(2)
    values = pl.Series("v", rng.choice(["a", "b", "c", *(f"rare {i}" for i in range(40))], 2_000).tolist())
    values = values.set(pl.Series(rng.random(2_000) < 0.1), None)
    fraud = (rng.random(2_000) < 0.1).astype(np.int8)
    columns = {"v": values, "constant": pl.Series(["x"] * 2_000)}
    found = value_slices(fraud, rng.random(2_000), columns, rng)
    assert sum(part.n for part in found) == 2_000
    assert sum(part.n_fraud for part in found) == fraud.sum()
    assert {part.group for part in found} == {"v"}
    assert found[-1].name == "missing"


def test_amount_bands_keep_their_order_and_need_four() -> None:
    bands = amount_bands(np.array([1.0, 2.0, 3.0, 400.0, np.nan, 5.0, 6.0, 7.0]))
    assert bands is not None
    assert bands.null_count() == 1
    assert bands[3].startswith("above")
    assert amount_bands(np.full(5, 3.0)) is None
    assert amount_bands(np.full(5, np.nan)) is None


def test_single_columns_find_any_shape_and_nothing_in_noise() -> None:
    rng = np.random.default_rng(4)
    n = 6_000
    x, noise, kind = rng.normal(size=n), rng.normal(size=n), np.floor(rng.random(n) * 300)
    odd = np.where(rng.random(n) < 0.5, np.nan, noise)
    risk = 0.02 + 0.5 * (np.abs(x) > 1.8) + 0.3 * (kind % 7 == 0)
    fraud = (rng.random(n) < np.minimum(risk, 1.0)).astype(np.int8)
    odd[(fraud == 1) & (rng.random(n) < 0.9)] = 77.0  # one magic number
    names = ["two-sided", "noise", "kind", "magic"]
    found = {
        one.name: one
        for one in single_columns(
            np.stack([x, noise, kind, odd], axis=1), fraud, names, [False, False, True, False], seed=0
        )
    }
    assert found["two-sided"].roc_auc.value == pytest.approx(roc_auc_score(fraud, np.abs(x) > 1.8), abs=0.03)
    assert found["noise"].roc_auc.value == pytest.approx(0.5, abs=0.04)
    assert found["kind"].average_precision.value > 1.5 * fraud.mean()
    exact = average_precision_score(fraud, (odd == 77.0).astype(float))
    assert found["magic"].average_precision.value == pytest.approx(exact, abs=0.05)
    assert found["magic"].roc_auc.low > 0.9


def test_a_column_among_many_is_told_what_it_is_told_alone() -> None:
    rng = np.random.default_rng(6)
    rows = np.floor(rng.random((400, 150)) * 9)
    fraud = (rng.random(400) < 0.2 + 0.05 * rows[:, 130]).astype(np.int8)
    names = [f"c{at}" for at in range(150)]
    features = [_feature(name, is_category=False) for name in names]
    ranked = {one.name: one for one in single_columns(rows, fraud, names, [False] * 150, seed=0, n_intervals=0)}
    before, after = np.arange(250), np.arange(250, 400)
    drifts = {one.name: one for one in drift_between(rows, before, after, features, what="", seed=0).features}
    for at in (0, 63, 64, 130, 149):
        own, name = rows[:, [at]], names[at]
        (alone,) = single_columns(own, fraud, [name], [False], seed=0, n_intervals=0)
        assert (ranked[name].column, alone.column) == (at, 0)
        assert ranked[name].roc_auc.value == alone.roc_auc.value
        assert drift_between(own, before, after, [features[at]], what="", seed=0).features == [drifts[name]]


def test_label_delay_and_buckets_count_every_event_once() -> None:
    times = np.arange(400) * DAY_MS
    fraud = (np.arange(400) % 4 == 0).astype(np.int8)
    delays = label_delays(times, times + np.where(fraud == 1, 10, 2) * DAY_MS, fraud)
    assert [(one.label, one.n, one.median_days) for one in delays] == [("fraud", 100, 10.0), ("legit", 300, 2.0)]
    assert delays[0].share[-1] == 1.0
    buckets = through_time(times, fraud, np.full(400, 0.25))
    assert sum(bucket.n for bucket in buckets) == 400
    assert sum(bucket.n_fraud for bucket in buckets) == 100
    assert all(bucket.low <= bucket.mean_score <= bucket.high for bucket in buckets)
