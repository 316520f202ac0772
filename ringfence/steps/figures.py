# SPDX-License-Identifier: Apache-2.0
"""The figures of a release that are worth reading first, however they are nested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import polars as pl

    from ringfence.scoring.release import Release

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
