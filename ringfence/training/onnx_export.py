# SPDX-License-Identifier: Apache-2.0
"""A release for foreign runtimes: models as ONNX, all else as JSON, and golden vectors that hold a port to account."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence import __version__
from ringfence.ledger.ledger import Ledger
from ringfence.models.branch import Branch
from ringfence.models.branches import AnomalyBranch
from ringfence.models.brought import BroughtBranch
from ringfence.models.linear import LinearModel
from ringfence.models.seen import Seen
from ringfence.models.stack import BACKBONE
from ringfence.scoring.release import Release
from ringfence.scoring.scorer import FULL, GBDT, Scorer
from ringfence.training.errors import ExportDifferenceError, ExportPlaceError, NoTreesToExportError
from ringfence.training.onnx_trees import onnx_trees
from ringfence.training.score import shown

FloatArray = NDArray[np.float64]

MOST_APART: Final = 1e-5  # of golden vectors, in log-odds and in probability
_UNSEEN: Final = 1.0  # no hash of a category


class Exported(NamedTuple):
    folder: Path
    rungs: list[str]
    left_out: dict[str, str]  # branch -> why
    n_golden: int
    differences: dict[str, dict[str, float]]  # by rung: raw, score; the largest


def export_onnx(ledger: Ledger, release: Release, folder: Path, *, n_events: int = 100) -> Exported:
    """Write a release for foreign runtimes; the folder is there whole, and verified, or not at all.

    Parameters
    ----------
    ledger : golden rows are its last decided events; it is read only.
    folder : does not exist yet, or is empty.
    n_events : of them, >= 1; two made-up rows are added.

    Raises
    ------
    ExportPlaceError
        If the folder holds something.
    NoTreesToExportError
        If the release was made without labels.
    ExportDifferenceError
        If ONNX Runtime does not reproduce the golden vectors to 1e-5.
    MissingExtraError
        If onnx is not installed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportPlaceError(folder)
    gbdt = release.ensemble.gbdt
    if gbdt is None:
        raise NoTreesToExportError(release.id)
    branches, files, left_out = _branches(release)
    stack = release.ensemble.stack
    rungs: dict[str, Any] = {}
    if all(name == BACKBONE or name in branches for name in stack.members):
        weights = dict(zip(stack.members, stack.weights, strict=True))
        rungs[FULL] = {"weights": weights, "intercept": stack.intercept, "calibrator": "calibrator.json"}
        files["calibrator.json"] = release.calibrator.to_json()
    rungs[GBDT] = {"weights": {BACKBONE: 1.0}, "intercept": 0.0, "calibrator": "calibrator-gbdt.json"}
    rows, golden = _golden(ledger, release, list(rungs), n_events)
    files |= {
        "calibrator-gbdt.json": release.gbdt_calibrator.to_json(),
        "trees.onnx": onnx_trees(gbdt.walker),
        "encoder.json": release.encoder.to_json(),
        "features.json": _json(
            [
                {
                    "name": feature.name,
                    "sentence": feature.sentence,
                    "unit": feature.unit,
                    "missing": feature.missing,
                    "is_category": feature.is_category,
                }
                for feature in release.catalogue.features
            ]
        ),
        "export.json": _json(
            {
                "release": release.id,
                "digest": release.digest,
                "scenario": release.scenario.name,
                "rungs": rungs,
                "branches": branches,
                "left_out": left_out,
                "versions": {"ringfence": __version__, "onnx": version("onnx"), "onnxruntime": version("onnxruntime")},
            }
        ),
        "golden.json": _json(
            {
                "columns": list(release.catalogue.names),
                "rows": [[None if value != value else value for value in row] for row in rows.tolist()],
                "rungs": golden,
            }
        ),
        "score.py": _template("score_py.txt").encode(),
    }
    beside = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        for name, data in files.items():
            (beside / name).write_bytes(data)
        differences: dict[str, dict[str, float]] = runpy.run_path(str(beside / "score.py"))["differences"]()
        for rung, found in differences.items():
            for what, apart in found.items():
                if not apart <= MOST_APART:
                    raise ExportDifferenceError(release.id, rung, what, apart, MOST_APART)
        readme = _readme(release, branches, left_out, rungs, rows.shape[0], differences)
        (beside / "README.md").write_text(readme, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Exported(folder, list(rungs), left_out, rows.shape[0], differences)


def _golden(
    ledger: Ledger, release: Release, rungs: list[str], n_events: int
) -> tuple[FloatArray, dict[str, dict[str, list[float]]]]:
    """Return golden rows, and what they score on each rung; the last two rows are made up."""
    known = Ledger.open(ledger.directory, release.scenario)
    seqs = known.events(-(2**62), None, known.last_seq)["seq"].sort().tail(n_events).to_numpy()
    strange = np.full((2, release.encoder.n_features), np.nan)
    strange[1] = 0.0
    strange[1, list(release.encoder.category_columns)] = _UNSEEN
    seen = [*(shown(known, release, seqs) if seqs.shape[0] else ()), Seen(strange)]
    scorer = Scorer(release)
    golden = {}
    for rung in rungs:
        scores = [scorer.score(part, rung=rung) for part in seen]
        golden[rung] = {
            "raw": [value for one in scores for value in one.raw.tolist()],
            "score": [value for one in scores for value in one.score.tolist()],
        }
    return np.concatenate([part.rows for part in seen]), golden


def _branches(release: Release) -> tuple[dict[str, dict[str, Any]], dict[str, bytes], dict[str, str]]:
    """Return what is exported beside the trees, its files, and why the others are not."""
    told: dict[str, dict[str, Any]] = {}
    files: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    for name, branch in release.ensemble.branches.items():
        found = _exported(name, branch)
        if found is None:
            read = " and ".join(need.value for need in sorted(branch.needs))
            left_out[name] = f"it reads {read}, which no feature row holds" if read else "it has no ONNX form"
            continue
        told[name], data = found
        if data:
            files[f"{name}.onnx"] = data
    return told, files, left_out


def _exported(name: str, branch: Branch) -> tuple[dict[str, Any], bytes] | None:
    file = f"{name}.onnx"
    if isinstance(branch, AnomalyBranch):
        model = branch.model
        return {
            "kind": "anomaly",
            "file": file,
            "lengths": model.lengths.tolist(),
            "surprise": model.surprise.tolist(),
            "slope_beyond": model.slope_beyond,
        }, onnx_trees(model.walker)
    if isinstance(branch, LinearModel):
        return {"kind": "linear", "file": "export.json"} | branch.told(), b""
    if isinstance(branch, BroughtBranch):
        header = branch.header
        return {
            "kind": "brought",
            "file": file,
            "features": list(header.features),
            "columns": list(header.columns),
            "missing": header.missing,
            "is_probability": header.is_probability,
            "usual": header.usual,
        }, branch.graph
    return None


def _readme(
    release: Release,
    branches: Mapping[str, Mapping[str, Any]],
    left_out: Mapping[str, str],
    rungs: Mapping[str, Any],
    n_golden: int,
    differences: Mapping[str, Mapping[str, float]],
) -> str:
    lines = []
    if FULL in rungs:
        lines.append("Rung `full` is the release's score; rung `gbdt` is what answers where a branch is missing.")
    else:
        lines.append(
            "**Rung `full` is not here.** The release's own score counts on "
            f"{' and '.join(f'`{name}`' for name in left_out)}, which cannot be exported; rung `gbdt` is what it "
            "answers without: the trees alone, calibrated for themselves."
        )
    lines += [f"Left out: `{name}`; {why}." for name, why in left_out.items()]
    until_ms = release.manifest.made.until_ms
    return _template("export_readme.md").format(
        release=release.id,
        scenario=release.scenario.name,
        until=datetime.fromtimestamp(until_ms / 1000, tz=UTC).isoformat(timespec="seconds"),
        n_features=release.encoder.n_features,
        branch_files="".join(f"| `{how['file']}` | {_what(name, how)} |\n" for name, how in branches.items()),
        n_golden=n_golden,
        rungs="\n".join(lines),
        runtime=version("onnxruntime"),
        differences="; ".join(
            f"rung `{rung}`: {found['raw']:.1e} in log-odds, {found['score']:.1e} in probability"
            for rung, found in differences.items()
        ),
    )


def _what(name: str, how: Mapping[str, Any]) -> str:
    if how["kind"] == "anomaly":
        return "the anomaly model: summed path lengths of encoded rows rounded to 32 bits; knots in `export.json`"
    if how["kind"] == "linear":
        return "also the linear model: what each feature adds, a few numbers a column of the encoded row"
    return f"the network `{name}` as it was brought: {len(how['columns'])} columns of the row as they are, float32"


def _template(name: str) -> str:
    return resources.files("ringfence.training").joinpath(f"templates/{name}").read_text(encoding="utf-8")


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n"
