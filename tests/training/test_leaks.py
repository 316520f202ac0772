# SPDX-License-Identifier: Apache-2.0
"""Planted leaks are named with their evidence; a clean history raises no alarm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.spec import Scenario
from ringfence.training.evaluation import Scored, evaluate
from ringfence.training.examples import collect_examples
from ringfence.training.findings import leaks_in
from ringfence.training.leaks import LeakHunt

from .conftest import at_ms, ledger_of, payments, scenario_of

N = 2_500
ATTRIBUTES = {
    "channel": "category",
    "closing_code": "category",
    "recovered": "number",
    "case_opened": "boolean",
    "row_number": "number",
    "decided_at": "time",
    "odd_price": "number",
    "often_missing": "number",
}


def _scenario(**changes: object) -> Scenario:
    payment = {
        "event_id": "id",
        "event_time": "at",
        "amount": {"field": "amount", "currency": "EUR"},
        "entities": {"card": "card", "shop": "shop", "clerk": "clerk"},
        "attributes": ATTRIBUTES,
        "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "3d"},
        **changes,
    }
    return scenario_of(events={"payment": payment})


def _clean(seed: int = 0) -> pl.DataFrame:
    """Payments with attributes that an honest system would have, nulls and near-unique numbers among them."""
    rng = np.random.default_rng(seed)
    frame = payments(N, seed=seed)
    return frame.with_columns(
        closing_code=pl.Series(rng.choice(["a", "b", "c"], N)),
        recovered=pl.lit(None, dtype=pl.Float64),
        case_opened=pl.Series(rng.random(N) < 0.3),
        row_number=pl.Series(rng.permutation(10_000_000)[:N]),  # whole and distinct, but in no order
        decided_at=pl.col("at"),
        odd_price=pl.Series(rng.gamma(2.0, 10.0, N)),
        often_missing=pl.Series(np.where(rng.random(N) < 0.7, np.nan, rng.random(N))).fill_nan(None),
        clerk=pl.Series(rng.integers(0, 9, N)),
        fraud=pl.when(pl.Series(rng.random(N) < 0.6)).then(pl.col("fraud")),  # the others never get a label
    )


def _hunt(folder: Path, frame: pl.DataFrame, scenario: Scenario) -> LeakHunt:
    ledger: Ledger = ledger_of(folder, frame, scenario)
    examples = collect_examples(ledger, from_ms=None, until_ms=at_ms(55))
    catalogue = Catalogue.build(scenario)
    rows = feature_rows(ledger, catalogue, examples.seq).rows
    rng = np.random.default_rng(1)
    scored = Scored(
        event_time_ms=examples.event_time_ms,
        fraud=examples.fraud,
        score=rng.random(len(examples)),
        amount_minor=examples.amount_minor,
    )
    figures = evaluate(scored, name="x", title="x", explanation="", seed=0, n_replicates=20)
    return leaks_in(ledger, catalogue, examples, rows, seed=0)(figures)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_clean_history_raises_no_alarm(tmp_path: Path, seed: int) -> None:
    found = _hunt(tmp_path, _clean(seed), _scenario())
    assert found.suspicions == []
    assert found.n_unlabelled > 500
    assert found.strongest[0].roc_auc.low < found.strongest[0].roc_auc.value < found.strongest[0].roc_auc.high


def test_planted_leaks_are_named_with_their_evidence(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    draw = pl.Series(rng.random(N))
    truth = payments(N)["fraud"]  # known to whoever filled in the columns, whether or not a label was written
    honest = _clean()
    planted = honest.with_columns(
        closing_code=pl.when((truth == 1) & (draw < 0.98)).then(pl.lit("confirmed")).otherwise(pl.lit("closed")),
        recovered=pl.when((truth == 1) & (draw < 0.4)).then(draw * 100).when(draw < 0.002).then(pl.lit(1.0)),
        case_opened=pl.when(honest["fraud"].is_not_null() & (draw < 0.8)).then(pl.lit(True)),
        row_number=pl.Series(np.arange(N) + 40_000),
        decided_at=pl.col("at").str.replace("2024", "2025"),
        clerk=pl.when((truth == 1) & (draw < 0.9)).then(pl.lit(7)),
    )
    found = _hunt(tmp_path, planted, _scenario())
    kinds = {(one.kind, one.column) for one in found.suspicions}
    assert kinds == {
        ("too_good", "attribute.closing_code"),
        ("after_outcome", "attribute.recovered"),
        ("only_labelled", "attribute.case_opened"),
        ("running_number", "attribute.row_number"),
        ("after_event", "attribute.decided_at"),
        ("after_outcome", "clerk"),
    } | {one for one in kinds if one[0] == "too_good" and one[1].startswith(("attribute.recovered", "clerk"))}
    evidence = {(one.kind, one.column): one.figures for one in found.suspicions}
    assert evidence["too_good", "attribute.closing_code"]["roc_auc_low"] > 0.95
    assert evidence["after_outcome", "attribute.recovered"]["present_fraud"] == pytest.approx(0.4, abs=0.12)
    assert evidence["only_labelled", "attribute.case_opened"]["present_unlabelled"] == 0.0
    assert evidence["running_number", "attribute.row_number"]["rank_correlation_with_time"] == pytest.approx(1.0)
    assert evidence["after_event", "attribute.decided_at"]["share_after"] == 1.0


def test_ids_that_order_the_label_are_named(tmp_path: Path) -> None:
    frame = _clean().sort(pl.col("fraud").fill_null(0), "at").with_columns(id=pl.format("p-{}", pl.int_range(N)))
    found = [one for one in _hunt(tmp_path, frame, _scenario()).suspicions if one.kind == "id_order"]
    assert [one.column for one in found] == ["event_id"]
    assert found[0].figures["roc_auc"] > 0.9
    # Row numbers that ringfence makes itself are no ids of the source.
    assert "id_order" not in {one.kind for one in _hunt(tmp_path / "row", frame, _scenario(event_id="row")).suspicions}


def test_a_model_without_any_doubt_is_doubted(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, _clean(), _scenario())
    examples = collect_examples(ledger, from_ms=None, until_ms=None)
    catalogue = Catalogue.build(_scenario())
    rows = feature_rows(ledger, catalogue, examples.seq).rows
    perfect = Scored(
        event_time_ms=examples.event_time_ms,
        fraud=examples.fraud,
        score=0.98 * examples.fraud + 0.01,
        amount_minor=examples.amount_minor,
    )
    figures = evaluate(perfect, name="x", title="x", explanation="", seed=0, n_replicates=20)
    found = leaks_in(ledger, catalogue, examples, rows, seed=0)(figures)
    assert [(one.kind, one.column) for one in found.suspicions] == [("too_good", "all columns together")]
