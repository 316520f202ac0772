# SPDX-License-Identifier: Apache-2.0
"""Run studies by name, and keep what was found of a release before.

reports/<release>/studies.json  studies.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from ringfence.models.stack import BACKBONE
from ringfence.training.comparisons.branches import branches_study
from ringfence.training.comparisons.detection import Detection
from ringfence.training.comparisons.families import families_study
from ringfence.training.comparisons.frozen import frozen_study
from ringfence.training.comparisons.networks import network_study
from ringfence.training.comparisons.personal import personal_study
from ringfence.training.comparisons.remade import Remade
from ringfence.training.comparisons.shuffled import shuffled_study
from ringfence.training.comparisons.study import Study
from ringfence.training.errors import UnknownStudyError
from ringfence.training.evaluation import plain


def timed_branches(remade: Remade) -> Study:
    """Learn every branch again, with the time that each takes."""
    whole, said = remade.whole, remade.branches(remade.ledger)
    level = np.log(whole.fitted.effort.legit_share)  # by which trees stand too high
    return branches_study(
        {BACKBONE: whole.fitted.out_of_fold.raw + level, **{name: one.raw for name, one in said.items()}},
        remade.release.stack,
        remade.examples.fraud,
        whole.fitted.folds,
        seed=remade.seed,
        seconds={BACKBONE: whole.seconds, **{name: one.seconds for name, one in said.items()}},
    )


FITTED: Final[dict[str, Callable[[Remade], Study]]] = {
    "branches": timed_branches,
    "families": families_study,
    "shuffled": shuffled_study,
    "network": network_study,
    "frozen": frozen_study,
    "personal": personal_study,
}
STUDIES: Final = tuple(FITTED)
ALL: Final = "all"
_NUMBERS: Final = ("value", "low", "high", "share_above_zero")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was studied of one release so far."""

    release: str
    studies: list[Study] = []
    detection: Detection | None = None

    def joined(self, studies: Sequence[Study], detection: Detection | None) -> Found:
        """Put in what was found now, in place of what was found of the same name before."""
        by_name = {study.name: study for study in (*self.studies, *studies)}
        ordered = [by_name[name] for name in STUDIES if name in by_name]
        return Found(release=self.release, studies=ordered, detection=detection or self.detection)

    def plain(self) -> dict[str, Any]:
        """What JSON can hold; NaN is null."""
        found = plain(self)
        assert isinstance(found, dict)
        return found


def wanted_studies(names: Collection[str]) -> list[str]:
    """Return the named studies, each once; `all` names every one.

    Raises
    ------
    UnknownStudyError
        If there is no such study.
    """
    for name in names:
        if name not in (*STUDIES, ALL):
            raise UnknownStudyError(name, STUDIES)
    return [name for name in STUDIES if name in names or ALL in names]


def read_found(path: Path, release: str) -> Found:
    """Read what was studied before; nothing where there is no such file, or it cannot be read."""
    try:
        found = msgspec.convert(_numbers(msgspec.json.decode(path.read_bytes())), Found)
    except (OSError, msgspec.MsgspecError):
        return Found(release=release)
    return found if found.release == release else Found(release=release)


def _numbers(value: Any) -> Any:
    """Turn null back into NaN where a number is meant."""
    if isinstance(value, dict):
        return {
            name: float("nan") if item is None and name in _NUMBERS else _numbers(item) for name, item in value.items()
        }
    return [_numbers(item) for item in value] if isinstance(value, list) else value
