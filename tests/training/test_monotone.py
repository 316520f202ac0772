# SPDX-License-Identifier: Apache-2.0
"""`monotone` in a scenario: what a release holds to, pins and tells."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.models.calibration import sigmoid
from ringfence.models.seen import Seen
from ringfence.models.stack import Stack
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Release
from ringfence.training.effort import effort_for
from ringfence.training.examples import Examples
from ringfence.training.fitting import fit
from ringfence.training.monotone import told_of
from ringfence.training.train import train

from .conftest import at_ms, ledger_of, payments, scenario_of

CUT_MS = at_ms(45)
HELD = {"event.amount": -1, "shop.fraud_rate": 1}


@pytest.fixture(scope="module")
def asking() -> Scenario:
    # Large amounts are the riskier ones in these payments: the release is to do without that.
    return scenario_of(monotone={"amount": "decreasing", "shop.fraud_rate": "increasing"})


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, asking: Scenario) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("monotone"), payments(1_500), asking)


@pytest.fixture(scope="module")
def release(ledger: Ledger, asking: Scenario, policy: Policy, clock: FakeClock) -> Release:
    folder = ledger.directory.parent / "releases"
    return train(ledger, asking, policy, releases_dir=folder, clock=clock, until_ms=CUT_MS)


def test_trees_of_the_release_move_the_score_one_way_on_real_rows(
    ledger: Ledger, asking: Scenario, release: Release
) -> None:
    catalogue = Catalogue.build(asking)
    seqs = ledger.events(CUT_MS).sort("seq")["seq"].to_numpy()[::10]
    rows = feature_rows(ledger, catalogue, seqs).rows
    ensemble, n_moves = release.ensemble, 0
    for name, sign in HELD.items():
        column = catalogue.index(name)
        values = np.unique(np.concatenate([rows[:, column], np.linspace(0.0, 1.0, 40), np.linspace(0.0, 500.0, 40)]))
        for row in rows[:40]:
            varied = np.repeat(row[None], values[~np.isnan(values)].shape[0], axis=0)
            varied[:, column] = values[~np.isnan(values)]
            trees = ensemble.members(Seen(varied), ensemble.encode(varied))["gbdt"]
            moves = np.diff(release.gbdt_calibrator.apply(trees)) * sign
            assert (moves >= 0.0).all(), name
            n_moves += int((moves > 0.0).sum())
    assert n_moves > 50


def test_release_pins_the_directions_and_its_card_tells_them(release: Release, asking: Scenario) -> None:
    told = {"event.amount": "decreasing", "shop.fraud_rate": "increasing"}
    assert release.manifest.made.settings["monotone"] == told
    assert release.scenario.monotone == asking.monotone
    assert "- monotone: event.amount decreasing, shop.fraud_rate increasing" in release.card
    assert f"[monotone_constraints: {','.join(str(HELD.get(f.name, 0)) for f in release.features)}]" in (
        release.ensemble.gbdt.text
    )


def test_folds_are_held_to_it_as_the_refit_is() -> None:
    # One column tells the label; held the wrong way, no fold can use it.
    rng = np.random.default_rng(5)
    column = rng.normal(size=1_500)
    times = np.arange(1_500, dtype=np.int64)
    examples = Examples(
        seq=times,
        event_id=tuple(str(time) for time in times),
        event_time_ms=times,
        known_at_ms=times,
        settled_at_ms=times,
        amount_minor=times,
        fraud=(rng.random(1_500) < sigmoid(-2.0 + 2.0 * column)).astype(np.int8),
        until_seq=1_500,
        n_unlabelled=0,
    )
    effort = msgspec.structs.replace(effort_for(1_500, 200), max_trees=30, n_seeds=1, n_blocks=2)
    free, held = (
        fit(column[:, None], examples, is_category=[False], learners=(), monotone=signs, effort=effort)
        for signs in ((), (-1,))
    )
    assert free.out_of_fold.average_precision > 2 * held.out_of_fold.average_precision
    assert np.ptp(held.ensemble.gbdt.raw(column[:, None])) < 0.01 * np.ptp(free.ensemble.gbdt.raw(column[:, None]))


def test_full_score_is_promised_only_where_the_trees_are_alone(asking: Scenario, release: Release) -> None:
    catalogue, ensemble = Catalogue.build(asking), release.ensemble
    both = Stack(members=("gbdt", "anomaly"), weights=(0.9, 0.2))
    assert "the score never moves the other way" in told_of(catalogue, replace(ensemble, stack=Stack()))
    assert "since anomaly takes part" in told_of(catalogue, replace(ensemble, stack=both))
