# SPDX-License-Identifier: Apache-2.0
"""The trees of a release: boosters with a sample of the legit examples each, averaged into one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringfence.models.encoder import Encoder
from ringfence.models.gbdt import Gbdt, average_boosters, cut_into_bins, grow_trees
from ringfence.training.copies import Copies
from ringfence.training.crossfit import Report, keep_legit
from ringfence.training.effort import Effort

FloatArray = NDArray[np.float64]


def begin_boosters(
    rows: FloatArray,
    fraud: NDArray[np.int8],
    encoder: Encoder,
    *,
    unread: NDArray[np.int64],
    params: Mapping[str, Any],
    n_trees: int,
    seed: int,
    effort: Effort,
    n_threads: int,
    report: Report,
) -> Callable[[], Gbdt]:
    """Begin to grow on all examples, where `effort` grows side by side, while the caller goes on with other things.

    Parameters
    ----------
    rows : shape (n, n_features), as the engine gives them; not to be written to before the trees are there.
    fraud : shape (n,).
    unread : columns that no model may learn from.
    n_trees : of each booster.
    report : called once a booster.

    Returns
    -------
    Waits for the trees. The model does not depend on what is done meanwhile, nor on `n_threads`.
    """

    copies = Copies()

    def booster(place: int, n_threads: int) -> str:
        kept = keep_legit(fraud, effort.legit_share, np.random.default_rng([seed, place]))
        with copies.of(kept.shape[0] * rows.itemsize * rows.shape[1]):
            own = rows[kept]
            own[:, unread] = np.nan
            bins = cut_into_bins(
                encoder.apply(own, in_place=True),
                fraud[kept],
                seed=seed + place,
                categories=encoder.category_columns,
                params=params,
                num_threads=n_threads,
                bin_rows=effort.bin_rows,
                most_bins=effort.most_bins,
            )
            del own
        one = grow_trees(bins, n_trees=n_trees)
        report(0, 0)
        return one.text

    def in_turn() -> Gbdt:
        return Gbdt(text=average_boosters([booster(place, n_threads) for place in range(effort.n_seeds)]))

    if not effort.side_by_side:
        return in_turn
    pool = ThreadPoolExecutor(n_threads)  # one core a booster
    growing = [pool.submit(booster, place, 1) for place in range(effort.n_seeds)]
    pool.shutdown(wait=False)
    return lambda: Gbdt(text=average_boosters([one.result() for one in growing]))
