# SPDX-License-Identifier: Apache-2.0
"""How well does each single column order the claims by fraud? None should do it alone."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.worlds.judged import Judged, column_of, kind_of
from benchmarks.worlds.sightings import Bools, Floats, Sightings
from ringfence.models.metrics import roc_auc

_PRIOR_WEIGHT: Final = 20.0  # claims at the overall rate, added to each category
_FOLDS: Final = 5


def two_sided(fraud: Bools, score: NDArray[np.generic]) -> float:
    """Return ROC-AUC in the direction in which it is above one half."""
    area = roc_auc(fraud.astype(np.int8), score.astype(np.float64))
    return max(area, 1.0 - area)


def rate_elsewhere(values: pl.Series, fraud: Bools) -> Floats:
    """Score each category by its fraud rate in the other four fifths of the rows, drawn at random."""
    code = values.fill_null("?").rank("dense").cast(pl.Int64).to_numpy()
    fold = np.random.default_rng(5).integers(0, _FOLDS, len(code))
    score = np.zeros(len(code))
    for part in range(_FOLDS):
        rest = fold != part
        n = np.bincount(code[rest], minlength=int(code.max()) + 1)
        hits = np.bincount(code[rest], fraud[rest], minlength=int(code.max()) + 1)
        score[~rest] = ((hits + _PRIOR_WEIGHT * fraud.mean()) / (n + _PRIOR_WEIGHT))[code[~rest]]
    return score


def column_areas(world: Judged) -> dict[str, float]:
    """ROC-AUC of each column alone, by the truth, larger than one half by choice of direction.

    Numbers, parts of the time, lengths and frequencies over all claims; categories by out-of-fold rates among the
    claims before the cut. A frequency counts every claim of the file that names the entity, the future included.
    """
    claims, fraud, early = world.claims, world.fraud, slice(0, world.cut)
    areas = {
        name: two_sided(fraud, claims[name].cast(pl.Float64).fill_null(-1.0).to_numpy()) for name in world.numbers()
    }
    parts = {"hour": world.local.dt.hour(), "weekday": world.local.dt.weekday(), "month": world.local.dt.month()}
    categories = {name: claims[name] for name in world.categories()} | {
        f"{name} of claim_time": part.cast(pl.String) for name, part in parts.items()
    }
    for name, values in categories.items():
        areas[name] = two_sided(fraud[early], rate_elsewhere(values[early], fraud[early]))
    for name in world.texts():
        areas[f"length of {name}"] = two_sided(fraud, claims[name].fill_null("").str.len_chars().to_numpy())
    for role, links in world.links.items():
        name = column_of(claims, role)
        uses = np.bincount(links.code)
        most = np.zeros(world.n)
        np.maximum.at(most, links.row, uses[links.code])
        areas[f"uses of {name}"] = two_sided(fraud, most)
        # The same as an insurer could know it: the claims before this one, in any role of the entity.
        same = [other for other in world.links.values() if kind_of(other.role) == kind_of(role)]
        seen = Sightings(
            np.concatenate([other.code for other in same]), np.concatenate([world.time_ms[other.row] for other in same])
        )
        earlier = np.full(world.n, -1.0)
        np.maximum.at(earlier, links.row, seen.before(links.code, world.time_ms[links.row]).astype(np.float64))
        areas[f"earlier uses of {name}"] = two_sided(fraud, earlier)
        if claims.schema[name] == pl.List:
            areas[f"length of {name}"] = two_sided(fraud, claims[name].list.len().fill_null(0).to_numpy())
    return dict(sorted(areas.items(), key=lambda item: -item[1]))
