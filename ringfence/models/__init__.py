# SPDX-License-Identifier: Apache-2.0
"""How risky is it? Models of feature rows, their calibration and what they are worth. Arrays in, arrays out."""

from ringfence.models.calibration import Calibrator, correct_prior, fit_calibrator
from ringfence.models.encoder import Encoder
from ringfence.models.errors import (
    ModelError,
    ModelShapeError,
    TooFewDistinctError,
    TooFewLabelsError,
    UnsupportedModelError,
)
from ringfence.models.gbdt import DEFAULTS, Gbdt, average_boosters, grow_curve, train_gbdt
from ringfence.models.resampling import Difference, Interval, bootstrap, paired_bootstrap
from ringfence.models.segmentation import Segmentation
from ringfence.models.walker import TreeWalker

__all__ = [
    "DEFAULTS",
    "Calibrator",
    "Difference",
    "Encoder",
    "Gbdt",
    "Interval",
    "ModelError",
    "ModelShapeError",
    "Segmentation",
    "TooFewDistinctError",
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
