# SPDX-License-Identifier: Apache-2.0
"""How risky is it? Models of feature rows, their calibration and what they are worth. Arrays in, arrays out."""

from ringfence.models.anomaly import AnomalyModel, train_anomaly
from ringfence.models.branch import Branch, Need
from ringfence.models.branches import AnomalyBranch
from ringfence.models.calibration import Calibrator, correct_prior, fit_calibrator
from ringfence.models.encoder import Encoder
from ringfence.models.ensemble import Ensemble
from ringfence.models.errors import (
    DamagedNetworkError,
    MissingRuntimeError,
    ModelError,
    ModelShapeError,
    TooFewDistinctError,
    TooFewEventsError,
    TooFewLabelsError,
    UnseenError,
    UnsupportedModelError,
)
from ringfence.models.gbdt import DEFAULTS, Gbdt, average_boosters, cut_into_bins, grow_curve, grow_trees, train_gbdt
from ringfence.models.gnn import Gnn
from ringfence.models.resampling import Difference, Interval, bootstrap, paired_bootstrap
from ringfence.models.seen import Seen
from ringfence.models.segmentation import Segmentation
from ringfence.models.stack import Stack, fit_stack
from ringfence.models.walker import TreeWalker

__all__ = [
    "DEFAULTS",
    "AnomalyBranch",
    "AnomalyModel",
    "Branch",
    "Calibrator",
    "DamagedNetworkError",
    "Difference",
    "Encoder",
    "Ensemble",
    "Gbdt",
    "Gnn",
    "Interval",
    "MissingRuntimeError",
    "ModelError",
    "ModelShapeError",
    "Need",
    "Seen",
    "Segmentation",
    "Stack",
    "TooFewDistinctError",
    "TooFewEventsError",
    "TooFewLabelsError",
    "TreeWalker",
    "UnseenError",
    "UnsupportedModelError",
    "average_boosters",
    "bootstrap",
    "correct_prior",
    "cut_into_bins",
    "fit_calibrator",
    "fit_stack",
    "grow_curve",
    "grow_trees",
    "paired_bootstrap",
    "train_anomaly",
    "train_gbdt",
]
