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
from ringfence.rollout.registry import Registry
from ringfence.serving.opinions import Comparison, Opinions
from ringfence.workspace import Workspace
from tests.serving.conftest import make_workspace
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
        "it waits, and tries again: the disk is full", "0 records behind the ledger",
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
