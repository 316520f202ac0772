# SPDX-License-Identifier: Apache-2.0
"""How risky is it? Models of feature rows, their calibration and what they are worth. Arrays in, arrays out."""

from ringfence.models.calibration import Calibrator, correct_prior, fit_calibrator
from ringfence.models.encoder import Encoder
from ringfence.models.errors import (
    DamagedNetworkError,
    MissingRuntimeError,
    ModelError,
    ModelShapeError,
    TooFewLabelsError,
    UnsupportedModelError,
)
from ringfence.models.gbdt import DEFAULTS, Gbdt, average_boosters, grow_curve, train_gbdt
from ringfence.models.gnn import Gnn
from ringfence.models.resampling import Difference, Interval, bootstrap, paired_bootstrap
from ringfence.models.walker import TreeWalker

__all__ = [
    "DEFAULTS",
    "Calibrator",
    "DamagedNetworkError",
    "Difference",
    "Encoder",
    "Gbdt",
    "Gnn",
    "Interval",
    "MissingRuntimeError",
    "ModelError",
    "ModelShapeError",
    "TooFewLabelsError",
    "TreeWalker",
    "UnsupportedModelError",
    "average_boosters",
    "bootstrap",
    "correct_prior",
    "fit_calibrator",
    "grow_curve",
    "paired_bootstrap",
    "train_gbdt",
]
