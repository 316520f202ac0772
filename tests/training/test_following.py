# SPDX-License-Identifier: Apache-2.0
"""Weights of a release that follow labels: when they move, when they stay, and what the release says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from ringfence.ledger.ledger import Ledger
from ringfence.models.calibration import fit_calibrator
from ringfence.models.followed import band_of
from ringfence.models.stack import Stack
from ringfence.policy.policy import Policy
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import Brought, Scenario
from ringfence.scoring.release import Contents, Release, load_release, write_release
from ringfence.training.following import follow_weights, unseen_from_ms, verdict_of, weights_of
from ringfence.training.recalibrating import recalibrate
from ringfence.training.score import score
from ringfence.training.train import train
from tests.oracles.follow_twin import risk
from tests.reports.markup import Read

from .conftest import at_ms, ledger_of, payments

CUT_MS, UNTIL_MS = at_ms(30), at_ms(52)
RELEASED = Stack(members=("gbdt", "gnn"), weights=(1.0, 0.8), intercept=-0.2, centres=(0.0, 0.0))


def period(n: int, seed: int, worth: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A period in which the second branch is worth `worth`, and one fraud in twenty or so."""
    rng = np.random.default_rng(seed)
    members = {"gbdt": rng.normal(-3.5, 1.5, n), "gnn": rng.normal(0.0, 1.5, n)}
    return members, (rng.random(n) < risk(members["gbdt"] + worth * members["gnn"])).astype(np.int8)


def parts(n: int) -> dict[str, np.ndarray]:
    return {"fitted": np.arange(2 * n // 3), "judged": np.arange(2 * n // 3, n)}


def log_loss(stack: Stack, members: dict[str, np.ndarray], fraud: np.ndarray, later: tuple[dict, np.ndarray]) -> float:
    """Of later events by a calibration on the earlier ones."""
    odds = fit_calibrator(stack.raw(members), fraud).log_odds(stack.raw(later[0]))
    return float(np.logaddexp(0.0, np.where(later[1] == 1, -odds, odds)).mean())


def test_a_branch_that_went_bad_gets_less_weight_and_later_events_are_forecast_better() -> None:
    members, fraud = period(6_000, 1, worth=0.0)
    found = follow_weights(RELEASED, members, fraud, **parts(6_000), trained=weights_of(RELEASED))
    assert found.following.moved
    assert 0.4 <= found.stack.weight_of("gnn") < 0.6
    later = period(6_000, 2, worth=0.0)
    assert log_loss(found.stack, members, fraud, later) < log_loss(RELEASED, members, fraud, later) - 0.002
    assert found.following.gain is not None
    assert found.following.gain.low > 0.0


def test_weights_that_are_right_stay_as_they_are_and_it_says_why() -> None:
    members, fraud = period(6_000, 3, worth=0.8)
    found = follow_weights(RELEASED, members, fraud, **parts(6_000), trained=weights_of(RELEASED))
    assert found.stack == found.judged == RELEASED
    assert not found.following.moved
    assert found.following.tried != found.following.now == found.following.before
    assert "the weights stay: with moved ones the labels known last were not forecast better (log-loss" in verdict_of(
        found.following
    )


def test_weights_that_fit_the_first_labels_and_not_the_last_stay() -> None:
    #  the branch is bad while weights are fitted, and good again when they are judged
    bad, good = period(4_000, 4, worth=0.0), period(2_000, 5, worth=1.2)
    members = {name: np.concatenate([bad[0][name], good[0][name]]) for name in bad[0]}
    found = follow_weights(
        RELEASED, members, np.concatenate([bad[1], good[1]]), **parts(6_000), trained=weights_of(RELEASED)
    )
    assert not found.following.moved
    assert found.following.gain is not None
    assert found.following.gain.high < 0.0


def test_too_few_frauds_leave_the_weights_alone() -> None:
    members, fraud = period(6_000, 6, worth=0.0)
    few = np.where(np.cumsum(fraud) <= 29, fraud, 0).astype(np.int8)
    few[-20:] = 1
    found = follow_weights(RELEASED, members, few, **parts(6_000), trained=weights_of(RELEASED))
    assert found.stack == RELEASED
    assert "29 fraud and 3971 legit labels are there to fit them on, and at least 30" in found.following.left
    assert found.following.gain is None
    late = np.where(np.arange(6_000) < 4_000, fraud, 0).astype(np.int8)
    found = follow_weights(RELEASED, members, late, **parts(6_000), trained=weights_of(RELEASED))
    assert "0 fraud and 2000 legit labels are there to judge them by" in found.following.left


def test_trees_alone_have_nothing_to_be_weighed_against() -> None:
    members, fraud = period(6_000, 7, worth=0.0)
    for stack in (Stack(), Stack(members=("gbdt", "gnn"), weights=(1.0, 0.0))):
        found = follow_weights(stack, members, fraud, **parts(6_000), trained=weights_of(stack))
        assert found.stack == stack
        assert "only one member" in found.following.left


def test_period_after_period_weights_wander_within_the_band_of_the_training() -> None:
    stack, trained = RELEASED, weights_of(RELEASED)
    seen = []
    for again, worth in enumerate((0.0, 0.0, 0.0, 2.0, 2.0, 2.0)):
        members, fraud = period(6_000, 20 + again, worth=worth)
        stack = follow_weights(stack, members, fraud, **parts(6_000), trained=trained).stack
        seen.append(stack.weight_of("gnn"))
        assert all(
            band_of(trained[name]).low <= weight <= band_of(trained[name]).high
            for name, weight in weights_of(stack).items()
        )
    assert min(seen) == pytest.approx(0.4, abs=0.05)
    assert max(seen) > 1.0


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, scenario: Scenario) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("following"), payments(4_000), scenario)


@pytest.fixture(scope="module")
def base(ledger: Ledger, scenario: Scenario, policy: Policy, clock: FakeClock) -> Release:
    """A release whose stack counts on how unusual an event is, as if that had once been of use here."""
    folder = ledger.directory.parent / "releases"
    made = train(ledger, scenario, policy, releases_dir=folder, clock=clock, until_ms=CUT_MS, without={"gnn"})
    stack = Stack(members=("gbdt", "anomaly"), weights=(0.9, 1.0), intercept=0.0, centres=(-2.5, 1.0))
    release = write_release(
        folder,
        Contents(
            scenario=made.scenario,
            ensemble=replace(made.ensemble, stack=stack),
            calibrator=made.calibrator,
            gbdt_calibrator=made.gbdt_calibrator,
            policy=made.policy,
            made=made.manifest.made,
            metrics=made.metrics,
            headline=made.manifest.headline,
            card=made.card,
            report="as it was",
        ),
    )
    with ledger.writer(clock) as writer:
        Registry.read(ledger).register(writer, release.id, digest=release.digest, note="")
        writer.commit()
    return release


@pytest.fixture(scope="module")
def followed(ledger: Ledger, base: Release, clock: FakeClock) -> Release:
    return recalibrate(ledger, base, releases_dir=base.path.parent, clock=clock, until_ms=UNTIL_MS, weights=True)


def test_the_models_stay_and_the_weight_of_what_is_of_no_use_falls(base: Release, followed: Release) -> None:
    changed = {name for name, digest in base.manifest.files.items() if followed.manifest.files[name] != digest}
    assert "stack.json" in changed
    assert not changed & {"gbdt.txt", "trees.npz", "anomaly.npz", "encoder.json", "scenario.json"}
    assert 0.5 <= followed.stack.weight_of("anomaly") < 0.95
    calibrated = followed.manifest.made.calibrated
    assert calibrated is not None
    assert calibrated.weights is not None
    assert calibrated.weights.trained == calibrated.weights.before == weights_of(base.stack)
    assert calibrated.weights.now == weights_of(followed.stack)
    assert followed.trained_weights == base.trained_weights == {"gbdt": 0.9, "anomaly": 1.0}


def test_later_events_are_forecast_better_than_by_a_calibration_alone(
    ledger: Ledger, base: Release, followed: Release, clock: FakeClock, tmp_path: Path
) -> None:
    alone = recalibrate(ledger, base, releases_dir=tmp_path, clock=clock, until_ms=UNTIL_MS)
    assert alone.stack == base.stack
    assert alone.id != followed.id
    truth = payments(4_000).select(event_id="id", fraud="fraud")
    losses = []
    for release in (alone, followed):
        scored = score(ledger, release, at_ms(52)).join(truth, on="event_id")
        p, y = scored["score"].to_numpy(), scored["fraud"].to_numpy()
        losses.append(float(-np.where(y == 1, np.log(p), np.log1p(-p)).mean()))
    assert losses[1] < losses[0]


def test_card_metrics_and_report_tell_old_and_new_weights(followed: Release) -> None:
    found = followed.metrics["recalibrated"]["weights"]
    assert found["left"] == ""
    assert found["now"]["anomaly"] == pytest.approx(followed.stack.weight_of("anomaly"), abs=1e-6)
    assert found["before"]["anomaly"] == found["trained"]["anomaly"] == 1.0
    row = f"| anomaly | 1.0000 | 1.0000 | {followed.stack.weight_of('anomaly'):.4f} | 0.5000 to 2.0000 |"
    assert row in followed.card
    assert "the weights moved" in followed.card
    assert "Labels are of events that somebody looked at" in followed.card
    assert "may have changed their order by the full score" in followed.card
    page = Read.of((followed.path / "report.html").read_text()).text
    assert "Weights: moved" in page
    assert "0.5000 to 2.0000" in page
    assert load_release(followed.path).digest == followed.digest


def test_the_same_ledger_gives_the_same_bytes_and_later_labels_change_nothing(
    base: Release, followed: Release, clock: FakeClock, scenario: Scenario, tmp_path: Path
) -> None:
    frame = payments(4_000)
    flipped = frame.with_columns(
        fraud=pl.when(pl.col("at") > "2024-02-19T00:00:00").then(1 - pl.col("fraud")).otherwise(pl.col("fraud"))
    )
    other = ledger_of(tmp_path, flipped, scenario)
    again = recalibrate(other, base, releases_dir=tmp_path / "releases", clock=clock, until_ms=UNTIL_MS, weights=True)
    assert again.id == followed.id
    for name in ("stack.json", "calibrator.json", "metrics.json", "card.md", "report.html"):
        assert (again.path / name).read_bytes() == (followed.path / name).read_bytes()


def test_bounds_are_those_of_the_training_after_any_number_of_calibrations(
    ledger: Ledger, base: Release, clock: FakeClock, tmp_path: Path
) -> None:
    first = recalibrate(ledger, base, releases_dir=tmp_path, clock=clock, until_ms=at_ms(41), weights=True)
    plain = recalibrate(ledger, first, releases_dir=tmp_path, clock=clock, until_ms=at_ms(48))
    assert plain.stack == first.stack
    assert plain.trained_weights == first.trained_weights == base.trained_weights
    last = recalibrate(ledger, plain, releases_dir=tmp_path, clock=clock, weights=True)
    calibrated = last.manifest.made.calibrated
    assert calibrated is not None
    assert calibrated.weights is not None
    assert calibrated.weights.trained == base.trained_weights
    assert calibrated.weights.before == weights_of(first.stack)
    assert last.stack.weight_of("anomaly") >= 0.5
    assert last.card.count("Weights of the stack:") == 1


def test_a_network_from_elsewhere_is_weighed_by_events_that_it_cannot_have_seen(scenario: Scenario) -> None:
    nets = tuple(
        Brought(name=name, file=f"{name}.onnx", features=("event.amount",), trained_until_ms=until_ms)
        for name, until_ms in (("early", at_ms(3)), ("late", at_ms(9)), ("unused", at_ms(20)))
    )
    here = msgspec.structs.replace(scenario, branches=nets)
    stack = Stack(members=("gbdt", "early", "late"), weights=(1.0, 0.2, 0.2))
    assert unseen_from_ms(here, stack) == at_ms(9)
    assert unseen_from_ms(here, RELEASED) == 0
