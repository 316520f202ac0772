# SPDX-License-Identifier: Apache-2.0
"""Segments by k-means in a release: found among training rows, frozen, and told in report, scores and decisions."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.errors import KMeansFeatureError
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.models.seen import Seen
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import KMeans, Scenario
from ringfence.scoring.errors import ReleaseDamagedError
from ringfence.scoring.release import SEGMENTS, Release, load_release
from ringfence.scoring.scorer import Scorer
from ringfence.training.score import score
from ringfence.training.train import train
from tests.reports.markup import Read

from .conftest import at_ms, ledger_of, payments, scenario_of

CUT_MS = at_ms(45)
ON = ("event.amount", "card.n_events", "shop.fraud_rate")


@pytest.fixture(scope="module")
def asking() -> Scenario:
    return scenario_of(segments={"kmeans": {"on": list(ON), "k": 4}})


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, asking: Scenario) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("kmeans"), payments(1_500), asking)


@pytest.fixture(scope="module")
def release(ledger: Ledger, asking: Scenario, policy: Policy, clock: FakeClock) -> Release:
    folder = ledger.directory.parent / "releases"
    return train(ledger, asking, policy, releases_dir=folder, clock=clock, until_ms=CUT_MS)


def test_release_keeps_the_centres_and_is_the_same_when_made_again(
    ledger: Ledger, asking: Scenario, policy: Policy, clock: FakeClock, release: Release, tmp_path: Path
) -> None:
    segmentation = release.segmentation
    assert segmentation is not None
    assert [scale.name for scale in segmentation.scales] == list(ON)
    assert sum(segmentation.sizes) == release.manifest.made.n_examples
    assert SEGMENTS in release.manifest.files
    assert train(ledger, asking, policy, releases_dir=tmp_path, clock=clock, until_ms=CUT_MS).id == release.id


def test_scores_name_the_segment_that_the_frozen_centres_give(
    ledger: Ledger, asking: Scenario, release: Release
) -> None:
    assert release.segmentation is not None
    scored = score(ledger, release, CUT_MS)
    events = ledger.events(CUT_MS).sort("seq")
    rows = feature_rows(ledger, Catalogue.build(asking), events["seq"].to_numpy()).rows
    assert scored["segment"].to_list() == release.segmentation.of(rows).tolist()
    assert set(scored["segment"]) == {1, 2, 3, 4}


def test_decisions_record_the_segment(ledger: Ledger, asking: Scenario, release: Release) -> None:
    assert release.segmentation is not None
    events = ledger.events(CUT_MS).sort("seq").head(50)
    rows = feature_rows(ledger, Catalogue.build(asking), events["seq"].to_numpy()).rows
    answers = Scorer(release).answer(Seen(rows), events["amount_minor"].to_list(), reviews_left=None)
    assert [answer.circumstances["segment"] for answer in answers] == release.segmentation.of(rows).tolist()


def test_report_and_metrics_part_the_events_by_segment(release: Release) -> None:
    assert release.segmentation is not None
    found = json.loads((release.path / "metrics.json").read_text())
    for evaluation in found["evaluations"]:
        parts = [part for part in evaluation["segments"] if part["group"] == "segment (k-means)"]
        assert sum(part["n"] for part in parts) == evaluation["n"]
        assert {part["name"] for part in parts if "other" not in part["name"]} <= set(release.segmentation.names)
    text = Read.of((release.path / "report.html").read_text()).text
    shown = [part["name"] for part in found["evaluations"][0]["segments"] if part["group"] == "segment (k-means)"]
    assert len(shown) > 1
    assert all(name in text for name in shown)


def test_model_features_and_scores_are_those_of_a_scenario_without_it(
    ledger: Ledger, asking: Scenario, policy: Policy, clock: FakeClock, release: Release, tmp_path: Path
) -> None:
    without = msgspec.structs.replace(asking, kmeans=None)
    assert Catalogue.build(without).spec_hash == Catalogue.build(asking).spec_hash
    plain = train(ledger, without, policy, releases_dir=tmp_path, clock=clock, until_ms=CUT_MS)
    assert plain.id != release.id
    assert plain.segmentation is None
    theirs, ours = score(ledger, plain, CUT_MS), score(ledger, release, CUT_MS)
    assert ours.drop("segment").equals(theirs)


def test_later_events_move_no_centre(
    tmp_path: Path, release: Release, asking: Scenario, policy: Policy, clock: FakeClock
) -> None:
    history = payments(1_500)
    shorter = ledger_of(tmp_path, history.filter(history["at"] < "2024-02-20T00:00:00"), asking)
    again = train(shorter, asking, policy, releases_dir=tmp_path / "releases", clock=clock, until_ms=CUT_MS)
    assert again.segmentation == release.segmentation


def test_release_with_changed_centres_is_refused(release: Release, tmp_path: Path) -> None:
    copy = tmp_path / release.id
    copy.mkdir()
    for file in release.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / SEGMENTS).write_bytes((copy / SEGMENTS).read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(ReleaseDamagedError, match=SEGMENTS):
        load_release(copy)


@pytest.mark.parametrize(
    ("name", "part"),
    [("event.amont", "did you mean 'event.amount'"), ("attribute.channel", "a category, whose codes have no mean")],
)
def test_what_is_no_number_of_the_catalogue_is_refused(name: str, part: str) -> None:
    scenario = msgspec.structs.replace(scenario_of(), kmeans=KMeans(features=(name,), k=3))
    with pytest.raises(KMeansFeatureError, match=part):
        Catalogue.build(scenario)


def test_events_that_are_all_missing_have_a_segment_too(release: Release) -> None:
    assert release.segmentation is not None
    blank = np.full((1, release.segmentation.n_features), np.nan)
    assert 1 <= release.segmentation.of(blank)[0] <= 4
