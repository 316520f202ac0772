# SPDX-License-Identifier: Apache-2.0
"""Which labelled events a network learns from: every fraud, and a seeded draw of the rest."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.scenario.batch import FRAUD


class DrawnExamples(msgspec.Struct, frozen=True, kw_only=True):
    """Examples in seq order. n examples."""

    seq: NDArray[np.int64]  # (n,) strictly ascending
    fraud: NDArray[np.int8]  # (n,) 1 fraud, 0 legit
    weight: NDArray[np.float64]  # (n,) events that each stands for: with it the prior is that of all events again

    def __len__(self) -> int:
        return int(self.seq.shape[0])


def drawn_examples(
    seq: NDArray[np.int64],
    fraud: NDArray[np.int8],
    *,
    negatives_per_fraud: float,
    generator: np.random.Generator,
) -> DrawnExamples:
    """Keep every fraud and draw legit events, each with the same chance, without replacement.

    Parameters
    ----------
    seq : shape (n,), strictly ascending seqs of events whose label is known.
    fraud : shape (n,), FRAUD or LEGIT.
    negatives_per_fraud : legit events per fraud, > 0; all of them where there are fewer.

    Raises
    ------
    ValueError
        If `negatives_per_fraud` <= 0.
    """
    if not negatives_per_fraud > 0:
        raise ValueError(f"negatives_per_fraud is {negatives_per_fraud}; it must be > 0")
    legit = np.flatnonzero(fraud != FRAUD)
    n_fraud = fraud.shape[0] - legit.shape[0]
    n_drawn = min(legit.shape[0], round(negatives_per_fraud * n_fraud))
    kept = np.ones(fraud.shape[0], np.bool_)
    kept[generator.permutation(legit)[n_drawn:]] = False
    weight = np.where(fraud == FRAUD, 1.0, legit.shape[0] / max(n_drawn, 1))
    return DrawnExamples(seq=seq[kept], fraud=fraud[kept].astype(np.int8), weight=weight[kept])
