# SPDX-License-Identifier: Apache-2.0
"""From a simulated world to a release, by the command line alone, on one small workspace."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ringfence.cli.acts import operator
from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.workspace import Workspace

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with imported history and one release, the champion."""
    folder = tmp_path_factory.mktemp("flow") / "insurer"
    # At the default share so small a world has too few known frauds to learn from.
    settings = ["--events", "8000", "--fraud-rate", "0.02", "--seed", "3"]
    assert run(["simulate", "motor-claims", *settings, "-o", str(folder)]) == Exit.OK
    assert run(["import", "-w", str(folder)]) == Exit.OK
    assert run(["train", "-w", str(folder), "--until", "2024-10-01"]) == Exit.OK
    return folder


@pytest.fixture
def result(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json, expect success, and return what it printed."""

    def call(*arguments: str) -> Any:
        capsys.readouterr()
        assert run([*arguments, "--json"]) == Exit.OK
        return json.loads(capsys.readouterr().out)

    return call


def test_import_again_adds_nothing(world: Path, result: Run) -> None:
    again = result("import", "-w", str(world))
    assert (again["n_events"], again["n_labels"], again["n_rejected"]) == (0, 0, 0)
    assert again["n_duplicates"] > 8_000


def test_first_release_is_the_champion(world: Path, result: Run) -> None:
    releases = result("release", "list", "-w", str(world))
    assert [release["champion"] for release in releases] == [True]
    assert (Workspace(world).releases_dir / releases[0]["release"] / "report.html").is_file()


def test_later_release_waits_for_promotion_and_can_be_rolled_back(world: Path, result: Run) -> None:
    first = result("release", "list", "-w", str(world))[0]["release"]
    second = result("train", "-w", str(world), "--until", "2024-09-01")["release"]
    assert result("release", "show", "champion", "-w", str(world))["release"] == first
    promoted = result("release", "promote", "latest", "--note", "less history", "-w", str(world))
    assert (promoted["champion"], promoted["replaces"], promoted["stall_ms"]) == (second, first, None)
    listed = result("release", "list", "-w", str(world))
    notes = {entry["release"]: entry["note"] for entry in listed}
    assert {entry["release"] for entry in listed if entry["by"] == operator()} == {second}
    assert notes[second] == "less history"
    assert result("release", "rollback", "-w", str(world))["champion"] == first


def test_promoting_what_is_not_there_names_what_is(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["release", "promote", "r-000000000000", "-w", str(world)]) == Exit.BAD_INPUT
    assert "known releases: r-" in capsys.readouterr().err


def test_scores_have_one_row_per_event_of_the_window(world: Path, tmp_path: Path, result: Run) -> None:
    output = tmp_path / "scores.parquet"
    said = result("score", "-w", str(world), "--from", "2024-10-01", "--to", "2024-11-01", "--output", str(output))
    scores = pl.read_parquet(output)
    assert scores.height == said["n_events"] > 100
    assert set(scores.columns) >= {"event_id", "event_time", "score", "action", "rung"}
    assert scores["event_id"].n_unique() == scores.height
    assert scores["score"].is_between(0, 1).all()


def test_score_warns_where_the_window_reaches_into_the_training_span(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["score", "-w", str(world), "--output", str(tmp_path / "scores.parquet"), "--json"]
    champion = ["--release", "champion"]
    assert run([*command, *champion, "--from", "2024-09-15", "--to", "2024-10-15"]) == Exit.OK
    told = capsys.readouterr()
    said = json.loads(told.out)
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    n_before = scores.filter(pl.col("event_time") < datetime(2024, 10, 1, tzinfo=UTC)).height
    assert said["n_in_training_span"] == n_before > 0
    assert f"{n_before:,} of {scores.height:,} events lie in the span" in said["warnings"][0]
    assert f"warning: {said['warnings'][0]}" in told.err
    assert run([*command, *champion, "--from", "2024-10-01"]) == Exit.OK
    told = capsys.readouterr()
    assert (json.loads(told.out)["warnings"], told.err) == ([], "")


def test_score_of_an_empty_window_says_so(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", "-w", str(world), "--from", "2031-01-01", "--output", str(tmp_path / "scores.parquet")]
    assert run(arguments) == Exit.BAD_INPUT
    assert "--from" in capsys.readouterr().err
    assert not (tmp_path / "scores.parquet").exists()


def test_evaluate_shows_the_figures_of_the_champion(world: Path, result: Run) -> None:
    shown = result("evaluate", "-w", str(world))
    assert shown["metrics"]
    assert Path(shown["report"]).is_file()


def test_studies_are_answered_and_kept_beside_those_before(world: Path, result: Run) -> None:
    first = result("evaluate", "-w", str(world), "--truth", str(world / "truth.parquet"))
    assert first["studies"] == []
    rings = first["detection"]["rings"]
    assert 0 < sum(ring["found_ms"] is not None for ring in rings) <= len(rings)
    second = result("evaluate", "-w", str(world), "--study", "personal")
    assert second["made_now"] == ["personal"]
    assert [one["name"] for one in second["studies"][0]["variants"]] == ["all features", "with sex"]
    assert second["detection"] == first["detection"]
    page = Path(second["page"])
    assert page.parent == world / "reports" / second["release"]
    assert "How rings are found" in page.read_text(encoding="utf-8")
    assert json.loads(page.with_name("studies.json").read_text(encoding="utf-8"))["studies"] == second["studies"]


def test_a_study_that_does_not_exist_names_those_that_do(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "-w", str(world), "--study", "famlies"]) == Exit.BAD_INPUT
    assert "branches, families, shuffled" in capsys.readouterr().err


def test_parity_state_and_audit_hold(world: Path, result: Run) -> None:
    parity = result("verify", "parity", "--events", "2000", "-w", str(world))
    assert parity["holds"] is True
    assert parity["proof"]["n_rows"] == 2_000
    assert result("verify", "state", "-w", str(world))["holds"] is True
    assert result("verify", "audit", "-w", str(world))["holds"] is True


def test_state_without_a_snapshot_says_what_was_compared(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ringfence.engine.catalogue import Catalogue
    from ringfence.engine.engine import Engine
    from ringfence.engine.snapshot import write_snapshot
    from ringfence.ledger.ledger import Ledger

    here = Workspace(world)
    assert run(["verify", "state", "-w", str(world)]) == Exit.OK
    assert "no snapshot to recover from; two replays" in capsys.readouterr().out
    scenario = here.scenario()
    engine = Engine(Catalogue.build(scenario))
    engine.observe(next(Ledger.open(here.ledger_dir(scenario), scenario).batches(size=1_000)))
    snapshot = write_snapshot(engine, here.state_dir(scenario))
    try:
        assert run(["verify", "state", "-w", str(world)]) == Exit.OK
        assert f"the snapshot at seq {engine.seq:,} and a fresh replay" in capsys.readouterr().out
    finally:
        snapshot.unlink()


def test_no_sampled_link_leaks_and_looking_ahead_is_caught(world: Path, result: Run) -> None:
    found = result("verify", "leakage", "--events", "1000", "-w", str(world))
    assert found["holds"] is True
    assert found["n_violations"] == 0
    assert found["proof"]["honest"]["n_labelled"] > 1_000
    assert found["proof"]["look_ahead"]["n_ahead"] > 0


def test_nothing_to_verify_is_not_a_success(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "decision", "-w", str(world)]) == Exit.CHECK_FAILED
    assert "no decision" in capsys.readouterr().out
    assert run(["verify", "decision", "d-1", "-w", str(world)]) == Exit.BAD_INPUT


def test_doctor_finds_a_healthy_workspace(world: Path, result: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    findings = result("doctor", "-w", str(world))["findings"]
    assert any(finding["what"] == "motor-claims: champion" for finding in findings)


def test_edited_policy_is_said_to_wait_for_the_next_release(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)

    def told() -> tuple[str, str, list[str]]:
        assert run(["doctor", "-w", str(world)]) == Exit.OK
        by_doctor = capsys.readouterr().out
        assert run(["release", "list", "-w", str(world), "--json"]) == Exit.OK
        listed = capsys.readouterr()
        edits = [entry["policy_edits"] for entry in json.loads(listed.out) if entry["champion"]]
        return by_doctor, listed.err, edits[0]

    by_doctor, by_list, edits = told()
    assert (edits, by_list) == ([], "")
    assert "decides by" not in by_doctor
    file = Workspace(world).policy_path("motor-claims")
    written = file.read_text()
    try:
        file.write_text(written.replace("cost: 150", "cost: 90"))
        by_doctor, by_list, edits = told()
        assert edits == ["costs.review.cost (90 in the file, 150 in the release)"]
        for text in (by_doctor, by_list):
            assert edits[0] in text
            assert "ringfence release promote latest" in text
        file.write_text("costs: [")
        assert run(["release", "list", "-w", str(world)]) == Exit.OK
        assert "cannot be compared" in capsys.readouterr().err
    finally:
        file.write_text(written)


def test_busy_ledger_has_its_own_exit_code(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ringfence.ledger.lock import writer_lock

    here = Workspace(world)
    with writer_lock(here.ledger_dir(here.scenario())):
        assert run(["release", "rollback", "-w", str(world)]) == Exit.BUSY
    assert "is writing to the ledger" in capsys.readouterr().err


def test_score_reads_as_the_release_knows_the_scenario(world: Path, result: Run, tmp_path: Path) -> None:
    window = ["--from", "2024-10-01", "-w", str(world), "--output", str(tmp_path / "scores.parquet")]
    before = result("score", *window)
    file = world / "ringfence.yaml"
    written = file.read_text()
    attributes = [line for line in written.splitlines() if line.strip().startswith("policy_age_days:")]
    assert len(attributes) == 1
    file.write_text(written.replace(attributes[0] + "\n", ""))
    try:
        assert result("score", *window)["actions"] == before["actions"]
    finally:
        file.write_text(written)
