# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ringfence.cli.shortfalls import shortfalls
from ringfence.engine.stats import FAMILIES
from ringfence.ledger.ledger import Ledger
from ringfence.policy.policy import Policy
from ringfence.rollout.errors import NoChampionError
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Release, load_release
from ringfence.training.errors import EmptyWindowError, NoExamplesError, NoFeaturesError, OneClassError
from ringfence.training.score import score, score_as_live
from ringfence.training.train import train

from .conftest import at_ms, ledger_of, payments, scenario_of

CUT_MS = at_ms(45)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return payments(2500)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, history: pl.DataFrame, scenario: Scenario) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("history"), history, scenario)


@pytest.fixture(scope="module")
def release(ledger: Ledger, scenario: Scenario, policy: Policy, clock: FakeClock) -> Release:
    folder = ledger.directory.parent / "releases"
    return train(ledger, scenario, policy, releases_dir=folder, clock=clock, until_ms=CUT_MS)


def test_first_release_becomes_the_champion(ledger: Ledger, release: Release) -> None:
    registry = Registry.read(ledger)
    assert registry.champion() == release.id
    assert [(entry.release, entry.digest) for entry in registry.entries()] == [(release.id, release.digest)]


def test_report_card_and_metrics_name_their_release(release: Release) -> None:
    for name in ("report.html", "card.md", "metrics.json"):
        text = (release.path / name).read_text(encoding="utf-8")
        assert release.id in text, name
        assert "r-unnamed" not in text, name


def test_examples_are_events_whose_label_was_known_by_the_cut(release: Release, history: pl.DataFrame) -> None:
    #  cut at day 45, labels 3 days late: events up to day 42
    known = history.filter(pl.col("at") <= "2024-02-12T00:00:00")
    assert release.manifest.made.n_examples == known.height
    assert release.manifest.made.n_fraud == known["fraud"].sum()


def test_same_seed_on_the_same_ledger_makes_the_same_release(
    ledger: Ledger, scenario: Scenario, policy: Policy, clock: FakeClock, release: Release, tmp_path: Path
) -> None:
    before = len(ledger.releases())
    again = train(ledger, scenario, policy, releases_dir=tmp_path, clock=clock, until_ms=CUT_MS)
    assert again.id == release.id
    assert again.digest == release.digest
    assert len(ledger.releases()) == before


def test_scores_after_the_cut_find_the_bad_shops(ledger: Ledger, release: Release, history: pl.DataFrame) -> None:
    scored = score(ledger, release, CUT_MS).join(history.select(event_id="id", fraud="fraud"), on="event_id")
    assert roc_auc_score(scored["fraud"], scored["score"]) > 0.7
    assert scored.columns[:6] == ["event_id", "event_time", "score", "action", "rung", "gbdt"]
    assert set(scored["action"]) <= {"approve", "review", "decline"}


def test_no_score_depends_on_how_many_threads_score_while_the_replay_goes_on(
    ledger: Ledger, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = score(ledger, release, CUT_MS)
    monkeypatch.setattr("ringfence.training.score._BLOCK", 37)
    assert alone.equals(score(ledger, release, CUT_MS, n_threads=3))


def test_later_events_and_labels_change_no_score(
    tmp_path: Path, ledger: Ledger, release: Release, history: pl.DataFrame, scenario: Scenario
) -> None:
    until = at_ms(50)
    known = history.filter(pl.col("at") < "2024-02-20T00:00:00")
    shorter = ledger_of(tmp_path, known, scenario)
    whole = score(ledger, release, CUT_MS, until)
    assert whole.equals(score(shorter, release, CUT_MS, until))
    assert whole.height > 100


def test_window_bounds_are_inclusive_and_exclusive(ledger: Ledger, release: Release) -> None:
    events = ledger.events(CUT_MS)
    first, second = events["event_time_ms"][:2]
    assert score(ledger, release, first, second)["event_id"].to_list() == [events["event_id"][0]]
    with pytest.raises(EmptyWindowError, match="--from"):
        score(ledger, release, at_ms(400), at_ms(401))


def test_as_live_refuses_events_before_the_first_champion(ledger: Ledger, release: Release) -> None:
    #  all events were imported before the promotion
    with pytest.raises(NoChampionError, match="no champion"):
        score_as_live(ledger, lambda name: load_release(release.path.parent / name), CUT_MS)


def test_metrics_hold_both_windows_and_no_nan(release: Release) -> None:
    found = json.loads((release.path / "metrics.json").read_text())
    assert [evaluation["name"] for evaluation in found["evaluations"]] == ["later_window", "out_of_fold"]
    assert found["headline"]["n"] == found["evaluations"][0]["n"]
    assert len(found["folds"]) == 5
    assert sum(feature["share"] for feature in found["importance"]) == pytest.approx(1.0)


def test_later_labels_change_the_report_but_not_the_model(
    tmp_path: Path, release: Release, history: pl.DataFrame, scenario: Scenario, policy: Policy, clock: FakeClock
) -> None:
    flipped = history.with_columns(
        fraud=pl.when(pl.col("at") > "2024-02-12T00:00:00").then(1 - pl.col("fraud")).otherwise(pl.col("fraud"))
    )
    other = train(
        ledger_of(tmp_path, flipped, scenario),
        scenario,
        policy,
        releases_dir=tmp_path / "releases",
        clock=clock,
        until_ms=CUT_MS,
    )
    assert other.ensemble.gbdt.text == release.ensemble.gbdt.text
    assert other.calibrator == release.calibrator
    assert other.policy == release.policy


def test_a_history_without_fraud_is_refused(
    tmp_path: Path, scenario: Scenario, policy: Policy, clock: FakeClock
) -> None:
    ledger = ledger_of(tmp_path, payments(100, fraud=False), scenario)
    with pytest.raises(OneClassError, match="100 examples hold 0 fraud"):
        train(ledger, scenario, policy, releases_dir=tmp_path, clock=clock)


def test_a_cut_before_any_label_is_refused(
    tmp_path: Path, scenario: Scenario, policy: Policy, clock: FakeClock
) -> None:
    ledger = ledger_of(tmp_path, payments(100), scenario)
    with pytest.raises(NoExamplesError, match="--until"):
        train(ledger, scenario, policy, releases_dir=tmp_path, clock=clock, until_ms=at_ms(2))


def test_search_is_told_and_touches_nothing_after_the_cut(
    ledger: Ledger, history: pl.DataFrame, scenario: Scenario, policy: Policy, clock: FakeClock, tmp_path: Path
) -> None:
    made = train(ledger, scenario, policy, releases_dir=tmp_path, clock=clock, until_ms=CUT_MS, trials=1, seed=3)
    tried = made.metrics["settings_tried"]
    assert len(tried) == 2
    best = np.argmin([setting["log_loss"] for setting in tried])
    assert made.manifest.made.settings["num_leaves"] == tried[best]["num_leaves"]
    card, facts = (made.path / "card.md").read_text("utf-8"), made.metrics["facts"]
    assert facts["search"].startswith("1 setting beside the default, proposed by optuna's TPE; the objective is the")
    assert facts["search"] in card
    assert "best of 2, a little flattered" in card
    assert (made.path / "report.html").read_text("utf-8").count("the objective is the log-loss out of fold") == 1

    later = pl.col("at") > "2024-02-12T00:00:00"
    other = train(
        ledger_of(tmp_path, history.with_columns(fraud=later.cast(int) ^ pl.col("fraud")), scenario),
        scenario, policy, releases_dir=tmp_path / "other", clock=clock, until_ms=CUT_MS, trials=1, seed=3,
    )  # fmt: skip
    assert other.metrics["settings_tried"] == tried
    assert other.id == made.id


def test_release_says_what_was_forgotten_and_what_no_example_has(
    history: pl.DataFrame, policy: Policy, clock: FakeClock, tmp_path: Path
) -> None:
    ledger = ledger_of(tmp_path, history.head(1_500), scenario_of())
    event = {
        "event_id": "id",
        "event_time": "at",
        "amount": {"field": "amount", "currency": "EUR"},
        "entities": {"card": "card", "shop": "shop", "till": "till"},
        "attributes": {"channel": "category", "weight": "number"},
        "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "3d"},
    }
    later = msgspec.structs.replace(scenario_of(events={"payment": event}), memory_bytes=1 << 16)
    release = train(
        Ledger.open(ledger.directory, later), later, policy, releases_dir=tmp_path / "releases", clock=clock
    )
    missing, memory = release.metrics["missing_in_every_example"], release.metrics["memory"]
    assert missing == {"roles": ["till"], "attributes": ["weight"]}
    assert memory["budget_bytes"] == 1 << 16
    assert memory["forgotten"]["entities"] > memory["room"]["entities"] > 0
    card = (release.path / "card.md").read_text(encoding="utf-8")
    assert f"the replay forgot {memory['forgotten']['entities']:,} entities" in card
    assert "Nothing was learned from till, weight" in card
    said = shortfalls(release)
    assert len(said) == 2
    assert f"{memory['forgotten']['entities']:,} entities (there is room for" in said[0]
    assert "role till and attribute weight: missing in every example" in said[1]


def test_release_that_lacks_nothing_warns_of_nothing(release: Release) -> None:
    assert shortfalls(release) == []
    assert "For want of memory" not in (release.path / "card.md").read_text(encoding="utf-8")


def test_training_without_any_feature_is_refused(
    ledger: Ledger, policy: Policy, clock: FakeClock, tmp_path: Path
) -> None:
    bare = scenario_of(features=dict.fromkeys(FAMILIES, False))
    with pytest.raises(NoFeaturesError, match=r"`features` in ringfence\.yaml"):
        train(ledger, bare, policy, releases_dir=tmp_path, clock=clock)
