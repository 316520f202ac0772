# SPDX-License-Identifier: Apache-2.0
"""A release with the models of another and a calibration from what became known since."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.models.calibration import fit_calibrator
from ringfence.models.seen import Seen
from ringfence.policy.policy import Policy
from ringfence.rollout.registry import Registry
from ringfence.scenario.batch import FRAUD
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.event import LabelNotice
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Release, load_release
from ringfence.training.errors import TooFewNewLabelsError
from ringfence.training.recalibrating import new_examples, recalibrate
from ringfence.training.score import in_training_span, score
from ringfence.training.train import train
from tests.reports.markup import Read

from .conftest import NOW_MS, at_ms, ledger_of, payments

CUT_MS, UNTIL_MS = at_ms(30), at_ms(52)


def shifted() -> pl.DataFrame:
    """From day 28 on every second fraud is gone: what the release promises is too much."""
    frame = payments(4_000)
    gone = (pl.col("at") >= "2024-01-29T00:00:00") & (pl.int_range(pl.len()) % 2 == 0)
    return frame.with_columns(fraud=pl.when(gone).then(0).otherwise(pl.col("fraud")))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, scenario: Scenario) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("recalibrating"), shifted(), scenario)


@pytest.fixture(scope="module")
def base(ledger: Ledger, scenario: Scenario, policy: Policy, clock: FakeClock) -> Release:
    folder = ledger.directory.parent / "releases"
    return train(ledger, scenario, policy, releases_dir=folder, clock=clock, until_ms=CUT_MS)


@pytest.fixture(scope="module")
def made(ledger: Ledger, base: Release, clock: FakeClock) -> Release:
    return recalibrate(ledger, base, releases_dir=base.path.parent, clock=clock, until_ms=UNTIL_MS, note="rate fell")


def test_models_are_the_same_bytes_and_only_the_calibration_differs(base: Release, made: Release) -> None:
    assert made.id != base.id
    before, after = base.manifest.files, made.manifest.files
    changed = {name for name in before if before[name] != after[name]}
    assert set(before) == set(after)
    assert {"calibrator.json", "calibrator-gbdt.json"} <= changed
    assert changed <= {
        "calibrator.json",
        "calibrator-gbdt.json",
        "policy.json",
        "metrics.json",
        "card.md",
        "report.html",
    }


def test_it_waits_for_promotion(ledger: Ledger, base: Release, made: Release) -> None:
    registry = Registry.read(ledger)
    assert registry.champion() == base.id
    assert registry.latest() == made.id
    assert registry.entries()[-1].note == "rate fell"
    assert load_release(made.path).digest == made.digest


def test_calibrators_are_fitted_on_what_became_known_since_and_nothing_else(
    ledger: Ledger, base: Release, made: Release, scenario: Scenario
) -> None:
    #  labels come 3 days late: known in (30, 52] are events of days (27, 49], none of which was an example
    frame = shifted().with_columns(
        day=(pl.col("at").str.to_datetime(time_zone="UTC").dt.epoch("ms") - at_ms(0)) / 8.64e7
    )
    window = frame.filter((pl.col("day") > 27.0) & (pl.col("day") <= 49.0))
    calibrated = made.manifest.made.calibrated
    assert calibrated is not None
    assert (calibrated.n, calibrated.n_fraud) == (window.height, window["fraud"].sum())
    assert (calibrated.release, calibrated.after_ms, calibrated.models_until_ms) == (base.id, CUT_MS, CUT_MS)
    examples = new_examples(ledger, base, UNTIL_MS)
    assert list(examples.event_id) == window["id"].to_list()
    rows = feature_rows(ledger, Catalogue.build(scenario), examples.seq).rows
    raw = base.ensemble.raw(Seen(rows))
    assert made.calibrator == fit_calibrator(raw, examples.fraud)
    assert made.calibrator.apply(raw).mean() == pytest.approx(window["fraud"].mean(), rel=1e-6)
    assert base.calibrator.apply(raw).mean() > 1.5 * window["fraud"].mean()


def test_order_of_scores_stays_and_later_events_are_better_known(ledger: Ledger, base: Release, made: Release) -> None:
    later = at_ms(55)  # nothing from here on was known at the cut of either
    before, after = score(ledger, base, later), score(ledger, made, later)
    assert before["gbdt"].equals(after["gbdt"])
    assert (np.argsort(before["score"], kind="stable") == np.argsort(after["score"], kind="stable")).all()
    truth = before.join(shifted().select(event_id="id", fraud="fraud"), on="event_id")["fraud"].to_numpy()
    assert ((after["score"].to_numpy() - truth) ** 2).mean() < ((before["score"].to_numpy() - truth) ** 2).mean()


def test_labels_known_later_change_nothing(
    ledger: Ledger, base: Release, made: Release, clock: FakeClock, scenario: Scenario, policy: Policy, tmp_path: Path
) -> None:
    flipped = shifted().with_columns(
        fraud=pl.when(pl.col("at") > "2024-02-19T00:00:00").then(1 - pl.col("fraud")).otherwise(pl.col("fraud"))
    )
    other = ledger_of(tmp_path, flipped, scenario)
    again = recalibrate(other, base, releases_dir=tmp_path / "releases", clock=clock, until_ms=UNTIL_MS)
    assert again.id == made.id


def test_card_metrics_and_report_tell_what_changed(base: Release, made: Release) -> None:
    found = made.metrics["recalibrated"]
    assert found["base"] == base.id
    assert [rung["name"] for rung in found["rungs"]] == ["full", "gbdt"]
    full = found["rungs"][0]
    gain = full["brier_gain"]
    assert gain["value"] == pytest.approx(full["before"]["brier"]["value"] - full["after"]["brier"]["value"], abs=2e-6)
    assert full["verdict"] == ("better" if gain["low"] > 0.0 else "no clear difference")
    assert full["after"]["ece"]["value"] < full["before"]["ece"]["value"]
    assert full["after"]["brier"]["value"] < full["before"]["brier"]["value"]
    assert made.metrics["headline"]["ece"] == full["after"]["ece"]
    assert made.manifest.headline["n"] == found["n"] - found["n_fitted"]
    assert made.card.count("## Recalibrated") == 1
    assert f"The models are those of `{base.id}`" in made.card
    assert f"- release: {made.id}" in made.card
    assert "## Measured before this calibration:" in made.card
    assert "## Measured:" not in made.card
    page = Read.of((made.path / "report.html").read_text()).text
    assert all(
        part in page for part in (made.id, base.id, f"Rung full: {full['verdict']}", "expected calibration error")
    )


def test_what_calibrated_counts_as_known_to_the_release(ledger: Ledger, base: Release, made: Release) -> None:
    scored = score(ledger, made, at_ms(40), at_ms(55))
    assert in_training_span(scored, made).sum() > 0
    assert in_training_span(scored, base).sum() == 0


def test_a_calibration_can_be_calibrated_again(ledger: Ledger, base: Release, clock: FakeClock, tmp_path: Path) -> None:
    first = recalibrate(ledger, base, releases_dir=tmp_path, clock=clock, until_ms=at_ms(41))
    second = recalibrate(ledger, first, releases_dir=tmp_path, clock=clock)
    calibrated = second.manifest.made.calibrated
    assert calibrated is not None
    assert (calibrated.release, calibrated.after_ms, calibrated.models_until_ms) == (first.id, at_ms(41), CUT_MS)
    made = second.manifest.made
    assert made.until_ms > made.models_until_ms == base.manifest.made.models_until_ms == CUT_MS
    assert second.ensemble.gbdt.text == base.ensemble.gbdt.text
    assert second.card.count("## Recalibrated") == 1
    assert f"The models are those of `{first.id}`" in second.card


def test_too_few_new_labels_are_refused(ledger: Ledger, base: Release, clock: FakeClock, tmp_path: Path) -> None:
    with pytest.raises(TooFewNewLabelsError, match=r"after its cut \(2024-01-31T00:00:00.*at least 30") as refusal:
        recalibrate(ledger, base, releases_dir=tmp_path, clock=clock, until_ms=at_ms(32))
    assert 0 <= refusal.value.n_fraud < 30
    with pytest.raises(TooFewNewLabelsError, match="0 fraud and 0 legit"):
        recalibrate(ledger, base, releases_dir=tmp_path, clock=clock, until_ms=CUT_MS)
    assert not list(tmp_path.iterdir())


def test_revised_labels_of_fitted_events_calibrate_nothing(
    scenario: Scenario, base: Release, clock: FakeClock, tmp_path: Path
) -> None:
    frame = shifted()
    ledger = ledger_of(tmp_path, frame, scenario)
    fitted = frame.filter(pl.col("at") < "2024-01-20T00:00:00")["id"].to_list()[:50]
    before = len(new_examples(ledger, base, None))
    with ledger.writer(clock) as writer:
        for event_id in fitted:
            writer.stage_label(
                LabelNotice(
                    event_type="payment", event_id=event_id, value=FRAUD, source="investigator", known_at_ms=NOW_MS
                )
            )
        writer.commit()
    assert len(new_examples(ledger, base, None)) == before
