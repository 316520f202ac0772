# SPDX-License-Identifier: Apache-2.0
"""A release from the first day: no label, a stated rate, and nothing that claims more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.models.seen import Seen
from ringfence.policy.load import policy_from_text
from ringfence.policy.policy import Policy
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.scorer import FULL, RULES, Scorer
from ringfence.training.errors import NoEventsError, NoTreesToExportError, UnlabelledBaseError
from ringfence.training.onnx_export import export_onnx
from ringfence.training.recalibrating import recalibrate
from ringfence.training.score import score
from ringfence.training.unlabelled import mild, train_unlabelled

from .conftest import POLICY, at_ms, ledger_of, payments, scenario_of

RATE = 0.02
SCENARIO = scenario_of(
    events={
        "payment": {
            "event_id": "id",
            "event_time": "at",
            "amount": {"field": "amount", "currency": "EUR"},
            "entities": {"card": "card", "shop": "shop"},
            "attributes": {"channel": "category"},
        }
    },
    rules=[{"name": "large", "when": "amount > 150", "points": 40}],
)


def odd(n: int) -> pl.DataFrame:
    """Payments of which one in fifty is of an amount that nothing else has; no label anywhere."""
    frame, is_odd = payments(n).drop("fraud"), np.arange(n) % 50 == 7
    return frame.with_columns(amount=pl.when(pl.Series(is_odd)).then(5_000.0).otherwise(pl.col("amount")))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("unlabelled"), odd(1_500), SCENARIO)


@pytest.fixture(scope="module")
def release(ledger: Ledger, policy: Policy, clock: FakeClock) -> Release:
    folder = ledger.directory.parent / "releases"
    return train_unlabelled(ledger, SCENARIO, policy, assumed_rate=RATE, releases_dir=folder, clock=clock)


def test_it_has_no_trees_to_hand_on(ledger: Ledger, release: Release, tmp_path: Path) -> None:
    with pytest.raises(NoTreesToExportError, match="made without labels"):
        export_onnx(ledger, release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_is_the_champion_and_says_what_it_is(ledger: Ledger, release: Release) -> None:
    assert Registry.read(ledger).champion() == release.id
    assert (release.manifest.made.assumed_rate, release.manifest.made.n_fraud) == (RATE, 0)
    assert release.stack.members == ("anomaly", "rules")
    assert not {"gbdt.txt", "trees.npz", "calibrator-gbdt.json"} & set(release.manifest.files)
    for name in ("card.md", "report.html"):
        text = (release.path / name).read_text()
        assert "Nothing was measured" in text
        assert "0.02, assumed" in text
        assert release.id in text
    assert release.metrics["evaluations"] == []


def test_scores_order_events_around_the_stated_rate(ledger: Ledger, release: Release) -> None:
    found = score(ledger, release, 0)
    assert found["score"].mean() == pytest.approx(RATE, rel=1e-6)
    assert set(found["action"]) <= {"approve", "review"}
    is_odd = found["event_id"].str.strip_prefix("p").cast(pl.Int64) % 50 == 7
    assert roc_auc_score(is_odd, found["score"]) > 0.97
    assert roc_auc_score(is_odd, found["anomaly"]) > 0.9


def test_answers_have_reasons_tell_the_assumption_and_never_decline(ledger: Ledger, release: Release) -> None:
    events = ledger.events(0).sort("seq")
    rows = feature_rows(ledger, Catalogue.build(SCENARIO), events["seq"].to_numpy()).rows
    scorer = Scorer(release)
    scorer.warm_up()
    answers = scorer.answer(Seen(rows), [10**9] * events.height, reviews_left=None)
    assert {answer.rung for answer in answers} == {FULL}
    assert {answer.action for answer in answers} <= {"approve", "review"}
    assert all(answer.circumstances["assumed_rate"] == RATE for answer in answers)
    reviewed = [answer for answer in answers if answer.action == "review"]
    assert reviewed
    assert all(len(answer.reasons) >= 3 for answer in reviewed)
    assert any("RULE_LARGE" in {reason.code for reason in answer.reasons} for answer in reviewed)
    assert scorer.explain(Seen(rows[:3])).shape == (3, rows.shape[1])


def test_without_the_anomaly_model_its_rules_answer(
    ledger: Ledger, policy: Policy, clock: FakeClock, tmp_path: Path
) -> None:
    made = train_unlabelled(ledger, SCENARIO, policy, assumed_rate=RATE, releases_dir=tmp_path, clock=clock)
    (made.path / "anomaly.npz").unlink()
    scorer = Scorer(load_release(made.path, without=lambda error: None))
    rows = np.full((1, scorer.release.encoder.n_features), np.nan)
    (answer,) = scorer.answer(Seen(rows), [100], reviews_left=None)
    assert (answer.rung, scorer.base_rate) == (RULES, RATE)
    assert 0.0 < answer.score < RATE


def test_the_same_ledger_gives_the_same_release_and_another_rate_another(
    ledger: Ledger, release: Release, policy: Policy, clock: FakeClock
) -> None:
    folder = release.path.parent
    again = train_unlabelled(ledger, SCENARIO, policy, assumed_rate=RATE, releases_dir=folder, clock=clock)
    other = train_unlabelled(ledger, SCENARIO, policy, assumed_rate=0.05, releases_dir=folder, clock=clock)
    assert again.id == release.id
    assert other.id != release.id


def test_nothing_to_look_at_and_nothing_to_recalibrate_are_refused(
    ledger: Ledger, release: Release, policy: Policy, clock: FakeClock
) -> None:
    folder = release.path.parent
    with pytest.raises(NoEventsError, match="no payment event is on record by"):
        train_unlabelled(
            ledger, SCENARIO, policy, assumed_rate=RATE, releases_dir=folder, clock=clock, until_ms=at_ms(-9)
        )
    with pytest.raises(UnlabelledBaseError, match="made without labels"):
        recalibrate(ledger, release, releases_dir=folder, clock=clock)


def test_a_policy_that_prices_no_review_may_only_approve() -> None:
    priced = policy_from_text(POLICY, where="test")
    assert mild(priced).permitted["full"] == ("approve", "review")
    free = policy_from_text(POLICY.replace("  review: {cost: 5, detects: 0.9}\n", ""), where="test")
    assert set(mild(free).permitted.values()) == {("approve",)}
