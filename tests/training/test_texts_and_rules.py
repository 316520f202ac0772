# SPDX-License-Identifier: Apache-2.0
"""A training where notes and rules tell more than numbers do: what the release then holds, and what is left of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import feature_rows
from ringfence.ledger.event_texts import event_texts
from ringfence.ledger.ledger import Ledger
from ringfence.models.seen import Seen
from ringfence.policy.policy import Policy
from ringfence.scenario.clock import FakeClock
from ringfence.scoring.release import Release, load_release
from ringfence.scoring.scorer import FULL, GBDT, RULES, Scorer
from ringfence.training.folds import expanding_folds
from ringfence.training.learner import Task
from ringfence.training.recalibrating import recalibrate
from ringfence.training.score import score
from ringfence.training.texts import TextLearner
from ringfence.training.train import train

from .conftest import NOW_MS, at_ms, ledger_of, payments, scenario_of

CUT_MS = at_ms(45)
FILES = {
    "gbdt": ("gbdt.txt", "trees.npz"),
    "anomaly": ("anomaly.npz",),
    "text": ("text.npz",),
    "rules": ("rules.json", "calibrator-rules.json"),
}
N = 2_500
EVENT = {
    "event_id": "id",
    "event_time": "at",
    "amount": {"field": "amount", "currency": "EUR"},
    "entities": {"card": "card", "shop": "shop"},
    "attributes": {"channel": "category", "note": "text"},
    "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "3d"},
}
SCENARIO = scenario_of(
    events={"payment": EVENT},
    rules=[
        {"name": "large", "when": "amount > 80", "points": 15, "says": "A large amount"},
        {"name": "very-large", "when": "amount > 150", "points": 30},
        {"name": "bad-shop", "when": "shop.fraud_rate_7d > 0.1 and channel in ('web', 'app', 'till')", "points": 40},
        {"name": "small-till", "when": "amount < 20 and channel = 'till'", "points": -10},
    ],
)


def noted(n: int) -> pl.DataFrame:
    """Payments with a note: "not stolen" is harmless, "now stolen" is not. All are of one length, which trees see."""
    frame, rng = payments(n), np.random.default_rng(7)
    said = rng.integers(0, 3, n)
    words = ["the customer says it is {}", "it is {}, says the customer", "card {} according to a call"]
    states = np.array(["not stolen", "now stolen", "cut in two"])[said]
    notes = [None if rng.random() < 0.1 else words[rng.integers(3)].format(state) for state in states]
    odds = -4.0 + 4.0 * np.array([note is not None and "now stolen" in note for note in notes])
    more = rng.random(n) < 1.0 / (1.0 + np.exp(-odds))
    return frame.with_columns(note=pl.Series(notes), fraud=pl.Series((frame["fraud"].to_numpy() | more).astype(int)))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return ledger_of(tmp_path_factory.mktemp("noted"), noted(N), SCENARIO)


@pytest.fixture(scope="module")
def release(ledger: Ledger, policy: Policy, clock: FakeClock) -> Release:
    folder = ledger.directory.parent / "releases"
    return train(ledger, SCENARIO, policy, releases_dir=folder, clock=clock, until_ms=CUT_MS)


def seen(ledger: Ledger, release: Release) -> tuple[Seen, pl.DataFrame]:
    events = ledger.events(CUT_MS, None, ledger.last_seq).sort("seq")
    seqs = events["seq"].to_numpy()
    rows = feature_rows(ledger, Catalogue.build(release.scenario), seqs).rows
    return Seen(rows, texts=event_texts(ledger, seqs)), events


def without(release: Release, folder: Path, name: str) -> Release:
    path = folder / release.id
    shutil.copytree(release.path, path)
    (path / name).unlink()
    return load_release(path, without=lambda error: None)


def test_notes_that_tell_join_the_score_and_rules_are_told_beside_it(release: Release) -> None:
    assert "text" in release.stack.members
    assert release.stack.weight_of("text") > 0.3
    assert (release.path / "text.npz").exists()
    assert (release.path / "rules.json").exists()
    assert {row["name"] for row in release.metrics["branches"]} >= {"text", "rules"}


def test_scores_of_history_read_the_texts_of_each_event(ledger: Ledger, release: Release) -> None:
    found = score(ledger, release, CUT_MS)
    shown, events = seen(ledger, release)
    assert found["score"].to_numpy().tobytes() == Scorer(release).score(shown).score.tobytes()
    silent = Scorer(release).score(Seen(shown.rows, texts=([None] * events.height,)))
    truth = dict(zip(noted(N)["id"], noted(N)["fraud"], strict=True))
    fraud = [truth[event] for event in found["event_id"]]
    assert roc_auc_score(fraud, found["score"]) > roc_auc_score(fraud, silent.score) + 0.05
    assert found["rules"].is_between(0.0, 1.0, closed="none").all()


def test_without_any_branch_file_the_next_rung_answers(ledger: Ledger, release: Release, tmp_path: Path) -> None:
    shown, events = seen(ledger, release)
    amounts = events["amount_minor"].to_list()
    counted_on = set(release.stack.members)
    rungs = {}
    for branch, files in FILES.items():
        for name in files:
            left = Scorer(without(release, tmp_path / name, name))
            rungs[name] = left.rung
            answers = left.answer(shown, amounts, reviews_left=None)
            assert len(answers) == events.height
            assert all(0.0 < answer.score < 1.0 and answer.rung == left.rung for answer in answers)
            expected = RULES if branch == "gbdt" else GBDT if branch in counted_on else FULL
            assert left.rung == expected, name
    assert {rungs["gbdt.txt"], rungs["text.npz"]} == {RULES, GBDT}


def test_rules_rank_and_give_reasons_where_the_trees_are_gone(ledger: Ledger, release: Release, tmp_path: Path) -> None:
    shown, events = seen(ledger, release)
    scorer = Scorer(without(release, tmp_path, "trees.npz"))
    answers = scorer.answer(shown, [10_000_000] * events.height, reviews_left=None)
    truth = dict(zip(noted(N)["id"], noted(N)["fraud"], strict=True))
    fraud = np.array([truth[event] for event in events["event_id"]])
    found = np.array([answer.score for answer in answers])
    assert roc_auc_score(fraud, found) > 0.53
    assert found.mean() == pytest.approx(fraud.mean(), abs=0.05)
    assert set(np.unique(found)) == {answer.score for answer in answers}
    hit = next(answer for answer in answers if answer.reasons and answer.reasons[0].code == "RULE_BAD_SHOP")
    assert hit.rung == RULES
    assert hit.action != "decline"
    assert [reason.code for reason in hit.reasons][-3:] == ["NO_MODEL", "BASE_RATE", "AMOUNT_AT_STAKE"]
    assert "trees.npz is broken" in hit.reasons[-3].sentence
    assert list(hit.members) == ["rules"]


def test_without_trees_and_rules_the_base_rate_answers(ledger: Ledger, release: Release, tmp_path: Path) -> None:
    shown, _ = seen(ledger, release)
    path = tmp_path / release.id
    shutil.copytree(release.path, path)
    for name in ("gbdt.txt", "calibrator-rules.json"):
        (path / name).unlink()
    scorer = Scorer(load_release(path, without=lambda error: None))
    assert {answer.score for answer in scorer.answer(shown.part(slice(3)), [100] * 3, reviews_left=None)} == {
        scorer.base_rate
    }


def test_out_of_fold_texts_never_see_their_own_block_and_stand_at_one_base_rate() -> None:
    frame = noted(1_200)
    fraud = frame["fraud"].to_numpy().astype(np.int8)
    times = np.arange(1_200, dtype=np.int64) * 60_000
    folds = expanding_folds(times, times, fraud, n_blocks=3)
    task = Task(
        rows=np.zeros((1_200, 1)),
        fraud=fraud,
        event_time_ms=times,
        folds=folds,
        is_category=[False],
        unread=np.empty(0, np.int64),
        seed=1,
        n_threads=1,
    )
    notes = frame["note"].to_list()
    found = TextLearner((notes,)).out_of_fold(task, most=None)
    assert found is not None
    assert np.isnan(found[: folds[0].emit[0]]).all()
    emitted = np.concatenate([fold.emit for fold in folds])
    assert roc_auc_score(fraud[emitted], found[emitted]) > 0.65
    last = folds[-1].emit
    changed = notes[: last[0]] + ["now stolen now stolen"] * last.shape[0]
    again = TextLearner((changed,)).out_of_fold(task, most=None)
    assert again is not None
    earlier = emitted[emitted < last[0]]
    assert again[earlier].tobytes() == found[earlier].tobytes()
    some = TextLearner((notes,)).out_of_fold(task, most=50)
    assert some is not None
    assert np.count_nonzero(~np.isnan(some)) == 150
    assert TextLearner(([None] * 1_200,)).out_of_fold(task, most=None) is None


def test_a_recalibration_reads_texts_and_calibrates_the_rules_too(ledger: Ledger, release: Release) -> None:
    clock = FakeClock(NOW_MS)
    made = recalibrate(ledger, release, releases_dir=release.path.parent, clock=clock, until_ms=at_ms(58))
    changed = {name for name, digest in release.manifest.files.items() if made.manifest.files[name] != digest}
    assert {"calibrator.json", "calibrator-rules.json"} <= changed
    assert not {"text.npz", "rules.json", "stack.json"} & changed
    shown, _ = seen(ledger, release)
    assert Scorer(made).score(shown).raw.tobytes() == Scorer(release).score(shown).raw.tobytes()
