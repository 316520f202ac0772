# SPDX-License-Identifier: Apache-2.0
"""Which branches a training tries, and the graph network from its examples to a release."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ringfence.engine import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.engine.sample_files import bytes_per_event
from ringfence.engine.stats import FAMILIES
from ringfence.ledger.ledger import Ledger
from ringfence.models.branch import Need
from ringfence.models.encoder import Encoder
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Release
from ringfence.training.errors import UnknownBranchError
from ringfence.training.examples import Examples, collect_examples
from ringfence.training.folds import expanding_folds
from ringfence.training.gnn_learner import GnnLearner
from ringfence.training.gnn_options import MOST_A_PASS, GnnOptions, options_for
from ringfence.training.learner import Task
from ringfence.training.learners import beside_trees
from ringfence.training.row_cache import RowCache
from ringfence.training.samples import sampled, sampling_catalogue
from ringfence.training.score import score
from ringfence.training.stacking import FORECASTS
from ringfence.training.train import train

from .conftest import at_ms, ledger_of, payments, scenario_of

CUT_MS = at_ms(45)
# The trees see nothing of what came before: what shops did is for the network to find.
BLIND = scenario_of(features={family: False for family in FAMILIES if family != "event"})
TINY = GnnOptions(
    members=1,
    width=8,
    heads=2,
    row_width=6,
    head_width=5,
    batch=64,
    most_epochs=3,
    learning_rate=1e-2,
    prior_strength=5.0,
)


def silent(stage: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("blind"), payments(1_600), BLIND)


@pytest.fixture(scope="module")
def cache(ledger: Ledger) -> RowCache:
    return RowCache(ledger.directory.parent / "rows")


@pytest.fixture(scope="module")
def release(ledger: Ledger, cache: RowCache, policy: Policy, clock: FakeClock) -> Release:
    home = ledger.directory.parent
    return train(
        ledger,
        BLIND,
        policy,
        releases_dir=home / "releases",
        clock=clock,
        until_ms=CUT_MS,
        cache=cache,
        samples_dir=home / "samples",
        without=("linear",),
    )


def test_a_network_that_helps_is_in_the_release_and_its_samples_are_gone(release: Release, ledger: Ledger) -> None:
    assert (release.path / "gnn.bin").exists()
    assert release.manifest.neighbourhoods == release.catalogue.neighbourhoods == 16
    assert release.catalogue.spec_hash == release.spec_hash != Catalogue.build(release.scenario).spec_hash
    assert release.stack.weight_of("gnn") > 0.0
    assert release.ensemble.needs == {Need.NEIGHBOURHOODS}
    assert list((ledger.directory.parent / "samples").iterdir()) == []
    found = json.loads((release.path / "metrics.json").read_text())
    (worth,) = [one for one in found["branches"] if one["name"] == "gnn"]
    assert worth["gain"] > 0.0
    assert worth["weight"] == pytest.approx(release.stack.weight_of("gnn"), abs=1e-6)
    assert worth["weight"] >= FORECASTS["gnn"]
    (network,) = [one for one in found["importance"] if one["name"] == "gnn"]
    assert (network["family"], network["share"] > 0.1) == ("branches", True)
    assert network["sentence"] == "What is known of the events around its card and shop (graph network)"
    assert sum(one["share"] for one in found["importance"]) == pytest.approx(1.0)
    assert "branch gnn: weight" in release.card
    assert "What is known of the events around its card and shop" in (release.path / "report.html").read_text()


def test_the_later_window_is_scored_as_score_does(release: Release, ledger: Ledger) -> None:
    scored = score(ledger, release, CUT_MS + 1)
    labels = ledger.labels(ledger.last_seq)
    known = ledger.events(CUT_MS + 1, None, ledger.last_seq).join(labels, left_on="seq", right_on="event_seq")
    truth = scored.join(known.select("event_id", fraud="value"), on="event_id")
    brier = float(((truth["score"] - truth["fraud"]) ** 2).mean())
    (window,) = [one for one in release.metrics["evaluations"] if one["name"] == "later_window"]
    assert truth.height == window["n"]
    assert brier == pytest.approx(window["brier"]["value"], abs=2e-6)


def test_rows_from_the_cache_make_the_same_release(
    release: Release, ledger: Ledger, cache: RowCache, policy: Policy, clock: FakeClock, tmp_path: Path
) -> None:
    again = train(
        ledger,
        BLIND,
        policy,
        releases_dir=tmp_path,
        clock=clock,
        until_ms=CUT_MS,
        cache=cache,
        samples_dir=tmp_path / "samples",
        without=("linear",),
        n_threads=2,
    )
    assert cache.n_replayed == 0
    assert again.id == release.id
    assert again.digest == release.digest


def test_without_torch_a_release_is_made_and_says_what_to_install(
    ledger: Ledger, policy: Policy, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules: dict[str, Any] = sys.modules
    monkeypatch.setitem(modules, "torch", None)
    made = train(
        ledger,
        BLIND,
        policy,
        releases_dir=tmp_path / "releases",
        clock=clock,
        until_ms=CUT_MS,
        samples_dir=tmp_path / "samples",
    )
    why = made.metrics["branches_not_tried"]["gnn"]
    assert "needs torch" in why
    assert "pip install 'ringfence[gnn]'" in why
    assert f"branch gnn: not tried: {why}" in made.card
    assert made.manifest.neighbourhoods is None
    assert not (made.path / "gnn.bin").exists()
    assert not (tmp_path / "samples").exists()


def tried(ledger: Ledger, examples: Examples, folder: Path | None, **given: Any) -> tuple[set[str], dict[str, str]]:
    scenario = given.pop("scenario", BLIND)
    catalogue = Catalogue.build(scenario)
    rows = np.zeros((len(examples), len(catalogue.features)))
    with beside_trees(ledger, catalogue, examples.seq, examples, rows, folder=folder, report=silent, **given) as beside:
        return {learner.name for learner in beside.learners}, beside.left_out


def test_what_cannot_be_tried_is_told(ledger: Ledger, tmp_path: Path) -> None:
    examples = collect_examples(ledger, from_ms=None, until_ms=None)
    few = msgspec.structs.replace(examples, fraud=np.where(np.cumsum(examples.fraud) < 60, examples.fraud, 0))
    file = tmp_path / "file"
    file.touch()
    alone: Scenario = scenario_of(
        events={
            "payment": {
                "event_id": "id",
                "event_time": "at",
                "entities": {"card": "card"},
                "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "3d"},
            }
        }
    )
    assert {"anomaly", "gnn"} <= tried(ledger, examples, tmp_path)[0]
    assert tried(ledger, examples, tmp_path, without=["gnn"])[1]["gnn"] == "left out, as asked"
    assert tried(ledger, few, tmp_path)[1]["gnn"] == "59 frauds known, it takes 100"
    assert tried(ledger, examples, tmp_path, scenario=alone)[1]["gnn"] == "no network of events: 1 role of 2"
    held = msgspec.structs.replace(BLIND, monotone={"amount": 1})
    assert "linear" in tried(ledger, examples, tmp_path)[0]
    assert "knows no direction" in tried(ledger, examples, tmp_path, scenario=held)[1]["linear"]
    assert "no place" in tried(ledger, examples, None)[1]["gnn"]
    assert "cannot be written" in tried(ledger, examples, file / "samples")[1]["gnn"]
    with pytest.raises(
        UnknownBranchError, match=r"no branch is called 'gpt'; beside the trees there are linear, anomaly, gnn"
    ):
        tried(ledger, examples, tmp_path, without=["gpt"])


def test_blocks_are_scored_whole_whatever_is_on_disk_and_however_many_threads(ledger: Ledger, tmp_path: Path) -> None:
    examples = collect_examples(ledger, from_ms=None, until_ms=None)
    catalogue = Catalogue.build(BLIND)
    rows = feature_rows(ledger, catalogue, examples.seq).rows
    is_category = [feature.is_category for feature in catalogue.features]
    task = Task(
        rows=rows,
        fraud=examples.fraud,
        event_time_ms=examples.event_time_ms,
        folds=expanding_folds(examples.event_time_ms, examples.known_at_ms, examples.fraud, n_blocks=2),
        is_category=is_category,
        unread=np.array([0]),
        seed=1,
        n_threads=1,
    )
    emitted = np.sort(np.concatenate([fold.emit for fold in task.folds]))

    def learnt(n_threads: int, **bounds: int) -> tuple[np.ndarray, bytes]:
        with sampled(ledger, catalogue, examples.seq, examples.fraud, tmp_path, last=4, **bounds) as samples:
            learner = GnnLearner(samples, options=TINY)
            own = msgspec.structs.replace(task, n_threads=n_threads)
            some = learner.out_of_fold(own, most=50)
            whole = learner.out_of_fold(own, most=None)
            branch = learner.fit(own, Encoder.fit(rows, is_category))
            assert some is not None
            assert whole is not None
            assert np.isfinite(some).sum() == 100
            np.testing.assert_allclose(some[~np.isnan(some)], whole[~np.isnan(some)], atol=1e-6)
            assert np.array_equal(np.flatnonzero(~np.isnan(whole)), emitted)
            return whole, branch.to_bytes()

    (one, branch), (same, again) = learnt(1), learnt(2)
    assert one.tobytes() == same.tobytes()
    assert branch == again
    short, _ = learnt(
        1, most_bytes=900 * bytes_per_event(sampling_catalogue(catalogue, 4))
    )  # not all fit: the rest is replayed, and the base rate is that of all
    assert np.isfinite(short[emitted]).all()
    assert abs(float(np.median(short[emitted]) - np.median(one[emitted]))) < 1.0


def test_what_a_pass_costs_is_bounded_where_frauds_are_many() -> None:
    for n_fraud in (50, 300, 3_000, 30_000, 300_000):
        options = options_for(n_fraud)
        assert options.negatives_per_fraud is not None
        a_pass = n_fraud * (1.0 + options.negatives_per_fraud)
        assert a_pass <= max(MOST_A_PASS, 2.0 * n_fraud) * 1.01
        assert a_pass * options.most_epochs <= max(17.0 * MOST_A_PASS, 4.0 * n_fraud)
