# SPDX-License-Identifier: Apache-2.0
"""What scores a row: the branches of a release, and the stack that makes one number of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ringfence.models.calibration import sigmoid
from ringfence.models.stack import BACKBONE, Stack

if TYPE_CHECKING:
    from ringfence.models.anomaly import AnomalyModel
    from ringfence.models.encoder import Encoder
    from ringfence.models.gbdt import Gbdt

FloatArray = NDArray[np.float64]

ANOMALY: Final = "anomaly"


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Branches over the same feature rows.

    Attributes
    ----------
    anomaly : None in releases that were made before there was one, and where events hardly differ.
    stack : names the branches that take part in the score; the others are told beside it.
    """

    encoder: Encoder
    gbdt: Gbdt
    anomaly: AnomalyModel | None
    stack: Stack

    def encode(self, rows: FloatArray) -> FloatArray:
        """Return what the branches see, shape (n, n_features), of rows as the engine gives them."""
        return self.encoder.apply(rows)

    def members(self, encoded: FloatArray) -> dict[str, FloatArray]:
        """Return each branch's raw score, shape (n,): log-odds of the trees, surprise of the anomaly model."""
        found = {BACKBONE: self.gbdt.raw(encoded)}
        if self.anomaly is not None:
            found[ANOMALY] = self.anomaly.raw(encoded)
        return found

    def raw(self, encoded: FloatArray) -> FloatArray:
        """Return stacked log-odds before calibration, shape (n,)."""
        return self.stack.raw(self.members(encoded))

    def contributions(self, encoded: FloatArray, *, exact: bool = False) -> FloatArray:
        """Return what each feature adds to the stacked log-odds, shape (n, n_features).

        Trees by TreeSHAP, exact or fast enough to serve. What the anomaly model adds above its mean over the events
        that it was ranked by is shared out in proportion to how far each feature shortens the way to the row.
        """
        shares = self.gbdt.contributions(encoded) if exact else self.gbdt.walker.contributions(encoded)
        weight = self.stack.weight_of(ANOMALY)
        total: FloatArray = self.stack.weight_of(BACKBONE) * shares
        if self.anomaly is not None and weight > 0.0:
            total = total + weight * self.anomaly.surprise_shares(encoded)
        return total


def as_probability(name: str, raw: FloatArray) -> FloatArray:
    """Return a branch's raw score as a number in [0, 1] for people, shape (n,).

    The trees' own probability of fraud; of the anomaly model the share of events that are more ordinary.
    """
    return -np.expm1(-raw) if name == ANOMALY else sigmoid(raw)
