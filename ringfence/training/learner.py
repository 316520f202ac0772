# SPDX-License-Identifier: Apache-2.0
"""How a branch beside the trees is learnt: what it says out of fold, which the stack judges it by, and the branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.branch import Branch
from ringfence.models.encoder import Encoder
from ringfence.training.folds import Fold

FloatArray = NDArray[np.float64]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """n examples in ledger order, and the blocks of time that they are cross-fitted in."""

    rows: FloatArray  # (n, n_features), as the engine gives them
    fraud: NDArray[np.int8]  # (n,)
    event_time_ms: NDArray[np.int64]  # (n,)
    folds: Sequence[Fold]  # earliest first
    is_category: Sequence[bool]  # of each column
    unread: NDArray[np.int64]  # columns that tell the time: no model may learn from them
    seed: int
    n_threads: int


class Learner(Protocol):
    """One branch's part in a training. It may keep what `out_of_fold` found for `fit`."""

    @property
    def name(self) -> str: ...

    @property
    def is_told(self) -> bool:
        """Whether the branch stays in the release where the stack does without it, told beside the score."""
        ...

    def out_of_fold(self, task: Task, *, most: int | None) -> FloatArray | None:
        """Return what a branch of each fold's past says of the fold's block, shape (n,).

        NaN where no fold emits the example. None where there is too little to learn from.

        Parameters
        ----------
        most : emitted examples of a block, drawn at random, that are scored; the others are NaN. None: all.
        """
        ...

    def fit(self, task: Task, encoder: Encoder) -> Branch:
        """Learn from all examples; asked only where `out_of_fold` found something.

        Parameters
        ----------
        encoder : fitted on all examples, as the trees of the release see them.
        """
        ...
