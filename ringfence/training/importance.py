# SPDX-License-Identifier: Apache-2.0
"""Which features move the score, measured over scored examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Feature
from ringfence.models.ensemble import Ensemble
from ringfence.models.seen import Seen
from ringfence.training.report import FeatureImportance

FloatArray = NDArray[np.float64]
N_SAMPLED = 400


def importance_of(
    ensemble: Ensemble,
    rows: FloatArray,
    at: NDArray[np.int64],
    fraud: NDArray[np.int8],
    features: tuple[Feature, ...],
    *,
    seed: int,
) -> list[FeatureImportance]:
    """Return each feature's share of the absolute contributions, largest first; shares sum to 1, or are all 0.

    Parameters
    ----------
    rows : shape (n_rows, n_features), as the engine gives them.
    at, fraud : shape (n,), which rows are sampled from, and their truth.

    Half of the sample is fraud where there is enough of it: among legit events alone hardly anything moves.
    """
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(pool, size=min(pool.shape[0], N_SAMPLED // 2), replace=False)
        for pool in (np.flatnonzero(fraud == 1), np.flatnonzero(fraud == 0))
    ]
    sample = np.sort(np.concatenate(chosen))
    seen = Seen(rows[at[sample]])
    weight = np.abs(ensemble.contributions(seen, ensemble.encode(seen.rows), exact=True)).mean(axis=0)
    total = float(weight.sum())
    shares = weight / total if total > 0 else weight
    return [
        FeatureImportance(
            name=features[column].name,
            sentence=features[column].sentence,
            family=features[column].family,
            share=float(shares[column]),
        )
        for column in np.argsort(-shares, kind="stable")
    ]
