# SPDX-License-Identifier: Apache-2.0
"""How the linear branch is learnt: from the past alone, from what tells something, and whatever a column looks like."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from ringfence.models.encoder import Encoder
from ringfence.models.metrics import roc_auc
from ringfence.models.seen import Seen
from ringfence.training import linear
from ringfence.training.evidence import MOST, fit_evidence
from ringfence.training.folds import expanding_folds
from ringfence.training.learner import Task
from ringfence.training.linear import LinearLearner

N = 1_500
USEFUL, CATEGORY, EMPTY, CONSTANT, RARE, CLOCK, FIRST_NOISE = range(7)
FAMILIES = [*["event"] * 6, *["noise"] * 34]


def task(seed: int = 0, *, n: int = N) -> Task:
    """A number and a category that tell something, columns that cannot, and thirty-four that say nothing."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 40))
    rows[:, CATEGORY] = rng.choice([11.0, 22.0, 33.0], n)
    odds = -3.0 + rows[:, USEFUL] + 1.5 * (rows[:, CATEGORY] == 22.0)
    fraud = (rng.random(n) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)
    rows[:, USEFUL] = np.exp(3.0 * rows[:, USEFUL])
    rows[rng.random(n) < 0.1, USEFUL] = np.nan
    rows[:, EMPTY], rows[:, CONSTANT], rows[:, RARE] = np.nan, 7.0, np.nan
    rows[:3, RARE] = 1.0
    time_ms = np.arange(n, dtype=np.int64)
    rows[:, CLOCK] = time_ms
    return Task(
        rows=rows,
        fraud=fraud,
        event_time_ms=time_ms,
        folds=expanding_folds(time_ms, time_ms, fraud),
        is_category=[at == CATEGORY for at in range(40)],
        unread=np.array([CLOCK]),
        seed=0,
        n_threads=1,
    )


def test_blocks_are_forecast_from_what_came_before_them() -> None:
    given = task()
    said = LinearLearner(FAMILIES).out_of_fold(given, most=None)
    assert said is not None
    emitted = np.concatenate([fold.emit for fold in given.folds])
    assert np.isfinite(said[emitted]).all()
    assert np.isnan(np.delete(said, emitted)).all()
    assert roc_auc(given.fraud[emitted], said[emitted]) > 0.75
    last = given.folds[-1].emit
    changed = Task(**{name: getattr(given, name) for name in given.__struct_fields__} | {"fraud": given.fraud.copy()})
    changed.fraud[last] = 1 - changed.fraud[last]
    again = LinearLearner(FAMILIES).out_of_fold(changed, most=None)
    assert again is not None
    moved = again[emitted] - said[emitted]  # labels of the last block change the base rate of all, and nothing else
    assert np.ptp(moved) < 1e-9


def test_shares_have_mean_zero_and_columns_that_say_nothing_have_none() -> None:
    given = task()
    encoder = Encoder.fit(given.rows, given.is_category)
    model = LinearLearner(FAMILIES).fit(given, encoder)
    encoded = encoder.apply(given.rows)
    shares = model.shares(Seen(given.rows), encoded)
    np.testing.assert_allclose(shares.mean(axis=0), 0.0, atol=1e-9)
    for column in (EMPTY, CONSTANT, RARE, CLOCK):
        assert not shares[:, column].any()
    by_size = shares.std(axis=0)
    assert set(np.argsort(-by_size)[:2].tolist()) == {USEFUL, CATEGORY}
    assert by_size[FIRST_NOISE:].max() < 0.2 * by_size[USEFUL]
    assert model.probability(model.raw_of(encoded)).sum() == pytest.approx(given.fraud.sum(), rel=0.01)


def test_the_same_examples_make_the_same_model() -> None:
    given = task(n=600)
    encoder = Encoder.fit(given.rows, given.is_category)
    assert (
        LinearLearner(FAMILIES).fit(given, encoder).to_bytes() == LinearLearner(FAMILIES).fit(given, encoder).to_bytes()
    )


def test_no_bit_depends_on_how_many_folds_are_fitted_at_once() -> None:
    learner, given = LinearLearner(FAMILIES), task()
    with threadpool_limits(4, user_api="blas"):  # as where the environment sets no limit
        in_turn, *beside = (
            learner.out_of_fold(msgspec.structs.replace(given, n_threads=n_threads), most=None)
            for n_threads in (1, 2, 4, 4)
        )
    for said in beside:
        np.testing.assert_array_equal(said, in_turn)


def test_categories_never_seen_score_as_rare_ones() -> None:
    given = task(n=600)
    encoder = Encoder.fit(given.rows, given.is_category)
    model = LinearLearner(FAMILIES).fit(given, encoder)
    rows = given.rows[:2].copy()
    rows[:, CATEGORY] = [55.0, 66.0]
    shares = model.shares(Seen(rows), encoder.apply(rows))
    assert shares[0, CATEGORY] == shares[1, CATEGORY]


def test_a_past_of_one_class_teaches_nothing() -> None:
    given = task(n=600)
    given.fraud[given.folds[0].fit] = 0
    assert LinearLearner(FAMILIES).out_of_fold(given, most=None) is None


def test_rows_without_any_value_teach_nothing() -> None:
    given = task(n=600)
    given.rows[:] = np.nan
    assert LinearLearner().out_of_fold(given, most=None) is None


def test_drawn_legit_examples_do_not_move_the_base_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    given = task(n=4_000)
    encoder = Encoder.fit(given.rows, given.is_category)
    monkeypatch.setattr(linear, "MOST_LEGIT", 1_000)
    raw = LinearLearner(FAMILIES).fit(given, encoder).raw_of(encoder.apply(given.rows))
    assert float((1.0 / (1.0 + np.exp(-raw))).sum()) == pytest.approx(float(given.fraud.sum()), rel=0.15)


def test_a_group_that_tells_nothing_is_not_listened_to() -> None:
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(800, 60))
    odds = -1.0 + columns[:, :5] @ np.full(5, 0.5)
    fraud = (rng.random(800) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)
    groups = np.repeat([0, 1], [5, 55])
    found = fit_evidence(columns, fraud, groups, np.array([0, 1]))
    assert found.precisions[0] < 20.0
    assert found.precisions[1] > 50.0 * found.precisions[0]
    assert found.precisions.max() <= MOST
    np.testing.assert_allclose(found.of_columns[:5], 0.5, atol=0.25)
    assert np.abs(found.of_columns[5:]).max() < 0.1
