# SPDX-License-Identifier: Apache-2.0
"""`release shadow` without a service: the record is made here, and what a shadow found is read from its file."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.ledger.ledger import Ledger
from ringfence.ledger.records import DisagreementBody, Kind
from ringfence.rollout.registry import Registry
from ringfence.scenario.clock import FakeClock
from ringfence.serving.opinions import Comparison, Opinions
from ringfence.workspace import Workspace
from tests.serving.conftest import NOW_MS, copy_of, make_workspace
from tests.serving.releases import make_release


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a champion and a second release."""
    workspace = make_workspace(tmp_path_factory.mktemp("shadow") / "workspace")
    make_release(workspace)
    return workspace


def registry(workspace: Workspace) -> Registry:
    scenario = workspace.scenario()
    return Registry.read(Ledger.open(workspace.ledger_dir(scenario), scenario))


def test_a_shadow_from_beginning_to_end(two: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["-w", str(two.path)]
    assert run(["release", "shadow", *here]) == 0
    assert "have one do so with: ringfence release shadow RELEASE" in capsys.readouterr().out
    assert run(["release", "shadow", "--off", *here]) == Exit.BAD_INPUT
    assert "no release is the shadow" in capsys.readouterr().err
    assert run(["release", "shadow", "champion", *here]) == Exit.BAD_INPUT
    assert "shadow another one" in capsys.readouterr().err
    assert run(["release", "shadow", "latest", "--off", *here]) == Exit.USAGE
    assert "both 'latest' and --off" in capsys.readouterr().err
    assert registry(two).shadow() is None

    assert run(["release", "shadow", "latest", "--note", "slower", *here, "--json"]) == 0
    changed = json.loads(capsys.readouterr().out)
    now = registry(two).shadow()
    assert now is not None
    assert (changed["act"], changed["release"], changed["seq"]) == ("shadowed", registry(two).latest(), now.since_seq)
    assert now.note == "slower"
    assert now.by != ""
    assert run(["release", "shadow", *here]) == 0
    assert "no decision was held against it yet" in capsys.readouterr().out
    with contextlib.closing(Opinions(two.state_dir(two.scenario()))) as opinions:
        opinions.begin(now)
        same, differs = (Comparison(1, "approve", action, 0.125, None) for action in ("approve", "review"))
        opinions.put(now.since_seq, compared=[same, same, same, differs], n_impossible=2)
        opinions.tell_failure("the disk is full")
    assert run(["release", "shadow", *here]) == 0
    told = capsys.readouterr().out
    for words in (
        "scores along since", ": slower", "1 of 4 decisions would have been others (25.0 %)", "+0.1250",
        "approve  approve     3", "approve  review      1", "2 events it could not score",
        "it waits, and tries again: the disk is full", "0 records of the ledger it has not read",
        "release shadow --differing 20",
    ):  # fmt: skip
        assert words in told
    assert run(["release", "shadow", *here, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["shadow"]
    assert (found["same"], found["different"], found["impossible"], found["failure"]) == (3, 1, 2, "the disk is full")
    assert run(["release", "list", *here]) == 0
    assert "shadow" in capsys.readouterr().out

    assert run(["release", "shadow", "--off", *here]) == 0
    assert "scores along no more from seq" in capsys.readouterr().out
    assert registry(two).shadow() is None
    assert registry(two).champion() != changed["release"]


def test_a_release_that_is_broken_becomes_no_shadow(two: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    name = registry(two).latest()
    assert name is not None
    model = next(path for path in Path(two.releases_dir / name).iterdir() if path.name.startswith("gbdt"))
    whole = model.read_bytes()
    model.write_bytes(whole[:-1])
    try:
        assert run(["release", "shadow", name, "-w", str(two.path)]) != 0
        assert model.name in capsys.readouterr().err
        assert registry(two).shadow() is None
    finally:
        model.write_bytes(whole)


def test_a_note_of_a_shadow_does_not_stand_for_that_of_a_promotion(
    two: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = copy_of(two, tmp_path / "workspace")
    at = ["-w", str(here.path)]
    first, second = registry(here).champion(), registry(here).latest()
    assert first is not None
    assert second is not None
    assert run(["release", "promote", second, "--note", "wider windows", *at]) == 0
    assert run(["release", "shadow", first, "--note", "the old one", *at]) == 0
    assert run(["release", "shadow", "--off", "--note", "seen enough", *at]) == 0
    notes = {entry.release: entry.note for entry in registry(here).entries()}
    assert notes[second] == "wider windows"
    assert notes[first] not in ("the old one", "seen enough")


def test_a_note_alone_and_a_list_that_would_change_something_are_refused(
    two: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["release", "shadow", "--note", "slower", "-w", str(two.path)]) == Exit.USAGE
    assert "--note without a release" in capsys.readouterr().err
    for more in (["latest"], ["--off"]):
        assert run(["release", "shadow", *more, "--differing", "3", "-w", str(two.path)]) == Exit.USAGE
        assert "--differing lists what is on record" in capsys.readouterr().err


def test_decisions_that_a_shadow_would_have_taken_otherwise_are_listed_newest_first(
    two: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = copy_of(two, tmp_path / "workspace")
    at = ["-w", str(here.path)]
    assert run(["release", "shadow", "--differing", "3", *at]) == 0
    assert "no shadow differed" in capsys.readouterr().out
    scenario = here.scenario()
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    with ledger.writer(FakeClock(NOW_MS)) as writer:
        for number in range(5):
            body = DisagreementBody(
                decision_seq=100 + number,
                event_seq=90 + number,
                event_id=f"c-{number}",
                event_type="claim",
                release="r-aaaa",
                rung="full",
                action="approve",
                score=0.125,
                shadow="r-bbbb",
                shadow_action="review",
                shadow_score=0.5,
            )
            writer.stage(Kind.DISAGREEMENT, body)
        writer.commit()
    assert run(["release", "shadow", "--differing", "2", *at]) == 0
    told = capsys.readouterr().out
    assert [word for word in told.split() if word.startswith("d-")] == ["d-104", "d-103"]
    assert "c-4" in told
    assert "0.5000" in told
    assert run(["release", "shadow", "--differing", "9", *at, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["disagreements"]
    assert [one["decision_seq"] for one in found] == [104, 103, 102, 101, 100]
    assert found[0]["shadow_action"] == "review"


def test_what_a_shadow_found_is_told_once_more_when_it_ends(
    two: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = copy_of(two, tmp_path / "workspace")
    at = ["-w", str(here.path)]
    assert run(["release", "shadow", "latest", *at]) == 0
    assert "stays on record" not in capsys.readouterr().out
    now = registry(here).shadow()
    assert now is not None
    with contextlib.closing(Opinions(here.state_dir(here.scenario()))) as opinions:
        opinions.begin(now)
        opinions.put(now.since_seq, compared=[Comparison(1, "approve", "review", 0.125, None)])
    assert run(["release", "shadow", "--off", *at, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["act"], found["ended"]["different"]) == ("unshadowed", 1)
    assert run(["release", "shadow", "latest", *at]) == 0
    capsys.readouterr()
    assert run(["release", "shadow", "--off", *at]) == 0
    assert "where it differed stays on record" in capsys.readouterr().out
