# SPDX-License-Identifier: Apache-2.0
"""Studies of a release: what is compared is what the text says, and nothing comes from later than it may."""

from __future__ import annotations

import json
from copy import copy
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.models.stack import BACKBONE, Stack
from ringfence.policy.policy import Policy
from ringfence.scenario.batch import EVENT
from ringfence.scenario.batches import joined, taken
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.spec import Scenario
from ringfence.scoring.release import Release
from ringfence.training.comparisons.branches import branches_study, stacked_in_time
from ringfence.training.comparisons.frozen import frozen_rows, frozen_study, midnights
from ringfence.training.comparisons.networks import network_study
from ringfence.training.comparisons.page import studies_page
from ringfence.training.comparisons.personal import personal_study
from ringfence.training.comparisons.remade import Remade
from ringfence.training.comparisons.run import Found, read_found, timed_branches, wanted_studies
from ringfence.training.comparisons.shuffled import InMemory, shuffled, shuffled_rows, shuffled_study
from ringfence.training.comparisons.study import Judge, Study, says_more
from ringfence.training.errors import UnknownStudyError
from ringfence.training.folds import expanding_folds
from ringfence.training.train import train
from tests.oracles.shuffle_twin import links_at, met, took_part
from tests.oracles.streams import WITNESS, Happening, batch_of, claims_scenario
from tests.reports.markup import Read

from .conftest import NOW_MS, at_ms, ledger_of, payments, scenario_of

CUT_MS = at_ms(45)
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    rng = np.random.default_rng(4)
    return payments(1_100).with_columns(sex=pl.Series(rng.choice(["f", "m"], 1_100)))


@pytest.fixture(scope="module")
def watched() -> Scenario:
    payment = {
        "event_id": "id",
        "event_time": "at",
        "amount": {"field": "amount", "currency": "EUR"},
        "entities": {"card": "card", "shop": "shop"},
        "attributes": {"channel": "category", "sex": {"type": "category", "use": "audit_only"}},
        "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "3d"},
    }
    return scenario_of(events={"payment": payment}, time_zone="Europe/Berlin", windows=["7d"])


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, history: pl.DataFrame, watched: Scenario) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("studies"), history, watched)


@pytest.fixture(scope="module")
def release(ledger: Ledger, watched: Scenario, policy: Policy, clock: FakeClock) -> Release:
    folder = ledger.directory.parent / "releases"
    return train(ledger, watched, policy, releases_dir=folder, clock=clock, until_ms=CUT_MS, without=("linear",))


def _remade(ledger: Ledger, release: Release, *, enough_frauds: int) -> Remade:
    ticks = count()
    return Remade(
        ledger,
        release,
        n_threads=1,
        now=lambda: float(next(ticks)),
        enough_frauds=enough_frauds,
        report=lambda stage, done, total: None,
    )


@pytest.fixture(scope="module")
def remade(ledger: Ledger, release: Release) -> Remade:
    return _remade(ledger, release, enough_frauds=10)


def test_what_is_made_again_is_what_the_release_was_fitted_on(remade: Remade, release: Release) -> None:
    assert len(remade.examples) == release.manifest.made.n_examples
    assert remade.whole.fitted.ensemble.gbdt.text == release.ensemble.gbdt.text


@pytest.mark.parametrize(("window", "enough_frauds"), [("later_window", 10), ("out_of_fold", 1_000)])
def test_ways_are_judged_where_the_release_was(
    ledger: Ledger, release: Release, remade: Remade, window: str, enough_frauds: int
) -> None:
    assert release.stack == Stack()  # else its own figures would not be those of trees
    judged = remade if enough_frauds == 10 else _remade(ledger, release, enough_frauds=enough_frauds)
    study = judged.comparison().study("families", title="", question="", answer="", is_good=None)
    measured = next(one for one in release.metrics["evaluations"] if one["name"] == window)
    assert study.notes == []
    assert (study.n, study.n_fraud) == (measured["n"], measured["n_fraud"])
    for metric in ("average_precision", "roc_auc"):
        assert study.variants[0].figures[metric].value == pytest.approx(measured[metric]["value"], abs=1e-6)


def test_frozen_rows_are_those_of_a_ledger_that_ends_before_midnight(
    tmp_path: Path, remade: Remade, history: pl.DataFrame, watched: Scenario
) -> None:
    frozen = frozen_rows(remade)
    at = int(np.flatnonzero(remade.event_time_ms > at_ms(30.8))[0])
    #  an evening event of day 31: everything from 23:00 UTC, midnight in Berlin, to itself is taken out of the file
    time_ms = int(remade.event_time_ms[at])
    midnight_ms = int(midnights("Europe/Berlin", np.array([time_ms]))[0])
    assert (midnight_ms + HOUR_MS) % (24 * HOUR_MS) == 0
    times = history["at"].str.to_datetime(time_zone="UTC").dt.epoch("ms")
    kept = history.filter((times < midnight_ms) | (times >= time_ms))
    assert kept.height < history.height - 5
    shorter = ledger_of(tmp_path, kept, watched)
    event = int(shorter.events(time_ms, time_ms + 1)["seq"][0])
    #  labels come three days after their event: at midnight those of events up to three days before it are known,
    #  so that the file without the day still tells those that became known in its course
    known = shorter.labels().filter((pl.col("event_seq") < event) & (pl.col("known_at_ms") > midnight_ms))
    plain = feature_rows(shorter, remade.catalogue, np.array([event])).rows[0]
    unlabelled = [
        i for i, f in enumerate(remade.catalogue.features) if "label" not in f.family and "risk" not in f.family
    ]
    assert known.height > 0
    np.testing.assert_array_equal(frozen[at][unlabelled], plain[unlabelled])
    assert not np.array_equal(frozen[at][unlabelled], remade.rows[at][unlabelled], equal_nan=True)


def test_frozen_rows_know_no_label_of_the_day(remade: Remade) -> None:
    frozen = frozen_rows(remade)
    column = remade.catalogue.names.index("shop.known_count")
    shop_known = frozen[:, column]
    midnight = midnights("Europe/Berlin", remade.event_time_ms)
    batch = joined(remade.ledger.batches(until_seq=int(remade.seqs[-1])))
    role = next(r.index for r in remade.release.scenario.roles if r.name == "shop")
    labels = np.flatnonzero(batch.kind != EVENT)
    by_shop: dict[int, list[int]] = {}
    for record in labels.tolist():
        shop = next(lo for of, lo, _ in links_at(batch, record) if of == role)
        by_shop.setdefault(shop, []).append(int(batch.time_ms[record]))
    for at in range(0, remade.seqs.shape[0], 97):
        record = int(np.searchsorted(batch.seq, remade.seqs[at]))
        shop = next(lo for of, lo, _ in links_at(batch, record) if of == role)
        wanted = sum(known <= midnight[at] for known in by_shop.get(shop, []))
        assert shop_known[at] == wanted or (wanted == 0 and np.isnan(shop_known[at]))


def test_midnight_is_that_of_the_place_on_days_when_clocks_change() -> None:
    #  2024-03-31: 02:00 becomes 03:00 in Berlin. Noon there is 10:00 UTC, its midnight was 23:00 UTC of the day before
    noon, before = 1_711_879_200_000, 1_711_839_600_000
    assert midnights("Europe/Berlin", np.array([noon, before, before - 1])).tolist() == [
        before,
        before,
        before - 24 * HOUR_MS,
    ]


def test_shuffled_links_keep_who_took_part_when_and_lose_who_met_whom(remade: Remade) -> None:
    before = joined(remade.ledger.batches())
    after = shuffled(before, np.random.default_rng(0))
    assert took_part(after) == took_part(before)
    roles = tuple(next(r.index for r in remade.release.scenario.roles if r.name == name) for name in ("card", "shop"))
    true, random = met(before, (roles[0], roles[1])), met(after, (roles[0], roles[1]))
    assert len(true & random) < 0.25 * len(true)
    for name in ("seq", "kind", "time_ms", "amount_minor", "values", "label_value", "link_start"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_shuffled_labels_name_whom_their_events_name(remade: Remade) -> None:
    after = shuffled(joined(remade.ledger.batches()), np.random.default_rng(0))
    labels = np.flatnonzero(after.kind != EVENT)
    assert labels.shape[0] > 100
    for record in labels.tolist():
        event = int(np.searchsorted(after.seq, after.label_event_seq[record]))
        assert links_at(after, record) == links_at(after, event)


def test_an_event_is_dealt_nobody_twice_in_a_role_that_holds_several() -> None:
    #  one day, sixty claims, two of twelve witnesses each: a blind deal would name somebody twice in a few of them
    rng = np.random.default_rng(1)
    pairs = [rng.choice(12, size=2, replace=False).tolist() for _ in range(60)]
    records = [Happening(at, ((WITNESS, pair[0]), (WITNESS, pair[1]))) for at, pair in enumerate(pairs)]
    before = batch_of(list(records), claims_scenario())
    for seed in range(5):
        after = shuffled(before, np.random.default_rng(seed))
        assert took_part(after) == took_part(before)
        assert all(len(set(links_at(after, at))) == 2 for at in range(60))


def test_shuffled_rows_are_those_of_the_shuffled_history_for_columns_that_walk_links(remade: Remade) -> None:
    linked = np.isin(remade.family, ["one_hop", "neighbour_risk"])
    rows = shuffled_rows(remade, linked)
    true = remade.rows[:, linked]
    assert rows.shape == true.shape
    assert not np.array_equal(rows, true, equal_nan=True)


def test_a_history_in_memory_gives_the_rows_of_its_ledger(remade: Remade) -> None:
    history = joined(remade.ledger.batches(until_seq=int(remade.seqs[-1])))
    found = feature_rows(InMemory(history), remade.catalogue, remade.seqs).rows
    np.testing.assert_array_equal(found, remade.rows)


def test_studies_answer_in_words_and_show_on_one_page(remade: Remade, release: Release) -> None:
    studies = [shuffled_study(remade), frozen_study(remade), personal_study(remade)]
    branches = timed_branches(remade)
    assert [(one.name, one.seconds) for one in branches.variants] == [
        ("the trees alone", 1.0), ("with linear", 2.0), ("with anomaly", 2.0),
    ]  # fmt: skip
    assert [one.name for one in studies[0].variants] == ["all features", "shuffled links", "no links"]
    assert studies[0].variants[2].n_features == int((~np.isin(remade.family, ["one_hop", "neighbour_risk"])).sum())
    assert "Berlin" in studies[1].notes[0]
    assert [one.name for one in studies[2].variants] == ["all features", "with sex"]
    assert studies[2].is_good is True  # drawn by lot: doing without it costs nothing
    page = studies_page(release.id, "payments", CUT_MS, [branches, *studies], None, version="0")
    read = Read.of(page)
    assert (read.open_tags, read.fetched) == ([], [])
    for study in studies:
        assert study.answer.split(":")[0] in read.text
        for variant in study.variants:
            assert variant.seconds == 1.0  # two readings of the clock


def test_a_release_without_a_network_has_none_to_drop(remade: Remade) -> None:
    study = network_study(remade)
    assert (study.variants, study.is_good) == ([], None)
    assert "none to drop" in study.answer


def test_links_that_are_drawn_by_lot_are_told_to_be_dropped(remade: Remade) -> None:
    #  a release whose features that walk links are of a shuffled history already: another shuffle does as well
    linked = np.isin(remade.family, ["one_hop", "neighbour_risk"])
    names = [name for name, kept in zip(remade.catalogue.names, linked.tolist(), strict=True) if kept]
    history = shuffled(joined(remade.ledger.batches()), np.random.default_rng(99))
    catalogue = Catalogue.build(remade.release.scenario, only=names)
    by_lot = copy(remade)
    del by_lot.__dict__["whole"]
    by_lot.rows = remade.rows.copy()
    by_lot.rows[:, linked] = feature_rows(InMemory(history), catalogue, remade.seqs).rows
    study = shuffled_study(by_lot)
    assert study.is_good is False
    assert "Random links do as well" in study.answer
    assert "one_hop: false" in study.answer
    assert any("not those that the release was fitted on" in note for note in study.notes)


def test_one_way_says_more_where_an_interval_lies_above_zero() -> None:
    rng = np.random.default_rng(0)
    fraud = (rng.random(800) < 0.2).astype(np.int8)
    score = rng.normal(size=800) + 2.0 * fraud
    judge = Judge(fraud, seed=3)
    judge.variant("first", score, n_features=1, seconds=0.0)
    worse = judge.variant("worse", score + 3.0 * rng.normal(size=800), n_features=1, seconds=0.0).against
    like = judge.variant("like", score + 0.01 * rng.normal(size=800), n_features=1, seconds=0.0).against
    assert says_more(worse)[0]
    assert not says_more(like)[0]
    assert "ROC-AUC +" in says_more(worse)[1]


def test_branches_are_judged_by_weights_of_the_blocks_before() -> None:
    rng = np.random.default_rng(0)
    n = 1_200
    fraud = (rng.random(n) < 0.2).astype(np.int8)
    members = {
        BACKBONE: rng.normal(size=n) + fraud - 1.5,
        "useful": rng.normal(size=n) + 2.0 * fraud,
        "noise": rng.normal(size=n),
    }
    time_ms = np.arange(n, dtype=np.int64)
    folds = expanding_folds(time_ms, time_ms, fraud, n_blocks=4)
    scores = stacked_in_time(members, [BACKBONE, "useful"], fraud, folds)
    assert np.isnan(scores[: folds[1].emit[0]]).all()
    past, block = np.concatenate([folds[0].emit, folds[1].emit]), folds[2].emit
    x = np.column_stack([members[BACKBONE], members["useful"]])
    plain = LogisticRegression(C=1e6).fit(x[past], fraud[past]).decision_function(x[block])
    assert np.corrcoef(scores[block], plain)[0, 1] > 0.999  # the prior is weak beside 400 labels
    stack = Stack(members=(BACKBONE, "useful"), weights=(1.0, 1.0))
    study = branches_study(members, stack, fraud, folds, seed=0)
    gains = {one.name: one.against["average_precision"] for one in study.variants[1:]}
    assert gains["without useful"].low > 0.0
    assert gains["without the trees"].low > 0.0
    assert abs(gains["with noise"].value) < 0.03
    assert "without useful" in study.answer
    assert study.n == sum(fold.emit.shape[0] for fold in folds[1:])


def test_a_stack_of_trees_alone_has_nothing_to_leave_out() -> None:
    fraud = np.array([0, 1] * 50, dtype=np.int8)
    time_ms = np.arange(100, dtype=np.int64)
    folds = expanding_folds(time_ms, time_ms, fraud, n_blocks=3)
    study = branches_study({BACKBONE: fraud + 0.0}, Stack(), fraud, folds, seed=0)
    assert study.variants == []
    assert study.answer == "No branch but the trees was tried."


def test_a_way_against_itself_differs_by_nothing() -> None:
    rng = np.random.default_rng(0)
    fraud = (rng.random(500) < 0.2).astype(np.int8)
    score = rng.normal(size=500) + fraud
    judge = Judge(fraud, seed=3)
    judge.variant("first", score, n_features=1, seconds=0.0)
    same = judge.variant("same", 2.0 * score, n_features=1, seconds=0.0).against
    assert {(one.value, one.low, one.high) for one in same.values()} == {(0.0, 0.0, 0.0)}


def test_what_was_studied_before_is_kept(tmp_path: Path) -> None:
    fraud = np.zeros(20, dtype=np.int8)
    variant = Judge(fraud, seed=0).variant("x", np.arange(20.0), n_features=1, seconds=1.0)  # no fraud: NaN
    first = Study(name="frozen", title="t", question="q", answer="a", is_good=None, variants=[variant])
    second = Study(name="families", title="t", question="q", answer="b", is_good=True)
    path = tmp_path / "studies.json"
    assert read_found(path, "r-1") == Found(release="r-1")
    path.write_text(json.dumps(Found(release="r-1").joined([first], None).plain(), allow_nan=False))
    found = read_found(path, "r-1").joined([second], None)
    assert [study.name for study in found.studies] == ["families", "frozen"]
    assert np.isnan(found.studies[1].variants[0].figures["roc_auc"].value)
    assert read_found(path, "r-2") == Found(release="r-2")


def test_studies_are_named_once_and_unknown_ones_refused() -> None:
    assert wanted_studies(["frozen", "families", "frozen"]) == ["families", "frozen"]
    assert wanted_studies(["all", "frozen"])[0] == "branches"
    with pytest.raises(UnknownStudyError, match="branches, families"):
        wanted_studies(["famlies"])


def test_records_taken_and_joined_are_what_they_were(remade: Remade) -> None:
    parts = list(remade.ledger.batches(size=200))
    whole = joined(parts)
    again = taken(whole, np.arange(len(parts[0]), len(parts[0]) + len(parts[1])))
    for name in type(again).__struct_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(parts[1], name))
    assert whole.time_ms.max() < NOW_MS
