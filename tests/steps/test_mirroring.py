# SPDX-License-Identifier: Apache-2.0
"""Releases in a tracking store: what is mirrored is what the release says, once, and nothing of it is a person's."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from mlflow.tracking import MlflowClient

import ringfence
from ringfence.rollout.errors import TrackingStoreError, UnknownReleaseError
from ringfence.rollout.tracking import COMPLETE, DIGEST
from ringfence.scoring.errors import ReleaseDamagedError
from ringfence.scoring.release import load_release
from ringfence.steps.opened import OpenWorkspace
from ringfence.steps.run_content import figures_of
from ringfence.training.errors import MissingExtraError
from tests.steps.conftest import POLICY, YAML, payments

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # of MLflow's own use of it


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> OpenWorkspace:
    """Two releases, the first one live, of payments with a personal attribute and a table of lookups."""
    folder = tmp_path_factory.mktemp("mirrored")
    document = yaml.safe_load(YAML)
    event = document["scenarios"]["payments"]["events"]["payment"]
    event["attributes"]["holder"] = {"type": "category", "personal": True}
    event["derive"] = {"sector": {"lookup": {"file": "sectors.csv", "key": "shop", "value": "sector"}, "field": "shop"}}
    (folder / "ringfence.yaml").write_text(yaml.safe_dump(document))
    (folder / "policies").mkdir()
    (folder / "policies" / "payments.yaml").write_text(POLICY)
    (folder / "sectors.csv").write_text("shop,sector\n" + "".join(f"s{i},{'ab'[i % 2]}\n" for i in range(20)))
    frame = payments(1_500)
    frame.with_columns(
        id=pl.format("payment-no-{}", pl.int_range(pl.len())), holder=pl.format("Holder Hera {}", pl.col("pan"))
    ).write_csv(folder / "payments.csv")
    opened: OpenWorkspace = ringfence.open(folder)
    opened.import_()
    opened.train(until="2024-01-25", seed=3)
    opened.train(until="2024-01-25", seed=4)
    return opened


def store_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'runs.db'}"


def client_of(address: str) -> MlflowClient:
    return MlflowClient(tracking_uri=address)


def runs_of(address: str, experiment: str = "payments") -> list[Any]:
    client = client_of(address)
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


def files_of(address: str, run: str) -> dict[str, bytes]:
    root = Path(client_of(address).get_run(run).info.artifact_uri.removeprefix("file://"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def tree_of(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Every file with digest, mode and time, once what SQLite has put aside is in its database."""
    for database in folder.rglob("*.db"):
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    held = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): (
            sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode,
            path.stat().st_mtime_ns,
        )
        for path in held
        if not path.name.endswith(("-wal", "-shm"))
    }


def champion_of(work: OpenWorkspace) -> str:
    return str(work.releases().filter(pl.col("is_champion"))["release"].item())


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
def test_what_is_mirrored_is_what_the_release_says(work: OpenWorkspace, tmp_path: Path, kind: str) -> None:
    address = store_of(tmp_path) if kind == "sqlite" else tmp_path / "store"
    made = work.mirror(address, "champion")
    (row,) = made.rows(named=True)
    assert (row["release"], row["outcome"], row["left_out"]) == (champion_of(work), "new", ["cases", "lookups"])
    client = client_of(str(address))
    run = client.get_run(row["run"])
    release = load_release(work.path / "releases" / row["release"])
    told = release.metrics
    for evaluation in told["evaluations"]:
        for figure in ("average_precision", "roc_auc", "brier", "brier_skill", "ece", "calibration_slope"):
            found = {end: run.data.metrics[f"{evaluation['name']}/{figure}{end}"] for end in ("", ".low", ".high")}
            assert found == {
                "": evaluation[figure]["value"],
                **{f".{e}": evaluation[figure][e] for e in ("low", "high")},
            }
        for capacity in evaluation["capacity"]:
            name = f"{evaluation['name']}/capacity/{capacity['alerts_per_day']}/recall"
            assert run.data.metrics[name] == capacity["recall"]["value"]
    assert told["branches"]
    for branch in told["branches"]:
        for figure in ("weight", "gain", "low", "high"):
            assert run.data.metrics[f"branches/{branch['name']}/{figure}"] == branch[figure]
    curve = sorted(client.get_metric_history(row["run"], "tree_curve/log_loss"), key=lambda one: one.step)
    assert [one.step for one in curve] == told["tree_curve"]["n_trees"]
    assert [one.value for one in curve] == told["tree_curve"]["log_loss"]
    names = set(run.data.metrics)
    assert names == {one.name for one in figures_of(told)}
    assert not any(other.startswith(f"{name}/") for name in names for other in names)  # a file cannot be a folder

    source = work.made_from(row["release"])
    assert run.data.params["examples/n_fraud"] == str(source["examples"]["n_fraud"])
    assert run.data.params["examples/digest"] == source["examples"]["digest"]
    assert {n.removeprefix("settings/"): v for n, v in run.data.params.items() if n.startswith("settings/")} == {
        name: str(value) for name, value in source["settings"].items()
    }
    assert run.data.params["versions/lightgbm"] == source["versions"]["lightgbm"]
    files = files_of(str(address), row["run"])
    assert json.loads(files["made_from.json"]) == source

    assert run.data.tags[DIGEST] == release.digest
    assert run.data.tags["ringfence.part"] == "champion"
    assert run.info.run_name == release.id
    assert run.info.status == "FINISHED"
    bundle = {name.removeprefix("bundle/"): data for name, data in files.items() if name.startswith("bundle/")}
    assert bundle == {
        path.name: path.read_bytes()
        for path in release.path.iterdir()
        if path.name != "report.html" and not path.name.startswith("lookup-")
    }
    assert {"plots/precision-and-recall.svg", "plots/roc-curve.svg", "plots/reliability.svg"} <= set(files)


def test_twice_is_once(work: OpenWorkspace, tmp_path: Path) -> None:
    address = store_of(tmp_path)
    first = work.mirror(address)
    assert first["outcome"].to_list() == ["new", "new"]
    before = {run.info.run_id: run.to_dictionary() for run in runs_of(address)}
    files = {run: files_of(address, run) for run in before}
    again = work.mirror(address)
    assert again["outcome"].to_list() == ["there", "there"]
    assert again["run"].to_list() == first["run"].to_list()
    assert {run.info.run_id: run.to_dictionary() for run in runs_of(address)} == before
    assert {run: files_of(address, run) for run in before} == files


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
def test_what_was_interrupted_is_gone_on_with(work: OpenWorkspace, tmp_path: Path, kind: str) -> None:
    address = store_of(tmp_path) if kind == "sqlite" else str(tmp_path / "store")
    place = tmp_path / "elsewhere"
    place.write_text("no folder, so that no file can be written below it")
    if kind == "sqlite":
        place = place.rename(tmp_path / "runs-artifacts")
    else:
        client_of(address).create_experiment("payments", artifact_location=place.as_uri())
    with pytest.raises(TrackingStoreError, match=r"writing files: (Not a directory|File exists); mend that, then"):
        work.mirror(address, "champion")
    (broken,) = runs_of(address)
    assert COMPLETE not in broken.data.tags
    assert broken.data.metrics
    place.unlink()
    assert work.mirror(address, "champion").select("outcome", "run").row(0) == ("continued", broken.info.run_id)
    (whole,) = runs_of(address)
    assert whole.data.tags[COMPLETE] == "true"
    assert whole.data.metrics == broken.data.metrics
    client = client_of(address)
    for name in whole.data.metrics:  # no figure stands there a second time
        steps = [one.step for one in client.get_metric_history(whole.info.run_id, name)]
        assert len(steps) == len(set(steps))
    assert any(name.startswith("bundle/") for name in files_of(address, whole.info.run_id))


def test_no_single_event_and_no_personal_value_is_mirrored(work: OpenWorkspace, tmp_path: Path) -> None:
    address = store_of(tmp_path)
    work.mirror(address)
    held = b"".join(path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file())
    assert b"payments" in held
    assert b"payment-no-" in (work.path / "releases" / champion_of(work) / "report.html").read_bytes()
    assert b"payment-no-" not in held
    assert b"Holder Hera" not in held
    sectors = (work.path / "sectors.csv").read_bytes()
    assert all(sectors not in files_of(address, run.info.run_id).values() for run in runs_of(address))


def test_who_can_write_to_the_store_does_not_decide_what_is_copied_to_it(work: OpenWorkspace, tmp_path: Path) -> None:
    address = store_of(tmp_path)
    (run,) = work.mirror(address, "champion")["run"]
    client_of(address).set_tag(run, "ringfence.left_out", "")
    client_of(address).delete_tag(run, COMPLETE)
    assert work.mirror(address, "champion")["outcome"].to_list() == ["continued"]
    files = files_of(address, run)
    assert not any(name.startswith("bundle/lookup-") or name == "bundle/report.html" for name in files)
    assert all(b"payment-no-" not in data for data in files.values())


def test_asking_for_one_thing_later_keeps_the_other(work: OpenWorkspace, tmp_path: Path) -> None:
    address = store_of(tmp_path)
    (run,) = work.mirror(address, "champion", with_cases=True)["run"]
    before = files_of(address, run)
    assert work.mirror(address, "champion", with_lookups=True).rows() == [(champion_of(work), run, "continued", [])]
    after = files_of(address, run)
    assert before == {name: data for name, data in after.items() if not name.startswith("bundle/lookup-")}
    assert len(after) == len(before) + 1
    assert b"payment-no-" in after["report.html"]


def test_what_is_asked_for_is_added_and_makes_the_bundle_whole(work: OpenWorkspace, tmp_path: Path) -> None:
    address = store_of(tmp_path)
    (before,) = work.mirror(address, "champion")["run"]
    added = work.mirror(address, "champion", with_lookups=True, with_cases=True).row(0, named=True)
    assert added == {"release": champion_of(work), "run": before, "outcome": "continued", "left_out": []}
    assert work.mirror(address, "champion").row(0, named=True) == added | {"outcome": "there"}
    files = files_of(address, before)
    assert files["report.html"] == (work.path / "releases" / champion_of(work) / "report.html").read_bytes()
    copy = tmp_path / champion_of(work)
    copy.mkdir()
    for name, data in files.items():
        if name.startswith("bundle/"):
            (copy / name.removeprefix("bundle/")).write_bytes(data)
    assert load_release(copy).digest == load_release(work.path / "releases" / champion_of(work)).digest


def test_parts_are_those_that_the_ledger_has_now(work: OpenWorkspace, tmp_path: Path) -> None:
    copy = tmp_path / "workspace"
    shutil.copytree(work.path, copy)
    mine: OpenWorkspace = ringfence.open(copy)
    address = store_of(tmp_path)
    first, second = mine.mirror(address)["run"]

    def parts() -> dict[str, str]:
        return {run.info.run_id: run.data.tags["ringfence.part"] for run in runs_of(address)}

    assert parts() == {first: "champion", second: "waiting"}
    from ringfence.cli.application import run

    assert run(["release", "promote", "latest", "-w", str(copy), "--note", "a word of mine"]) == 0
    mine.mirror(address, "latest")
    assert parts() == {first: "former champion", second: "champion"}
    client_of(address).set_tag(first, "ringfence.part", "champion")  # whatever somebody writes there decides nothing
    assert champion_of(mine) == mine.releases()["release"][1]
    assert all("a word of mine" not in str(run.to_dictionary()) for run in runs_of(address))


def test_nothing_of_the_workspace_changes(work: OpenWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work.path)
    before = tree_of(work.path)
    work.mirror(store_of(tmp_path), with_lookups=True)
    work.mirror(tmp_path / "store")
    assert tree_of(work.path) == before


def test_a_bundle_that_is_gone_or_damaged_is_told(work: OpenWorkspace, tmp_path: Path) -> None:
    copy = tmp_path / "workspace"
    shutil.copytree(work.path, copy)
    mine: OpenWorkspace = ringfence.open(copy)
    first, second = mine.releases()["release"]
    shutil.rmtree(copy / "releases" / first)
    assert mine.mirror(store_of(tmp_path))["release"].to_list() == [second]
    with pytest.raises(UnknownReleaseError):
        mine.mirror(store_of(tmp_path), "r-nosuch")
    manifest = copy / "releases" / second / "manifest.json"
    manifest.chmod(0o644)
    written = manifest.read_bytes()
    manifest.write_text(json.dumps(json.loads(written)))  # says the same, and is not what the ledger knows
    with pytest.raises(ReleaseDamagedError, match=r"manifest\.json: it is not the one that the ledger took up"):
        mine.mirror(store_of(tmp_path))
    manifest.write_bytes(written)
    card = copy / "releases" / second / "card.md"
    card.chmod(0o644)
    card.write_text("another card")
    with pytest.raises(ReleaseDamagedError, match=r"card\.md"):
        mine.mirror(store_of(tmp_path))


def test_a_deleted_experiment_is_not_written_to(work: OpenWorkspace, tmp_path: Path) -> None:
    address = store_of(tmp_path)
    client = client_of(address)
    client.delete_experiment(client.create_experiment("payments"))
    with pytest.raises(TrackingStoreError, match="experiment 'payments': it was deleted there; restore it, or name"):
        work.mirror(address)
    assert work.mirror(address, experiment="others")["outcome"].to_list() == ["new", "new"]
    assert len(runs_of(address, "others")) == 2


def test_without_mlflow_the_extra_that_brings_it_is_named(
    work: OpenWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"mirroring releases needs mlflow-skinny.*'ringfence\[mlflow\]'"):
        work.mirror(store_of(tmp_path))


def test_package_service_and_mirror_itself_are_imported_without_mlflow() -> None:
    probe = (
        "import importlib, pkgutil, sys, ringfence\nringfence.open\n"
        "import ringfence.serving, ringfence.steps.mirroring, ringfence.steps.opened, ringfence.cli.application\n"
        "for module in pkgutil.iter_modules(ringfence.serving.__path__, 'ringfence.serving.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(sorted({'mlflow', 'sqlalchemy', 'fastapi'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "[]\n"
