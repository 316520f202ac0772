# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest

from ringfence.scenario.batch import MISSING_AMOUNT
from ringfence.training.card import write_card
from ringfence.training.evaluation import DAY_MS, Evaluation, Scored, evaluate, to_builtins
from ringfence.training.report import FeatureImportance, FoldSummary, ReportInput, render
from tests.reports.markup import Read


def _scored(seed: int = 0, n: int = 3000, *, rate: float = 0.05, amounts: bool = True) -> Scored:
    rng = np.random.default_rng(seed)
    score = 1.0 / (1.0 + np.exp(-rng.normal(np.log(rate / (1 - rate)), 1.5, n)))
    return Scored(
        event_time_ms=np.sort(rng.integers(0, 30 * DAY_MS, n)),
        fraud=(rng.random(n) < score).astype(np.int8),
        score=score,
        amount_minor=rng.integers(100, 10_000, n) if amounts else np.full(n, MISSING_AMOUNT),
        novelty={"claimant": rng.choice([0.0, 1.0, np.nan], n)},
    )


def _measured(scored: Scored) -> Evaluation:
    return evaluate(
        scored,
        name="out_of_fold",
        title="Out of fold",
        explanation="Why.",
        seed=1,
        alerts_per_day=(7,),
        n_replicates=50,
    )


def test_scores_that_are_true_probabilities_look_calibrated() -> None:
    found = _measured(_scored(n=20_000))
    assert found.calibration_slope.value == pytest.approx(1.0, abs=0.1)
    assert found.calibration_slope.low < 1.0 < found.calibration_slope.high
    assert found.ece.value < 0.01
    assert found.brier_skill.low > 0
    for row in found.reliability:
        assert row.low <= row.fraud_rate <= row.high


def test_capacity_counts_the_highest_scores_of_each_day() -> None:
    #  day 0: scores .9 (fraud) .8 .1    day 1: scores .5 .4 (fraud)
    scored = Scored(
        event_time_ms=np.array([0, 1, 2, DAY_MS, DAY_MS + 1]),
        fraud=np.array([1, 0, 0, 0, 1], dtype=np.int8),
        score=np.array([0.9, 0.8, 0.1, 0.5, 0.4]),
        amount_minor=np.array([300, 1, 1, 1, 100]),
    )
    rows = {row.alerts_per_day: row for row in _measured(scored).capacity}
    assert rows[1].recall.value == 0.5
    assert rows[1].precision.value == 0.5
    assert rows[1].amount_recall is not None
    assert rows[1].amount_recall.value == 0.75
    assert rows[2].recall.value == 1.0


def test_policy_capacity_is_reported_beside_the_grid() -> None:
    assert 7 in {row.alerts_per_day for row in _measured(_scored()).capacity}


def test_events_without_an_entity_are_in_neither_slice() -> None:
    scored = _scored()
    found = {part.name: part.n for part in _measured(scored).slices}
    novelty = scored.novelty["claimant"]
    assert found == {
        "claimant seen before": int((novelty == 0).sum()),
        "claimant never seen": int((novelty > 0).sum()),
    }


def test_one_class_gives_figures_that_are_null_in_json() -> None:
    scored = _scored(n=50)
    only_legit = Scored(
        event_time_ms=scored.event_time_ms,
        fraud=np.zeros(50, dtype=np.int8),
        score=scored.score,
        amount_minor=scored.amount_minor,
    )
    built = to_builtins(_measured(only_legit))
    assert built["average_precision"]["value"] is None
    assert built["calibration_slope"]["value"] is None
    json.dumps(built, allow_nan=False)


def test_same_seed_gives_the_same_intervals() -> None:
    assert to_builtins(_measured(_scored())) == to_builtins(_measured(_scored()))


def _report(evaluations: list[Evaluation]) -> ReportInput:
    fold = FoldSummary(
        fit_from_ms=0,
        fit_to_ms=10 * DAY_MS,
        emit_from_ms=12 * DAY_MS,
        emit_to_ms=20 * DAY_MS,
        n_fit=100,
        n_fit_fraud=9,
        n_emit=80,
        n_emit_fraud=8,
        label_delay=True,
    )
    return ReportInput(
        scenario="motor-claims",
        until_ms=30 * DAY_MS,
        n_examples=180,
        n_fraud=17,
        n_unlabelled=3,
        evaluations=evaluations,
        folds=[fold],
        importance=[
            FeatureImportance(name="claimant.n", sentence="<b>claims</b> so far", family="velocity", share=1.0)
        ],
        reviews_per_day=7,
        not_comparable=["figures from random splits"],
        facts=[("seed", "1")],
        version="0.0",
    )


@pytest.mark.parametrize("amounts", [True, False])
def test_report_needs_no_more_than_figures(amounts: bool) -> None:
    page = render(_report([_measured(_scored(amounts=amounts)), _measured(_scored(seed=2))]))
    read = Read.of(page)
    assert (read.open_tags, read.fetched) == ([], [])
    assert "nan" not in read.text.lower().replace("unan", "")
    assert 'id="money"' not in page


def test_report_escapes_what_the_scenario_says() -> None:
    assert "&lt;b&gt;claims&lt;/b&gt;" in render(_report([_measured(_scored())]))


def test_few_frauds_are_warned_of() -> None:
    assert "Every figure here is a rough guess" in render(_report([_measured(_scored(n=400))]))
    assert "rough guess" not in render(_report([_measured(_scored(n=20_000))]))


def test_card_says_what_was_left_out_and_what_it_is_not_comparable_with() -> None:
    card = write_card(_report([_measured(_scored())]), decides="claim", roles=("claimant",), audit_only=("sex",))
    assert "3 events without a known label were left out" in card
    assert "for fairness reports: sex" in card
    assert "figures from random splits" in card
