# SPDX-License-Identifier: Apache-2.0
"""`ringfence.open`: releases that are there, calibrated anew, exported, studied and told apart, as the commands do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import ringfence
from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.rollout.errors import UnknownReleaseError
from ringfence.steps.opened import OpenWorkspace
from ringfence.training.errors import TooFewNewLabelsError
from tests.steps.conftest import POLICY, YAML, payments

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> OpenWorkspace:
    """A workspace of eleven weeks of payments with one release, the champion, made of their first five."""
    folder = tmp_path_factory.mktemp("releases")
    (folder / "ringfence.yaml").write_text(YAML)
    (folder / "policies").mkdir()
    (folder / "policies" / "payments.yaml").write_text(POLICY)
    payments(2_500).write_csv(folder / "payments.csv")
    opened: OpenWorkspace = ringfence.open(folder)
    opened.import_()
    opened.train(until="2024-02-05", without={"gnn", "linear"})
    return opened


@pytest.fixture
def said(work: OpenWorkspace, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json, expect success, and return what it printed."""

    def call(*arguments: str) -> Any:
        capsys.readouterr()
        assert run([*arguments, "-w", str(work.path), "--json"]) == Exit.OK
        return json.loads(capsys.readouterr().out)

    return call


@pytest.mark.parametrize("weights", [False, True])
def test_command_and_method_calibrate_the_same_release_anew(work: OpenWorkspace, said: Run, weights: bool) -> None:
    found = work.recalibrate(until="2024-03-10", weights=weights)
    told = said("release", "recalibrate", "--until", "2024-03-10", *(["--weights"] if weights else []))
    assert found["release"].unique().to_list() == [told["release"]]
    assert found["models_of"].unique().to_list() == [told["models_of"]]
    assert found["weights_moved"].unique().to_list() == [None if not weights else told["weights"]["left"] == ""]
    for row in found.iter_rows(named=True):
        rung = next(one for one in told["rungs"] if one["name"] == row["rung"])
        assert row["verdict"] == rung["verdict"]
        assert (row["before"], row["after"]) == tuple(
            rung[when][row["figure"]]["value"] for when in ("before", "after")
        )
    assert set(found["figure"]) == {"ece", "brier", "calibration_slope"}
    listed = work.releases().filter(release=told["release"])
    assert listed["is_champion"].to_list() == [False]
    assert listed["note"][0].startswith("calibration and weights of r-" if weights else "calibration of r-")


def test_weights_that_stay_are_said_to_stay_and_why(work: OpenWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert work.weights().height == 1
    assert run(["release", "recalibrate", "--weights", "-w", str(work.path)]) == Exit.OK
    told = capsys.readouterr().out
    assert "the weights stay: only one member of the stack has a weight" in told
    assert "gbdt" in told


def test_weights_come_with_their_band(work: OpenWorkspace) -> None:
    found = work.weights()
    assert found.columns == ["member", "weight", "trained", "low", "high"]
    for row in found.iter_rows(named=True):
        assert row["weight"] == row["trained"]
        assert (row["low"], row["high"]) == (0.5 * row["trained"], 2.0 * row["trained"])
    assert found["member"][0] == "gbdt"


def test_too_few_new_labels_are_refused_as_by_the_command(work: OpenWorkspace) -> None:
    with pytest.raises(TooFewNewLabelsError, match="cannot be calibrated anew"):
        work.recalibrate(until="2024-02-06")
    with pytest.raises(UnknownReleaseError):
        work.recalibrate("r-0123456789ab")


def test_what_a_release_was_made_from_is_what_the_command_tells(work: OpenWorkspace, said: Run) -> None:
    assert work.made_from() == said("release", "show", "--data")
    made = work.recalibrate(until="2024-03-01", weights=True)["release"][0]
    told = work.made_from(made)
    assert told == said("release", "show", made, "--data")
    assert told["calibrated"]["weights"]["trained"] == {"gbdt": 1.0}


def test_weights_are_told_with_what_a_release_was_made_from(
    work: OpenWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    made = work.recalibrate(until="2024-03-02", weights=True)["release"][0]
    assert run(["release", "show", made, "--data", "-w", str(work.path)]) == Exit.OK
    assert "1.0000, 1.0000 before, 1.0000 at training" in capsys.readouterr().out
    assert run(["release", "show", made, "-w", str(work.path)]) == Exit.OK
    assert "| gbdt | 1.0000 | 1.0000 | 1.0000 | 0.5000 to 2.0000 |" in capsys.readouterr().out
    assert run(["evaluate", "--release", made, "-w", str(work.path)]) == Exit.OK
    assert "weights: gbdt 1.000 (1.000 at training)" in capsys.readouterr().out


def test_releases_are_listed_as_of_a_time(work: OpenWorkspace) -> None:
    work.recalibrate(until="2024-03-03")
    second = work.releases()["registered_at"][1]
    assert work.releases(datetime(2024, 6, 1, tzinfo=UTC)).is_empty()
    then = work.releases(second - timedelta(milliseconds=1))
    assert then.height == 1
    assert then["is_champion"].to_list() == [True]
    assert then.schema == work.releases().schema


def test_export_writes_what_the_command_writes(work: OpenWorkspace, said: Run, tmp_path: Path) -> None:
    one = work.export(tmp_path / "one", events=20)
    two = said("release", "export", "--output", str(tmp_path / "two"), "--events", "20")
    assert one.folder == tmp_path / "one"
    assert (one.rungs, one.n_golden, one.left_out) == (two["rungs"], two["n_golden"], two["left_out"])
    names = {path.name for path in one.folder.iterdir()}
    assert names == {path.name for path in (tmp_path / "two").iterdir()}
    assert (one.folder / "trees.onnx").read_bytes() == (tmp_path / "two" / "trees.onnx").read_bytes()


def test_study_says_what_the_command_says(work: OpenWorkspace, said: Run) -> None:
    stages: list[str] = []
    found = work.study("shuffled", progress=lambda stage, done, total: stages.append(stage))
    assert stages
    told = next(one for one in said("evaluate", "--study", "shuffled")["studies"] if one["name"] == "shuffled")
    assert found["study"].unique().to_list() == ["shuffled"]
    assert found["answer"].unique().to_list() == [told["answer"]]
    rows = found.drop_nulls("variant")
    assert rows["variant"].unique(maintain_order=True).to_list() == [one["name"] for one in told["variants"]]
    for row in rows.iter_rows(named=True):
        variant = next(one for one in told["variants"] if one["name"] == row["variant"])
        assert row["value"] == pytest.approx(variant["figures"][row["figure"]]["value"], abs=1e-6)
        gain = variant["against"].get(row["figure"])
        assert (row["gain"] is None) == (gain is None)
        if gain is not None:
            assert row["gain_low"] == pytest.approx(gain["low"], abs=1e-6)


def test_frames_of_nothing_have_their_columns() -> None:
    from ringfence.steps.figures import studies_frame
    from ringfence.training.comparisons.study import Study

    empty = Study(name="gnn", title="A network", question="Is it worth it?", answer="nothing to try", is_good=None)
    found = studies_frame([empty])
    assert found.height == 1
    assert found["variant"].to_list() == [None]
    assert found.schema == studies_frame([]).schema
    assert found.schema["gain_high"] == pl.Float64
