# SPDX-License-Identifier: Apache-2.0
"""A release for foreign runtimes: what is in the folder, and that it scores as the release does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from ringfence.engine.catalogue import Catalogue
from ringfence.ledger.importer import import_files
from ringfence.ledger.ledger import Ledger
from ringfence.models.brought import BroughtBranch, BroughtHeader
from ringfence.models.calibration import fit_calibrator
from ringfence.models.gbdt import Gbdt
from ringfence.models.rules import RulesModel
from ringfence.models.seen import Seen
from ringfence.models.stack import Stack
from ringfence.scenario.clock import FakeClock
from ringfence.scoring.release import Contents, Release, load_release, write_release
from ringfence.training.errors import ExportDifferenceError, ExportPlaceError
from ringfence.training.learner import Task
from ringfence.training.linear import LinearLearner
from ringfence.training.onnx_export import Exported, export_onnx
from tests.oracles.onnx_graphs import linear
from tests.scoring.releases import contents, rows_and_labels, scenario

from .conftest import NOW_MS, START


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Forty claims."""
    folder = tmp_path_factory.mktemp("claims")
    rng = np.random.default_rng(2)
    claims = pl.DataFrame(
        {
            "claim_id": [f"c{i}" for i in range(40)],
            "claim_time": [START + timedelta(hours=7 * i) for i in range(40)],
            "amount": rng.gamma(2.0, 400.0, 40).round(2),
            "claimant_id": rng.integers(0, 12, 40),
            "shop_id": rng.integers(0, 5, 40),
            "witness_ids": [[str(value)] for value in rng.integers(0, 9, 40)],
            "policy_age_days": rng.integers(1, 900, 40),
            "vehicle_make": rng.choice(["a", "b", "c"], 40),
            "sex": rng.choice(["f", "m"], 40),
            "phone": [f"+49 {i}" for i in range(40)],
            "is_fraud": rng.integers(0, 2, 40),
        }
    )
    claims.write_parquet(folder / "claims.parquet")
    source = msgspec.structs.replace(scenario().sources[0], files=("claims.parquet",))
    known = msgspec.structs.replace(scenario(), sources=(source,))
    import_files(folder / "ledger", known, folder, FakeClock(NOW_MS))
    return Ledger.open(folder / "ledger", known)


def with_network() -> Contents:
    """A release whose score counts on the anomaly model and on a network that was brought."""
    made = contents()
    rows, labels = rows_and_labels()
    header = BroughtHeader(
        name="my-net",
        features=("a", "b"),
        columns=(3, 5),
        n_features=rows.shape[1],
        is_probability=True,
        missing=-1.0,
        trained_until_ms=0,
        digest="0" * 64,
        usual=-2.0,
    )
    network = BroughtBranch(header, linear(np.array([0.1, -0.2]), -1.0))
    stack = Stack(members=("gbdt", "anomaly", "my-net"), weights=(0.8, 0.3, 0.4), intercept=-0.2)
    ensemble = replace(made.ensemble, branches={**made.ensemble.branches, "my-net": network}, stack=stack)
    calibrator = fit_calibrator(ensemble.raw(Seen(rows)), labels, method="isotonic")
    return msgspec.structs.replace(made, ensemble=ensemble, calibrator=calibrator)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return write_release(tmp_path_factory.mktemp("releases"), with_network())


@pytest.fixture(scope="module")
def exported(ledger: Ledger, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_onnx(ledger, release, tmp_path_factory.mktemp("export") / "out", n_events=30)


def read(exported: Exported, name: str) -> Any:
    return json.loads((exported.folder / name).read_text())


def test_golden_vectors_are_what_the_release_says(release: Release, exported: Exported) -> None:
    golden = read(exported, "golden.json")
    rows = np.array([[np.nan if value is None else value for value in row] for row in golden["rows"]])
    assert rows.shape == (32, len(release.features))
    assert golden["columns"] == list(release.catalogue.names)
    assert np.isnan(rows[-2]).all()
    raw = release.ensemble.raw(Seen(rows))
    np.testing.assert_array_equal(golden["rungs"]["full"]["raw"], raw)
    np.testing.assert_array_equal(golden["rungs"]["full"]["score"], release.calibrator.apply(raw))
    alone = release.ensemble.alone().raw(Seen(rows))
    np.testing.assert_array_equal(golden["rungs"]["gbdt"]["score"], release.gbdt_calibrator.apply(alone))


def test_folder_reproduces_them_by_itself(exported: Exported) -> None:
    assert exported.rungs == ["full", "gbdt"]
    assert all(0.0 <= one <= 1e-5 for rung in exported.differences.values() for one in rung.values())
    ran = subprocess.run(
        [sys.executable, "-I", str(exported.folder / "score.py")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == exported.differences


def test_folder_tells_what_is_in_it(release: Release, exported: Exported) -> None:
    names = {path.name for path in exported.folder.iterdir()}
    assert names == {
        *("README.md", "score.py", "export.json", "golden.json", "features.json", "encoder.json"),
        *("calibrator.json", "calibrator-gbdt.json", "trees.onnx", "anomaly.onnx", "my-net.onnx"),
    }
    told = read(exported, "export.json")
    assert (told["release"], told["left_out"]) == (release.id, {})
    assert told["rungs"]["full"]["weights"] == {"gbdt": 0.8, "anomaly": 0.3, "my-net": 0.4}
    features = read(exported, "features.json")
    assert [feature["name"] for feature in features] == list(release.catalogue.names)
    text = (exported.folder / "README.md").read_text()
    assert all(f"`{name}`" in text for name in names - {"README.md", "calibrator.json", "calibrator-gbdt.json"})
    assert f"{exported.differences['full']['raw']:.1e} in log-odds" in text
    assert (exported.folder / "my-net.onnx").read_bytes() == linear(np.array([0.1, -0.2]), -1.0)


def test_a_changed_golden_vector_is_found_out(exported: Exported, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported.folder, copy)
    golden = read(exported, "golden.json")
    golden["rungs"]["full"]["score"][3] += 1e-4
    (copy / "golden.json").write_text(json.dumps(golden))
    ran = subprocess.run([sys.executable, "-I", str(copy / "score.py")], capture_output=True, check=False)
    assert ran.returncode == 1


def test_what_cannot_be_exported_is_named_and_its_rung_left_out(ledger: Ledger, tmp_path: Path) -> None:
    made = contents()
    stack = Stack(members=("gbdt", "rules"), weights=(0.8, 0.3))
    rules = RulesModel(rules=(), columns={}, width=len(Catalogue.build(made.scenario).features))
    ensemble = replace(made.ensemble, branches={**made.ensemble.branches, "rules": rules}, stack=stack)
    made = msgspec.structs.replace(made, ensemble=ensemble, rules_calibrator=made.gbdt_calibrator)
    release = write_release(tmp_path / "releases", made)
    found = export_onnx(ledger, release, tmp_path / "out", n_events=5)
    assert found.rungs == ["gbdt"]
    assert set(found.left_out) == {"rules"}
    assert "Rung `full` is not here" in (found.folder / "README.md").read_text()
    assert "Left out: `rules`; it has no ONNX form." in (found.folder / "README.md").read_text()
    assert not (found.folder / "calibrator.json").exists()


def test_nothing_is_written_over(ledger: Ledger, release: Release, exported: Exported) -> None:
    before = {path.name: path.read_bytes() for path in exported.folder.iterdir()}
    with pytest.raises(ExportPlaceError, match="not an empty folder"):
        export_onnx(ledger, release, exported.folder)
    assert {path.name: path.read_bytes() for path in exported.folder.iterdir()} == before


def test_scores_that_32_bits_cannot_hold_are_not_written(ledger: Ledger, release: Release, tmp_path: Path) -> None:
    gbdt = release.ensemble.gbdt
    steep = replace(gbdt.walker, leaf_value=1e5 * gbdt.walker.leaf_value)
    changed = load_release(release.path)
    changed.__dict__["ensemble"] = replace(release.ensemble, gbdt=Gbdt.of(gbdt.text, steep))
    with pytest.raises(ExportDifferenceError, match=r"rung full: .* in raw") as refusal:
        export_onnx(ledger, changed, tmp_path / "out", n_events=5)
    assert refusal.value.difference > 1e-5
    assert not list(tmp_path.iterdir())


def test_a_linear_model_travels_as_its_numbers(ledger: Ledger, tmp_path: Path) -> None:
    made = contents()
    rows, labels = rows_and_labels()
    encoder = made.ensemble.encoder
    time_ms = np.arange(rows.shape[0], dtype=np.int64)
    task = Task(
        rows=rows,
        fraud=labels.astype(np.int8),
        event_time_ms=time_ms,
        folds=(),
        is_category=[column in encoder.category_columns for column in range(rows.shape[1])],
        unread=np.empty(0, np.int64),
        seed=0,
        n_threads=1,
    )
    model = LinearLearner().fit(task, encoder)
    assert model.table.any()  # categories have a share, too
    stack = Stack(members=("gbdt", "linear"), weights=(0.6, 0.4), intercept=0.0)
    whole = replace(made.ensemble, branches={"linear": model}, stack=stack)
    release = write_release(tmp_path / "releases", msgspec.structs.replace(made, ensemble=whole))
    exported = export_onnx(ledger, release, tmp_path / "out", n_events=30)
    assert exported.rungs == ["full", "gbdt"]
    assert exported.differences["full"]["raw"] <= 1e-5
    assert not exported.left_out
    assert read(exported, "export.json")["branches"]["linear"]["intercept"] == model.intercept
    assert "linear model" in (exported.folder / "README.md").read_text()
