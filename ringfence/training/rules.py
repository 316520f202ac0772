# SPDX-License-Identifier: Apache-2.0
"""The rules' part in a training: what their points are worth. The rules themselves are not learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.branches import RULES
from ringfence.models.encoder import Encoder
from ringfence.models.rules import SLOPE, RulesModel
from ringfence.models.stack import BACKBONE, fit_stack
from ringfence.scenario.condition_names import Known
from ringfence.scenario.spec import Rule
from ringfence.training.calibrating import prior_log_odds
from ringfence.training.learner import Task

FloatArray = NDArray[np.float64]

_CHUNK: Final = 65_536  # rows whose conditions are evaluated at once


class RulesLearner:
    """Finds what a point is worth.

    Parameters
    ----------
    rules : at least one.
    features : that they may name, of a catalogue of `width` features.
    """

    name: Final = RULES
    is_told: Final = True  # it answers when the trees cannot

    def __init__(self, rules: Sequence[Rule], features: Mapping[str, Known], width: int) -> None:
        self._model = RulesModel.of(rules, features, width)

    def out_of_fold(self, task: Task, *, most: int | None) -> FloatArray | None:
        """Return each emitted example's log-odds by what points were worth before its fold, as `Learner` says.

        All of them, whatever `most` is: they cost next to nothing.
        """
        points, found = self._points(task.rows), np.full(task.fraud.shape[0], np.nan)
        for fold in task.folds:
            model = fit_points(self._model, points[fold.fit], task.fraud[fold.fit])
            moved = prior_log_odds(task.fraud) - prior_log_odds(task.fraud[fold.fit])
            found[fold.emit] = model.log_odds(points[fold.emit]) + moved
        return found

    def fit(self, task: Task, encoder: Encoder) -> RulesModel:
        return fit_points(self._model, self._points(task.rows), task.fraud)

    def _points(self, rows: FloatArray) -> FloatArray:
        starts = range(0, rows.shape[0], _CHUNK)
        return np.concatenate([self._model.points(rows[low : low + _CHUNK]) for low in starts])


def fit_points(model: RulesModel, points: FloatArray, fraud: NDArray[np.integer[Any]]) -> RulesModel:
    """Fit what a point is worth, around what it means before any label: `SLOPE` ± half of it, never below 0.

    Parameters
    ----------
    points : shape (n,), of events of both kinds.
    fraud : shape (n,), 1 for fraud, 0 for legit.
    """
    stack = fit_stack({BACKBONE: SLOPE * points}, fraud, [BACKBONE])
    return msgspec.structs.replace(model, slope=SLOPE * stack.weights[0], intercept=stack.intercept)
