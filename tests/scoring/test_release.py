# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ringfence.models import AnomalyBranch, Seen, train_anomaly
from ringfence.scoring import (
    ReleaseDamagedError,
    ReleaseMismatchError,
    ReleaseNotFoundError,
    Scorer,
    load_release,
    write_release,
)
from ringfence.scoring.release import ANSWERS, MEASURED
from tests.scoring.releases import POLICY, contents, release_in, rows_and_labels, scenario


def test_bundle_read_back_answers_as_the_models_that_went_in(tmp_path: Path) -> None:
    given = contents()
    release = write_release(tmp_path / "releases", given)
    rows, _ = rows_and_labels()
    raw = given.ensemble.raw(Seen(rows))
    scores = Scorer(release).score(Seen(rows))
    assert scores.raw.tobytes() == raw.tobytes()
    assert scores.score.tobytes() == given.calibrator.apply(raw).tobytes()
    assert release.scenario == scenario()
    assert (release.card, release.metrics) == ("# card", {"average_precision": 0.5})
    assert {path.name for path in release.path.iterdir()} == {"manifest.json", *ANSWERS, "anomaly.npz", *MEASURED}


def test_equal_contents_give_the_same_id_anywhere_and_other_seeds_another(tmp_path: Path) -> None:
    first = write_release(tmp_path / "a", contents())
    again = write_release(tmp_path / "b", contents())
    assert (first.id, first.digest) == (again.id, again.digest)
    assert first.id.startswith("r-")
    assert len(first.id) == 14
    assert write_release(tmp_path / "a", contents(seed=2)).id != first.id


def test_existing_release_is_kept_as_it_is(tmp_path: Path) -> None:
    first = write_release(tmp_path, contents())
    again = write_release(tmp_path, contents(card="# measured again"))
    assert again.id == first.id
    assert again.card == "# card"
    assert [path.name for path in tmp_path.iterdir()] == [first.id]


@pytest.mark.parametrize("name", ["gbdt.txt", "trees.npz", "policy.json", "report.html"])
def test_changed_file_is_noticed_and_named(tmp_path: Path, name: str) -> None:
    path = release_in(tmp_path).path
    (path / name).chmod(0o644)
    (path / name).write_bytes((path / name).read_bytes() + b" ")
    with pytest.raises(ReleaseDamagedError, match="digest") as raised:
        load_release(path)
    assert raised.value.file == name


def test_absent_files_and_folders_are_noticed(tmp_path: Path) -> None:
    path = release_in(tmp_path).path
    with pytest.raises(ReleaseNotFoundError, match="release list"):
        load_release(tmp_path / "r-none")
    (path / "encoder.json").unlink()
    with pytest.raises(ReleaseDamagedError, match="cannot be read"):
        load_release(path)


def test_renamed_later_or_garbled_manifests_are_refused(tmp_path: Path) -> None:
    path = release_in(tmp_path).path
    shutil.copytree(path, tmp_path / "r-other")
    with pytest.raises(ReleaseDamagedError, match="it says it is"):
        load_release(tmp_path / "r-other")
    manifest = path / "manifest.json"
    manifest.chmod(0o644)
    text = manifest.read_text()
    manifest.write_text(text.replace('"format": 2', '"format": 99'))
    with pytest.raises(ReleaseDamagedError, match="format 99"):
        load_release(path)
    manifest.write_text(text[:50])
    with pytest.raises(ReleaseDamagedError):
        load_release(path)


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseMismatchError, match=r"USD with 2 digits.*EUR with 2"):
        write_release(tmp_path, contents(policy=POLICY.replace("EUR", "USD")))
    given = contents()
    whole = given.ensemble
    narrow = train_anomaly(np.random.default_rng(1).random((50, 3)), seed=1)
    odd = {
        "the encoder": replace(whole, encoder=msgspec.structs.replace(whole.encoder, n_features=3)),
        "the anomaly model": replace(whole, branches={"anomaly": AnomalyBranch(narrow)}),
    }
    for what, ensemble in odd.items():
        with pytest.raises(ReleaseMismatchError, match=f"columns of {what}: found 3"):
            write_release(tmp_path, msgspec.structs.replace(given, ensemble=ensemble))


def test_a_release_of_trees_alone_still_answers_as_it_did(tmp_path: Path) -> None:
    given = contents()
    release = write_release(tmp_path, given)
    manifest = msgspec.json.decode((release.path / "manifest.json").read_bytes())
    manifest["format"] = 1
    for name in ("stack.json", "calibrator-gbdt.json", "anomaly.npz"):
        del manifest["files"][name]
        (release.path / name).unlink()
    (release.path / "manifest.json").chmod(0o644)
    (release.path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    old = Scorer(load_release(release.path))
    rows, _ = rows_and_labels()
    raw = given.ensemble.gbdt.raw(given.ensemble.encode(rows))
    assert old.score(Seen(rows)).raw.tobytes() == raw.tobytes()
    assert list(old.score(Seen(rows)).members) == ["gbdt"]
    manifest["format"] = 2
    (release.path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(ReleaseDamagedError, match=r"stack\.json"):
        load_release(release.path)
