# SPDX-License-Identifier: Apache-2.0
"""Figures of a release as frames, however they are nested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from ringfence.scoring.release import Release
    from ringfence.training.comparisons.study import Study

FIGURES: Final = ("average_precision", "roc_auc", "brier_skill", "ece")
Figure = tuple[float | None, float | None, float | None]  # value, and both ends of its 95 % interval


def headline_figures(release: Release) -> dict[str, Figure]:
    """Return the headline figures of a release by name; empty where it could not be measured."""
    headline = release.manifest.headline
    return {name: figure_of(headline.get(name)) for name in FIGURES} if headline else {}


def figure_of(found: Any) -> Figure:
    """Take a figure apart: a number, or {value, low, high}."""
    if isinstance(found, dict):
        return found.get("value"), found.get("low"), found.get("high")
    return found, None, None


def figures_frame(release: Release) -> pl.DataFrame:
    """Return release, measured_on, n, n_fraud, figure, value, low, high; a row for each headline figure."""
    import polars as pl

    headline = release.manifest.headline
    rows = [
        (release.id, headline.get("name"), headline.get("n"), headline.get("n_fraud"), name, value, low, high)
        for name, (value, low, high) in headline_figures(release).items()
    ]
    names = {"release": pl.String, "measured_on": pl.String, "n": pl.Int64, "n_fraud": pl.Int64}
    numbers = {"figure": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema={**names, **numbers}, orient="row")


def weights_frame(release: Release) -> pl.DataFrame:
    """Return member, weight, trained, low, high; a row for each member of the stack."""
    import polars as pl

    from ringfence.models.followed import band_of

    trained = release.trained_weights
    rows = [
        (name, weight, trained[name], *band_of(trained[name]))
        for name, weight in zip(release.stack.members, release.stack.weights, strict=True)
    ]
    numbers = dict.fromkeys(("weight", "trained", "low", "high"), pl.Float64)
    return pl.DataFrame(rows, schema={"member": pl.String, **numbers}, orient="row")


def recalibrated_frame(base: Release, made: Release) -> pl.DataFrame:
    """Return a row for each rung and figure; columns as `OpenReleases.recalibrate` tells."""
    import polars as pl

    found = made.metrics["recalibrated"]
    weights = found.get("weights")
    moved = None if weights is None else not weights["left"]
    rows = [
        (
            made.id,
            base.id,
            rung["name"],
            rung["verdict"],
            figure,
            before["value"],
            rung["after"][figure]["value"],
            moved,
        )
        for rung in found["rungs"]
        for figure, before in rung["before"].items()
    ]
    names = dict.fromkeys(("release", "models_of", "rung", "verdict", "figure"), pl.String)
    numbers = dict.fromkeys(("before", "after"), pl.Float64)
    return pl.DataFrame(rows, schema={**names, **numbers, "weights_moved": pl.Boolean}, orient="row")


def studies_frame(studies: Sequence[Study]) -> pl.DataFrame:
    """Return a row for each figure of each way that was compared; columns as `OpenReleases.study` tells."""
    import polars as pl

    rows: list[tuple[Any, ...]] = []
    for study in studies:
        if not study.variants:
            rows.append((study.name, study.answer, *[None] * 12))
        for one in study.variants:
            for name, figure in one.figures.items():
                gain = one.against.get(name)
                told = (None, None, None) if gain is None else (gain.value, gain.low, gain.high)
                where = (study.name, study.answer, one.name, one.is_control, study.n, study.n_fraud, name)
                rows.append((*where, figure.value, figure.low, figure.high, *told, one.seconds))
    numbers = ("value", "low", "high", "gain", "gain_low", "gain_high", "seconds")
    return pl.DataFrame(
        rows,
        schema={
            **dict.fromkeys(("study", "answer", "variant"), pl.String),
            "is_control": pl.Boolean,
            **dict.fromkeys(("n", "n_fraud"), pl.Int64),
            "figure": pl.String,
            **dict.fromkeys(numbers, pl.Float64),
        },
        orient="row",
    )
