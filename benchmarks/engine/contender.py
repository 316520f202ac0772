# SPDX-License-Identifier: Apache-2.0
"""What a library must offer to take part, and the columns that all but one of them can compute alike."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.stream import Transfers

ROLES: Final = ("source", "destination")
WINDOWS_S: Final = {"1h": 3_600, "1d": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}  # those of account-transfers
STATS: Final = ("count", "amount_sum", "amount_mean")
ROLLING: Final = tuple(f"{role}.{stat}_{window}" for role in ROLES for stat in STATS for window in WINDOWS_S)
LONGEST_S: Final = max(WINDOWS_S.values())

Rows = NDArray[np.float64]


class Contender(Protocol):
    """One library in one configuration. Only `observe` is timed."""

    n_values: int  # feature values an event
    whole: bool  # takes all events in one call, none one by one

    def prepare(self, transfers: Transfers, batch_size: int) -> Iterator[Any]:
        """Bring transfers into the form that the library takes, in pieces of a batch."""
        ...

    def observe(self, piece: Any) -> Any:
        """Compute the features of a piece."""
        ...

    def as_rows(self, found: Any) -> Rows:
        """What `observe` returned, as (events, n_values)."""
        ...

    def facts(self) -> dict[str, float]:
        """What it tells of itself at the end, such as `state_bytes`."""
        ...


@runtime_checkable
class Learner(Contender, Protocol):
    """A contender that keeps state from one piece to the next."""

    def learn(self, piece: Any) -> None:
        """Take history in, as fast as the library can, without features."""
        ...


def library(name: str) -> ModuleType:
    """Import a library of the extra `bench`; end with what to do when it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SystemExit(
            f"{name.partition('.')[0]} is not there ({error}); run: pip install 'ringfence[bench]'"
        ) from None
