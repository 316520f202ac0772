# SPDX-License-Identifier: Apache-2.0
"""The catalogue of a scenario as a table: every feature it has, or would have with a family switched on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from ringfence.engine.catalogue import Feature
    from ringfence.scenario.spec import Scenario


def catalogue_of(scenario: Scenario, *, family: str | None = None, like: str | None = None) -> pl.DataFrame:
    """List features by family, those that are on before those that are off; reads nothing but the scenario.

    Parameters
    ----------
    family : only this one; None: all.
    like : only features with this text in their name or their sentence, upper or lower case; None: all.

    Returns
    -------
    One row a feature: feature, family, is_on (it is a column of rows; the others come with `features: {family: true}`),
    role (null where it is of no single one), sentence, unit, window_ms and granule_ms (its span, and to what the lower
    bound is rounded down; null without a window), missing (when it is NaN), version, cost_ns (its share of a row, an
    upper bound where that is too small to be told apart).

    Raises
    ------
    UnknownFeatureError
        If there is no such family.
    """
    import polars as pl

    from ringfence.engine.errors import UnknownFeatureError
    from ringfence.engine.stats import FAMILIES

    if family is not None and family not in FAMILIES:
        raise UnknownFeatureError(what="feature family", found=family, known=FAMILIES)
    wanted = "" if like is None else like.casefold()
    rows = [
        (
            *(feature.name, feature.family, is_on, feature.role, feature.sentence, feature.unit),
            *(feature.window_ms, feature.granule_ms, feature.missing, feature.version, feature.cost_ns),
        )
        for feature, is_on in _features(scenario)
        if family in (None, feature.family) and wanted in f"{feature.name}\n{feature.sentence}".casefold()
    ]
    texts = {"role": pl.String, "sentence": pl.String, "unit": pl.String}
    spans = {"window_ms": pl.Int64, "granule_ms": pl.Int64, "missing": pl.String}
    return pl.DataFrame(
        rows,
        schema={
            **{"feature": pl.String, "family": pl.String, "is_on": pl.Boolean},
            **texts,
            **spans,
            **{"version": pl.Int64, "cost_ns": pl.Float64},
        },
        orient="row",
    )


def _features(scenario: Scenario) -> Iterator[tuple[Feature, bool]]:
    """Yield the features by family; those of a family that is off as they were if it alone were switched on."""
    import msgspec

    from ringfence.engine.catalogue import Catalogue
    from ringfence.engine.errors import TooManyRolesError
    from ringfence.engine.stats import FAMILIES

    features = Catalogue.build(scenario).features
    on = {feature.name for feature in features}
    for family in FAMILIES:
        yield from ((feature, True) for feature in features if feature.family == family)
        switched = msgspec.structs.replace(scenario, features={**scenario.features, family: True})
        if switched == scenario:
            continue
        try:
            more = Catalogue.build(switched).features
        except TooManyRolesError:
            continue  # it cannot be switched on here
        yield from ((feature, False) for feature in more if feature.family == family and feature.name not in on)
