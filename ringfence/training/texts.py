# SPDX-License-Identifier: Apache-2.0
"""The text model's part in a training: log-odds of texts that it had not seen, and the model of the release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.branches import TEXT
from ringfence.models.encoder import Encoder
from ringfence.models.errors import TooFewEventsError, TooFewLabelsError
from ringfence.models.text import TextModel, train_texts
from ringfence.training.calibrating import prior_log_odds
from ringfence.training.learner import Task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_FRAUDS: Final = 20_000  # of one fit; the n-grams of 40,000 narratives of 300 characters take 200 MB
MOST_LEGIT: Final = 20_000
_CHUNK: Final = 16_384  # texts scored at once


class TextLearner:
    """Reads what events say; none where too few say anything.

    Parameters
    ----------
    texts : a sequence for each text attribute, of as many events as a task has examples, or more.
    """

    name: Final = TEXT
    is_told: Final = False  # where it does not help, nobody needs to hear it

    def __init__(self, texts: Sequence[Sequence[str | None]]) -> None:
        self._texts = texts

    def out_of_fold(self, task: Task, *, most: int | None) -> FloatArray | None:
        """Return each emitted example's log-odds by a model of its fold's past, as `Learner` says.

        All stand at the base rate of all examples, as those of the trees do (Elkan, 2001, theorem 2).
        """
        found = np.full(task.fraud.shape[0], np.nan)
        for fold in task.folds:
            try:
                model, past = self._fitted(task, fold.fit)
            except (TooFewEventsError, TooFewLabelsError):
                return None
            emit = fold.emit if most is None else _drawn(fold.emit, most, np.random.default_rng(task.seed))
            moved = prior_log_odds(task.fraud) - prior_log_odds(task.fraud[past])
            for low in range(0, emit.shape[0], _CHUNK):
                part = emit[low : low + _CHUNK]
                found[part] = model.raw_of(self._taken(part)) + moved
        return found

    def fit(self, task: Task, encoder: Encoder) -> TextModel:
        model, seen = self._fitted(task, np.arange(task.fraud.shape[0]))
        return model.shifted(prior_log_odds(task.fraud) - prior_log_odds(task.fraud[seen]))

    def _fitted(self, task: Task, positions: IntArray) -> tuple[TextModel, IntArray]:
        rng = np.random.default_rng(task.seed)
        is_fraud = task.fraud[positions] == 1
        kinds: list[tuple[NDArray[np.bool_], int]] = [(is_fraud, MOST_FRAUDS), (~is_fraud, MOST_LEGIT)]
        seen = np.sort(np.concatenate([_drawn(positions[kind], most, rng) for kind, most in kinds]))
        return train_texts(self._taken(seen), task.fraud[seen]), seen

    def _taken(self, positions: IntArray) -> tuple[list[str | None], ...]:
        at: list[int] = positions.tolist()
        return tuple([text[place] for place in at] for text in self._texts)


def _drawn(positions: NDArray[Any], most: int, rng: np.random.Generator) -> NDArray[Any]:
    if positions.shape[0] <= most:
        return positions
    return np.sort(rng.choice(positions, size=most, replace=False))
