# SPDX-License-Identifier: Apache-2.0
"""The report of a trained release: one file, well-formed, with the numbers that are printed elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ringfence.cli.models import headline, leaks
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Release
from ringfence.training.train import train
from tests.reports.markup import Read

from .conftest import at_ms, ledger_of, payments, scenario_of

SECTIONS = [
    "predicted",
    "time",
    "quality",
    "capacity",
    "unaided",
    "money",
    "parts",
    "branches",
    "drivers",
    "drift",
    "examples",
    "leaks",
    "limits",
]


def _scenario() -> Scenario:
    payment = {
        "event_id": "id",
        "event_time": "at",
        "amount": {"field": "amount", "currency": "EUR"},
        "entities": {"card": "card", "shop": "shop"},
        "attributes": {
            "channel": "category",
            "answer": "category",
            "sex": {"type": "category", "use": "audit_only"},
            "abroad": "boolean",
        },
        "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "3d"},
    }
    return scenario_of(events={"payment": payment})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, policy: Policy, clock: FakeClock) -> Release:
    """A release whose column `answer` gives the label away."""
    rng = np.random.default_rng(1)
    frame = payments(2_500)
    frame = frame.with_columns(
        answer=pl.when(pl.col("fraud") == 1).then(pl.lit("<b>fraud</b>")).otherwise(pl.lit("none")),
        sex=pl.Series(rng.choice(["f", "m"], 2_500)),
        abroad=pl.Series(rng.random(2_500) < 0.2),
    )
    folder = tmp_path_factory.mktemp("report")
    ledger = ledger_of(folder, frame, _scenario())
    return train(ledger, _scenario(), policy, releases_dir=folder / "releases", clock=clock, until_ms=at_ms(45))


@pytest.fixture(scope="module")
def page(release: Release) -> str:
    return (release.path / "report.html").read_text()


def test_report_is_one_well_formed_file_that_fetches_nothing(page: str) -> None:
    read = Read.of(page)
    assert read.open_tags == []
    assert read.fetched == []
    assert "script" not in read.tags
    assert set(read.links) <= read.ids
    assert [section for section in SECTIONS if section not in read.ids] == []
    assert read.tags.count("caption") == read.tags.count("table")
    assert read.unnamed_drawings == 0
    assert "prefers-color-scheme: dark" in page
    assert "<b>fraud</b>" not in page
    assert "http" not in page


def test_report_holds_the_numbers_that_are_printed(release: Release, page: str) -> None:
    text = Read.of(page).text
    figures = release.manifest.headline
    for name in ("average_precision", "roc_auc", "brier_skill"):
        printed = [f"{figures[name][bound]:.3f}" for bound in ("value", "low", "high")]
        assert all(number in headline(release) for number in printed)
        assert f"{printed[0]} {printed[1]} to {printed[2]}" in text
    money = release.metrics["money"]
    assert f"{money['saved']['value']:,.0f}" in text
    assert f"{figures['n']:,} events, {figures['n_fraud']:,} fraud" in text
    assert "Label delay" in text


def test_leak_is_named_in_every_place_that_tells_the_figures(release: Release, page: str) -> None:
    (found,) = leaks(release)
    assert (found["kind"], found["column"]) == ("too_good", "attribute.answer")
    assert "attribute.answer: alone it reaches ROC-AUC 1.000" in headline(release)
    assert found["sentence"] in Read.of(page).text
    assert "`attribute.answer`" in release.card


def test_metrics_hold_what_the_report_shows_and_no_nan(release: Release) -> None:
    found: dict[str, Any] = json.loads((release.path / "metrics.json").read_text(), parse_constant=pytest.fail)
    main = found["evaluations"][0]
    assert sum(action["n_fraud"] for action in found["money"]["actions"]) == main["n_fraud"]
    assert {part["group"] for part in main["segments"]} == {"channel", "answer", "sex", "abroad", "amount, EUR"}
    assert sum(part["n"] for part in main["segments"] if part["group"] == "sex") == main["n"]
    assert sum(bucket["n"] for bucket in found["through_time"]) == main["n"]
    assert found["drift"][0]["psi"] >= found["drift"][-1]["psi"]
    assert [delay["median_days"] for delay in found["label_delays"]] == [3.0, 3.0]


def test_events_without_amount_entity_or_attribute_have_a_report_too(
    tmp_path: Path, policy: Policy, clock: FakeClock
) -> None:
    bare = {
        "event_id": "row",
        "attributes": {"amount": "number"},
        "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "0d"},
    }
    scenario = scenario_of(events={"payment": bare})
    frame = payments(900).select("fraud", "amount")
    made = train(
        ledger_of(tmp_path, frame, scenario), scenario, policy, releases_dir=tmp_path / "releases", clock=clock
    )
    page = (made.path / "report.html").read_text()
    read = Read.of(page)
    assert (read.open_tags, read.fetched) == ([], [])
    assert "none: every event stands alone" in read.text
    assert "the order of the file stands in for it" in read.text
    assert "only the fixed parts of the costs count" in read.text
    assert 'id="parts"' not in page  # no role, no category, no amount: nothing parts the events
    assert "No leak found" in read.text
    assert "Label delay" not in read.text  # labels came with their events: a line along the axis would tell nothing
