# SPDX-License-Identifier: Apache-2.0
"""What does it mean? Entity state folded from the ledger, and the feature rows read from it."""

from ringfence.engine.catalogue import Catalogue, Feature
from ringfence.engine.drawing import DrawnExamples, drawn_examples
from ringfence.engine.engine import Engine, RecentEvent
from ringfence.engine.errors import (
    AlreadyFoldedError,
    BatchShapeError,
    EngineError,
    NoSamplingError,
    SampleFilesError,
    SampleSizeError,
    SequenceError,
    SnapshotError,
    TooManySamplesError,
    TooManyWindowsError,
    UnknownFeatureError,
)
from ringfence.engine.neighbourhoods import Neighbourhoods
from ringfence.engine.replay import FeatureRows, NotDecidedError, feature_rows, replay
from ringfence.engine.sample_features import SampleFeature, Seat
from ringfence.engine.sample_files import SampledRows, SampleFiles, bytes_per_event, sampled_rows
from ringfence.engine.snapshot import restore_newest, write_snapshot

__all__ = [
    "AlreadyFoldedError",
    "BatchShapeError",
    "Catalogue",
    "DrawnExamples",
    "Engine",
    "EngineError",
    "Feature",
    "FeatureRows",
    "Neighbourhoods",
    "NoSamplingError",
    "NotDecidedError",
    "RecentEvent",
    "SampleFeature",
    "SampleFiles",
    "SampleFilesError",
    "SampleSizeError",
    "SampledRows",
    "Seat",
    "SequenceError",
    "SnapshotError",
    "TooManySamplesError",
    "TooManyWindowsError",
    "UnknownFeatureError",
    "bytes_per_event",
    "drawn_examples",
    "feature_rows",
    "replay",
    "restore_newest",
    "sampled_rows",
    "write_snapshot",
]
