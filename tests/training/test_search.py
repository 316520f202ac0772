# SPDX-License-Identifier: Apache-2.0
"""A search finds the same whoever runs it: at once, after an interruption, or beside another process."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
import pytest

from ringfence.models.calibration import sigmoid
from ringfence.training.crossfit import OutOfFold
from ringfence.training.effort import Effort, effort_for
from ringfence.training.errors import MissingExtraError
from ringfence.training.examples import Examples
from ringfence.training.fitting import FEW, MANY, Fitted, fit
from ringfence.training.folds import expanding_folds
from ringfence.training.search import AHEAD, SPACE, search
from ringfence.training.study import KEPT, NAME, Study, study_key
from tests.training.searching import DEFAULT, SEED, TRIALS, slow_search, try_setting


def found_in(
    directory: Path | None, *, trials: int = TRIALS, seed: int = SEED
) -> tuple[dict[str, Any], float, list[Any]]:
    params, found, lines = search(try_setting, DEFAULT, trials=trials, seed=seed, directory=lambda: directory)
    return params, float(found.raw[0]), lines


def test_default_comes_first_and_the_least_loss_wins() -> None:
    params, loss, lines = found_in(None)
    losses = [line["log_loss"] for line in lines]
    assert len(lines) == 1 + TRIALS
    assert {name: lines[0][name] for name in DEFAULT} == DEFAULT
    assert loss == pytest.approx(min(losses), abs=1e-6)
    assert loss < losses[0]
    assert {name: lines[int(np.argmin(losses))][name] for name in params} == params


def test_every_proposal_lies_in_the_space_and_no_two_are_equal() -> None:
    lines = found_in(None)[2][1:]
    for name, span in SPACE.items():
        assert all(span.low <= line[name] <= span.high for line in lines), name
    assert len({json.dumps(line) for line in lines}) == TRIALS


@pytest.mark.parametrize("default", [FEW, MANY])
def test_defaults_lie_in_the_space_so_that_proposals_learn_from_them(default: dict[str, Any]) -> None:
    assert all(span.low <= default[name] <= span.high for name, span in SPACE.items())


def test_default_outside_the_space_is_tried_all_the_same(tmp_path: Path) -> None:
    far = {**DEFAULT, "num_leaves": 200}
    _, _, lines = search(try_setting, far, trials=9, seed=1, directory=lambda: tmp_path / "study")
    assert lines[0]["num_leaves"] == 200
    assert len(lines) == 10


def test_later_proposals_are_better_than_random_ones() -> None:
    losses = np.array([line["log_loss"] for line in found_in(None, trials=40)[2]])
    assert np.median(losses[25:]) < np.median(losses[1:9])


def test_same_seed_same_search_and_another_seed_another() -> None:
    assert found_in(None) == found_in(None)
    assert found_in(None)[2] != found_in(None, seed=4)[2]


@pytest.mark.parametrize("stops_at", [0, 1, 6, TRIALS])
def test_interrupted_search_goes_on_after_the_last_finished_trial(tmp_path: Path, stops_at: int) -> None:
    whole = found_in(None)
    calls: list[int] = []

    def interrupted(params: Mapping[str, Any]) -> OutOfFold:
        if len(calls) == stops_at:
            raise KeyboardInterrupt
        calls.append(1)
        return try_setting(params)

    def counted(params: Mapping[str, Any]) -> OutOfFold:
        calls.append(1)
        return try_setting(params)

    recalled: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        search(interrupted, DEFAULT, trials=TRIALS, seed=SEED, directory=lambda: tmp_path / "study")
    again = search(
        counted,
        DEFAULT,
        trials=TRIALS,
        seed=SEED,
        directory=lambda: tmp_path / "study",
        recalled=lambda: recalled.append(1),
    )
    assert (again[0], float(again[1].raw[0]), again[2]) == whole
    assert len(recalled) == stops_at
    assert len(calls) in {1 + TRIALS, 2 + TRIALS}  # the winner is fitted once more where it was among the recalled


def test_more_trials_go_on_where_fewer_ended(tmp_path: Path) -> None:
    fewer = found_in(tmp_path / "study", trials=4)
    more = found_in(tmp_path / "study")
    assert more[2][:5] == fewer[2]
    assert more == found_in(None)
    assert found_in(tmp_path / "study", trials=4) == fewer


def test_journal_cut_in_the_middle_of_a_write_loses_that_trial_alone(tmp_path: Path) -> None:
    whole = found_in(tmp_path / "study")
    journal = tmp_path / "study" / "study.log"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert sorted(Study(tmp_path / "study").finished()) == list(range(TRIALS))
    assert found_in(tmp_path / "study") == whole
    journal.write_bytes(b"\x00\x01 not a journal\n")
    assert found_in(tmp_path / "study") == whole


def test_journal_is_read_by_plain_optuna(tmp_path: Path) -> None:
    params, loss, _ = found_in(tmp_path / "study")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study" / "study.log"))
    study = optuna.load_study(study_name=NAME, storage=optuna.storages.JournalStorage(backend))
    assert study.best_value == loss
    assert study.best_trial.user_attrs["params"] == params


def test_two_processes_share_a_search_though_a_third_is_killed_in_it(tmp_path: Path) -> None:
    spawn, directory, notes = multiprocessing.get_context("spawn"), tmp_path / "study", tmp_path / "notes"
    killed = spawn.Process(target=slow_search, args=(directory, notes, 600.0))
    killed.start()
    while not notes.exists():
        time.sleep(0.02)
    workers = [spawn.Process(target=slow_search, args=(directory, notes, 0.15)) for _ in range(2)]
    for worker in workers:
        worker.start()
    time.sleep(0.1)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)  # in trial 0, which all others wait for
    for process in (killed, *workers):
        process.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    whole = json.loads(msgspec.json.encode(found_in(None)))
    assert [json.loads((tmp_path / f"{worker.pid}.json").read_text()) for worker in workers] == [whole, whole]
    made = [line.split(" ", 1) for line in notes.read_text().splitlines()]
    assert {int(pid) for pid, _ in made} == {killed.pid, *(worker.pid for worker in workers)}
    assert len({setting for _, setting in made}) == 1 + TRIALS
    # Nobody made what another had: the killed one began a trial, and the winner is fitted once more by whom it was not.
    assert len(made) == 1 + TRIALS + 2


def test_a_trial_is_ready_once_all_are_known_that_are_ahead_of_it(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    with study.claimed([0, 1]) as first, study.claimed([0, 1]) as second:
        assert (first, second) == (0, 1)
    assert AHEAD > 1


def test_oldest_studies_are_forgotten(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        Study(tmp_path / f"{number:02d}")
        os.utime(tmp_path / f"{number:02d}", (number, number))
    assert len(list(tmp_path.iterdir())) == KEPT
    assert (tmp_path / f"{KEPT + 2:02d}").exists()


def test_key_changes_with_all_that_decides_how_a_trial_fares() -> None:
    rng = np.random.default_rng(0)
    rows, fraud = rng.normal(size=(200, 3)), (np.arange(200) % 5 == 0).astype(np.int8)
    times = np.arange(200, dtype=np.int64)
    folds = expanding_folds(times, times, fraud, n_blocks=2)
    given: dict[str, Any] = {
        "rows": rows, "fraud": fraud, "folds": folds, "is_category": [False] * 3, "unread": times[:0],
        "default": MANY, "effort": effort_for(200, 40), "seed": 0,
    }  # fmt: skip
    other = rows.copy()
    other[7, 1] = np.nan
    effort: Effort = msgspec.structs.replace(given["effort"], n_seeds=1)
    changes: list[dict[str, Any]] = [
        {}, {"rows": other}, {"fraud": 1 - fraud}, {"folds": folds[:1]}, {"is_category": [True, False, False]},
        {"unread": times[1:2]}, {"default": FEW}, {"effort": effort}, {"seed": 1},
    ]  # fmt: skip
    assert len({study_key(**{**given, **change}) for change in changes}) == len(changes)
    assert study_key(**given) == study_key(**given)


def test_without_optuna_the_extra_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringfence.training.search.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"--trials.* needs optuna.*pip install 'ringfence\[search\]'"):
        found_in(None)
    assert found_in(None, trials=0)[0] == DEFAULT


def test_model_is_the_same_interrupted_or_not(tmp_path: Path) -> None:
    rng, n = np.random.default_rng(5), 3_000
    rows, times = rng.normal(size=(n, 4)), np.arange(n, dtype=np.int64)
    fraud = (rng.random(n) < sigmoid(-2.5 + 1.5 * rows[:, 0])).astype(np.int8)
    examples = Examples(
        seq=times, event_id=tuple(map(str, range(n))), event_time_ms=times, known_at_ms=times, settled_at_ms=times,
        amount_minor=times, fraud=fraud, until_seq=n, n_unlabelled=0,
    )  # fmt: skip
    effort = msgspec.structs.replace(effort_for(n, int(fraud.sum())), n_blocks=2, n_seeds=1, max_trees=30)
    steps: list[int] = []

    def fitted(stops_at: int | None = None, studies: Path | None = None) -> Fitted:
        def report(done: int, total: int) -> None:
            steps.append(done)
            assert total == 4 * 2 + 1
            if done == stops_at:
                raise KeyboardInterrupt

        return fit(
            rows, examples, is_category=[False] * 4, trials=3, seed=2, effort=effort, learners=(), studies=studies,
            report=report,
        )  # fmt: skip

    whole = fitted()
    with pytest.raises(KeyboardInterrupt):
        fitted(6, tmp_path)  # in the second fold of trial 2
    (directory,) = tmp_path.iterdir()
    assert sorted(Study(directory).finished()) == [0, 1]
    again = fitted(studies=tmp_path)
    assert steps[-1] == 9
    assert again.settings == whole.settings
    assert again.params == whole.params
    assert again.ensemble.gbdt.text == whole.ensemble.gbdt.text
    assert again.calibrator == whole.calibrator
    assert again.out_of_fold.raw.tobytes() == whole.out_of_fold.raw.tobytes()
