# SPDX-License-Identifier: Apache-2.0
"""What does it mean? Entity state folded from the ledger, and the feature rows read from it."""

from ringfence.engine.catalogue import Catalogue, Feature
from ringfence.engine.engine import Engine, RecentEvent
from ringfence.engine.errors import (
    BatchShapeError,
    EngineError,
    NoSamplingError,
    SampleSizeError,
    SequenceError,
    SnapshotError,
    TooManyWindowsError,
    UnknownFeatureError,
)
from ringfence.engine.neighbourhoods import Neighbourhoods
from ringfence.engine.replay import FeatureRows, feature_rows, replay
from ringfence.engine.snapshot import restore_newest, write_snapshot

__all__ = [
    "BatchShapeError",
    "Catalogue",
    "Engine",
    "EngineError",
    "Feature",
    "FeatureRows",
    "Neighbourhoods",
    "NoSamplingError",
    "RecentEvent",
    "SampleSizeError",
    "SequenceError",
    "SnapshotError",
    "TooManyWindowsError",
    "UnknownFeatureError",
    "feature_rows",
    "replay",
    "restore_newest",
    "write_snapshot",
]
