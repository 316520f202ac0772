# SPDX-License-Identifier: Apache-2.0
"""`ringfence release …` beyond promotion: calibrated anew, exported, mirrored, live when, made from what."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import SystemClock
from ringfence.workspace import Workspace
from tests.oracles.onnx_graphs import linear
from tests.training.conftest import POLICY, payments

Run = Callable[..., Any]

SCENARIO: dict[str, Any] = {
    "decide": "payment",
    "sources": {"payment": "payments.csv"},
    "windows": ["1d", "7d"],
    "branches": [
        {"name": "my-net", "onnx": "my_net.onnx", "features": ["event.amount", "shop.fraud_rate"], "missing": 0}
    ],
    "events": {
        "payment": {
            "event_id": "id",
            "event_time": "at",
            "amount": {"field": "amount", "currency": "EUR"},
            "entities": {"card": "card", "shop": "shop"},
            "attributes": {"channel": "category"},
            "label": {"field": "fraud", "values": {"fraud": [1], "legit": [0]}, "delay": "3d"},
        }
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of payments with one release, the champion, made of their first month."""
    folder = tmp_path_factory.mktemp("tools")
    payments(2_500).write_csv(folder / "payments.csv")
    (folder / "ringfence.yaml").write_text(yaml.safe_dump({"scenarios": {"payments": SCENARIO}}))
    (folder / "policies").mkdir()
    (folder / "policies" / "payments.yaml").write_text(POLICY)
    assert run(["import", "-w", str(folder)]) == Exit.OK
    (folder / "my_net.onnx").write_bytes(linear(np.array([0.02, 3.0]), -3.5))
    assert run(["train", "-w", str(folder), "--until", "2024-01-31", "--without", "gnn"]) == Exit.OK
    return folder


def unaided(folder: Path, name: str) -> None:
    """Make a workspace of the same payments, by another name of the scenario and without the network."""
    payments(2_500).write_csv(folder / "payments.csv")
    scenario = {key: value for key, value in SCENARIO.items() if key != "branches"}
    (folder / "ringfence.yaml").write_text(yaml.safe_dump({"scenarios": {name: scenario}}))
    (folder / "policies").mkdir()
    (folder / "policies" / f"{name}.yaml").write_text(POLICY)


@pytest.fixture
def result(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json, expect success, and return what it printed."""

    def call(*arguments: str) -> Any:
        capsys.readouterr()
        assert run([*arguments, "-w", str(place), "--json"]) == Exit.OK
        return json.loads(capsys.readouterr().out)

    return call


def test_train_takes_a_network_of_the_workspace_and_warns_of_what_it_may_have_seen(result: Run) -> None:
    brought = result("evaluate")["metrics"]["brought"]
    assert [one["name"] for one in brought["branches"]] == ["my-net"]
    assert "branch my-net: nobody says until when it was trained" in brought["warnings"][0]
    assert "brought-my-net.bin" in result("release", "show")["files"]


def test_recalibrated_release_waits_beside_the_champion(place: Path, result: Run) -> None:
    champion = result("release", "show")["release"]
    made = result("release", "recalibrate", "--until", "2024-02-28")
    assert made["models_of"] == champion != made["release"]
    assert made["n"] > 1_000
    assert made["n_fraud"] > 30
    assert {rung["name"] for rung in made["rungs"]} == {"full", "gbdt"}
    entries = {entry["release"]: entry for entry in result("release", "list")}
    assert entries[champion]["champion"] is True
    assert entries[made["release"]]["champion"] is False
    assert entries[made["release"]]["note"] == f"calibration of {champion} anew"
    assert Path(made["report"]).is_file()


def test_recalibrating_tells_the_figures_and_what_to_do_next(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["release", "recalibrate", "-w", str(place), "--until", "2024-02-28"]) == Exit.OK
    said = capsys.readouterr()
    assert "calibration error" in said.out
    assert "it waits: ringfence release promote r-" in said.out


def test_recalibrating_without_new_labels_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["release", "recalibrate", "-w", str(place), "--until", "2024-02-01"]) == Exit.BAD_INPUT
    assert "cannot be calibrated anew" in capsys.readouterr().err


def test_list_tells_what_was_live_at_a_time(place: Path, result: Run, capsys: pytest.CaptureFixture[str]) -> None:
    champion = next(entry for entry in result("release", "list") if entry["champion"])
    assert result("release", "list", "--at", "2024-06-01") == []  # the history is older than the release
    assert run(["release", "list", "--at", "2024-06-01", "-w", str(place)]) == Exit.OK
    said = capsys.readouterr()
    assert "no release was registered by then" in said.out
    assert "nothing was live at 2024-06-01" in said.err
    entries = result("release", "list", "--at", "2999-01-01")
    assert [entry["release"] for entry in entries if entry["champion"]] == [champion["release"]]
    assert run(["release", "list", "--at", "2999-01-01", "-w", str(place)]) == Exit.OK
    assert f"{champion['release']} was live at 2999-01-01, since 20" in capsys.readouterr().err
    assert run(["release", "list", "--at", "soon", "-w", str(place)]) == Exit.USAGE


def test_show_tells_what_a_release_was_made_from(place: Path, result: Run, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = result("release", "show")
    told = result("release", "show", "--data")
    made = manifest["made"]
    assert told["examples"] == {
        "from": None,
        "until": "2024-01-31T00:00:00Z",
        "n": made["n_examples"],
        "n_fraud": made["n_fraud"],
        "digest": made["data_digest"],
    }
    assert told["ledger"]["until_seq"] == made["until_seq"]
    assert [len(one["digest"]) for one in told["ledger"]["segments"]] == [32]
    assert told["settings"] == made["settings"]
    assert told["versions"] == manifest["versions"]
    assert told["files"] == manifest["files"]
    assert told["calibrated"] is None
    assert run(["release", "show", "--data", "-w", str(place)]) == Exit.OK
    text = capsys.readouterr().out
    assert f"{made['n_examples']:,}, {made['n_fraud']:,} of them fraud, from the first event" in text
    assert all(word in text for word in (made["data_digest"], "setting num_leaves", "version of lightgbm", "trees.npz"))


def test_export_says_what_it_wrote_and_refuses_to_write_over_it(
    place: Path, result: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "elsewhere"
    told = result("release", "export", "--format", "onnx", "--output", str(folder), "--events", "20")
    assert (told["folder"], told["n_golden"]) == (str(folder), 22)
    assert "gbdt" in told["rungs"]
    assert max(one for rung in told["differences"].values() for one in rung.values()) <= 1e-5
    assert {"README.md", "score.py", "trees.onnx", "golden.json", "my-net.onnx"} <= {
        path.name for path in folder.iterdir()
    }
    assert run(["release", "export", "-w", str(place), "--output", str(folder)]) == Exit.BAD_INPUT
    assert "nothing is written over it" in capsys.readouterr().err


def test_show_tells_whose_models_a_calibration_has(
    place: Path, result: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    made = result("release", "recalibrate", "--until", "2024-02-28")
    told = result("release", "show", made["release"], "--data")
    assert told["calibrated"]["release"] == made["models_of"]
    assert told["examples"]["until"] == told["calibrated"]["models_until"] == "2024-01-31T00:00:00Z"
    assert run(["release", "show", made["release"], "--data", "-w", str(place)]) == Exit.OK
    assert f"models of {made['models_of']}; on {made['n']:,} events" in capsys.readouterr().out


def test_mirror_copies_all_releases_once_and_says_what_it_left_out(
    place: Path, result: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path / 'runs.db'}"
    told = result("release", "mirror", "--to", address)
    assert (told["store"], told["experiment"], told["absent"]) == (address, "payments", [])
    assert [one["release"] for one in told["releases"]] == [entry["release"] for entry in result("release", "list")]
    assert {(one["outcome"], *one["left_out"]) for one in told["releases"]} == {("new", "cases")}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    capsys.readouterr()
    assert run(["release", "mirror", "champion", "-w", str(place)]) == Exit.OK
    said = capsys.readouterr()
    assert said.out.startswith(f"{address}, experiment payments\nrelease ")
    assert f"{told['releases'][0]['release']}  there    {told['releases'][0]['run']}  cases" in said.out
    assert said.err == ""


def test_mirror_asks_for_an_address_and_takes_none_with_a_secret(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run(["release", "mirror", "-w", str(place)]) == Exit.USAGE
    assert "--to" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:s3cret@tracking.example")
    assert run(["release", "mirror", "-w", str(place)]) == Exit.BAD_INPUT
    said = capsys.readouterr()
    assert "found a user or a password in its https address; take them out, and set MLFLOW_TRACKING_" in said.err
    assert "s3cret" not in said.err + said.out


def test_mirror_without_an_answer_ends_as_storage_does(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert run(["release", "mirror", "-w", str(place), "--to", address]) == Exit.STORAGE
    said = capsys.readouterr()
    assert said.err.startswith(
        f"ringfence: tracking store {address}: experiment 'payments': no answer; see that it runs"
    )


def test_a_release_made_beside_a_service_is_registered_by_what_names_it_next(
    place: Path, result: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(place)
    scenario = workspace.scenario()
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    train = ["train", "-w", str(place), "--until", "2024-01-28", "--without", "gnn", "--json"]
    with ledger.writer(SystemClock()):  # as a service holds it
        assert run(train) == Exit.OK
        told = capsys.readouterr()
        made = json.loads(told.out)
        assert made["registered"] is False
        assert f"ringfence release promote {made['release']}" in told.err
        assert run(["release", "recalibrate", "champion", "-w", str(place), "--json"]) == Exit.OK
        calibrated = json.loads(capsys.readouterr().out)
        assert (place / "releases" / calibrated["release"]).is_dir()
    known = [one["release"] for one in result("release", "list")]
    assert made["release"] not in known
    assert result("release", "show", made["release"])["release"] == made["release"]
    assert result("release", "promote", made["release"])["champion"] == made["release"]
    assert [one["release"] for one in result("release", "list") if one["champion"]] == [made["release"]]
    assert result("release", "rollback")["champion"] != made["release"]
    assert result(*train[:1], *train[3:-1])["registered"] is True


def test_a_first_release_needs_the_ledger_to_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unaided(tmp_path, "payments")
    assert run(["import", "-w", str(tmp_path)]) == Exit.OK
    workspace = Workspace(tmp_path)
    scenario = workspace.scenario()
    with Ledger.open(workspace.ledger_dir(scenario), scenario).writer(SystemClock()):
        assert run(["train", "-w", str(tmp_path)]) == Exit.BUSY
    assert "is writing to the ledger" in capsys.readouterr().err
    assert not list((tmp_path / "releases").glob("r-*"))


def test_a_release_of_another_scenario_is_none_of_this_one(
    place: Path, result: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = result("release", "list")[0]["release"]
    unaided(tmp_path, "refunds")
    assert run(["import", "-w", str(tmp_path)]) == Exit.OK
    shutil.copytree(place / "releases" / theirs, tmp_path / "releases" / theirs)
    capsys.readouterr()
    assert run(["release", "promote", theirs, "-w", str(tmp_path)]) == Exit.BAD_INPUT
    assert "is not in this ledger" in capsys.readouterr().err
