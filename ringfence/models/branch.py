# SPDX-License-Identifier: Apache-2.0
"""A model beside the trees: what the stack, a release and a service ask of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ringfence.models.seen import Seen

FloatArray = NDArray[np.float64]


class Need(StrEnum):
    """What a branch reads beside feature rows."""

    NEIGHBOURHOODS = "neighbourhoods"
    TEXTS = "texts"

    def is_met_by(self, seen: Seen) -> bool:
        return seen.neighbourhoods is not None if self is Need.NEIGHBOURHOODS else bool(seen.texts)


class Branch(Protocol):
    """One model, kept as one file of a release. It answers for events that it was not fitted on."""

    @property
    def needs(self) -> frozenset[Need]: ...

    @property
    def n_features(self) -> int | None:
        """How wide a feature row it reads; None: it reads none."""
        ...

    def raw(self, seen: Seen, encoded: FloatArray) -> FloatArray:
        """Return a finite number an event, shape (n,), larger for what is more likely fraud.

        Parameters
        ----------
        seen : n events, with whatever `needs` names.
        encoded : shape (n, n_features), their rows as the trees see them.
        """
        ...

    def shares(self, seen: Seen, encoded: FloatArray) -> FloatArray | None:
        """Return what each feature adds to `raw`, shape (n, n_features); None where it is not made of features."""
        ...

    def probability(self, raw: FloatArray) -> FloatArray:
        """Return raw numbers as numbers in [0, 1] for people, shape (n,); uncalibrated."""
        ...

    def to_bytes(self) -> bytes: ...


class Said(NamedTuple):
    """What a branch says for itself in the reasons of a score."""

    code: str
    sentence: str  # that a customer-service agent can read out
    adds: float  # to the branch's raw score


@runtime_checkable
class Outspoken(Protocol):
    """A branch that is not made of features, and gives reasons of its own."""

    def said(self, seen: Seen, encoded: FloatArray) -> list[tuple[Said, ...]]:
        """Return what is said of each of n events."""
        ...
