# SPDX-License-Identifier: Apache-2.0
"""How soon a ring is found, on cases small enough to draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ringfence.ledger.ledger import Ledger
from ringfence.models.rules import RulesModel
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.condition_names import Kind, Known
from ringfence.scenario.spec import Rule, Scenario
from ringfence.scoring.release import Release
from ringfence.training.comparisons.detection import Detection, alerted_of, detect, fired, read_truth
from ringfence.training.comparisons.page import studies_page
from ringfence.training.errors import TruthFileError
from ringfence.training.evaluation import DAY_MS
from ringfence.training.train import train
from tests.reports.markup import Read

from .conftest import at_ms, ledger_of, payments

CUT_MS = at_ms(45)


def test_a_days_highest_scores_are_opened_and_no_more() -> None:
    #  day 0: .9 .8 .8 .1   day 1: .2      two a day; of a tie the earlier one
    time_ms = np.array([5, 9, 7, 1, DAY_MS])
    opened = alerted_of(time_ms, np.array([0.9, 0.8, 0.8, 0.1, 0.2]), 2)
    assert opened.tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("seed", range(3))
def test_opened_events_are_those_of_a_plain_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    time_ms, score = rng.permutation(400) * (DAY_MS // 80), rng.integers(0, 30, 400) / 30
    opened = alerted_of(time_ms, score, 3)
    for at in range(400):
        day = [i for i in range(400) if time_ms[i] // DAY_MS == time_ms[at] // DAY_MS]
        above = [i for i in day if (-score[i], time_ms[i]) < (-score[at], time_ms[at])]
        assert opened[at] == (len(above) < 3)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return payments(1_000)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, history: pl.DataFrame, scenario: Scenario) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("rings"), history, scenario)


@pytest.fixture(scope="module")
def release(ledger: Ledger, scenario: Scenario, policy: Policy, clock: FakeClock) -> Release:
    folder = ledger.directory.parent / "releases"
    return train(ledger, scenario, policy, releases_dir=folder, clock=clock, until_ms=CUT_MS)


def _detected(ledger: Ledger, release: Release, history: pl.DataFrame) -> tuple[Detection, dict[str, list[int]]]:
    """Three rings, of events whose scores are set by hand: all score 0 but these."""
    later = ledger.events(CUT_MS + 1).sort("seq")
    frauds = history.filter(pl.col("fraud") == 1)["id"]
    days = (later["event_time_ms"] // DAY_MS).to_list()
    ids, time_ms = later["event_id"].to_list(), later["event_time_ms"].to_list()
    first_of = [i for i in range(len(ids)) if i == 0 or days[i] != days[i - 1]]  # one event a day
    early = [event for event in history["id"].to_list() if event not in set(ids)]
    early_fraud = next(event for event in early if event in set(frauds))
    #  slow   found at its third event          e1 ─ e2 ─ e3*
    #  old    two events before the cut; its third is its first after it, found at its second after it
    #  quiet  never found
    slow, quiet = [ids[i] for i in first_of[1:4]], [ids[i] for i in first_of[4:8]]
    old = [early_fraud, early[10], *(ids[i] for i in first_of[8:10])]
    top = {slow[2], old[3]}
    scored = pl.DataFrame(
        {
            "event_id": ids,
            "event_time": pl.Series(time_ms).cast(pl.Datetime("ms", "UTC")),
            "score": [1.0 if event in top else 0.5 if event not in {*slow, *old, *quiet} else 0.0 for event in ids],
        }
    )
    truth = pl.DataFrame(
        {"id": [*slow, *quiet, *old, "p0"], "ring_id": ["slow"] * 3 + ["quiet"] * 4 + ["old"] * 4 + [None]}
    )
    found = detect(scored, ledger, release, read_truth(truth, "id", "test"))
    return found, {"slow": [time_ms[i] for i in first_of[1:4]], "old": [time_ms[i] for i in first_of[8:10]]}


def test_a_ring_is_found_when_the_first_of_its_events_is_opened(
    ledger: Ledger, release: Release, history: pl.DataFrame
) -> None:
    found, times = _detected(ledger, release, history)
    rings = {ring.ring: ring for ring in found.rings}
    slow, old, quiet = rings["slow"], rings["old"], rings["quiet"]
    assert found.alerts_per_day == 2  # the policy's
    assert (slow.found_ms, slow.third_ms) == (times["slow"][2], times["slow"][2])
    assert slow.days_to_detection == (times["slow"][2] - times["slow"][0]) / DAY_MS
    assert (old.n_before, old.n_events) == (2, 2)
    assert (old.third_ms, old.found_ms) == (times["old"][0], times["old"][1])
    assert (quiet.found_ms, quiet.days_to_detection) == (None, None)
    assert found.median_days == pytest.approx(np.median([one.days_to_detection for one in (slow, old)]))
    assert slow.by_rule is None


def test_share_found_counts_rings_that_had_the_time(ledger: Ledger, release: Release, history: pl.DataFrame) -> None:
    found, _ = _detected(ledger, release, history)
    within = {one.days: one for one in found.within}
    #  at the third event: slow; old a day later; quiet never. The history ends two weeks after the cut
    assert (within[0].n, within[0].share.value) == (3, pytest.approx(1 / 3))
    assert within[7].n == sum(
        ring.third_ms is not None and ring.third_ms + 7 * DAY_MS <= found.to_ms for ring in found.rings
    )
    assert within[90].n == 0
    assert np.isnan(within[90].share.value)


def test_whoever_was_labelled_fraud_before_is_no_discovery(
    ledger: Ledger, release: Release, history: pl.DataFrame
) -> None:
    found, _ = _detected(ledger, release, history)
    old = next(ring for ring in found.rings if ring.ring == "old")
    assert old.label_ms is not None
    assert not old.is_ahead_of_labels


def test_rings_are_drawn_on_the_page(ledger: Ledger, release: Release, history: pl.DataFrame) -> None:
    found, _ = _detected(ledger, release, history)
    read = Read.of(studies_page(release.id, "payments", CUT_MS, [], found, version="0"))
    assert (read.open_tags, read.fetched) == ([], [])
    assert "2 of 3" in read.text


def test_a_truth_file_without_rings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TruthFileError, match="no column ring_id"):
        read_truth(pl.DataFrame({"id": ["a"]}), "id", "x.csv")
    with pytest.raises(TruthFileError, match="no event has a ring_id"):
        read_truth(pl.DataFrame({"event_id": ["a"], "ring_id": pl.Series([None], dtype=pl.String)}), None, "x.csv")


def test_honest_events_of_a_ring_do_not_count() -> None:
    truth = pl.DataFrame({"event_id": [1, 2], "ring_id": ["r", "r"], "fraud": [True, False]})
    assert read_truth(truth, None, "x").rows() == [("1", "r")]


def test_rules_fire_where_what_holds_speaks_for_fraud_in_sum() -> None:
    #  dear +20, young -30: dear alone fires; both together, or young alone, do not; nothing holds, nothing fires
    features = {"event.amount": Known(0, Kind.NUMBER), "attribute.age": Known(1, Kind.NUMBER)}
    told = [Rule(name="dear", when="amount > 100", points=20), Rule(name="young", when="age < 30", points=-30)]
    rules = RulesModel.of(told, features, 2)
    rows = np.array([[200.0, 50.0], [200.0, 20.0], [50.0, 20.0], [50.0, 50.0]])
    scored = pl.DataFrame({"rules": rules.probability(rules.log_odds(rules.points(rows)))})
    assert fired(scored, rules).to_list() == [True, False, False, False]
    assert fired(scored, None).to_list() == [None] * 4
