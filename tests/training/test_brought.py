# SPDX-License-Identifier: Apache-2.0
"""Networks that were trained elsewhere in a training: judged on what they cannot have seen, pinned, told of."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.cli.shortfalls import shortfalls
from ringfence.engine.catalogue import Catalogue
from ringfence.ledger.ledger import Ledger
from ringfence.models.brought import BroughtBranch, BroughtHeader
from ringfence.models.calibration import sigmoid
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import Brought, Scenario
from ringfence.scoring.errors import ReleaseDamagedError
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.scorer import GBDT, Scorer
from ringfence.training.brought import BroughtLearner, brought_learners, read_brought
from ringfence.training.effort import effort_for
from ringfence.training.errors import BroughtFeatureError, BroughtFileError
from ringfence.training.examples import Examples
from ringfence.training.fitting import Fitted, fit
from ringfence.training.score import score
from ringfence.training.train import train
from tests.oracles.onnx_graphs import linear

from .conftest import at_ms, ledger_of, payments, scenario_of

N, WIDTH = 3_000, 8
WEIGHTS = np.array([0.9, -0.8, 0.7, -0.7, 0.6, -0.6, 0.5, -0.5])
CUT_MS = at_ms(45)


@cache
def world() -> tuple[NDArray[np.float64], Examples]:
    """Rows whose log-odds are a plain sum, which trees learn slowly and one layer of a network states."""
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(N, WIDTH))
    times = np.arange(N, dtype=np.int64)
    fraud = (rng.random(N) < sigmoid(rows @ WEIGHTS - 2.5)).astype(np.int8)
    return rows, Examples(
        seq=times,
        event_id=tuple(map(str, times)),
        event_time_ms=times,
        known_at_ms=times,
        settled_at_ms=times,
        amount_minor=times,
        fraud=fraud,
        until_seq=N,
        n_unlabelled=0,
    )


def learner(until: int | None) -> BroughtLearner:
    header = BroughtHeader(
        name="net",
        features=tuple("abcdefgh"),
        columns=tuple(range(WIDTH)),
        n_features=WIDTH,
        is_probability=True,
        missing=0.0,
        trained_until_ms=until,
        digest="0" * 64,
    )
    return BroughtLearner(BroughtBranch(header, linear(WEIGHTS, -2.5)))


@cache
def fitted(until: int | None) -> Fitted:
    rows, examples = world()
    effort = msgspec.structs.replace(effort_for(N, 300), max_trees=40, n_seeds=1)
    return fit(rows, examples, is_category=[False] * WIDTH, learners=[learner(until)], effort=effort)


def test_a_network_that_helps_later_blocks_takes_part() -> None:
    found = fitted(0)
    assert found.worth[0].name == "net"
    assert found.worth[0].low > 0.0
    assert found.ensemble.stack.weight_of("net") > 0.3


def test_only_examples_it_cannot_have_seen_judge_it_and_are_measured() -> None:
    found, until = fitted(1_500), 1_500
    assert found.ensemble.stack.weight_of("net") > 0.3
    judged = np.flatnonzero(found.out_of_fold.emitted)
    assert judged.min() >= until
    assert np.array_equal(judged, np.flatnonzero(~np.isnan(found.stacked)))
    assert np.array_equal(np.concatenate([fold.emit for fold in found.folds]), judged)
    assert found.worth[0].n < np.sum([fold.emit.shape[0] for fold in fitted(0).folds])
    assert found.calibrator.n_fraud + found.calibrator.n_legit == judged.shape[0]
    assert np.isfinite(found.out_of_fold_scores()).all()


def test_without_a_stated_end_it_is_told_and_takes_no_part() -> None:
    found = fitted(None)
    assert found.ensemble.stack.members == ("gbdt",)
    assert found.worth[0].n == 0
    assert "net" in found.ensemble.branches
    assert fitted(0).out_of_fold.n_trees == found.out_of_fold.n_trees
    assert set(found.members) == {"gbdt"}  # nothing to compare it by
    assert set(fitted(0).members) == {"gbdt", "net"}


def test_one_trained_until_the_end_cannot_be_judged() -> None:
    assert fitted(N).worth[0].n == 0
    assert fitted(N).ensemble.stack.members == ("gbdt",)


BRANCH = Brought(
    name="my-net", file="my_net.onnx", features=("event.amount", "shop.fraud_rate"), missing=0.0, trained_until_ms=0
)
GRAPH = linear(np.array([0.02, 3.0]), -3.5)


@pytest.fixture(scope="module")
def asking() -> Scenario:
    return msgspec.structs.replace(
        scenario_of(), branches=(msgspec.structs.replace(BRANCH, trained_until_ms=at_ms(20)),)
    )


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, asking: Scenario) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("brought"), payments(1_500), asking)


@pytest.fixture(scope="module")
def release(ledger: Ledger, asking: Scenario, policy: Policy, clock: FakeClock) -> Release:
    folder = ledger.directory.parent / "releases"
    brought = {"my_net.onnx": GRAPH}
    return train(ledger, asking, policy, releases_dir=folder, clock=clock, until_ms=CUT_MS, brought=brought)


def test_release_holds_the_network_by_its_digest_and_scores_tell_it(ledger: Ledger, release: Release) -> None:
    assert "brought-my-net.bin" in release.manifest.files
    held = release.ensemble.branches["my-net"]
    assert isinstance(held, BroughtBranch)
    assert held.graph == GRAPH
    scored = score(ledger, release, CUT_MS)
    assert scored["my-net"].is_between(0.0, 1.0).all()
    assert scored["my-net"].n_unique() > 100


def test_card_metrics_and_warnings_say_what_it_may_have_seen(release: Release) -> None:
    found = release.metrics["brought"]
    header = found["branches"][0]
    assert (header["name"], header["trained_until_ms"]) == ("my-net", at_ms(20))
    assert 0 < header["n_later"] < header["n_examples"] == release.manifest.made.n_examples
    n_before = header["n_examples"] - header["n_later"]
    assert found["warnings"] == shortfalls(release)
    assert f"it may have seen {n_before:,} of {header['n_examples']:,} examples" in found["warnings"][0]
    assert f"- brought, my-net: ONNX of sha256 {header['digest'][:16]}" in release.card
    assert "trained elsewhere until 2024-01-21 by its owner's word" in release.card
    assert "- branch my-net: " in release.card


def test_release_without_the_network_answers_on_the_rung_below_where_the_score_counts_on_it(
    release: Release, tmp_path: Path
) -> None:
    copy = tmp_path / release.id
    copy.mkdir()
    for file in release.path.iterdir():
        if file.name != "brought-my-net.bin":
            (copy / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ReleaseDamagedError, match=r"brought-my-net\.bin"):
        load_release(copy)
    found = load_release(copy, without=lambda error: None)
    assert set(found.broken) == {"my-net"}
    is_needed = "my-net" in release.ensemble.stack.members
    assert Scorer(found).rung == (GBDT if is_needed else "full")


@pytest.mark.parametrize(
    ("feature", "part"),
    [
        (
            "event.amont",
            "scenarios.payments.branches[0].features: found 'event.amont', no feature of this scenario; did",
        ),
        ("attribute.channel", "a category; leave it out"),
    ],
)
def test_features_that_cannot_be_fed_are_refused_with_their_path(feature: str, part: str) -> None:
    scenario = msgspec.structs.replace(
        scenario_of(), branches=(msgspec.structs.replace(BRANCH, features=(feature, "event.amount")),)
    )
    with pytest.raises(BroughtFeatureError) as refusal:
        brought_learners(Catalogue.build(scenario), {"my_net.onnx": GRAPH})
    assert part in str(refusal.value)


def test_files_are_read_from_the_workspace_alone(tmp_path: Path) -> None:
    here = tmp_path / "w"
    here.mkdir()
    scenario = msgspec.structs.replace(scenario_of(), branches=(BRANCH,))
    with pytest.raises(BroughtFileError, match=r"branches\[0\]\.onnx: my_net\.onnx: found No such file"):
        read_brought(scenario, here)
    (here / "my_net.onnx").write_bytes(GRAPH)
    assert read_brought(scenario, here) == {"my_net.onnx": GRAPH}
    (tmp_path / "out.onnx").write_bytes(GRAPH)
    outside = msgspec.structs.replace(scenario, branches=(msgspec.structs.replace(BRANCH, file="../out.onnx"),))
    with pytest.raises(BroughtFileError, match="outside the workspace"):
        read_brought(outside, here)
