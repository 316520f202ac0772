# SPDX-License-Identifier: Apache-2.0
"""`ringfence.open`: what a data scientist holds in a notebook, and that it is what the commands do."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

import ringfence
from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.steps.errors import NoTimeError, TwoReleasesError
from ringfence.steps.making import row_cache
from ringfence.steps.opened import OpenWorkspace
from ringfence.training.errors import EmptyWindowError
from ringfence.workspace import UnknownScenarioError, Workspace, WorkspaceNotFoundError
from tests.steps.conftest import N, workspace_in


@pytest.fixture(scope="module")
def trained(opened: OpenWorkspace) -> pl.DataFrame:
    return opened.train(until="2024-01-25", seed=3)


def test_import_of_the_package_is_fast_and_loads_nothing_heavy() -> None:
    probe = (
        "import sys, time\nbegan = time.perf_counter()\nimport ringfence\nringfence.open\n"
        "print(time.perf_counter() - began, sorted({'polars', 'numba', 'numpy', 'lightgbm'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    seconds, heavy = said.split(" ", 1)
    assert heavy.strip() == "[]"
    assert float(seconds) < 0.1  # 0.01 s on an idle machine


def test_open_is_listed_and_nothing_else_is_made_up() -> None:
    assert "open" in dir(ringfence)
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = ringfence.nosuch


def test_opening_what_is_no_workspace_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceNotFoundError, match="ringfence init"):
        ringfence.open(tmp_path)


def test_unknown_scenario_is_named_with_those_there_are(opened: OpenWorkspace) -> None:
    with pytest.raises(UnknownScenarioError, match="payments"):
        ringfence.open(opened.path, "claims")


def test_import_again_adds_nothing(opened: OpenWorkspace) -> None:
    again = opened.import_()
    assert again.height == 1
    assert again.row(0, named=True) | {"seconds": 0.0} == {
        "n_events": 0, "n_labels": 0, "n_duplicates": N, "n_rejected": 0, "n_conflicts": 0, "n_late": 0,
        "first_seq": 0, "last_seq": 0, "seconds": 0.0, "rejects": None,
    }  # fmt: skip


def test_events_come_with_the_labels_that_stand(opened: OpenWorkspace) -> None:
    events = opened.events()
    source = pl.read_csv(opened.path / "payments.csv")
    assert events["event_id"].to_list() == source["id"].to_list()
    assert events["amount"].to_list() == source["sum"].to_list()
    assert events["is_fraud"].to_list() == (source["fraud"] == 1).to_list()
    assert ((events["known_at"] - events["event_time"]).dt.total_days() == 3).all()
    some = opened.events(date(2024, 1, 3), "2024-01-05")
    assert some["event_time"].min() >= datetime(2024, 1, 3, tzinfo=UTC)
    assert some["event_time"].max() < datetime(2024, 1, 5, tzinfo=UTC)


def test_training_makes_a_release_that_is_listed_and_measured(opened: OpenWorkspace, trained: pl.DataFrame) -> None:
    assert trained.height == 1
    name = trained["release"][0]
    assert Path(trained["report"][0]).is_file()
    assert name in opened.releases().filter("is_champion")["release"].to_list()
    figures = opened.evaluate()
    assert figures["figure"].to_list() == ["average_precision", "roc_auc", "brier_skill", "ece"]
    assert set(figures["measured_on"]) == {"later_window"}
    assert 0.5 < figures.filter(figure="roc_auc")["value"][0] <= 1.0


def test_command_and_method_make_the_same_release(
    opened: OpenWorkspace, trained: pl.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "-w", str(opened.path), "--until", "2024-01-25", "--seed", "3", "--json"]
    assert run(arguments) == Exit.OK
    said = json.loads(capsys.readouterr().out)
    assert said["release"] == trained["release"][0]
    assert said["features_replayed"] == 0 < said["features_recalled"]
    phases = ["reading", "recalling", "sampling", "fitting", "networks", "evaluating"]
    assert [phase["name"] for phase in said["phases"]] == phases
    assert all(phase["seconds"] >= 0.0 and phase["peak_bytes"] > 10**7 for phase in said["phases"])
    assert opened.releases()["release"].to_list() == trained["release"].to_list()
    output = tmp_path / "scores.parquet"
    assert run(["score", "-w", str(opened.path), "--from", "2024-01-25", "-o", str(output)]) == Exit.OK
    scored = opened.score("2024-01-25")
    assert not scored["in_training_span"].any()
    assert pl.read_parquet(output).equals(scored.drop("in_training_span"))


def test_evaluate_says_what_the_command_says(
    opened: OpenWorkspace, trained: pl.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "-w", str(opened.path), "--json"]) == Exit.OK
    said = json.loads(capsys.readouterr().out)["headline"]
    for row in opened.evaluate(trained["release"][0]).iter_rows(named=True):
        found = said[row["figure"]]
        assert row["value"] == (found["value"] if isinstance(found, dict) else found)


def test_scores_of_fitted_events_are_marked(opened: OpenWorkspace, trained: pl.DataFrame) -> None:
    scored = opened.score("2024-01-24", "2024-01-26")
    assert (scored["in_training_span"] == (scored["event_time"] < datetime(2024, 1, 25, tzinfo=UTC))).all()
    assert scored["score"].is_between(0.0, 1.0).all()


def test_frames_are_handed_on_to_arrow_and_pandas(opened: OpenWorkspace, trained: pl.DataFrame) -> None:
    scored = opened.score("2024-01-24", "2024-01-26")
    assert pl.DataFrame(scored.to_arrow()).equals(scored)
    pytest.importorskip("pandas")
    frame = scored.to_pandas()
    assert frame["score"].tolist() == scored["score"].to_list()
    assert str(frame["event_time"].dtype).startswith("datetime64")


def test_stages_are_reported(opened: OpenWorkspace, trained: pl.DataFrame) -> None:
    told: list[tuple[str, int, int]] = []
    opened.score("2024-01-24", "2024-01-26", progress=lambda *what: told.append(what))
    assert told
    assert all(stage == "scoring" and 0 < done <= total for stage, done, total in told)


def test_what_is_no_time_is_refused(opened: OpenWorkspace) -> None:
    with pytest.raises(NoTimeError, match="until 'tomorrow' is not a time"):
        opened.train(until="tomorrow")


def test_release_and_as_live_exclude_each_other(opened: OpenWorkspace) -> None:
    with pytest.raises(TwoReleasesError, match="as_live"):
        opened.score("2024-01-24", release="latest", as_live=True)


def test_window_without_events_is_an_error(opened: OpenWorkspace, trained: pl.DataFrame) -> None:
    with pytest.raises(EmptyWindowError):
        opened.score("2030-01-01")


def test_two_workspaces_do_not_meet(opened: OpenWorkspace, tmp_path: Path) -> None:
    other = workspace_in(tmp_path)
    assert other.releases().is_empty()
    assert other.releases().schema == opened.releases().schema


def test_a_cache_of_no_size_is_no_cache_and_leaves_nothing(opened: OpenWorkspace, trained: pl.DataFrame) -> None:
    here = Workspace(opened.path)
    kept = row_cache(here, here.scenario())
    assert kept is not None
    assert list(kept.directory.iterdir())
    assert row_cache(here, here.scenario(), 0) is None
    assert list(kept.directory.iterdir()) == []
