# SPDX-License-Identifier: Apache-2.0
"""Which features move the score, measured over scored examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Feature
from ringfence.models.ensemble import Ensemble
from ringfence.scoring.reasons import branch_sentence
from ringfence.training.learners import Beside
from ringfence.training.report import FeatureImportance

FloatArray = NDArray[np.float64]
N_SAMPLED = 400
BRANCHES = "branches"  # stands where a feature has its family


def importance_of(
    ensemble: Ensemble,
    beside: Beside,
    at: NDArray[np.int64],
    fraud: NDArray[np.int8],
    features: tuple[Feature, ...],
    roles: tuple[str, ...],
    *,
    seed: int,
) -> list[FeatureImportance]:
    """Return each feature's share of the absolute contributions, largest first; shares sum to 1, or are all 0.

    A branch of the score that is not made of features stands among them as a whole.

    Parameters
    ----------
    at, fraud : shape (n,), which events of the training are drawn from, and their truth.
    roles : of the decided events, in whose words a branch is told.

    Half of the sample is fraud where there is enough of it: among legit events alone hardly anything moves.
    """
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(pool, size=min(pool.shape[0], N_SAMPLED // 2), replace=False)
        for pool in (np.flatnonzero(fraud == 1), np.flatnonzero(fraud == 0))
    ]
    sample = np.sort(np.concatenate(chosen))
    seen = beside.seen(at[sample], ensemble.needs)
    encoded = ensemble.encode(seen.rows)
    found = ensemble.explained(seen, encoded, ensemble.members(seen, encoded), exact=True)
    weight = np.abs(found.by_feature).mean(axis=0)
    others = {name: float(np.abs(added).mean()) for name, added in found.beside.items()}
    total = float(weight.sum()) + sum(others.values())
    scale = 1.0 / total if total > 0 else 1.0
    shares = [
        FeatureImportance(name=one.name, sentence=one.sentence, family=one.family, share=scale * float(weight[column]))
        for column, one in enumerate(features)
    ]
    shares += [
        FeatureImportance(name=name, sentence=branch_sentence(name, roles), family=BRANCHES, share=scale * mean)
        for name, mean in others.items()
    ]
    return sorted(shares, key=lambda one: -one.share)
