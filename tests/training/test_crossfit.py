# SPDX-License-Identifier: Apache-2.0
"""What is spared where examples are very many: rows that are fitted, rows that a curve is read from; not time order."""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
import pytest

from ringfence.models.calibration import sigmoid
from ringfence.models.encoder import Encoder
from ringfence.models.seen import Seen
from ringfence.training.boosters import begin_boosters
from ringfence.training.calibrating import calibrate_in_time
from ringfence.training.crossfit import OutOfFold, cross_fit
from ringfence.training.effort import VERY_MANY_EXAMPLES, Effort, effort_for
from ringfence.training.examples import Examples
from ringfence.training.fitting import fit
from ringfence.training.folds import Fold, expanding_folds

N = 24_000
SPARED = Effort(
    n_blocks=3,
    legit_share=0.15,
    n_seeds=2,
    max_trees=60,
    side_by_side=True,
    patience=2,
    curve_rows=400,
    bin_rows=2_000,
    most_bins=31,
)
WHOLE = msgspec.structs.replace(SPARED, legit_share=1.0, curve_rows=None, bin_rows=None, most_bins=None, patience=None)
PARAMS = {"num_leaves": 7, "min_data_in_leaf": 20, "learning_rate": 0.1}


@cache
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Fold]]:
    """Rows in time order, their true log-odds, their labels (some 4 % fraud), and three blocks."""
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(N, 5))
    rows[:, 4] = rng.integers(0, 6, N)
    truth = -4.2 + 1.2 * rows[:, 0] - 0.8 * rows[:, 1] + 0.5 * (rows[:, 4] == 2)
    fraud = (rng.random(N) < sigmoid(truth)).astype(np.int8)
    times = np.arange(N, dtype=np.int64)
    return rows, truth, fraud, expanding_folds(times, times, fraud, n_blocks=3)


def crossed(rows: np.ndarray, effort: Effort, seed: int = 1) -> OutOfFold:
    _, _, fraud, folds = world()
    categories = [False] * 4 + [True]
    return cross_fit(rows, fraud, folds, is_category=categories, params=PARAMS, seed=seed, effort=effort)


def test_every_event_of_a_block_is_scored_whatever_rows_its_curve_is_read_from() -> None:
    rows, _, _, folds = world()
    found = crossed(rows, SPARED)
    np.testing.assert_array_equal(np.flatnonzero(found.emitted), np.sort(np.concatenate([f.emit for f in folds])))


def test_curve_from_a_sample_tells_the_loss_of_the_block() -> None:
    rows = world()[0]
    whole, sampled = (crossed(rows, msgspec.structs.replace(WHOLE, curve_rows=most)) for most in (None, 400))
    assert sampled.log_loss == pytest.approx(whole.log_loss, rel=0.05)
    np.testing.assert_array_equal(crossed(rows, msgspec.structs.replace(WHOLE, curve_rows=N)).raw, whole.raw)


def test_sampled_legit_events_and_trees_leave_scores_calibrated() -> None:
    rows, truth, fraud, folds = world()
    found = crossed(rows, SPARED)
    shifted = float((found.raw - truth)[found.emitted].mean())  # a model that saw a seventh says too much
    assert shifted == pytest.approx(
        -np.log(SPARED.legit_share), abs=0.5
    )  # what a sampled model says is too high by that
    calibrator, _ = calibrate_in_time(found.raw, fraud, folds, legit_share=SPARED.legit_share)
    score = calibrator.apply(found.raw[found.emitted])
    label, chance = fraud[found.emitted], sigmoid(truth[found.emitted])
    assert score.mean() == pytest.approx(label.mean(), rel=0.03)
    for part in np.array_split(np.argsort(score), 5)[1:]:
        assert score[part].mean() == pytest.approx(chance[part].mean(), rel=0.2)


def test_what_comes_later_changes_no_earlier_block() -> None:
    rows, _, _, folds = world()
    other = rows.copy()
    other[folds[1].emit[0] :] += 3.0
    # The number of trees is chosen over all blocks together, so it is held fast here.
    fixed = msgspec.structs.replace(SPARED, max_trees=10)
    first = folds[0].emit
    np.testing.assert_array_equal(crossed(rows, fixed).raw[first], crossed(other, fixed).raw[first])


def test_same_seed_same_scores_and_another_seed_others() -> None:
    rows = world()[0]
    first, again, other = (crossed(rows, SPARED, seed).raw for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_scores_do_not_depend_on_how_many_folds_grow_at_once() -> None:
    rows, _, fraud, folds = world()
    found = [
        cross_fit(rows, fraud, folds, is_category=[False] * 5, params=PARAMS, seed=1, effort=SPARED, n_threads=n)
        for n in (1, 2, 3)
    ]
    assert len({(one.n_trees, one.raw.tobytes(), one.log_loss.tobytes()) for one in found}) == 1


def test_boosters_that_grow_meanwhile_are_those_that_grow_in_turn() -> None:
    rows, _, fraud, _ = world()
    encoder = Encoder.fit(rows, [False] * 4 + [True])
    in_turn = msgspec.structs.replace(SPARED, side_by_side=False)
    seen: list[tuple[int, int]] = []

    def begun(effort: Effort, n_threads: int) -> str:
        unread = np.array([1])
        grown = begin_boosters(
            rows, fraud, encoder, unread=unread, params=PARAMS, n_trees=6, seed=1, effort=effort, n_threads=n_threads,
            report=lambda done, total: seen.append((done, total)),
        )  # fmt: skip
        return grown().text

    assert len({begun(effort, n) for effort in (SPARED, in_turn) for n in (1, 2)}) == 1
    assert len(seen) == 4 * SPARED.n_seeds


def test_a_fold_stops_growing_when_more_trees_do_not_help() -> None:
    rows, _, fraud, folds = world()
    steep = {**PARAMS, "learning_rate": 0.6, "num_leaves": 31}
    effort = msgspec.structs.replace(SPARED, max_trees=200)
    found = cross_fit(rows, fraud, folds, is_category=[False] * 5, params=steep, seed=1, effort=effort)
    assert found.counts[-1] == 30  # the best is the first, and two steps without a better one follow
    assert found.n_trees == 10


def test_release_fitted_on_a_sample_says_of_later_events_what_one_fitted_on_all_says() -> None:
    rows, truth, fraud, _ = world()
    n, times = 18_000, np.arange(N, dtype=np.int64)
    examples = Examples(
        seq=times[:n], event_id=tuple(map(str, range(n))), event_time_ms=times[:n], known_at_ms=times[:n],
        settled_at_ms=times[:n], amount_minor=times[:n], fraud=fraud[:n], until_seq=n, n_unlabelled=0,
    )  # fmt: skip
    told = {}
    for effort in (WHOLE, SPARED):
        fitted = fit(rows[:n], examples, is_category=[False] * 4 + [True], params=PARAMS, effort=effort)
        assert fitted.ensemble.gbdt.n_trees == 2 * (fitted.ensemble.gbdt.n_trees // 2) > 0  # two boosters
        told[effort.legit_share] = fitted.scores(Seen(rows[n:]))
    whole, spared = told[WHOLE.legit_share], told[SPARED.legit_share]
    assert spared.mean() == pytest.approx(sigmoid(truth[n:]).mean(), rel=0.15)
    for some in np.array_split(np.argsort(whole), 6)[2:]:
        assert spared[some].mean() == pytest.approx(whole[some].mean(), rel=0.15)


@pytest.mark.parametrize("n_examples", [10_000, 300_001, VERY_MANY_EXAMPLES])
def test_nothing_is_spared_up_to_half_a_million_examples_but_legit_events_and_blocks(n_examples: int) -> None:
    effort = effort_for(n_examples, 3_000)
    assert (effort.n_seeds, effort.max_trees, effort.side_by_side) == (3, 400, n_examples > 50_000)
    assert (effort.patience is None) is not effort.side_by_side  # folds that grow side by side stop by themselves
    assert effort.curve_rows is effort.bin_rows is effort.most_bins is None
    assert effort.n_blocks == (5 if n_examples <= 300_000 else 3)
    assert effort.legit_share == min(1.0, 100_000 / (n_examples - 3_000))
    assert not effort.text


def test_beyond_it_fewer_boosters_are_averaged_and_the_card_says_so() -> None:
    few, many = effort_for(VERY_MANY_EXAMPLES, 3_000), effort_for(VERY_MANY_EXAMPLES + 1, 3_000)
    assert many.max_trees == few.max_trees
    assert many.n_seeds < few.n_seeds
    assert "2 boosters; folds stop growing" in many.text
    assert effort_for(1_000_000, 20_000).legit_share == pytest.approx(12 * 20_000 / 980_000)
