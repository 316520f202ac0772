# SPDX-License-Identifier: Apache-2.0
"""What is the answer? A release and feature rows become scores, actions and reasons; one copy for all who ask."""

from ringfence.scoring.errors import ReleaseDamagedError, ReleaseError, ReleaseMismatchError, ReleaseNotFoundError
from ringfence.scoring.reasons import ReasonBook
from ringfence.scoring.release import Contents, Made, Manifest, Release, load_release, write_release
from ringfence.scoring.scorer import Answer, Scorer, Scores

__all__ = [
    "Answer",
    "Contents",
    "Made",
    "Manifest",
    "ReasonBook",
    "Release",
    "ReleaseDamagedError",
    "ReleaseError",
    "ReleaseMismatchError",
    "ReleaseNotFoundError",
    "Scorer",
    "Scores",
    "load_release",
    "write_release",
]
