# SPDX-License-Identifier: Apache-2.0
"""Networks that were trained elsewhere, taken into a training: checked, judged where they can be, and told of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.models.brought import SLACK, BroughtBranch, BroughtHeader
from ringfence.models.encoder import Encoder
from ringfence.models.ensemble import Ensemble
from ringfence.models.errors import BroughtModelError
from ringfence.models.seen import Seen
from ringfence.scenario.errors import did_you_mean
from ringfence.scenario.spec import Brought, BroughtOutput, Scenario
from ringfence.training.errors import BroughtFeatureError, BroughtFileError
from ringfence.training.learner import Task

FloatArray = NDArray[np.float64]

MOST_APART: Final = 1e-5  # what an output may differ by with the rows beside it
_TRIED: Final = 256  # examples, spread over all of them
_ALONE: Final = 16  # of them run one by one
_CHUNK: Final = 65_536


def read_brought(scenario: Scenario, workspace: Path) -> dict[str, bytes]:
    """Read the files of `branches`, by the name that the scenario gives them.

    Raises
    ------
    BroughtFileError
        If one is missing, or lies outside the workspace.
    """
    files: dict[str, bytes] = {}
    for place, one in enumerate(scenario.branches):
        path = (workspace / one.file).resolve()
        where = f"scenarios.{scenario.name}.branches[{place}].onnx"
        if not path.is_relative_to(workspace.resolve()):
            raise BroughtFileError(where, one.file, "a place outside the workspace", "put the file into the workspace")
        try:
            files[one.file] = path.read_bytes()
        except OSError as error:
            do = "add the file, or correct its name"
            raise BroughtFileError(where, one.file, error.strerror or "an error", do) from None
    return files


def columns_of(catalogue: Catalogue, place: int, brought: Brought) -> tuple[int, ...]:
    """Return the columns of a network's features.

    Parameters
    ----------
    place : of it under `branches`, for the message.

    Raises
    ------
    BroughtFeatureError
        If one is no feature of the scenario, or a category: its codes are a release's own.
    """
    where = f"scenarios.{catalogue.scenario.name}.branches[{place}].features"
    is_category = {feature.name: feature.is_category for feature in catalogue.features}
    numbers = [name for name, is_one in is_category.items() if not is_one]
    for name in brought.features:
        if name not in is_category:
            do = f"{did_you_mean(name, numbers)}; `ringfence features --list` shows all"
            raise BroughtFeatureError(where, f"{name!r}, no feature of this scenario", do)
        if is_category[name]:
            do = "leave it out: a category is a hash of its text here, and a code of its own in each release"
            raise BroughtFeatureError(where, f"{name!r}, a category", do)
    return tuple(catalogue.names.index(name) for name in brought.features)


def brought_learners(catalogue: Catalogue, files: Mapping[str, bytes]) -> list[BroughtLearner]:
    """Open every network of the scenario's `branches`.

    Raises
    ------
    BroughtFeatureError, BroughtModelError, MissingRuntimeError
        If one cannot be fed or run.
    """
    learners = []
    for place, one in enumerate(catalogue.scenario.branches):
        graph = files[one.file]
        header = BroughtHeader(
            name=one.name,
            features=one.features,
            columns=columns_of(catalogue, place, one),
            n_features=len(catalogue.features),
            is_probability=one.output is BroughtOutput.PROBABILITY,
            missing=one.missing,
            trained_until_ms=one.trained_until_ms,
            digest=sha256(graph).hexdigest(),
        )
        learners.append(BroughtLearner(BroughtBranch(header, graph)))
    return learners


class BroughtLearner:
    """Learns nothing. What it saw is not known, so it speaks out of fold only of what its owner says it cannot have."""

    is_told: Final = True

    def __init__(self, branch: BroughtBranch) -> None:
        self._branch = branch
        self.name = branch.header.name

    def out_of_fold(self, task: Task, *, most: int | None) -> FloatArray:
        """Return what it says of examples from `trained_until` on, shape (n,), as `Learner` says; NaN elsewhere.

        Raises
        ------
        BroughtModelError
            If it does not give every example a number, the same each time and whatever stands beside it.
        """
        try_out(self._branch, task.rows)
        found = np.full(task.rows.shape[0], np.nan)
        until_ms = self._branch.header.trained_until_ms
        if until_ms is None:
            return found
        for fold in task.folds:
            emit = fold.emit[task.event_time_ms[fold.emit] >= until_ms]
            if most is not None and emit.shape[0] > most:
                emit = np.sort(np.random.default_rng(task.seed).choice(emit, size=most, replace=False))
            for low in range(0, emit.shape[0], _CHUNK):
                part = task.rows[emit[low : low + _CHUNK]]
                found[emit[low : low + _CHUNK]] = self._branch.raw(Seen(part), part)
        return found

    def fit(self, task: Task, encoder: Encoder) -> BroughtBranch:
        """Return it as it was brought, knowing what it says of a usual event here."""
        rows = _spread(task.rows)
        until_ms, n = self._branch.header.trained_until_ms, task.rows.shape[0]
        header = msgspec.structs.replace(
            self._branch.header,
            usual=float(np.median(self._branch.raw(Seen(rows), rows))),
            n_examples=n,
            n_later=0 if until_ms is None else int((task.event_time_ms >= until_ms).sum()),
        )
        return BroughtBranch(header, self._branch.graph)


def try_out(branch: BroughtBranch, rows: FloatArray) -> None:
    """Hold a network to what serving needs: a number for each row, the same each time, whatever stands beside it.

    Parameters
    ----------
    rows : shape (n, n_features), n >= 1; up to 256 of them are tried, and one that is missing throughout.

    Raises
    ------
    BroughtModelError
        If it does not.
    """
    name = branch.header.name
    tried = np.concatenate([_spread(rows), np.full((1, rows.shape[1]), np.nan)])
    said = branch.outputs(tried)
    bad = np.flatnonzero(~np.isfinite(said))
    if bad.shape[0]:
        what = "all is missing" if bad.tolist() == [tried.shape[0] - 1] else f"{bad.shape[0]} of {tried.shape[0]} rows"
        do = "train it for missing values, or say what stands for them: `missing: 0`"
        raise BroughtModelError(name, f"an output that is no number where {what}", do)
    if branch.header.is_probability and not ((said >= -SLACK) & (said <= 1.0 + SLACK)).all():
        do = "end it with a sigmoid, or write `output: log_odds`"
        raise BroughtModelError(name, f"outputs from {said.min():.3g} to {said.max():.3g}, not in [0, 1]", do)
    if not np.array_equal(said, branch.outputs(tried)):
        do = "export it for inference: without dropout, without random numbers"
        raise BroughtModelError(name, "other outputs for the same rows", do)
    step = max(1, tried.shape[0] // _ALONE)
    alone = np.concatenate([branch.outputs(tried[at : at + 1]) for at in range(0, tried.shape[0], step)])
    backwards = branch.outputs(tried[::-1])[::-1]
    apart = max(float(np.abs(alone - said[::step]).max()), float(np.abs(backwards - said).max()))
    if not apart <= MOST_APART:
        do = "export it for inference: a row's output must not depend on the rows beside it (batch normalisation?)"
        raise BroughtModelError(name, f"outputs that differ by {apart:.2g} with the rows beside them", do)


def warnings_of(ensemble: Ensemble) -> list[str]:
    """Warn of networks whose training may have seen the examples."""
    told = []
    for header in _headers(ensemble):
        if header.trained_until_ms is None:
            told.append(
                f"branch {header.name}: nobody says until when it was trained, so it may have seen every example here: "
                "it is told beside the score and cannot take part in it; write `trained_until: DATE`"
            )
        elif header.n_later < header.n_examples:
            n_before = header.n_examples - header.n_later
            told.append(
                f"branch {header.name}: trained until {_date(header.trained_until_ms)}, so it may have seen "
                f"{n_before:,} of {header.n_examples:,} examples here; only the others judge it"
            )
    return told


def facts_of(ensemble: Ensemble) -> list[tuple[str, str]]:
    """Say of each network what it is, for the card."""
    return [
        (
            f"brought, {header.name}",
            f"ONNX of sha256 {header.digest[:16]}…, {len(header.features)} features, trained elsewhere"
            + (
                ", nobody says until when: it may have seen every example"
                if header.trained_until_ms is None
                else f" until {_date(header.trained_until_ms)} by its owner's word; {header.n_later:,} of "
                f"{header.n_examples:,} examples are later"
            ),
        )
        for header in _headers(ensemble)
    ]


def metrics_of(ensemble: Ensemble) -> dict[str, Any]:
    """Gather what metrics.json holds of networks that were brought; empty without any."""
    headers = [msgspec.to_builtins(header) for header in _headers(ensemble)]
    return {"brought": {"branches": headers, "warnings": warnings_of(ensemble)}} if headers else {}


def _headers(ensemble: Ensemble) -> list[BroughtHeader]:
    return [one.header for one in ensemble.branches.values() if isinstance(one, BroughtBranch)]


def _spread(rows: FloatArray) -> FloatArray:
    taken: FloatArray = rows[np.unique(np.linspace(0, rows.shape[0] - 1, _TRIED).astype(np.int64))]
    return taken


def _date(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%d")
